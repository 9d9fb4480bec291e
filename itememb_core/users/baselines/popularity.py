"""The same items for all, or for all who use the same channels."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.services import CHANNELS
from itememb_core.users.baselines.events import history_events, own_events
from itememb_core.users.baselines.protocol import Ladder, Scores
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

#: Share of the overall popularity that parts items which no channel of the user has.
_REST: Final = 1e-9


def channel_counts(
    packed: PackedHistories, n_targets: int, ends: Ends | None
) -> NDArray[np.float64]:
    """Own events by channel and target ``[channels, targets]``."""
    counts = np.zeros((len(CHANNELS), n_targets))
    for events, _ in history_events(packed, ends):
        keys = events.channel.astype(np.int64) * n_targets + events.target
        counts += np.bincount(keys, minlength=counts.size).reshape(counts.shape)
    return counts


def popularity_of(
    packed: PackedHistories, items: ItemSpace, ends: Ends | None
) -> NDArray[np.float64]:
    """Events of each target, scaled to below 1 ``[targets]``."""
    counts = channel_counts(packed, len(items.targets), ends).sum(axis=0)
    return counts / (counts.max(initial=0) + 1.0)


@dataclass(frozen=True)
class Popularity:
    """Number of events of the item."""

    name: ClassVar[str] = "popularity"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_Popularity":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        return _Popularity(popularity_of(packed, items, ends))


@dataclass(frozen=True)
class _Popularity:
    popularity: NDArray[np.float64]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        return np.tile(self.popularity.astype(np.float32), (len(users), 1))


@dataclass(frozen=True)
class ChannelPopularity:
    """Share of the channel's events, channels weighted by the user's own events in them."""

    name: ClassVar[str] = "channel_popularity"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_ChannelPopularity":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        counts = channel_counts(packed, len(items.targets), ends)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return _ChannelPopularity(share, popularity_of(packed, items, ends))


@dataclass(frozen=True)
class _ChannelPopularity:
    share: NDArray[np.float64]  # [channels, targets]
    popularity: NDArray[np.float64]  # [targets]

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        events = own_events(shard, users, end, len(self.popularity))
        keys = events.row * len(CHANNELS) + events.channel
        counts = np.bincount(keys, minlength=len(users) * len(CHANNELS))
        counts = counts.reshape(len(users), len(CHANNELS))
        own = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return (own @ self.share + _REST * self.popularity).astype(np.float32)
