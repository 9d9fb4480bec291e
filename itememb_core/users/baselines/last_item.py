"""What goes with, or follows, the last item."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import (
    history_events,
    joined_rows,
    latest_targets,
    sparse,
)
from itememb_core.users.baselines.popularity import popularity_of
from itememb_core.users.baselines.protocol import Ladder, Scores
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Users whose events are counted at most, drawn evenly, so that memory stays bounded.
MOST_USERS: Final = 100_000


@dataclass(frozen=True)
class MarkovChain:
    """How often the item's event followed one of the user's last item, then popularity."""

    seed: int = 0

    name: ClassVar[str] = "markov_chain"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_MarkovChain":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        shape = len(items.targets), len(items.targets)
        moves = sparse(np.empty(0, np.int64), np.empty(0, np.int64), None, shape)
        for events, _ in history_events(packed, ends, most=MOST_USERS, seed=self.seed):
            same = events.row[1:] == events.row[:-1]
            moves += sparse(events.target[:-1][same], events.target[1:][same], None, shape)
        return _MarkovChain(moves, popularity_of(packed, items, ends))


@dataclass(frozen=True)
class _MarkovChain:
    moves: "csr_matrix"  # [targets, targets], counts of one event and the next
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        last = latest_targets(shard, users, end, len(self.popularity))
        return _given_last(last, self.moves[np.maximum(last, 0)], self.popularity)


@dataclass(frozen=True)
class LastItemCoOccurrence:
    """User days with both the last item and the other, the item itself not counted."""

    seed: int = 0

    name: ClassVar[str] = "last_item_co_occurrence"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_LastItemCoOccurrence":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        parts = []
        for events, _ in history_events(packed, ends, most=MOST_USERS, seed=self.seed):
            day = np.floor(events.days)
            new = (np.diff(day, prepend=-1) != 0) | (np.diff(events.row, prepend=-1) != 0)
            number = np.cumsum(new) - 1
            rows = int(new.sum())
            parts.append(sparse(number, events.target, None, (rows, len(items.targets))))
            parts[-1].sum_duplicates()
            parts[-1].data[:] = 1
        baskets = joined_rows(parts, len(items.targets))
        by_item = baskets.T.tocsr()
        return _LastItemCoOccurrence(baskets, by_item, popularity_of(packed, items, ends))


@dataclass(frozen=True)
class _LastItemCoOccurrence:
    baskets: "csr_matrix"  # [user days, targets], 1 where interacted
    by_item: "csr_matrix"  # [targets, user days], the same
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        last = latest_targets(shard, users, end, len(self.popularity))
        both = (self.by_item[np.maximum(last, 0)] @ self.baskets).toarray()  # [users, targets]
        both[np.arange(len(last)), np.maximum(last, 0)] = 0
        return _given_last(last, both, self.popularity)


def _given_last(
    last: NDArray[np.int64], counts: "csr_matrix | NDArray", popularity: NDArray[np.float64]
) -> Scores:
    """Counts given the last item, then popularity; without a last item popularity alone."""
    dense = counts if isinstance(counts, np.ndarray) else counts.toarray()
    scores = dense.astype(np.float32, copy=False)  # [users, targets]
    scores[last < 0] = 0.0
    scores += popularity.astype(np.float32)
    return scores
