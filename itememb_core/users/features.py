"""Features of an event (time, velocity) and of a repeated item (frequency, recency)."""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR: Final = 3600.0
DAY: Final = 86400.0

#: log gap, hour sine, hour cosine, weekday sine, weekday cosine, velocity, acceleration.
EVENT_FEATURES: Final = 7

#: Half-lives, days, of the decayed counts of a repeated item.
HALF_LIVES: Final = (7.0, 30.0, 120.0)

#: See :func:`repeat_features`.
REPEAT_FEATURES: Final = len(HALF_LIVES) + 8


def gaps(seconds: Floats, start: NDArray[np.int64]) -> Floats:
    """Hours since the same user's previous event, 0 at the first; ``[events]``.

    Args:
        seconds: Time of each event, user by user, ascending within a user ``[events]``.
        start: First event of each user, and the number of events ``[users + 1]``.
    """
    result = np.diff(seconds, prepend=seconds[:1]) / HOUR
    result[start[:-1][start[:-1] < len(seconds)]] = 0.0
    return result


def velocity(seconds: Floats, start: NDArray[np.int64]) -> Floats:
    """Events per hour over the 24 hours that end at the event, itself included; ``[events]``.

    Of events at one time, each counts those before it in order. Arguments as of :func:`gaps`.
    """
    result = np.empty(len(seconds))
    for low, high in pairwise(start.tolist()):
        own = seconds[low:high]
        first = np.searchsorted(own, own - DAY, side="right")  # the window is (t - 24 h, t]
        result[low:high] = (np.arange(len(own)) + 1 - first) / 24.0
    return result


def acceleration(speed: Floats, start: NDArray[np.int64]) -> Floats:
    """Change of velocity since the previous event, 0 at a user's first; ``[events]``."""
    result = np.diff(speed, prepend=speed[:1])
    result[start[:-1][start[:-1] < len(speed)]] = 0.0
    return result


def event_features(seconds: Floats, start: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features of each event, float32 ``[events, EVENT_FEATURES]``.

    ``seconds`` count from 1970-01-01 (a Thursday). Gap, velocity and acceleration enter by their
    logarithm (with its sign), so that a burst of events stays of the order of 1.
    """
    speed = velocity(seconds, start)
    change = acceleration(speed, start)
    day = 2 * np.pi * (seconds / DAY)
    columns = (
        np.log1p(gaps(seconds, start)) / 4,
        np.sin(day),
        np.cos(day),
        np.sin(2 * np.pi * np.floor(seconds / DAY) / 7),
        np.cos(2 * np.pi * np.floor(seconds / DAY) / 7),
        np.log1p(speed),
        np.sign(change) * np.log1p(np.abs(change)),
    )
    return np.stack(columns, axis=1).astype(np.float32)  # [events, EVENT_FEATURES]


def decayed_counts(days: Floats, start: NDArray[np.int64]) -> NDArray[np.float32]:
    """Count of an item at each of its interactions, previous ones decayed by half-lives.

    D_k = 1 + D_{k-1} * 2 ** -((t_k - t_{k-1}) / half-life), from 1 at the first.

    Args:
        days: Time of each occurrence, pair by pair, ascending within a pair ``[n]``.
        start: First occurrence of each (user, item) pair, and n ``[pairs + 1]``.

    Returns:
        float32 ``[n, HALF_LIVES]``.
    """
    lives = np.array(HALF_LIVES)
    result = np.ones((len(days), len(lives)))
    order = np.arange(len(days)) - np.repeat(start[:-1], np.diff(start))  # [n], from 0
    # The k-th occurrences of all pairs at once: as many steps as the longest pair has.
    by_order = np.argsort(order, kind="stable")
    ends = np.cumsum(np.bincount(order)) if len(order) else np.empty(0, np.int64)
    for low, high in pairwise(ends.tolist()):
        rows = by_order[low:high]
        passed = (days[rows] - days[rows - 1])[:, None]
        result[rows] += result[rows - 1] * np.exp2(-passed / lives)
    return result.astype(np.float32)


def repeat_features(
    count: NDArray[np.int64],
    decayed: NDArray[np.float32],
    since_last: Floats,
    since_first: Floats,
    total: NDArray[np.int64],
    distinct: NDArray[np.int64],
    item_stats: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Features of a user's previously interacted items, float32 ``[n, REPEAT_FEATURES]``.

    Args:
        count: Interactions of the user with the item ``[n]``, at least 1.
        decayed: ``decayed_counts`` at the last of them ``[n, HALF_LIVES]``.
        since_last: Days since the last ``[n]``.
        since_first: Days since the first ``[n]``.
        total: Events of the user on any target ``[n]``.
        distinct: Distinct targets among them ``[n]``.
        item_stats: Of each item, over all users: share of events that were repeats, and log of
            the share of users ``[n, 2]``.
    """
    now = decayed * np.exp2(-since_last[:, None] / np.array(HALF_LIVES))  # [n, HALF_LIVES]
    # Days between two purchases on average, and how much of one has passed: what is due.
    cycle = np.where(count > 1, (since_first - since_last) / np.maximum(count - 1, 1), 0.0)
    due = np.where(count > 1, np.minimum(since_last / (cycle + 1.0), 4.0), 0.0)
    columns = (
        np.log(count),
        np.log1p(since_last) / 2,
        due,
        np.log(count / np.maximum(total, 1)) / 2,
        np.log1p(total) / 4,
        1.0 - distinct / np.maximum(total, 1),
        item_stats[:, 0],
        item_stats[:, 1] / 4,
    )
    rest = np.stack(columns, axis=1)
    return np.concatenate([rest, np.log(now + 1e-3) / 2], axis=1).astype(np.float32)
