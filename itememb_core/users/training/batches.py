"""Batches of windows: the input of a training step.

Events of one time are a set without an order, so only the last of them predicts, and a target is
never of the time of the position that predicts it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.settings import UserModelSettings
from itememb_core.users.features import DAY, REPEAT_FEATURES
from itememb_core.users.shards import PackedHistories, Shard

#: A batch: arrays by name, see :func:`make_batch`.
Arrays = dict[str, NDArray[np.generic]]

#: An event that no user reaches.
NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Sampler:
    """What batches are drawn with, the same for all shards."""

    settings: UserModelSettings
    share: NDArray[np.float64]  # [targets], chance of a target as a shared negative
    item_stats: NDArray[np.float32]  # [targets, 2]
    seed: int
    validate: bool  # whether the validation users' last targets are kept from training

    @property
    def targets(self) -> int:
        """Number of targets."""
        return len(self.share)


def sampler(
    packed: PackedHistories,
    settings: UserModelSettings,
    seed: int,
    *,
    validate: bool,
) -> Sampler:
    """Negatives are drawn by users ** 0.75 (Mikolov et al. 2013), corrected in the loss."""
    weight = np.maximum(packed.item_users, 1) ** 0.75
    share = weight / weight.sum()
    return Sampler(settings, share, packed.item_stats, seed, validate)


def windows(start: int, stop: int, size: int, stride: int) -> NDArray[np.int64]:
    """Windows over the events start .. stop - 1: begin, end, first event that predicts ``[n, 3]``.

    Each event predicts in exactly one window, and sees as many of the events before it as fit.
    """
    ends = [min(start + size, stop)]
    while ends[-1] < stop:
        ends.append(min(ends[-1] + stride, stop))
    rows = [(max(start, end - size), end) for end in ends]
    emit = [start, *ends[:-1]]
    return np.array([(*row, first) for row, first in zip(rows, emit, strict=True)], np.int64)


def limits(shard: Shard, sampling: Sampler) -> NDArray[np.int64]:
    """Where the history of each user ends for training ``[users]``.

    A validation user's ends before the time of his last target, unless nothing comes before.
    """
    stop = shard.start[1:].copy()
    if not sampling.validate:
        return stop
    for user in validation_users(shard, sampling):
        last = shard.own[shard.owned[stop[user]] - 1]
        own = shard.seconds[shard.start[user] : stop[user]]
        stop[user] = shard.start[user] + np.searchsorted(own, shard.seconds[last], side="left")
    return stop


def validation_users(shard: Shard, sampling: Sampler) -> NDArray[np.int64]:
    """Users (rows of ``user_ids``) of the seeded share that have a target after a first event."""
    share = sampling.settings.validation_share
    chosen = uniform_hash(shard.user_ids, sampling.seed) < share
    begin, stop = shard.start[:-1], shard.start[1:]
    some = shard.owned[stop] > shard.owned[begin]
    last = np.zeros(len(some), np.int64)
    last[some] = shard.own[shard.owned[stop[some]] - 1]
    return np.flatnonzero(chosen & some & (shard.seconds[last] > shard.seconds[begin]))


def uniform_hash(numbers: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) by seed and number alone (SplitMix64, Steele et al. 2014) ``[n]``."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed + 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 2.0**53


@dataclass(frozen=True)
class Future:
    """Own events that each event may predict: a range of ``Shard.own`` ``[events]``."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight: NDArray[np.float64]  # of a position, by its user


def future(
    shard: Shard, limit: NDArray[np.int64], horizon_days: float, user_power: float = 0.0
) -> Future:
    """The targets ahead of each event within the horizon, before the user's limit.

    With a horizon of 0 they are the targets of the next time that has any. An event that is not
    the last of its time, or has no target ahead, has an empty range. A position weighs
    (positions of its user) ** -user_power: with 1 all users count the same.
    """
    n = shard.events
    users = np.repeat(np.arange(len(limit)), np.diff(shard.start))
    stop = limit[users]
    # One ascending number for user and time, users far enough apart for any horizon.
    first = float(shard.seconds.min()) if n else 0.0
    length = float(shard.seconds.max()) - first if n else 0.0
    reach = min(horizon_days * DAY, length)
    key = users * (2 * length + 2.0) + (shard.seconds - first)
    low = shard.owned[1:]
    if horizon_days > 0:
        end = np.searchsorted(key, key + reach, side="right")
    else:
        following = np.minimum(low, max(len(shard.own) - 1, 0))
        event = shard.own[following] if len(shard.own) else np.zeros(n, np.int64)
        end = np.searchsorted(key, key[event], side="right")
    high = shard.owned[np.minimum(end, stop)]
    last = np.ones(n, np.bool_)
    last[:-1] = (shard.seconds[1:] > shard.seconds[:-1]) | (users[1:] != users[:-1])
    high = np.where(last & (np.arange(n) < stop), np.maximum(high, low), low)
    positions = np.bincount(users[high > low], minlength=len(limit))
    weight = np.maximum(positions, 1.0) ** -user_power  # [users]
    return Future(low, high, weight[users])


