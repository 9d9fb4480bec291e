"""Items of the same users: cosine of the columns of the user-item matrix."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import (
    distinct_latest,
    history_events,
    joined_rows,
    own_events,
    sparse,
)
from itememb_core.users.baselines.popularity import popularity_of
from itememb_core.users.baselines.protocol import Ladder, Scores, filled
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Users that are counted at most, drawn evenly, and the latest distinct items of each: the cost
#: is the square of the latter for each user.
MOST_USERS: Final = 20_000
MOST_ITEMS: Final = 100

#: Rows of the similarity that are made at once.
_ROWS: Final = 1024


@dataclass(frozen=True)
class ItemKnn:
    """Sum of similarities to the user's ``latest`` distinct items.

    Similarity: users of both / (sqrt(users of one * users of the other) + shrinkage), of the
    ``neighbours`` most similar ones of an item, itself left out (Sarwar et al. 2001; shrinkage as
    of Bell and Koren 2007). ``latest`` and ``shrinkage`` are chosen on the validation slice.
    """

    neighbours: int = 100
    latest: int = 100
    shrinkage: float = 10.0
    seed: int = 0

    name: ClassVar[str] = "item_knn"
    ladder: ClassVar[Ladder] = {"latest": (1, 3, 10, 30, 100), "shrinkage": (0.0, 10.0, 100.0)}
    scoring: ClassVar[frozenset[str]] = frozenset({"latest"})

    def fit(self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None) -> "_Knn":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        parts, size = [], len(items.targets)
        for events, ids in history_events(packed, ends, most=MOST_USERS, seed=self.seed):
            row, target = distinct_latest(events, MOST_ITEMS)
            parts.append(sparse(row, target, None, (len(ids), size)))
        table = similarities(joined_rows(parts, size), self.neighbours, self.shrinkage)
        return _Knn(self, table, popularity_of(packed, items, ends))


@dataclass(frozen=True)
class _Knn:
    settings: ItemKnn
    table: "csr_matrix"  # [targets, targets], neighbours of each row
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        size = len(self.popularity)
        row, target = distinct_latest(own_events(shard, users, end, size), self.settings.latest)
        own = sparse(row, target, None, (len(users), size))
        return filled((own @ self.table).toarray(), self.popularity)


def similarities(users: "csr_matrix", neighbours: int, shrinkage: float) -> "csr_matrix":
    """Similarity of each item to its nearest others, float32 ``[items, items]``.

    Args:
        users: 1 where a user interacted with an item ``[users, items]``.
        neighbours: Kept of each item at most.
        shrinkage: Added to the denominator.
    """
    by_item = users.T.tocsr()
    norm = np.sqrt(np.diff(by_item.indptr).astype(np.float64))  # [items]
    parts = []
    for low in range(0, by_item.shape[0], _ROWS):
        both = (by_item[low : low + _ROWS] @ users).tocsr()  # [rows, items]
        row = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr)) + low
        value = both.data / (norm[row] * norm[both.indices] + shrinkage)
        value[row == both.indices] = 0.0
        kept = _largest(value, both.indptr, neighbours)
        kept = kept[value[kept] > 0]
        shape = both.shape
        parts.append(sparse(row[kept] - low, both.indices[kept].astype(np.int64), value[kept],
                            shape))  # fmt: skip
    return joined_rows(parts, by_item.shape[0])


def _largest(
    values: NDArray[np.float64], start: NDArray[np.integer], most: int
) -> NDArray[np.int64]:
    """Places of the ``most`` largest values of each row; ``start``: of rows, ``[rows + 1]``."""
    # Row by row: sorting all rows at once takes many times as long.
    kept = [np.empty(0, np.int64)]
    for low, high in pairwise(start.tolist()):
        if high - low <= most:
            kept.append(np.arange(low, high))
        else:
            kept.append(low + np.argpartition(-values[low:high], most - 1)[:most])
    return np.concatenate(kept)
