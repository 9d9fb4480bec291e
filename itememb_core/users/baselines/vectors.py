"""Likeness of items, by their vectors."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.protocol import Ladder, Scores
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

#: Latest events whose vectors are averaged.
_WINDOW: Final = 200


@dataclass(frozen=True)
class MeanOfVectors:
    """Inner product with the sum of the vectors of the user's latest events, of any item."""

    name: ClassVar[str] = "mean_of_vectors"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_MeanOfVectors":
        """Nothing is counted: the vectors are given."""
        return _MeanOfVectors(items.vectors, items.vectors[items.targets])


@dataclass(frozen=True)
class _MeanOfVectors:
    vectors: NDArray[np.float32]  # [nodes, dim]
    targets: NDArray[np.float32]  # [targets, dim]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        mean = np.zeros((len(users), self.vectors.shape[1]), np.float32)
        begin = np.maximum(shard.start[users], end - _WINDOW)
        for row, (low, high) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            nodes = shard.node[low:high]
            mean[row] = self.vectors[nodes[nodes >= 0]].sum(axis=0)
        return mean @ self.targets.T
