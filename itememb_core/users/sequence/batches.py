"""Windows of histories, and what a training step needs of some of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.columns import Columns, ranges
from itememb_core.users.sequence.negatives import Source, shared_negatives
from itememb_core.users.sequence.targets import Ahead, draw_targets

#: Arrays by name; see :func:`make_batch`.
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Drawing:
    """What batches are drawn with, the same for all blocks."""

    settings: SequenceSettings
    sources: tuple[Source, ...]
    target_node: NDArray[np.int64]  # [targets], node + 1 of each


def windows(start: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Windows that hold every event once: begin and end ``[n, 2]``, user by user.

    A history that fits is one window. A longer one is cut every ``size`` events from a place that
    is drawn, so that each pass shows an event after other lengths of history.

    Args:
        start: First event of each user, and the number of events ``[users + 1]``.
        size: Most events of a window.
        rng: Draws the cuts.
    """
    length = np.diff(start)
    first = np.where(length > size, rng.integers(1, size + 1, len(length)), length)  # [users]
    number = np.where(length > 0, 1 + -(-(length - first) // size), 0)
    user = np.repeat(np.arange(len(length)), number)
    nth = ranges(np.zeros(len(number), np.int64), number)
    end = start[:-1][user] + np.minimum(first[user] + nth * size, length[user])
    begin = start[:-1][user] + np.where(nth > 0, first[user] + (nth - 1) * size, 0)
    return np.stack([begin, end], axis=1)


def plan(
    columns: Columns, ahead: Ahead, settings: SequenceSettings, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of windows of like length in random order, each ``[batch, 2]``.

    A batch has about ``batch_events`` events; windows in which nothing is predicted are left out.
    """
    table = windows(columns.start, settings.window, rng)
    able = np.concatenate([[0], np.cumsum(ahead.high > ahead.low)])
    table = table[able[table[:, 1]] > able[table[:, 0]]]
    table = table[rng.permutation(len(table))]
    length = table[:, 1] - table[:, 0]
    order = np.argsort(length, kind="stable")
    part = (np.cumsum(length[order]) - 1) // settings.batch_events
    parts = np.split(table[order], np.flatnonzero(np.diff(part)) + 1) if len(table) else []
    return [parts[i] for i in rng.permutation(len(parts))]


def event_arrays(columns: Columns, table: NDArray[np.int64]) -> Arrays:
    """Events of windows, padded at the end ``[batch, length]``.

    ``node`` (node + 1, 0 none), ``action``, ``channel``, ``gap`` int64, ``seconds`` since the
    window's first event, int32.
    """
    begin, end = table[:, :1], table[:, 1:]
    place = begin + np.arange(int((end - begin).max()))
    inside = place < end
    place = np.minimum(place, end - 1)
    seconds = columns.seconds[place]
    since = np.minimum(seconds - seconds[:, :1], np.iinfo(np.int32).max)
    made: Arrays = {
        name: np.where(inside, getattr(columns, name)[place], 0).astype(np.int64)
        for name in ("node", "action", "channel", "gap")
    }
    return made | {"seconds": since.astype(np.int32)}


def make_batch(
    columns: Columns,
    ahead: Ahead,
    table: NDArray[np.int64],
    drawing: Drawing,
    rng: np.random.Generator,
) -> Arrays:
    """Everything a step needs of windows ``table [batch, 2]``, of which each predicts something.

    Returns:
        Events ``[batch, length]``: ``item`` (place in ``nodes``), ``action``, ``channel``, ``gap``,
        ``seconds``. Positions, row by row: ``position`` (row * length + step) and ``row``
        ``[positions]``, ``target`` (places in ``nodes``) and ``weight`` ``[positions, targets]``.
        Negatives: ``negative`` (places in ``nodes``), ``log_weight`` ``[negatives]``; ``own``,
        whether a negative is an item of the row's user ``[batch, negatives]``; ``hit``, positions
        and negatives that are one of the position's targets ``[2, hits]``. ``nodes``: the distinct
        nodes + 1 of them all, ascending ``[nodes]``.
    """
    settings = drawing.settings
    events = event_arrays(columns, table)
    inside, row = _positions(ahead, table)
    target, weight = draw_targets(ahead, inside, settings.targets, rng)
    negative, log_weight = shared_negatives(drawing.sources, target[weight > 0], rng)
    parts = (events.pop("node"), drawing.target_node[target], drawing.target_node[negative])
    nodes, places = np.unique(np.concatenate([each.ravel() for each in parts]), return_inverse=True)
    first, second, third = np.split(places, np.cumsum([parts[0].size, parts[1].size]))
    return events | {
        "nodes": nodes,
        "item": first.reshape(parts[0].shape),
        "position": row * events["action"].shape[1] + inside - table[row, 0],
        "row": row,
        "target": second.reshape(target.shape),
        "weight": weight,
        "negative": third,
        "log_weight": log_weight,
        "own": _own(columns, table, negative, exclude=settings.exclude_own),
        "hit": _hits(target, negative),
    }


def _positions(
    ahead: Ahead, table: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events of windows that predict something, and the window of each ``[positions]``."""
    events = ranges(table[:, 0], table[:, 1])
    row = np.repeat(np.arange(len(table)), table[:, 1] - table[:, 0])
    able = ahead.high[events] > ahead.low[events]
    return events[able], row[able]


def _own(
    columns: Columns, table: NDArray[np.int64], negative: NDArray[np.int64], *, exclude: bool
) -> NDArray[np.bool_]:
    """Whether each negative is an item of each window's user ``[batch, negatives]``."""
    own = np.zeros((len(table), len(negative)), np.bool_)
    if exclude:
        user = np.searchsorted(columns.start, table[:, 0], side="right") - 1
        first, last = columns.own_start[user], columns.own_start[user + 1]
        row = np.repeat(np.arange(len(table)), last - first)
        place, found = _find(negative, columns.own[ranges(first, last)].astype(np.int64))
        own[row[found], place[found]] = True
    return own


def _hits(target: NDArray[np.int64], negative: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position and negative, where that is one of the position's targets ``[2, hits]``."""
    place, found = _find(negative, target.ravel())
    position = np.repeat(np.arange(len(target)), target.shape[1])
    return np.stack([position[found], place[found]])


def _find(
    ascending: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each value, and whether it is there."""
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return place, ascending[place] == values
