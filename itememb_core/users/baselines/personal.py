"""What the user interacted with before, counted."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import Events, own_events
from itememb_core.users.baselines.popularity import popularity_of
from itememb_core.users.baselines.protocol import Ladder, Scores, filled
from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

#: Least weight of an event, so that what was bought long ago stays above what never was.
_LEAST: Final = 1e-30


@dataclass(frozen=True)
class OwnMostFrequent:
    """Number of the user's own events of the item; ties by recency, then popularity."""

    name: ClassVar[str] = "own_most_frequent"
    ladder: ClassVar[Ladder] = {}
    scoring: ClassVar[frozenset[str]] = frozenset()

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_Frequency":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        return _Frequency(popularity_of(packed, items, ends), None)


@dataclass(frozen=True)
class DecayedFrequency:
    """The user's own events of the item, each halved every ``half_life_days``.

    The half-life is the lake's own choice, on its validation slice, from a week to over a year.
    """

    half_life_days: float = 112.0

    name: ClassVar[str] = "decayed_frequency"
    ladder: ClassVar[Ladder] = {"half_life_days": (7.0, 28.0, 112.0, 448.0)}
    scoring: ClassVar[frozenset[str]] = frozenset({"half_life_days"})

    def fit(
        self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None
    ) -> "_Frequency":
        """See :class:`~itememb_core.users.baselines.protocol.Baseline`."""
        return _Frequency(popularity_of(packed, items, ends), self)


@dataclass(frozen=True)
class _Frequency:
    popularity: NDArray[np.float64]  # [targets]
    settings: DecayedFrequency | None  # None: no decay

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        events = own_events(shard, users, end, len(self.popularity))
        shape = len(users), len(self.popularity)
        weight = None
        if self.settings is not None:
            weight = decayed(events, self.settings.half_life_days)
        keys = events.row * shape[1] + events.target
        pairs, place = np.unique(keys, return_inverse=True)
        values = np.bincount(place, weight, minlength=len(pairs)).astype(np.float64)
        if weight is None:
            values = values + _recency(events, place, len(pairs))
        scores = np.zeros(shape, np.float32)
        scores.ravel()[pairs] = values
        return filled(scores, self.popularity)


def decayed(events: Events, half_life_days: float) -> NDArray[np.float64]:
    """2 ** -(age / half-life) of each event, its age before the user's last one ``[events]``."""
    last = np.searchsorted(events.row, events.row, side="right") - 1
    age = events.days[last] - events.days
    return np.maximum(np.exp2(-age / half_life_days), _LEAST)


def _recency(events: Events, place: NDArray[np.int64], pairs: int) -> NDArray[np.float64]:
    """Place of each pair's last event among its user's events, 0 to below 1 ``[pairs]``."""
    first = np.searchsorted(events.row, events.row, side="left")
    stop = np.searchsorted(events.row, events.row, side="right")
    share = (np.arange(len(place)) - first) / (stop - first)
    recency = np.zeros(pairs)
    np.maximum.at(recency, place, share)
    return recency
