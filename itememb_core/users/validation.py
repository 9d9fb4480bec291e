"""The validation slice inside what a fit may see (users), the same for everything that is chosen.

What belongs here: which interactions are held back to choose by, and what may be seen before them.
What does not: metrics (``evaluation``), what is chosen (``baselines``, ``training``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.features import DAY
from itememb_core.users.shards import PackedHistories, Shard

#: End of each user's history by the shard's name: event numbers of the shard ``[users]``. A shard
#: without an entry is whole.
Ends = Mapping[str, NDArray[np.int64]]

#: Fewer interactions of the slice than this share with what the user had before: nothing comes
#: again. Leaving out what was had then costs less than a hundredth.
SELDOM: Final = 0.01

#: Fewer users than this with something to predict in the last days: each one's last event instead.
ENOUGH_USERS: Final = 300


class Truth(NamedTuple):
    """What one user interacted with in the slice, in time order."""

    target: NDArray[np.int64]  # [n]
    seconds: NDArray[np.float64]  # [n], since 1970-01-01

    def all(self) -> NDArray[np.int64]:
        """Distinct targets ``[relevant]``."""
        return np.unique(self.target)

    def next(self) -> NDArray[np.int64]:
        """Distinct targets of the first time ``[relevant]``."""
        return np.unique(self.target[self.seconds == self.seconds[0]])


@dataclass(frozen=True)
class ShardSlice:
    """The slice in one shard.

    Attributes:
        limit: Where each user's history ends for a fit ``[users of the shard]``, event numbers.
        users: Rows of ``shard.user_ids`` with a history before the slice and a target in it,
            ascending ``[users]``.
        start: First of each one's interactions, and their number ``[users + 1]``.
        target: Targets ``[interactions]``.
        seconds: Their times, since 1970-01-01 ``[interactions]``.
    """

    limit: NDArray[np.int64]
    users: NDArray[np.int64]
    start: NDArray[np.int64]
    target: NDArray[np.int64]
    seconds: NDArray[np.float64]

    @property
    def end(self) -> NDArray[np.int64]:
        """Where the history before the slice ends ``[users]``, event numbers."""
        return self.limit[self.users]

    def truth(self) -> Iterator[Truth]:
        """What each user interacted with in the slice."""
        for low, high in zip(self.start[:-1].tolist(), self.start[1:].tolist(), strict=True):
            yield Truth(self.target[low:high], self.seconds[low:high])


@dataclass(frozen=True)
class ValidationSlice:
    """The slice.

    Attributes:
        by_days: Whether it is the last days; else it is each user's last event.
        shards: By the name of the shard, in the order of ``PackedHistories.names``.
        repeats: Whether what a user had comes again (``SELDOM``); else what he had is left out
            wherever something is judged on the slice.
    """

    by_days: bool
    shards: Mapping[str, ShardSlice]
    repeats: bool

    @property
    def users(self) -> int:
        """Users with a history before the slice and a target in it."""
        return sum(len(each.users) for each in self.shards.values())

    @property
    def ends(self) -> Ends:
        """Where the histories end for a fit that is judged on the slice."""
        return {name: each.limit for name, each in self.shards.items()}


def validation_slice(packed: PackedHistories, days: int) -> ValidationSlice:
    """The targets interacted with in the last days before the end of what is packed.

    The days are whole ones: the last is that of the last event. Where fewer than
    ``ENOUGH_USERS`` users have a history before and a target in them (or ``days`` is 0), it is
    each user's last event: all targets of its time, of users with an earlier event.

    Args:
        packed: What the fit may see.
        days: ``validation_days``.
    """
    last = [shard.seconds[shard.start[1:] - 1].max() for shard in packed.shards()]
    first = (np.floor(max(last, default=0.0) / DAY) + 1 - days) * DAY
    n_targets = len(packed.item_users)
    shards = {
        name: _cut(shard, _before(shard, np.full(len(shard.user_ids), first)), n_targets)
        for name, shard in zip(packed.names, packed.shards(), strict=True)
    }
    found = ValidationSlice(True, shards, True)
    if days > 0 and found.users >= ENOUGH_USERS:
        return replace(found, repeats=_repeat(packed, found))
    shards = {
        name: _cut(shard, _before(shard, _last_times(shard)), n_targets)
        for name, shard in zip(packed.names, packed.shards(), strict=True)
    }
    found = ValidationSlice(False, shards, True)
    return replace(found, repeats=_repeat(packed, found))


def _repeat(packed: PackedHistories, held: ValidationSlice) -> bool:
    """Whether at least ``SELDOM`` of the slice's interactions are with what the user had."""
    again = total = 0
    for name, each in held.shards.items():
        shard = packed.shard(name)
        number = np.repeat(np.arange(len(each.users)), np.diff(each.start))
        pair = shard.find_pairs(each.users[number], each.target, max(len(packed.item_users), 1))
        first = shard.occurrence[shard.pair_start[pair]] % max(shard.events, 1)
        again += int((first < each.end[number]).sum())
        total += len(pair)
    return total == 0 or again >= SELDOM * total


def sampled(whole: ValidationSlice, most: int, seed: int) -> ValidationSlice:
    """The slice with at most ``most`` of its users, drawn evenly; limits of all users stay."""
    if whole.users <= most:
        return whole
    kept = np.zeros(whole.users, np.bool_)
    kept[np.random.default_rng(seed).choice(whole.users, most, replace=False)] = True
    shards, low = {}, 0
    for name, each in whole.shards.items():
        some = np.flatnonzero(kept[low : low + len(each.users)])
        low += len(each.users)
        size = np.diff(each.start)
        inside = np.repeat(np.isin(np.arange(len(size)), some), size)
        start = np.concatenate([[0], np.cumsum(size[some])]).astype(np.int64)
        shards[name] = ShardSlice(
            each.limit, each.users[some], start, each.target[inside], each.seconds[inside]
        )
    return replace(whole, shards=shards)


def _last_times(shard: Shard) -> NDArray[np.float64]:
    """Time of each user's last target ``[users]``; infinity without any."""
    count = shard.owned[shard.start[1:]]
    some = count > shard.owned[shard.start[:-1]]
    times = np.full(len(some), np.inf)
    times[some] = shard.seconds[shard.own[count[some] - 1]]
    return times


def _before(shard: Shard, times: NDArray[np.float64]) -> NDArray[np.int64]:
    """First event of each user at or after a time of his, else the end ``[users]``."""
    users = np.repeat(np.arange(len(times)), np.diff(shard.start))
    earlier = np.bincount(users[shard.seconds < times[users]], minlength=len(times))
    return shard.start[:-1] + earlier


def _cut(shard: Shard, limit: NDArray[np.int64], n_targets: int) -> ShardSlice:
    """What of a shard is after these ends; a user without anything before is not judged."""
    low, high = shard.owned[limit], shard.owned[shard.start[1:]]
    users = np.flatnonzero((high > low) & (limit > shard.start[:-1]))
    size = (high - low)[users]
    start = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    place = np.repeat(low[users] - start[:-1], size) + np.arange(start[-1])
    events = shard.own[place]
    target = shard.pair_key[shard.pair[events]] % max(n_targets, 1)
    return ShardSlice(limit, users, start, target, shard.seconds[events])
