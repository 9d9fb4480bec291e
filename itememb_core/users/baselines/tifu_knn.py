"""TIFU-KNN: personal item frequency with decay, and that of the nearest users."""

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
class TifuKnn:
    """Hu et al. 2020, "Modeling Personalized Item Frequency Information for Next-basket
    Recommendation", equations 2 to 4.

    A user's baskets fall into groups of ``group`` (m), counted from the last. A group's vector is
    the mean of its baskets' (1 where the item is in it), each times ``within`` (r_b) for every
    basket after it in the group; the user's is the mean of the groups', each times ``between``
    (r_g) for every group after it. Score: ``own_share`` (alpha) of the user's vector and the rest
    of the mean over the ``neighbours`` (k) nearest users by Euclidean distance.

    The first values are those of the paper for Ta-Feng; the lake chooses on its validation slice
    among values that the paper found best on one of its four data sets or tried between them.
    """

    group: int = 7
    within: float = 0.9
    between: float = 0.7
    neighbours: int = 300
    own_share: float = 0.7
    seed: int = 0

    name: ClassVar[str] = "tifu_knn"
    ladder: ClassVar[Ladder] = {
        "between": (0.6, 0.7, 0.9, 1.0),
        "group": (3, 7, 15),
        "within": (0.8, 0.9, 1.0),
        "neighbours": (100, 300, 900),
        "own_share": (0.2, 0.5, 0.7, 0.9),
    }
    scoring: ClassVar[frozenset[str]] = frozenset({"neighbours", "own_share"})

    def fit(self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None) -> "_Tifu":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        size = len(items.targets)

        def tables_of(events: Events, users: int) -> "tuple[csr_matrix, ...]":
            return (self.vectors(events, (users, size)),)

        sample = sample_neighbours(packed, ends, self.seed, tables_of)
        return _Tifu(self, sample, popularity_of(packed, items, ends))

    def vectors(self, events: Events, shape: tuple[int, int]) -> "csr_matrix":
        """Vectors of users, float32 ``shape``, which is ``[users, targets]``."""
        number, target, user = baskets(events, shape[1])
        return sparse(user[number], target, self._weights(user)[number], shape)

    def _weights(self, user: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weight of each basket in its user's vector, baskets by user and time ``[baskets]``."""
        first = np.searchsorted(user, user, side="left")
        count = np.searchsorted(user, user, side="right") - first
        after = count - 1 - (np.arange(len(user)) - first)  # later baskets of the user
        group, place = after // self.group, after % self.group  # both counted from the last
        groups = -(-count // self.group)
        size = np.minimum(self.group, count - group * self.group)
        return self.within**place / size * self.between**group / groups


@dataclass(frozen=True)
class _Tifu:
    settings: TifuKnn
    sample: Neighbours
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        size, share = len(self.popularity), self.settings.own_share
        own = self.settings.vectors(own_events(shard, users, end, size), (len(users), size))
        others = self.sample.tables[0] if self.sample.tables else None
        if others is None or share == 1.0:
            return filled(own.toarray(), self.popularity)
        near = self._nearest(own, others, shard.user_ids[users])
        scores = weighted_sum(near * np.float32(1 - share), others)
        own = own * np.float32(share)
        scores[np.repeat(np.arange(len(users)), np.diff(own.indptr)), own.indices] += own.data
        return filled(scores, self.popularity)

    def _nearest(
        self, own: "csr_matrix", others: "csr_matrix", ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """1 / k for the k nearest other users, else 0, float32 ``[users, sample]``."""
        norm = np.asarray(others.multiply(others).sum(axis=1)).ravel()  # [sample]
        # The user's own norm is the same for all of his neighbours.
        distance = norm[None, :] - 2 * (own @ others.T).toarray()
        distance[self.sample.itself(ids)] = np.inf
        k = min(self.settings.neighbours, distance.shape[1])
        weights = np.zeros(distance.shape, np.float32)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        np.put_along_axis(weights, nearest, np.float32(1 / k), axis=1)
        weights[np.isinf(distance)] = 0.0
        return weights
