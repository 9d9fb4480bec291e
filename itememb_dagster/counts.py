"""Counts of raw files, from each day's stamp to the inventory."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

import ibis

from itememb_core.raw import RawScan, day_rows
from itememb_core.tables import FileCount
from itememb_dagster.lake import Key, Lake, Stamp
from itememb_dagster.stage import Stage


def with_file_rows(
    stage: Stage, stamps: Mapping[str | None, Stamp], scan: RawScan, con: ibis.BaseBackend
) -> dict[str | None, Stamp]:
    """Add each raw file's own row count (by its footer) to the stamps of its day."""
    days = [date.fromisoformat(str(segment).partition("=")[2]) for segment in stamps]
    rows: dict[tuple[str, date | None], int] = {}
    for channel in stage.raw:
        rows |= day_rows(con, scan, channel, days)
    return {
        segment: replace(
            stamp,
            counts={
                **stamp.counts,
                "files": {
                    path: {**facts, "rows": rows[path, day]}
                    for path, facts in stamp.counts["files"].items()
                },
            },
        )
        for day, (segment, stamp) in zip(days, stamps.items(), strict=True)
    }


def stored_counts(lake: Lake, key: Key) -> Iterator[FileCount]:
    """Yield what the days of a channel's table counted of their raw files."""
    for segment in lake.segments(key):
        stamp = lake.stamp(key, segment)
        if stamp is None:
            continue
        day = date.fromisoformat(segment.partition("=")[2])
        for path, facts in stamp.counts.get("files", {}).items():
            yield FileCount(
                path, day, facts["fingerprint"], facts["rows"], facts["clean"], facts["rejected"]
            )
