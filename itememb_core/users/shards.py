"""Packed histories: one folder of plain arrays a shard, opened without reading them.

A *pair* is a user and a target that the user interacted with, directly or by an accepted link; an
*occurrence* is one event of a pair. Occurrences are sorted by pair, then by time, so that frequency
and recency before an event are one binary search.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import UNKNOWN, channel_codes, node_index
from itememb_core.progress import Progress, silent
from itememb_core.services import STRENGTHS
from itememb_core.users.features import DAY, decayed_counts, event_features, repeat_features
from itememb_core.users.items import ItemSpace

#: Codes of actions; an action that is not among them has the last code.
ACTIONS = tuple(sorted(STRENGTHS))

_META = "shard.json"


@dataclass(frozen=True)
class Shard:
    """Histories of some users, one after the other; lengths: users, events, occurrences, pairs."""

    user_ids: NDArray[np.int64]  # [users]
    start: NDArray[np.int64]  # [users + 1], first event of each user
    seconds: NDArray[np.float64]  # [events], since 1970-01-01
    node: NDArray[np.int32]  # [events], row of the item vectors, -1 unknown
    action: NDArray[np.int8]  # [events], position in ACTIONS
    channel: NDArray[np.int8]  # [events], position in CHANNELS
    features: NDArray[np.float32]  # [events, EVENT_FEATURES]
    pair: NDArray[np.int64]  # [events], pair of the event or -1
    own: NDArray[np.int64]  # [own], events on targets, links not counted
    occurred: NDArray[np.int64]  # [events + 1], occurrences before the event, over the shard
    fresh: NDArray[np.int64]  # [events + 1], first occurrences before the event
    owned: NDArray[np.int64]  # [events + 1], own events before the event
    pair_events: NDArray[np.int64]  # [occurrences], events with a pair, in time order
    pair_key: NDArray[np.int64]  # [pairs], user * targets + target, ascending
    pair_start: NDArray[np.int64]  # [pairs + 1], first occurrence of each pair
    occurrence: NDArray[np.int64]  # [occurrences], pair * events + event, ascending
    decayed: NDArray[np.float32]  # [occurrences, HALF_LIVES]

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.seconds)

    def users_of(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """User (row of ``user_ids``) of each event."""
        return np.searchsorted(self.start, events, side="right") - 1

    def find_pairs(
        self, users: NDArray[np.int64], targets: NDArray[np.integer], n_targets: int
    ) -> NDArray[np.int64]:
        """Pair of each (user, target), -1 where they never interact."""
        keys = users * n_targets + targets
        place = np.searchsorted(self.pair_key, keys)
        found = place < len(self.pair_key)
        found[found] = self.pair_key[place[found]] == keys[found]
        return np.where(found, place, UNKNOWN)

    def latest(self, pairs: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Last occurrence of each pair up to its event (included), -1 where there is none."""
        keys = pairs * max(self.events, 1) + events
        place = np.searchsorted(self.occurrence, keys, side="right") - 1
        known = (pairs >= 0) & (place >= self.pair_start[np.maximum(pairs, 0)])
        return np.where(known, place, UNKNOWN)

    def repeats(
        self,
        pairs: NDArray[np.int64],
        last: NDArray[np.int64],
        events: NDArray[np.int64],
        item_stats: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """:func:`repeat_features` of pairs as seen at an event of their user ``[n, features]``.

        Args:
            pairs: Pairs ``[n]``.
            last: :meth:`latest` of them, none -1 ``[n]``.
            events: The event at which the features are taken ``[n]``.
            item_stats: ``PackedHistories.item_stats`` of the pairs' items ``[n, 2]``.
        """
        size = max(self.events, 1)
        first = self.pair_start[pairs]
        now = self.seconds[events]
        begin = self.start[self.users_of(events)]
        return repeat_features(
            count=last - first + 1,
            decayed=self.decayed[last],
            since_last=(now - self.seconds[self.occurrence[last] % size]) / DAY,
            since_first=(now - self.seconds[self.occurrence[first] % size]) / DAY,
            total=self.occurred[events + 1] - self.occurred[begin],
            distinct=self.fresh[events + 1] - self.fresh[begin],
            item_stats=item_stats,
        )


@dataclass(frozen=True)
class PackedHistories:
    """A folder of shards; shards without events are left out."""

    folder: Path
    names: tuple[str, ...]
    events: int
    users: int
    item_users: NDArray[np.int64]  # [targets], users who interacted with the item
    item_stats: NDArray[np.float32]  # [targets, 2], share of repeats, log share of users

    def shard(self, name: str) -> Shard:
        """Open the shard of one of the names."""
        return open_shard(self.folder / name)

    def shards(self) -> Iterator[Shard]:
        """Open one shard after the other, in the order of their names."""
        yield from map(self.shard, self.names)


def pack_histories(
    tables: Iterable[pa.Table],
    items: ItemSpace,
    folder: Path,
    progress: Progress = silent,
    *,
    ends: Mapping[str, NDArray[np.int64]] | None = None,
) -> PackedHistories:
    """Write the arrays of every shard.

    Args:
        tables: ``schemas.USER_HISTORIES``, one table a shard; rows in any order.
        items: Nodes, targets and links.
        folder: An empty working folder; may be deleted once the fit and the lists are made.
        progress: Called after each shard.
        ends: Where each user's history ends, event numbers by the shard's name, as
            ``validation.Ends``; None: all is packed.

    Raises:
        ItemembError: If a user's positions are not 0, 1, 2, ... (a shard cut short), or an event
            has no time.
    """
    events, pairs = np.zeros(len(items.targets), np.int64), np.zeros(len(items.targets), np.int64)
    names: list[str] = []
    n_events = n_users = 0
    for number, whole in enumerate(tables):
        name = f"shard_{number:05d}"
        table = whole if ends is None or name not in ends else _until(whole, ends[name])
        if table.num_rows:
            names.append(name)
            shard = pack_shard(table, items)
            _save(shard, folder / names[-1])
            targets = shard.pair_key % max(len(items.targets), 1)
            np.add.at(pairs, targets, 1)
            np.add.at(events, targets, np.diff(shard.pair_start))
            n_events, n_users = n_events + shard.events, n_users + len(shard.user_ids)
        progress("pack histories", number + 1, 0)
    stats = item_stats(events, pairs, n_users)
    return PackedHistories(folder, tuple(names), n_events, n_users, pairs, stats)


def item_stats(
    events: NDArray[np.integer], pairs: NDArray[np.integer], users: int
) -> NDArray[np.float32]:
    """Share of events that were repeats (few events: near 0), log share of users ``[targets, 2]``.

    Args:
        events: On each target ``[targets]``.
        pairs: Users who interacted with it ``[targets]``.
        users: All users.
    """
    rate, share = (events - pairs) / (events + 5.0), np.log((pairs + 0.5) / (users + 1.0))
    return np.stack([rate, share], axis=1).astype(np.float32)


def _until(table: pa.Table, ends: NDArray[np.int64]) -> pa.Table:
    """A shard's rows before each user's end ``[users]``, an event number."""
    table = table.sort_by([("user_id", "ascending"), ("position", "ascending")])
    _, user = np.unique(table["user_id"].to_numpy(), return_inverse=True)
    return table.filter(pa.array(np.arange(len(user)) < ends[user]))


def pack_shard(table: pa.Table, items: ItemSpace) -> Shard:
    """Turn a table of histories into arrays; see :func:`pack_histories`."""
    table = table.sort_by([("user_id", "ascending"), ("position", "ascending")])
    user_ids, start = np.unique(table["user_id"].to_numpy(), return_index=True)
    start = np.append(start, table.num_rows).astype(np.int64)
    _check_positions(table, user_ids, start)
    seconds = _seconds(table["timestamp"])
    node = node_index(items.vocabulary, table["item_id"], table["channel"])
    known = node != UNKNOWN
    own = items.targets_of(node) != UNKNOWN
    node[known] = items.link[node[known]]
    target = items.targets_of(node)  # [events], by link too
    codes = pc.index_in(table["action"], value_set=pa.array(ACTIONS)).fill_null(len(ACTIONS))
    return Shard(
        user_ids=user_ids,
        start=start,
        seconds=seconds,
        node=node,
        action=codes.to_numpy().astype(np.int8),
        channel=channel_codes(table["channel"]),
        features=event_features(seconds, start),
        own=np.flatnonzero(own),
        owned=_before(own),
        **_pairs(target, seconds, start, len(items.targets)),
    )


def _pairs(
    target: NDArray[np.integer],
    seconds: NDArray[np.float64],
    start: NDArray[np.int64],
    n_targets: int,
) -> dict[str, NDArray]:
    """The arrays of a shard about pairs and their occurrences."""
    events = np.flatnonzero(target != UNKNOWN)
    users = np.searchsorted(start, events, side="right") - 1
    keys = users * n_targets + target[events]
    order = np.argsort(keys, kind="stable")  # by pair, then by event
    pair_key, pair_start, number = np.unique(keys[order], return_index=True, return_inverse=True)
    pair_start = np.append(pair_start, len(events)).astype(np.int64)
    pair = np.full(len(target), UNKNOWN, np.int64)
    pair[events[order]] = number
    fresh = np.zeros(len(target), np.bool_)
    fresh[events[order][pair_start[:-1]]] = True
    return {
        "pair": pair,
        "occurred": _before(target != UNKNOWN),
        "fresh": _before(fresh),
        "pair_events": events,
        "pair_key": pair_key,
        "pair_start": pair_start,
        "occurrence": number * max(len(target), 1) + events[order],
        "decayed": decayed_counts(seconds[events[order]] / DAY, pair_start),
    }


def open_shard(folder: Path) -> Shard:
    """Map the arrays of a shard into memory, without reading them.

    Raises:
        ItemembError: If a file is missing or is not as long as it was when written.
    """
    try:
        shapes = json.loads((folder / _META).read_text())
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r" if all(shape) else None)
            for name, shape in shapes.items()
        }
    except (OSError, ValueError, EOFError) as error:
        raise ItemembError(f"user histories: {folder} is cut short: {error}") from error
    for name, shape in shapes.items():
        if list(arrays[name].shape) != shape:
            raise ItemembError(
                f"user histories: {folder / name}.npy has shape {arrays[name].shape}, "
                f"expected {tuple(shape)}"
            )
    return Shard(**arrays)


