"""The events of users as plain columns, put together once for a fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import UNKNOWN
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

#: Events of the shards that are held as one block: about 50 bytes each.
BLOCK_EVENTS: Final = 2_000_000

#: Codes of the time since the previous event: log2 of seconds; the last also holds longer ones.
GAPS: Final = 32


@dataclass(frozen=True)
class Columns:
    """Histories of some users up to their ends, one after the other."""

    start: NDArray[np.int64]  # [users + 1], first event of each user
    seconds: NDArray[np.float64]  # [events], since 1970-01-01
    node: NDArray[np.int32]  # [events], row of the item vectors + 1, 0 unknown
    action: NDArray[np.int8]  # [events]
    channel: NDArray[np.int8]  # [events]
    gap: NDArray[np.int8]  # [events], ``gap_codes``
    target: NDArray[np.int32]  # [events], target that the event is directly on, or -1
    own_start: NDArray[np.int64]  # [users + 1], first of each user's own targets
    own: NDArray[np.int32]  # [own], distinct targets of each user, links too

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.start) - 1

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.seconds)


def gap_codes(seconds: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.int8]:
    """1 + floor(log2(1 + seconds since the user's previous event)), 0 at the first ``[events]``.

    Args:
        seconds: Time of each event, user by user, ascending within a user ``[events]``.
        start: First event of each user, and the number of events ``[users + 1]``.
    """
    since = np.diff(seconds, prepend=seconds[:1])
    since[start[:-1][start[:-1] < len(seconds)]] = 0.0  # another user's time lies before
    codes = 1 + np.log2(1 + np.maximum(since, 0.0)).astype(np.int64)
    codes[start[:-1][start[:-1] < len(seconds)]] = 0
    return np.minimum(codes, GAPS - 1).astype(np.int8)


def shard_columns(
    shard: Shard, target_of: NDArray[np.int32], end: NDArray[np.int64] | None = None
) -> Columns:
    """Columns of a shard's users, events from ``end`` on left out.

    Args:
        shard: Histories.
        target_of: Target of each node or -1 ``[nodes]``.
        end: Event number at which each user's history ends ``[users]``; None: all of it.

    Raises:
        ItemembError: If there are not as many ends as users.
    """
    first, last = shard.start[:-1], shard.start[1:]
    if end is not None and len(end) != len(last):
        raise ItemembError(f"sequence model: {len(end)} ends, expected {len(last)}, one a user")
    last = np.asarray(last if end is None else np.clip(end, first, last))
    kept = ranges(np.asarray(first), last)
    start = np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64)
    seconds, node = shard.seconds[kept], shard.node[kept]
    target = np.full(shard.events, UNKNOWN, np.int32)
    target[shard.own] = target_of[shard.node[shard.own]]
    linked = np.append(target_of, np.int32(UNKNOWN))[node]  # UNKNOWN indexes the last
    own_start, own = _own_targets(linked, start, max(len(target_of), 1))
    return Columns(
        start=start, seconds=seconds, node=(node + 1).astype(np.int32), action=shard.action[kept],
        channel=shard.channel[kept], gap=gap_codes(seconds, start), target=target[kept],
        own_start=own_start, own=own,
    )  # fmt: skip


def _own_targets(
    target: NDArray[np.int32], start: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Distinct targets of each user, ascending."""
    users = np.repeat(np.arange(len(start) - 1), np.diff(start))
    keys = np.unique((users * most + target)[target != UNKNOWN])
    own_start = np.searchsorted(keys, np.arange(len(start)) * most)
    return own_start, (keys % most).astype(np.int32)


def ranges(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """All numbers first .. last - 1 of each row, one row after the other."""
    size = last - first
    before = np.cumsum(size) - size
    return np.arange(size.sum()) - np.repeat(before - first, size)


def blocks(
    packed: PackedHistories, target_of: NDArray[np.int32], ends: Ends | None = None
) -> Iterator[Columns]:
    """The shards' columns, small shards joined so that batches are drawn among many users.

    Args:
        packed: Histories.
        target_of: Target of each node or -1 ``[nodes]``.
        ends: See ``Ends``; a shard without an entry is whole.
    """
    waiting: list[Columns] = []
    for name in packed.names:
        end = None if ends is None else ends.get(name)
        waiting.append(shard_columns(packed.shard(name), target_of, end))
        if sum(each.events for each in waiting) >= BLOCK_EVENTS:
            yield join(waiting)
            waiting = []
    if waiting:
        yield join(waiting)


def join(parts: list[Columns]) -> Columns:
    """Columns of several parts' users, one part after the other."""
    if len(parts) == 1:
        return parts[0]

    def offsets(name: str) -> NDArray[np.int64]:
        """Starts moved to where each part's rows lie."""
        starts = [getattr(each, name) for each in parts]
        moved = np.cumsum([0, *(each[-1] for each in starts)])
        joined = [each[:-1] + by for each, by in zip(starts, moved[:-1], strict=True)]
        return np.append(np.concatenate(joined), moved[-1]).astype(np.int64)

    values = {
        name: np.concatenate([getattr(each, name) for each in parts])
        for name in ("seconds", "node", "action", "channel", "gap", "target", "own")
    }
    return Columns(start=offsets("start"), own_start=offsets("own_start"), **values)


def times_differ(columns: Columns) -> bool:
    """Whether any user has events at two times: else there is no time between events."""
    if columns.events < 2:
        return False
    later = np.diff(columns.seconds) > 0
    begins = columns.start[1:-1]
    later[begins[(begins > 0) & (begins < columns.events)] - 1] = False
    return bool(later.any())
