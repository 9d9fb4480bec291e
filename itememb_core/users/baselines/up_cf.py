"""UP-CF: how often users like this one had the item in their latest baskets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import Events, baskets, own_events, sparse
from itememb_core.users.baselines.neighbours import Neighbours, sample_neighbours, weighted_sum
from itememb_core.users.baselines.popularity import popularity_of
from itememb_core.users.baselines.protocol import Ladder, Scores, filled
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class UpCf:
    """Faggioli et al. 2020, "Recency Aware Collaborative Filtering for Next Basket
    Recommendation", UP-CF@r.

    Score: the sum over users v, the user himself among them, of w(u, v) ** ``locality`` (q) times
    the share of v's latest ``baskets`` (r; 0: of all) with the item. w is the asymmetric cosine
    of the sets of items, |both| / (|u| ** ``asymmetry`` * |v| ** (1 - ``asymmetry``)).

    The lake chooses on its validation slice among some of the values that the paper tried.
    """

    baskets: int = 0
    asymmetry: float = 0.5
    locality: int = 5
    seed: int = 0

    name: ClassVar[str] = "up_cf"
    ladder: ClassVar[Ladder] = {
        "baskets": (0, 5, 25),
        "locality": (1, 5, 50),
        "asymmetry": (0.25, 0.5, 0.75),
    }
    scoring: ClassVar[frozenset[str]] = frozenset({"locality", "asymmetry"})

    def fit(self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None) -> "_UpCf":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        size = len(items.targets)

        def tables_of(events: Events, users: int) -> "tuple[csr_matrix, ...]":
            return self.shares(events, (users, size)), had(events, (users, size))

        sample = sample_neighbours(packed, ends, self.seed, tables_of)
        return _UpCf(self, sample, popularity_of(packed, items, ends))

    def shares(self, events: Events, shape: tuple[int, int]) -> "csr_matrix":
        """Share of each user's latest baskets with the item, float32 ``[users, targets]``."""
        number, target, user = baskets(events, shape[1])
        stop = np.searchsorted(user, user, side="right")
        count = stop - np.searchsorted(user, user, side="left")
        wanted = count if self.baskets == 0 else np.minimum(count, self.baskets)
        latest = (stop - np.arange(len(user)) <= wanted)[number]
        weight = 1.0 / wanted[number[latest]]
        return sparse(user[number[latest]], target[latest], weight, shape)


def had(events: Events, shape: tuple[int, int]) -> "csr_matrix":
    """1 where a user interacted with a target, float32 ``[users, targets]``."""
    table = sparse(events.row, events.target, None, shape)
    table.sum_duplicates()
    table.data[:] = 1
    return table


@dataclass(frozen=True)
class _UpCf:
    settings: UpCf
    sample: Neighbours
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        size = len(self.popularity)
        events = own_events(shard, users, end, size)
        own = self.settings.shares(events, (len(users), size))
        if not self.sample.tables:
            return filled(own.toarray(), self.popularity)
        shares, others = self.sample.tables
        weights = self._weights(had(events, own.shape), others)
        weights[self.sample.itself(shard.user_ids[users])] = 0.0  # he counts once, as he is now
        scores = weighted_sum(weights, shares)
        scores[np.repeat(np.arange(len(users)), np.diff(own.indptr)), own.indices] += own.data
        return filled(scores, self.popularity)

    def _weights(self, own: "csr_matrix", others: "csr_matrix") -> NDArray[np.float32]:
        """Weights w ** q, float32 ``[users, sample]``."""
        power = self.settings.asymmetry
        both = (own @ others.T).toarray()
        mine = np.maximum(np.diff(own.indptr), 1)[:, None] ** power
        theirs = np.maximum(np.diff(others.indptr), 1)[None, :] ** (1 - power)
        return ((both / mine / theirs) ** self.settings.locality).astype(np.float32)
