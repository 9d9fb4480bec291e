"""Training of the network: to where behaviour put warm items, and to what goes with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.baselines import CategoryMeans, joined
from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.features.cold.network import (
    DROPPED,
    Behaviour,
    Outputs,
    Reader,
    Scale,
    make_network,
)
from itememb_core.features.cold.trained import Trained
from itememb_core.items.training.data import Pairs
from itememb_core.learning.dropout import Dropout
from itememb_core.progress import Progress, silent
from itememb_core.settings import FeatureModelSettings

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

#: Steps over which the learning rate rises, and chance that a path loses its narrow levels, so
#: that a category nobody has bought of is read by what is above it.
WARMUP: Final = 50
LEVELS_LOST: Final = 0.2


class Targets(NamedTuple):
    """What the network learns.

    Attributes:
        behaviour: Of all nodes.
        weight: float32 [nodes], how far each node's own place can be believed, 0 to 1.
        nodes: int64 [n], those to learn from.
        pairs: Within-channel pairs of all nodes.
    """

    behaviour: Behaviour
    weight: NDArray[np.float32]
    nodes: NDArray[np.int64]
    pairs: Pairs


def train(
    inputs: NodeInputs,
    targets: Targets,
    settings: FeatureModelSettings,
    seed: int,
    *,
    progress: Progress = silent,
) -> Trained:
    """Train by AdamW on two losses; the rate rises, then falls to zero by a cosine.

    The first is the squared distance to where behaviour put a warm item, weighted by how much is
    known of it. The second keeps what no distance tells, what an item is bought with: the
    softmax of context(query) . embedding(candidate) + bias(candidate) over the step's candidates,
    less their log chance of being drawn (Bengio & Senecal, 2008), where the contexts stay as they
    are and the candidate is predicted.

    Args:
        inputs: Features of all nodes.
        targets: What to learn, and of which nodes.
        settings: Sizes, steps and rates.
        seed: Of the first weights and of all draws.
        progress: Called now and then.
    """
    scale = _scale(targets)
    known = _trained_categories(inputs, targets.nodes)
    reader = Reader(inputs, known)
    dim = targets.behaviour.embedding.shape[1]
    width, categories = reader.values.shape[1], int(known.max(initial=-1)) + 1
    network = make_network(width, categories, dim, settings.hidden, settings.category_dim, seed)
    means = CategoryMeans(inputs.paths, targets.behaviour, targets.weight, targets.nodes)
    base = scale.down(means.of(targets.nodes, leave_out=True))
    losses = _Losses(reader, base, targets, scale, settings, seed)
    _descend(network, losses, settings, progress)
    return Trained(network, scale, known)


def _descend(
    network: "Module", losses: "_Losses", settings: FeatureModelSettings, progress: Progress
) -> None:
    """Take the steps."""
    import torch

    steps = settings.steps
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, steps)
        loss = losses.of(network)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 50 == 0 or step == steps:
            progress("feature_model", step, steps)


class _Losses:
    """Draws batches and gives their loss."""

    def __init__(
        self,
        reader: Reader,
        base: NDArray[np.float32],
        targets: Targets,
        scale: Scale,
        settings: FeatureModelSettings,
        seed: int,
    ) -> None:
        import torch

        self.reader, self.settings, self.scale = reader, settings, scale
        self.rng = np.random.default_rng([seed, 1])
        self.dropout = Dropout(DROPPED, np.random.Generator(np.random.SFC64([seed, 2])))
        self.base = torch.from_numpy(base)
        self.place = np.full(len(targets.weight), -1, np.int64)
        self.place[targets.nodes] = np.arange(len(targets.nodes))
        self.nodes = targets.nodes
        self.context = torch.tensor(targets.behaviour.context)
        self.wanted = torch.from_numpy(scale.down(joined(targets.behaviour.take(self.nodes))))
        self.weight = torch.from_numpy(targets.weight)
        self.channels = list(channel_draws(targets.pairs, targets.nodes, len(self.place)))
        mass = np.sqrt([draw.cumulative[-1] for draw in self.channels])
        self.share = mass / mass.sum() if len(mass) else mass

    def of(self, network: "Module") -> "Tensor":
        """The loss of one step's batches."""
        loss = self.settings.regression * self._regression(network)
        return loss + self._contrast(network) if self.channels else loss

    def _read(self, nodes: NDArray[np.int64]) -> "tuple[Tensor, Tensor, Tensor]":
        """What the network reads of nodes to learn from; some paths lose their narrow levels."""
        import torch

        depth = self.reader.levels
        cut = self.rng.integers(1, depth + 1, len(nodes))
        levels = np.where(self.rng.random(len(nodes)) < LEVELS_LOST, cut, depth)
        values, rows = self.reader.read(torch.from_numpy(nodes), torch.from_numpy(levels))
        return values, rows, self.base[torch.from_numpy(self.place[nodes])]

    def _regression(self, network: "Module") -> "Tensor":
        import torch

        size = min(self.settings.batch_size, len(self.nodes))
        nodes = self.nodes[self.rng.integers(0, len(self.nodes), size)]
        found = network(*self._read(nodes), self.dropout)
        columns = torch.cat([found.embedding, found.context, found.bias[:, None]], dim=1)
        rows, places = torch.from_numpy(nodes), torch.from_numpy(self.place[nodes])
        return (self.weight[rows] * (columns - self.wanted[places]).square().sum(dim=1)).mean()

    def _contrast(self, network: "Module") -> "Tensor":
        import torch
        from torch.nn.functional import normalize

        draw = self.channels[int(self.rng.choice(len(self.channels), p=self.share))]
        # Few items make many pairs, but no more candidates than there are.
        size = min(self.settings.batch_size, 4 * len(self.nodes))
        places = draw.places(self.rng, size)
        nodes, own = np.unique(draw.candidate[places], return_inverse=True)
        found: Outputs = network(*self._read(nodes), self.dropout)
        bias = found.bias * self.scale.spread + self.scale.bias
        context = self.context[torch.from_numpy(draw.query[places])]  # [batch, dim]
        scores = context @ normalize(found.embedding, dim=1).T + bias
        scores = scores - torch.from_numpy(draw.log_share[nodes])
        drawn = torch.from_numpy(np.log(np.bincount(own)).astype(np.float32))
        right = scores.gather(1, torch.from_numpy(own)[:, None])[:, 0]
        return (torch.logsumexp(scores + drawn, dim=1) - right).mean()


