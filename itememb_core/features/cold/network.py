"""The network from features to where behaviour puts an item: embedding, context and bias."""

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.learning.dropout import Dropout

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


#: Share of inputs and units that a step of training drops.
DROPPED: Final = 0.3
#: Drops nothing: where nothing is trained.
NONE: Final = Dropout(0.0)


class Behaviour(NamedTuple):
    """Where behaviour puts nodes, in the units of an item model's tables.

    Attributes:
        embedding: float32 [nodes, dim], unit norm.
        context: float32 [nodes, dim].
        bias: float32 [nodes].
    """

    embedding: NDArray[np.float32]
    context: NDArray[np.float32]
    bias: NDArray[np.float32]

    def take(self, rows: NDArray) -> "Behaviour":
        """Some nodes."""
        return Behaviour(self.embedding[rows], self.context[rows], self.bias[rows])


class Scale(NamedTuple):
    """Units of the network's outputs: lengths of contexts, mean and spread of biases."""

    context: float
    bias: float
    spread: float

    def down(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Joined columns [n, 2 dim + 1] of an item model in these units."""
        dim = (columns.shape[1] - 1) // 2
        parts = [
            columns[:, :dim],
            columns[:, dim : 2 * dim] / self.context,
            (columns[:, -1:] - self.bias) / self.spread,
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)


class Outputs(NamedTuple):
    """Embedding [n, dim] of any length, context [n, dim] and bias [n], in units of the scale."""

    embedding: "Tensor"
    context: "Tensor"
    bias: "Tensor"


class Reader:
    """Rows of nodes as the network takes them."""

    def __init__(self, inputs: NodeInputs, known: NDArray[np.int64]) -> None:
        """Take the inputs.

        Args:
            inputs: Of all nodes.
            known: int64 [categories], the network's row of each category; -1: none of it was
                trained, so that the row of its parent speaks for it.
        """
        import torch

        joined = np.concatenate([inputs.values, inputs.known.astype(np.float32)], axis=1)
        self.values = torch.from_numpy(joined)
        # A place beyond the last row holds nothing: what is not there adds nothing.
        lineage = inputs.paths.lineage()
        rows = np.append(known, -1)[lineage]
        self._rows = torch.from_numpy(np.where(rows >= 0, rows, known.max(initial=-1) + 1))
        self._deepest = torch.from_numpy(inputs.paths.deepest)
        self.levels = lineage.shape[1]
        self._nothing = int(known.max(initial=-1)) + 1

    def read(self, nodes: "Tensor", levels: "Tensor | None" = None) -> "tuple[Tensor, Tensor]":
        """Values [n, width] and rows of categories [n, levels] of nodes int64 [n].

        Args:
            nodes: Of the vocabulary.
            levels: Of each node's path the levels that are read, int64 [n]; None: all.
        """
        import torch

        rows = self._rows[self._deepest[nodes]]
        if levels is not None:
            places = torch.arange(rows.shape[1])[None]
            rows = torch.where(places < levels[:, None], rows, self._nothing)
        return self.values[nodes], rows


def make_network(
    width: int, categories: int, dim: int, hidden: int, category_dim: int, seed: int
) -> "Module":
    """A perceptron of two hidden layers over values and categories, which starts as nothing.

    Its output is what is added to the mean of an item's category (He et al., "Deep residual
    learning", 2016): before it has learned anything it is as good as that. The categories of a
    path are trained rows that add up: a level says what its parent does not. Inputs and units are
    dropped at random in training (Srivastava et al., JMLR 15, 2014).

    Args:
        width: Of the values.
        categories: Trained rows of categories.
        dim: Of the item vectors.
        hidden: Units of a layer.
        category_dim: Length of a category's row.
        seed: Of the first weights.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = _network_class()(width, categories, dim, hidden, category_dim)
        with torch.no_grad():
            made.category.weight.mul_(0.05)
            made.out.weight.zero_()
            made.out.bias.zero_()
    return made


@cache
def _network_class() -> Any:
    """The module's class; torch is imported only where it is needed."""
    import torch
    from torch import nn

    class FeatureNetwork(nn.Module):
        def __init__(
            self, width: int, categories: int, dim: int, hidden: int, category_dim: int
        ) -> None:
            super().__init__()
            self.dim = dim
            self.category = nn.Embedding(categories + 1, category_dim, padding_idx=categories)
            self.first = nn.Linear(width + category_dim, hidden)
            self.second = nn.Linear(hidden, hidden)
            self.out = nn.Linear(hidden, 2 * dim + 1)

        def forward(
            self, values: "Tensor", rows: "Tensor", base: "Tensor", dropout: Dropout = NONE
        ) -> Outputs:
            path = self.category(rows).sum(dim=1)  # [n, category_dim]
            read = dropout(torch.cat([values, path], dim=1))
            hidden = nn.functional.gelu(self.first(read))
            hidden = hidden + nn.functional.gelu(self.second(hidden))
            found = base + self.out(dropout(hidden))
            dim = self.dim
            return Outputs(found[:, :dim], found[:, dim : 2 * dim], found[:, 2 * dim])

    return FeatureNetwork
