"""What a network must beat: means by category, and means of the nearest by content."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.inputs import NodeInputs, Paths
from itememb_core.features.cold.network import Behaviour
from itememb_core.retrieval.exact import top_k

#: Neighbours by content whose behaviour is averaged.
NEIGHBOURS: Final = 20
#: Items that are looked at at once.
ROWS: Final = 1 << 15
#: Items that the mean of the category above counts as: the fewest that have a spread.
PRIOR: Final = 2.0


class CategoryMeans:
    """Means of warm items by category, each drawn towards that of the category above."""

    def __init__(
        self,
        paths: Paths,
        behaviour: Behaviour,
        weight: NDArray[np.float32],
        known: NDArray[np.int64],
    ) -> None:
        """Add up the warm items of each category and of all below it.

        Args:
            paths: Categories of all nodes.
            behaviour: Of all nodes.
            weight: float32 [nodes], how far each node's own place can be believed.
            known: Warm nodes that are averaged, int64 [n].
        """
        from scipy.sparse import csr_matrix

        self._lineage, self._deepest = paths.lineage(), paths.deepest
        self._joined = joined(behaviour)
        self._own = np.zeros(len(weight))
        self._own[known] = weight[known]
        self._total = np.zeros((len(paths.parent), self._joined.shape[1]))
        self._mass = np.zeros(len(paths.parent))
        every = np.zeros(self._joined.shape[1])
        for low in range(0, len(known), ROWS):
            rows = known[low : low + ROWS]
            values = self._joined[rows].astype(np.float64) * weight[rows, None]
            every += values.sum(axis=0)
            for level in self._lineage[self._deepest[rows]].T:
                there = np.flatnonzero(level >= 0)
                ones = np.ones(len(there))
                shape = len(paths.parent), len(rows)
                inside = csr_matrix((ones, (level[there], there)), shape=shape)
                self._total += inside @ values
                self._mass += inside @ weight[rows].astype(np.float64)
        self._every = every / max(float(weight[known].sum()), 1e-12)

    def of(self, nodes: NDArray[np.int64], *, leave_out: bool = False) -> NDArray[np.float32]:
        """The mean of each node's category, float32 [nodes, 2 dim + 1], joined columns.

        A category's mean counts as many items as their weights add up to, that of the category
        above as ``PRIOR``.

        Args:
            nodes: Of the vocabulary.
            leave_out: Whether a warm node's own place is left out of its means.
        """
        parts = [
            self._means(nodes[low : low + ROWS], leave_out)
            for low in range(0, max(len(nodes), 1), ROWS)
        ]
        return np.concatenate(parts)

    def _means(self, nodes: NDArray[np.int64], leave_out: bool) -> NDArray[np.float32]:
        own = self._own[nodes] if leave_out else np.zeros(len(nodes))
        rest = own[:, None] * self._joined[nodes]
        found = np.broadcast_to(self._every, rest.shape)
        for level in self._lineage[self._deepest[nodes]].T:
            there = level >= 0
            sizes = (self._mass[level] - own + PRIOR)[:, None]
            mean = (self._total[level] - rest + PRIOR * found) / sizes
            found = np.where(there[:, None], mean, found)
        return found.astype(np.float32)


def content_means(
    inputs: NodeInputs, behaviour: Behaviour, known: NDArray[np.int64], nodes: NDArray[np.int64]
) -> Behaviour:
    """The mean of the warm items that are nearest by cosine of the features.

    Args:
        inputs: Features of all nodes.
        behaviour: Of all nodes.
        known: Warm nodes that may be averaged, int64 [n].
        nodes: Nodes that want a vector, int64 [m].
    """
    norms = np.linalg.norm(inputs.values, axis=1, keepdims=True)
    unit = (inputs.values / np.maximum(norms, 1e-12)).astype(np.float32)
    every = joined(behaviour)
    if not len(known) or not unit.shape[1] or not len(nodes):
        return apart(np.zeros((len(nodes), every.shape[1])))
    near, _ = top_k(unit[nodes], np.ascontiguousarray(unit[known]), min(NEIGHBOURS, len(known)))
    return apart(np.stack([every[known[row]].mean(axis=0) for row in near]))


def joined(behaviour: Behaviour) -> NDArray[np.float32]:
    """Embedding, context and bias side by side, float32 [nodes, 2 dim + 1]."""
    columns = [behaviour.embedding, behaviour.context, behaviour.bias[:, None]]
    return np.concatenate(columns, axis=1)


def apart(columns: NDArray) -> Behaviour:
    """Columns that :func:`joined` made taken apart again; the embedding at norm 1."""
    dim = (columns.shape[1] - 1) // 2
    embedding = columns[:, :dim]
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    return Behaviour(
        unit.astype(np.float32),
        columns[:, dim : 2 * dim].astype(np.float32),
        columns[:, -1].astype(np.float32),
    )
