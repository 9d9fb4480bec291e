"""All parameters of a sequence model, and how they make item and user vectors.

An item is its vector through a linear layer, plus a trained row; it is the same where it is read
and where it is predicted. score(user, item) = user vector . item + bias(item).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.learning.dropout import Dropout
from itememb_core.services import CHANNELS
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.columns import GAPS
from itememb_core.users.sequence.encoders import Encoder, Gru
from itememb_core.users.sequence.transformer import Transformer
from itememb_core.users.shards import ACTIONS

if TYPE_CHECKING:
    from torch import Tensor

#: Parameters with a row a node, of which a step moves those that it touches.
ROWS: Final = ("rows", "bias")

_SMALL: Final = 0.02


@dataclass(frozen=True)
class Network:
    """The parameters and what they read.

    Attributes:
        parameters: By name; ``rows`` ``[nodes + 1, dim]`` and ``bias`` ``[nodes + 1, 1]`` by node
            + 1, row 0 for an unknown one.
        encoder: What reads events.
        vectors: Item vectors and further columns by node + 1 ``[nodes + 1, columns]``.
    """

    parameters: "dict[str, Tensor]"
    encoder: Encoder
    vectors: "Tensor"

    @property
    def dim(self) -> int:
        """Length of user and item vectors."""
        return self.parameters["rows"].shape[1]

    def start_bias(self, targets: NDArray[np.int32], log_share: NDArray[np.float32]) -> None:
        """Set the biases of targets ``[targets]``: scores alike for all users are popularity.

        Of all scores without a user these have the least softmax loss.
        """
        import torch

        rows = torch.from_numpy(targets.astype(np.int64)) + 1
        self.parameters["bias"][rows, 0] = torch.from_numpy(log_share)

    def items(self, nodes: "Tensor", rows: "Tensor") -> "Tensor":
        """Items ``[n, dim]``.

        Args:
            nodes: Node + 1 ``[n]``.
            rows: Their trained rows ``[n, dim]``.
        """
        import torch

        return torch.addmm(rows, self.vectors.index_select(0, nodes), self.parameters["project"])

    def states(
        self,
        events: "dict[str, Tensor]",
        items: "Tensor",
        dropout: Dropout,
        last: "Tensor | None" = None,
    ) -> "Tensor":
        """States after each event ``[batch, length, dim]``, or after one of each row.

        Args:
            events: ``item`` (places in ``items``), ``action``, ``channel``, ``gap``, ``seconds``
                ``[batch, length]``, padded at the end.
            items: ``[n, dim]``.
            dropout: Drops units in training.
            last: The event of each row after which a state is wanted ``[batch]``; None: all.
        """
        from torch.nn.functional import embedding

        inputs = embedding(events["item"], items) * math.sqrt(self.dim)
        for name in ("action", "channel", "gap"):
            inputs = inputs + embedding(events[name], self.parameters[name])
        part = self._part("encoder.")
        return self.encoder(part, dropout(inputs), events["seconds"], dropout, last)

    def users(self, states: "Tensor") -> "Tensor":
        """User vectors ``[n, dim]`` from states ``[n, dim]``."""
        from torch.nn.functional import layer_norm, linear

        own = self.parameters
        normed = layer_norm(states, (self.dim,), own["norm"])
        return linear(normed, own["user"], own["user_bias"])

    def _part(self, prefix: str) -> "dict[str, Tensor]":
        named = self.parameters.items()
        return {n.removeprefix(prefix): each for n, each in named if n.startswith(prefix)}

    def state(self) -> "dict[str, Tensor]":
        """A copy of the parameters."""
        return {name: each.detach().clone() for name, each in self.parameters.items()}

    def load(self, state: "Mapping[str, Tensor]") -> None:
        """Set the parameters.

        Raises:
            ItemembError: If names or sizes are others than the network's.
        """
        found, wanted = (
            {n: tuple(t.shape) for n, t in x.items()} for x in (state, self.parameters)
        )
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                raise ItemembError(
                    f"sequence model: {name} has size {found.get(name)}, "
                    f"expected {wanted.get(name)}"
                )
        for name, each in self.parameters.items():
            each.detach().copy_(state[name])


def encoder_of(settings: SequenceSettings, *, times: bool) -> Encoder:
    """The encoder that settings name.

    Args:
        settings: Of the model.
        times: Whether events have times that differ: else there is no bias by time.

    Raises:
        ItemembError: If the heads do not divide the dimension.
    """
    if settings.encoder == "gru":
        return Gru(settings.dim)
    if settings.dim % settings.heads:
        raise ItemembError(
            f"sequence model: dim is {settings.dim}, expected a multiple of the {settings.heads} "
            "heads"
        )
    return Transformer(
        dim=settings.dim,
        blocks=settings.blocks,
        heads=settings.heads,
        window=settings.window,
        gated=settings.gated,
        times=times and settings.time_bias,
    )


def make_network(
    item_vectors: NDArray[np.float32],
    features: NDArray[np.float32] | None,
    settings: SequenceSettings,
    *,
    times: bool,
    seed: int,
) -> Network:
    """Parameters before training, from the seed alone; items start as their vectors.

    Args:
        item_vectors: Unit norm ``[nodes, item_dim]``.
        features: Further columns of each node, of the order of 1 ``[nodes, columns]``, or None.
        settings: Sizes.
        times: Whether events have times that differ.
        seed: Of the random start.

    Raises:
        ItemembError: If there are not as many rows of features as of vectors.
    """
    import torch

    vectors = _vectors(item_vectors, features)
    encoder, dim = encoder_of(settings, times=times), settings.dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {
            "action": torch.randn(len(ACTIONS) + 1, dim) * _SMALL,
            "channel": torch.randn(len(CHANNELS), dim) * _SMALL,
            "gap": torch.randn(GAPS, dim) * _SMALL,
            **{f"encoder.{name}": each for name, each in encoder.make().items()},
        }
    project = torch.zeros(vectors.shape[1], dim)
    project[: item_vectors.shape[1]] = torch.from_numpy(principal_directions(item_vectors, dim))
    made |= {
        "project": project, "rows": torch.zeros(len(vectors), dim),
        "bias": torch.zeros(len(vectors), 1), "norm": torch.ones(dim),
        "user": torch.eye(dim), "user_bias": torch.zeros(dim),
    }  # fmt: skip
    return Network(made, encoder, vectors)


def _vectors(item_vectors: NDArray[np.float32], features: NDArray[np.float32] | None) -> "Tensor":
    """Item vectors and further columns by node + 1, zeros at row 0 ``[nodes + 1, columns]``."""
    import torch

    nodes, columns = len(item_vectors), item_vectors
    if features is not None:
        if len(features) != nodes:
            raise ItemembError(
                f"sequence model: {len(features)} rows of item features, expected {nodes}, "
                "one a node"
            )
        columns = np.concatenate([item_vectors, features], axis=1)
    vectors = torch.zeros(nodes + 1, columns.shape[1])
    vectors[1:] = torch.tensor(columns)
    return vectors


def principal_directions(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Directions that keep most of the vectors' inner products ``[width, dim]``.

    Those of the largest singular values; where there are more dimensions than the vectors have,
    the identity and zeros.
    """
    width = vectors.shape[1]
    if width <= dim or not len(vectors):
        return np.eye(width, dim, dtype=np.float32)
    # float64: the signs of nearly equal directions should not depend on rounding.
    products = vectors.astype(np.float64).T @ vectors
    _, directions = np.linalg.eigh(products)
    best = directions[:, ::-1][:, :dim]
    signs = np.sign(best[np.abs(best).argmax(axis=0), np.arange(dim)])
    return (best * signs).astype(np.float32)
