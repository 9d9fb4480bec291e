"""Which events each event is trained to predict.

Events of one time are a set: a target is never of the time of the event that predicts it, but for
``next_event``, which takes the events in the order in which they were stored.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itememb_core.items.vocabulary import UNKNOWN
from itememb_core.users.features import DAY
from itememb_core.users.sequence.columns import Columns

Kind = Literal["next_event", "next_basket", "horizon"]


@dataclass(frozen=True)
class Ahead:
    """Targets ahead of each event: a range of ``items``; empty where it predicts nothing."""

    items: NDArray[np.int32]  # [direct], targets in the order of their events
    low: NDArray[np.int64]  # [events]
    high: NDArray[np.int64]  # [events]


def targets_ahead(columns: Columns, kind: Kind, horizon_days: float = 0.0) -> Ahead:
    """The targets that each event predicts.

    Args:
        columns: Histories.
        kind: ``next_event``: the next event that is directly on a target, of the same time too;
            ``next_basket``: all of the next time that has any; ``horizon``: all within so many
            days. For the last two only the last event of a time predicts.
        horizon_days: Days, for ``horizon``.
    """
    n = columns.events
    direct = np.flatnonzero(columns.target != UNKNOWN)
    owned = np.cumsum(columns.target != UNKNOWN)  # [events], up to and with the event
    low = owned.astype(np.int64)
    stop = np.repeat(_before(owned, columns.start[1:]), np.diff(columns.start))  # by user
    if kind == "next_event":
        return Ahead(columns.target[direct], low, np.minimum(low + 1, stop))
    key = _user_time(columns, horizon_days)
    if kind == "horizon":
        end = np.searchsorted(key, key + horizon_days * DAY, side="right")
    else:
        following = direct[np.minimum(low, max(len(direct) - 1, 0))] if len(direct) else low * 0
        end = np.searchsorted(key, key[following], side="right") if n else low
    high = np.minimum(_before(owned, end), stop)
    last = np.ones(n, np.bool_)
    last[:-1] = key[1:] > key[:-1]
    return Ahead(columns.target[direct], low, np.where(last, np.maximum(high, low), low))


def _before(owned: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many direct events lie before each event number."""
    return np.concatenate([[0], owned]).astype(np.int64)[events]


def _user_time(columns: Columns, horizon_days: float) -> NDArray[np.float64]:
    """One ascending number for user and time, users farther apart than any reach ``[events]``."""
    if not columns.events:
        return np.empty(0)
    first, last = float(columns.seconds.min()), float(columns.seconds.max())
    apart = last - first + horizon_days * DAY + 1.0
    users = np.repeat(np.arange(columns.users), np.diff(columns.start))
    return users * apart + (columns.seconds - first)


def draw_targets(
    ahead: Ahead, events: NDArray[np.int64], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Targets of events that predict, and the weight of each ``[positions, drawn]``.

    Where more than ``most`` lie ahead, so many are drawn with replacement; where fewer, each is
    there once and the places left over have weight 0.

    Args:
        ahead: Of the events' columns.
        events: Events with at least one target ahead ``[positions]``.
        most: Most targets an event.
        rng: Draws.
    """
    low, width = ahead.low[events][:, None], (ahead.high - ahead.low)[events][:, None]
    places = np.arange(min(most, int(width.max())))[None]
    drawn = (rng.random((len(events), places.shape[1])) * width).astype(np.int64)
    nth = np.where(width > most, drawn, np.minimum(places, width - 1))
    weight = (places < width).astype(np.float32)
    return ahead.items[low + nth].astype(np.int64), weight
