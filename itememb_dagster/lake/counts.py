"""Counts of raw files, from each segment's stamp to the inventory."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

from itememb_core.raw import count_rows, day_rows
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