def _save(shard: Shard, folder: Path) -> None:
    folder.mkdir(parents=True)
    shapes = {}
    for field in fields(Shard):
        array = getattr(shard, field.name)
        shapes[field.name] = list(array.shape)
        np.save(folder / f"{field.name}.npy", array)
    (folder / _META).write_text(json.dumps(shapes))


def _check_positions(
    table: pa.Table, user_ids: NDArray[np.int64], start: NDArray[np.int64]
) -> None:
    position = table["position"].to_numpy()
    expected = np.arange(len(position)) - np.repeat(start[:-1], np.diff(start))
    wrong = np.flatnonzero(position != expected)
    if len(wrong):
        row = wrong[0]
        user = user_ids[np.searchsorted(start, row, side="right") - 1]
        raise ItemembError(
            f"user_histories: user {user} has position {position[row]}, expected {expected[row]}: "
            "the shard is cut short"
        )


def _seconds(column: pa.ChunkedArray) -> NDArray[np.float64]:
    if column.null_count:
        raise ItemembError(f"user_histories.timestamp: {column.null_count} nulls, expected none")
    micros = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return micros / 1e6


def _before(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many flags are set before each place, and in all ``[n + 1]``."""
    return np.concatenate([[0], np.cumsum(flags)]).astype(np.int64)
