"""Relations as streams of batches with their shares of the steps and corrections.

What belongs here: which sources there are, how much each counts, batches in order, same-id hits.
What does not: how pairs are drawn, losses.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from itememb_core.channels import CHANNELS
from itememb_core.model.data import TrainingData
from itememb_core.model.sampler import (
    BLOCK,
    BridgeSource,
    WithinSource,
    block_rng,
    bridge_sources,
    within_sources,
)
from itememb_core.settings import ItemModelSettings

if TYPE_CHECKING:
    from torch import Tensor

#: Streams of validation draws start here, apart from those of training; batches of each.
VALIDATION_STREAM: Final = 1000
VALIDATION_BATCHES: Final = 2
#: Least chance of a draw that the correction assumes.
LEAST_SHARE: Final = 1e-9


class Relation:
    """One source of pairs, cut into batches."""

    def __init__(
        self,
        name: str,
        source: WithinSource | BridgeSource,
        share: float,
        *,
        seed: int,
        stream: int,
        batch: int,
        power: float,
        device: str,
    ) -> None:
        import torch

        self.name, self.source, self.share = name, source, share
        self.bridge = isinstance(source, BridgeSource)
        self.steps = 0
        self._seed, self._stream, self._batch, self._device = seed, stream, batch, device
        nodes = len(source.marginal.a)

        def weight(share: np.ndarray) -> "Tensor":
            scaled = (np.maximum(share, LEAST_SHARE) * nodes).astype(np.float32)
            return torch.from_numpy(scaled**-power).to(device)

        self.weight_a, self.weight_b = weight(source.marginal.a), weight(source.marginal.b)
        self._block, self._at = 0, 0
        self._a = self._b = np.empty(0, np.int32)

    def next_batch(self) -> "tuple[Tensor, Tensor]":
        """Return nodes of the two ends, int64 ``[batch]`` each."""
        if self._at + self._batch > len(self._a):
            size = max(BLOCK // self._batch, 1) * self._batch
            rng = block_rng(self._seed, self._stream, self._block)
            self._a, self._b = self.source.draw(rng, size)
            self._block, self._at = self._block + 1, 0
        part = slice(self._at, self._at + self._batch)
        self._at += self._batch
        return self._tensor(self._a[part]), self._tensor(self._b[part])

    def batches(
        self, source: WithinSource | BridgeSource, rng: np.random.Generator
    ) -> "list[tuple[Tensor, Tensor]]":
        """Return ``VALIDATION_BATCHES`` batches of another source, nodes as in a batch."""
        a, b = source.draw(rng, VALIDATION_BATCHES * self._batch)
        parts = [slice(i, i + self._batch) for i in range(0, len(a), self._batch)]
        return [(self._tensor(a[part]), self._tensor(b[part])) for part in parts]

    def _tensor(self, nodes: np.ndarray) -> "Tensor":
        import torch

        return torch.from_numpy(nodes.astype(np.int64)).to(self._device)

    def hits(self, a: "Tensor", b: "Tensor", *, both: bool) -> "Tensor":
        """Positions i * batch + j, i ≠ j, where j is no negative of i since ids are equal.

        Args:
            a: Nodes of the first ends.
            b: Nodes of the second ends.
            both: Whether equal first ends are hits, too (losses both ways).
        """
        import torch

        x, y = a.cpu().numpy(), b.cpu().numpy()
        parts = [_matches(y, y), _matches(x, y), *([_matches(x, x)] if both else [])]
        return torch.from_numpy(np.concatenate(parts)).to(a.device)


def _matches(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions i * len(x) + j with x[i] == y[j] and i ≠ j, by sorting, not by comparing all."""
    order = np.argsort(y, kind="stable")
    low = np.searchsorted(y[order], x, "left")
    count = np.searchsorted(y[order], x, "right") - low
    i = np.repeat(np.arange(len(x)), count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    j = order[np.repeat(low, count) + within]
    return (i * len(x) + j)[i != j]


def relations_of(
    data: TrainingData, settings: ItemModelSettings, seed: int, device: str
) -> list[Relation]:
    """Return the relations to train on; shares sum to 1.

    Within a kind, a channel counts by its events and a bridge by its total weight; a kind without
    pairs leaves its share to the other.
    """
    within = within_sources(data.pairs, data.nodes)
    found = settings.bridge and settings.bridge_share > 0
    bags = data.training_bags
    bridge = bridge_sources(bags, settings.window_days, data.nodes) if found else {}
    events = {c: float(data.counts[:, CHANNELS.index(c)].sum()) for c in within}
    totals = {name: source.total for name, source in bridge.items()}
    share = settings.bridge_share if bridge else 0.0
    share = share if within else float(bool(bridge))
    named: list[tuple[str, WithinSource | BridgeSource, float]]
    named = [(n, s, (1 - share) * events[n] / sum(events.values())) for n, s in within.items()]
    named += [(n, s, share * totals[n] / sum(totals.values())) for n, s in bridge.items()]
    return [
        Relation(
            name, source, part, seed=seed, stream=i, batch=settings.batch_size,
            power=1.0 if isinstance(source, BridgeSource) else settings.context_correction,
            device=device,
        )
        for i, (name, source, part) in enumerate(named)
        if part > 0
    ]  # fmt: skip


def validation_batches(
    data: TrainingData, settings: ItemModelSettings, seed: int, relations: list[Relation]
) -> "dict[str, list[tuple[Tensor, Tensor]]]":
    """Return fixed batches of the validation days by the name of the relation they judge.

    A bridge's first end lies in the validation days, its partner anywhere in the window: such a
    pair was never trained on. They are judged with the training relation's own corrections; those
    of the few validation days would be another loss, which rises while the vectors get better.
    """
    if data.validation_from is None:
        return {}
    found: dict[str, WithinSource | BridgeSource] = {}
    found |= within_sources(data.validation_pairs, data.nodes)
    if settings.bridge:
        since = data.validation_from
        found |= bridge_sources(data.bags, settings.window_days, data.nodes, since)
    judged = [r for r in relations if r.name in found]
    return {
        r.name: r.batches(found[r.name], block_rng(seed, VALIDATION_STREAM + i, 0))
        for i, r in enumerate(judged)
    }