def plan(
    shard: Shard, limit: NDArray[np.int64], size: UserModelSettings, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of windows of like length, in random order; each is ``[batch, 3]``."""
    rows = [
        windows(start, stop, size.window, min(size.stride, size.window))
        for start, stop in zip(shard.start[:-1].tolist(), limit.tolist(), strict=True)
        if stop > start
    ]
    if not rows:
        return []
    table = np.concatenate(rows)
    table = table[rng.permutation(len(table))]
    table = table[np.argsort(table[:, 1] - table[:, 0], kind="stable")]
    parts = [table[i : i + size.batch_size] for i in range(0, len(table), size.batch_size)]
    return [parts[i] for i in rng.permutation(len(parts))]


def make_batch(
    shard: Shard,
    table: NDArray[np.int64],
    ahead: Future,
    sampling: Sampler,
    rng: np.random.Generator,
) -> Arrays | None:
    """Everything a step needs of windows ``table [batch, 3]``, or None where none predicts.

    Returns:
        Events, padded at the end: ``node`` (0 is none), ``action``, ``channel`` ``[batch, length]``
        and ``features`` ``[batch, length, EVENT_FEATURES]``, ``lengths`` ``[batch]``.
        Positions: ``position`` (flat place in the padded events) ``[positions]``.
        Items: ``items`` (distinct targets, ascending); all other item columns are places in it:
        ``target`` ``[positions, targets]`` with ``target_weight`` (0 where none),
        ``target_repeated`` (previously interacted) and ``target_features``; ``own`` ``[positions,
        own_negatives]`` with ``own_log_weight`` and ``own_features``; ``negative`` ``[negatives]``
        with ``negative_log_weight`` and, for each position, ``negative_new`` (not previously
        interacted).
    """
    events, place = _positions(table, ahead, sampling.settings.positions, rng)
    if not len(events):
        return None
    low, width = ahead.low[events][:, None], (ahead.high - ahead.low)[events][:, None]
    draws = (rng.random((len(events), sampling.settings.targets)) * width).astype(np.int64)
    chosen = shard.own[low + draws]  # [positions, targets]
    target_pair = shard.pair[chosen]
    batch = event_arrays(shard, table[:, 0], table[:, 1]) | {"position": place}
    batch["target_weight"] = _target_weights(shard, target_pair, chosen, events, ahead)
    target, batch["target_repeated"], batch["target_features"] = _known(
        shard, target_pair, events, sampling
    )
    own, batch["own_log_weight"], batch["own_features"] = _own(shard, events, sampling, rng)
    negative, batch["negative_log_weight"] = _negatives(sampling, rng)
    batch["negative_new"] = _new(shard, events, negative, sampling.targets)
    return batch | _numbered(target, own, negative)


def _numbered(
    target: NDArray[np.int64], own: NDArray[np.int64], negative: NDArray[np.int64]
) -> Arrays:
    """The distinct items of a batch, and the places of each column among them."""
    every = np.concatenate([target.ravel(), own.ravel(), negative])
    items, number = np.unique(every, return_inverse=True)
    first, second, third = np.split(number, np.cumsum([target.size, own.size]))
    places = {"target": first.reshape(target.shape), "own": second.reshape(own.shape)}
    return {"items": items, **places, "negative": third}


def _positions(
    table: NDArray[np.int64], ahead: Future, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events that predict, ``most`` a window, and their flat places in the padded batch."""
    width = int((table[:, 1] - table[:, 0]).max())
    events = [np.arange(first, end) for _, end, first in table.tolist()]
    row = np.repeat(np.arange(len(table)), [len(each) for each in events])
    joined = np.concatenate(events)
    able = ahead.high[joined] > ahead.low[joined]
    joined, row = joined[able], row[able]
    shuffled = np.lexsort((rng.random(len(row)), row))
    nth = np.arange(len(row)) - np.searchsorted(row, row)  # in the shuffled order too
    kept = np.sort(shuffled[nth < most])
    joined, row = joined[kept], row[kept]
    return joined, row * width + joined - table[row, 0]


def _target_weights(
    shard: Shard,
    pairs: NDArray[np.int64],
    chosen: NDArray[np.int64],
    events: NDArray[np.int64],
    ahead: Future,
) -> NDArray[np.float32]:
    """Weight of each drawn target ``[positions, targets]``, that of its position's user.

    A future item counts once, however often it occurs: a draw of a second event of the same item
    after the position has weight 0, so that each item is drawn alike.
    """
    at = np.repeat(events, pairs.shape[1])
    flat = pairs.ravel()
    first = shard.latest(flat, chosen.ravel() - 1) == shard.latest(flat, at)
    return (first.reshape(pairs.shape) * ahead.weight[events][:, None]).astype(np.float32)


def event_arrays(shard: Shard, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Arrays:
    """The events begin .. end - 1 of each row, padded at the end; see :func:`make_batch`."""
    lengths = end - begin
    place = begin[:, None] + np.arange(int(lengths.max()))  # [batch, length]
    inside = place < end[:, None]
    place = np.minimum(place, end[:, None] - 1)
    return {
        "node": np.where(inside, shard.node[place].astype(np.int64) + 1, 0),
        "action": np.where(inside, shard.action[place].astype(np.int64), 0),
        "channel": np.where(inside, shard.channel[place].astype(np.int64), 0),
        "features": np.where(inside[:, :, None], shard.features[place], np.float32(0)),
        "lengths": lengths,
    }


def _known(
    shard: Shard, pairs: NDArray[np.int64], events: NDArray[np.int64], sampling: Sampler
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]:
    """Items of pairs ``[positions, n]``, whether previously interacted, and repeat features."""
    flat = pairs.ravel()
    at = np.repeat(events, pairs.shape[1])
    items = shard.pair_key[flat] % sampling.targets
    last = shard.latest(flat, at)
    again = last >= 0
    kinds = shard.repeats(flat[again], last[again], at[again], sampling.item_stats[items[again]])
    features = np.zeros((len(flat), kinds.shape[1]), np.float32)
    features[again] = kinds
    shape = pairs.shape
    return items.reshape(shape), again.reshape(shape), features.reshape(*shape, -1)


def _own(
    shard: Shard, events: NDArray[np.int64], sampling: Sampler, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Previously interacted items, drawn by count: ids, log weights (-inf: none), features.

    An item with c of n interactions is drawn with chance c / n, so each of K draws weighs
    n / (K c): the sum over draws of weight * exp(score) is, on average, that over all of them.
    """
    k = sampling.settings.own_negatives
    begin = shard.start[shard.users_of(events)]
    before = shard.occurred[begin]  # [positions]
    n = shard.occurred[events + 1] - before
    place = before[:, None] + (rng.random((len(events), k)) * n[:, None]).astype(np.int64)
    some = n > 0
    weights = np.full((len(events), k), -np.inf, np.float32)
    items = np.zeros((len(events), k), np.int64)
    features = np.zeros((len(events), k, REPEAT_FEATURES), np.float32)
    if some.any():
        pairs = shard.pair[shard.pair_events[place[some]]]  # [some, k]
        items[some], _, features[some] = _known(shard, pairs, events[some], sampling)
        last = shard.latest(pairs.ravel(), np.repeat(events[some], k)).reshape(-1, k)
        count = last - shard.pair_start[pairs] + 1
        weights[some] = np.log(n[some][:, None] / (k * count))
    return items, weights, features


def _negatives(
    sampling: Sampler, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Distinct targets shared by the batch, and log(times drawn / (draws * chance))."""
    n = sampling.settings.negatives
    drawn = np.searchsorted(np.cumsum(sampling.share), rng.random(n), side="right")
    items, times = np.unique(np.minimum(drawn, sampling.targets - 1), return_counts=True)
    return items, np.log(times / (n * sampling.share[items])).astype(np.float32)


def _new(
    shard: Shard,
    events: NDArray[np.int64],
    negative: NDArray[np.int64],
    n_targets: int,
) -> NDArray[np.bool_]:
    """Whether each negative is new to the user at each position ``[positions, negatives]``."""
    users, row = np.unique(shard.users_of(events), return_inverse=True)
    pairs = shard.find_pairs(
        np.repeat(users, len(negative)), np.tile(negative, len(users)), n_targets
    )
    first = np.full(len(pairs), NEVER)
    known = pairs >= 0
    occurrences = shard.occurrence[shard.pair_start[pairs[known]]]
    first[known] = occurrences % max(shard.events, 1)
    return first.reshape(len(users), -1)[row] > events[:, None]
