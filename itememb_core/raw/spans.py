"""First and last day of files of many days, from footers' statistics where there are any.

What does not belong here: which files have many days, which rows belong to which day.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.columns import Column, good_footers
from itememb_core.raw.files import RawFile, filesystem

#: A log that claims to be longer holds a wrong time: every day between would become a partition.
LONGEST_YEARS: Final = 20
_TICKS_A_DAY: Final = {
    "s": 86_400,
    "ms": 86_400 * 10**3,
    "us": 86_400 * 10**6,
    "ns": 86_400 * 10**9,
}

#: Lowest and highest value of a time column: ticks of a duration, or moments.
Bounds = tuple[int, int] | tuple[datetime, datetime]


def with_spans(
    root: str,
    files: Iterable[RawFile],
    columns: Callable[[RawFile], Sequence[Column]],
    epoch: date,
) -> list[RawFile]:
    """Files of events with the days they span; one without rows gets none.

    Args:
        root: The raw folder.
        files: Event files of many days.
        columns: The columns of a file; ``timestamp`` is among them.
        epoch: The date of a duration of 0.

    Raises:
        ItemembError: A file cannot be read or lacks a column: which of its days it spoils nobody
            can say. Its times are more than ``LONGEST_YEARS`` apart, or it has rows but no time.
    """
    found = []
    for file, footer in good_footers(root, files, columns).items():
        source = next(c.source for c in columns(file) if c.target == "timestamp")
        found.append(replace(file, span=_span(root, file, footer, source, epoch)))
    return found


def _span(
    root: str, file: RawFile, footer: pq.FileMetaData, source: str, epoch: date
) -> tuple[date, date] | None:
    if footer.num_rows == 0:
        return None
    kind = footer.schema.to_arrow_schema().field(source).type
    try:
        known, bounds = _statistics(footer, source)
        if not known:
            bounds = _read(root, file, source)
        if bounds is None:
            raise ItemembError(f"{file.path}: column '{source}' holds no value, expected times")
        first, last = (_day(value, kind, epoch) for value in bounds)
    except (ValueError, OverflowError) as error:
        raise ItemembError(f"{file.path}: column '{source}' holds times beyond any date") from error
    if last - first > timedelta(days=366 * LONGEST_YEARS):
        raise ItemembError(
            f"{file.path}: column '{source}' goes from {first} to {last}, "
            f"expected at most {LONGEST_YEARS} years"
        )
    return first, last


def _statistics(footer: pq.FileMetaData, source: str) -> tuple[bool, Bounds | None]:
    """Whether the footer knows the bounds, and the bounds; None where every value is null."""
    paths = [footer.schema.column(i).path for i in range(footer.num_columns)]
    index, found = paths.index(source), []
    for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
        facts = group.column(index).statistics
        if facts is not None and facts.has_min_max:
            found += [facts.min, facts.max]
        elif group.num_rows and (facts is None or facts.null_count != group.num_rows):
            return False, None
    return True, (min(found), max(found)) if found else None


def _read(root: str, file: RawFile, source: str) -> Bounds | None:
    """Bounds by reading the one column."""
    fs, path = filesystem(root)
    found = []
    with fs.open(f"{path}/{file.path}", "rb") as stream, pq.ParquetFile(stream) as parquet:
        for batch in parquet.iter_batches(columns=[source]):
            values = batch.column(0)
            if pa.types.is_duration(values.type):
                values = values.cast(pa.int64())
            low_high = pc.min_max(values)
            found += [v.as_py() for v in (low_high["min"], low_high["max"]) if v.is_valid]
    return (min(found), max(found)) if found else None


def _day(value: Any, kind: pa.DataType, epoch: date) -> date:
    """The day (UTC) of a duration's ticks or of a moment."""
    if pa.types.is_duration(kind):
        return epoch + timedelta(days=value // _TICKS_A_DAY[kind.unit])
    moment: datetime = value.astimezone(UTC) if value.tzinfo else value
    return moment.date()
