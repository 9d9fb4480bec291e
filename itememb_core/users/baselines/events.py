"""The users' own events on targets as flat arrays, the input of every baseline.

A link never makes an event own: baselines know nothing that was learned but what they learn.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.features import DAY
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class Events(NamedTuple):
    """Own events, ordered by user, then by time; lengths: events."""

    row: NDArray[np.int64]  # place of the user among those requested, ascending
    target: NDArray[np.int64]
    days: NDArray[np.float64]  # since 1970-01-01
    channel: NDArray[np.int8]  # position in CHANNELS


def own_events(
    shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64], n_targets: int
) -> Events:
    """Own events of users before the ends of their histories.

    Args:
        shard: Histories.
        users: Rows of ``shard.user_ids`` ``[users]``.
        end: End of each one's history, an event number ``[users]``.
        n_targets: Number of targets.
    """
    low, high = shard.owned[shard.start[users]], shard.owned[end]
    size = high - low
    row = np.repeat(np.arange(len(users)), size)
    place = np.repeat(low - (np.cumsum(size) - size), size) + np.arange(len(row))
    events = shard.own[place]
    target = shard.pair_key[shard.pair[events]] % max(n_targets, 1)
    return Events(row, target, shard.seconds[events] / DAY, shard.channel[events])


def latest_targets(
    shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64], n_targets: int
) -> NDArray[np.int64]:
    """Target of each user's last own event before the end, -1 without any ``[users]``."""
    count = shard.owned[end]
    some = count > shard.owned[shard.start[users]]
    latest = np.full(len(users), -1, np.int64)
    events = shard.own[count[some] - 1]
    latest[some] = shard.pair_key[shard.pair[events]] % max(n_targets, 1)
    return latest


def history_events(
    packed: PackedHistories,
    ends: Ends | None,
    *,
    most: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[Events, NDArray[np.int64]]]:
    """Own events shard by shard, and the ids of their users ``[users]``.

    Args:
        packed: Histories.
        ends: Nothing after these ends is given; None: all is.
        most: Users at most, drawn evenly; None: all.
        seed: Of that draw.
    """
    whole = most is None or packed.users <= most
    rng = np.random.default_rng(seed)
    kept = None if whole else np.sort(rng.choice(packed.users, most, replace=False))
    low = 0
    for name, shard in zip(packed.names, packed.shards(), strict=True):
        users = np.arange(len(shard.user_ids))
        if kept is not None:
            inside = (kept >= low) & (kept < low + len(users))
            low, users = low + len(users), kept[inside] - low
        limit = shard.start[1:] if ends is None or name not in ends else ends[name]
        yield own_events(shard, users, limit[users], len(packed.item_users)), shard.user_ids[users]


def basket_numbers(events: Events) -> NDArray[np.int64]:
    """Number of each event's basket, from 0 over all users ``[events]``.

    A basket is what one user interacted with at one time; where there are only days, on one day.
    """
    new = np.ones(len(events.row), np.bool_)
    new[1:] = (events.row[1:] != events.row[:-1]) | (events.days[1:] != events.days[:-1])
    return np.cumsum(new) - 1


def baskets(
    events: Events, n_targets: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Basket and target of each distinct pair of both ``[pairs]``, user of each basket.

    Args:
        events: Own events.
        n_targets: Number of targets.
    """
    basket = basket_numbers(events)
    keys = np.unique(basket * n_targets + events.target)
    user = np.zeros(int(basket.max(initial=-1)) + 1, np.int64)  # [baskets]
    user[basket] = events.row
    return keys // max(n_targets, 1), keys % max(n_targets, 1), user


def distinct_latest(events: Events, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each user's ``most`` latest distinct targets, as users and targets ``[n]``."""
    n = len(events.row)
    backward = np.lexsort((-np.arange(n), events.target, events.row))
    row, target = events.row[backward], events.target[backward]
    first = np.ones(n, np.bool_)  # of a user and target, by the latest event
    first[1:] = (row[1:] != row[:-1]) | (target[1:] != target[:-1])
    latest = np.sort(backward[first])[::-1]  # by user, the latest first
    row = events.row[latest][::-1]
    order = np.arange(len(row))
    from_end = np.searchsorted(row, row, side="right") - 1 - order
    kept = latest[::-1][from_end < most]
    return events.row[kept], events.target[kept]


def sparse(
    row: NDArray[np.int64],
    target: NDArray[np.int64],
    weight: NDArray[np.floating] | None,
    shape: tuple[int, int],
) -> "csr_matrix":
    """Weights (None: ones) summed by row and target, float32 ``shape``."""
    from scipy.sparse import csr_matrix

    values = np.ones(len(row), np.float32) if weight is None else weight.astype(np.float32)
    return csr_matrix((values, (row, target)), shape=shape)


def joined_rows(parts: "list[csr_matrix]", n_targets: int) -> "csr_matrix":
    """Rows of all parts, one after the other; without any an empty matrix."""
    from scipy.sparse import csr_matrix, vstack

    return vstack(parts, "csr") if parts else csr_matrix((0, n_targets), dtype=np.float32)