@dataclass(frozen=True)
class ChannelDraws:
    """Directed pairs of one channel to draw from, by weight.

    Attributes:
        query: int64 [pairs].
        candidate: int64 [pairs].
        cumulative: float64 [pairs], weights added up.
        log_share: float32 [nodes], log of each candidate's share of the weight.
        channel: Position in ``CHANNELS``.
    """

    query: NDArray[np.int64]
    candidate: NDArray[np.int64]
    cumulative: NDArray[np.float64]
    log_share: NDArray[np.float32]
    channel: int

    def places(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw pairs, int64 [size]."""
        return np.searchsorted(self.cumulative, rng.random(size) * self.cumulative[-1], "right")


def channel_draws(
    pairs: Pairs, candidates: NDArray[np.int64], nodes: int, banned: NDArray[np.int64] | None = None
) -> Iterator[ChannelDraws]:
    """Yield both directions of each channel's pairs whose candidate is one of some nodes.

    Args:
        pairs: Of all nodes.
        candidates: Nodes that may be candidates.
        nodes: Nodes of the vocabulary.
        banned: Nodes that may not be queries.
    """
    able = np.zeros(nodes, bool)
    able[candidates] = True
    asks = np.ones(nodes, bool)
    if banned is not None:
        asks[banned] = False
    for channel in np.unique(pairs.channel):
        rows = pairs.channel == channel
        a, b = pairs.a[rows].astype(np.int64), pairs.b[rows].astype(np.int64)
        query, candidate = np.concatenate([a, b]), np.concatenate([b, a])
        weight = np.tile(pairs.weight[rows].astype(np.float64), 2)
        kept = able[candidate] & asks[query] & (weight > 0)
        if not kept.any():
            continue
        query, candidate, weight = query[kept], candidate[kept], weight[kept]
        mass = np.bincount(candidate, weight, minlength=nodes)
        log_share = np.log(np.maximum(mass / mass.sum(), 1e-12)).astype(np.float32)
        yield ChannelDraws(query, candidate, weight.cumsum(), log_share, int(channel))


def _rate(step: int, steps: int) -> float:
    """The learning rate as a share of the first one."""
    rise = min(1.0, step / min(WARMUP, max(steps // 4, 1)))
    return float(rise * 0.5 * (1.0 + np.cos(np.pi * step / (steps + 1))))


def _scale(targets: Targets) -> Scale:
    """Root mean square length of contexts, mean and standard deviation of biases."""
    own = targets.behaviour.take(targets.nodes)
    length = float(np.sqrt(np.mean(np.square(own.context).sum(axis=1)))) if len(own.bias) else 1.0
    spread = float(own.bias.std()) if len(own.bias) else 1.0
    mean = float(own.bias.mean()) if len(own.bias) else 0.0
    return Scale(length or 1.0, mean, spread or 1.0)


def _trained_categories(inputs: NodeInputs, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the categories that some node to learn from is in, or under; -1 for the others."""
    lineage = inputs.paths.lineage()[inputs.paths.deepest[nodes]]
    known = np.full(len(inputs.paths.parent), -1, np.int64)
    used = np.unique(lineage[lineage >= 0])
    known[used] = np.arange(len(used))
    return known
