"""Counts of raw files, from each segment's stamp to the inventory."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Final

from itememb_core.raw import RawFile, count_rows, day_rows, fingerprint
from itememb_core.raw.listing import is_local
from itememb_core.tables import FileCount
from itememb_dagster.factory.stage import Stage, StageContext
from itememb_dagster.lake import Key, Lake, Stamp


def with_file_rows(
    stage: Stage, stamps: Mapping[str | None, Stamp], ctx: StageContext
) -> dict[str | None, Stamp]:
    """Add each raw file's own row count (by its footer) to the stamps of a stage's segments.

    A file that cannot be read has none: reading it says what is wrong.
    """
    rows: dict[tuple[str, date | None], int] = {}
    if stage.daily:
        for channel in stage.raw:
            rows |= day_rows(ctx.con, ctx.scan, channel, ctx.days)
    else:
        paths = {path for stamp in stamps.values() for path in stamp.counts.get("files", {})}
        files = [file for file in ctx.scan.files if file.path in paths]
        rows = {(path, None): n for path, n in count_rows(ctx.scan.root, files).items()}
    return {
        segment: replace(
            stamp,
            counts={
                **stamp.counts,
                "files": {
                    path: {**facts, "rows": rows.get((path, _day(segment)))}
                    for path, facts in stamp.counts["files"].items()
                },
            },
        )
        if "files" in stamp.counts
        else stamp
        for segment, stamp in stamps.items()
    }


def _day(segment: str | None) -> date | None:
    """The day of a ``day=`` segment."""
    name, _, value = (segment or "").partition("=")
    return date.fromisoformat(value) if name == "day" else None


def stored_counts(lake: Lake, key: Key) -> Iterator[FileCount]:
    """Yield what a table's segments counted of their raw files."""
    for segment, stamp in _stamps(lake, key):
        for path, f in stamp.counts.get("files", {}).items():
            yield FileCount(
                path, _day(segment), f["fingerprint"], f["rows"], f["clean"], f["rejected"]
            )


def unknown_counts(lake: Lake, key: Key) -> Counter[str]:
    """Return the rows of each unknown action and status of a channel's table."""
    found: Counter[str] = Counter()
    for _segment, stamp in _stamps(lake, key):
        found.update(stamp.counts.get("unknown", {}))
    return found


def _stamps(lake: Lake, key: Key) -> Iterator[tuple[str | None, Stamp]]:
    segments: list[str | None] = [*lake.segments(key)]
    for segment in segments or [None]:
        stamp = lake.stamp(key, segment)
        if stamp is not None:
            yield segment, stamp


#: A file that changed less than this ago may change again and keep its times: a clock's tick.
SETTLED_NS: Final = 2 * 10**9


def raw_print(root: str, file: RawFile) -> str:
    """Return the fingerprint of a raw file; a local one is hashed once a process until it changes.

    Its inode, size and times say so, the time among them that nobody can set (``ctime``).

    Raises:
        ItemembError: The file has gone or cannot be read.
    """
    try:
        state = os.stat(f"{root}/{file.path}") if is_local(root) else None
    except OSError:
        state = None
    if state is None or time.time_ns() - state.st_ctime_ns < SETTLED_NS:
        return fingerprint(root, file)
    times = state.st_mtime_ns, state.st_ctime_ns
    return _print_once(root, file, (state.st_dev, state.st_ino, state.st_size, *times))


@lru_cache(maxsize=1 << 16)
def _print_once(root: str, file: RawFile, _state: tuple[int, ...]) -> str:
    return fingerprint(root, file)
