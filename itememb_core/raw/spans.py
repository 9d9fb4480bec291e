"""The days of files of many days, and days too far from all others to be meant.

What does not belong here: which files have many days, which rows belong to which day.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.columns import Column, check_schema
from itememb_core.raw.files import FIRST_DAY, LAST_DAY, DayRules, RawFile, one_line, read_footer
from itememb_core.raw.listing import filesystem

_TICKS_A_DAY: Final = {
    "s": 86_400,
    "ms": 86_400 * 10**3,
    "us": 86_400 * 10**6,
    "ns": 86_400 * 10**9,
}
_UNIX: Final = date(1970, 1, 1)
#: Names the setting, for people whose days are right.
_ALLOW: Final = "raw.max_gap_days"

#: Days since 1970 to how much there is of them.
Days = dict[int, int]


@dataclass(frozen=True)
class _Group:
    """Days without a long gap between two that follow one another."""

    first: int
    last: int
    weight: int


def with_spans(
    root: str,
    files: Iterable[RawFile],
    columns: Callable[[RawFile], Sequence[Column]],
    rules: DayRules,
) -> list[RawFile]:
    """Files of events with the days they span; one without rows gets none.

    A file that cannot be read, lacks a column, or has rows far from its others has a fault; where
    its days cannot be found, nobody can say which it spoils, and it may hold any.

    Args:
        root: The raw folder.
        files: Event files of many days.
        columns: The columns of a file; ``timestamp`` is among them.
        rules: The epoch, and how far days may be apart.
    """
    return [_with_span(root, file, columns(file), rules) for file in files]


def mark_far(files: Sequence[RawFile], rules: DayRules) -> tuple[RawFile, ...]:
    """The files, those whose days are too far from all others' marked as lost, with a fault.

    Of days on both sides of a gap, those are meant that are more; of as many, the earlier ones.
    """
    spans = {file.path: file.first_last for file in files if not file.lost}
    ends = {path: (_number(s[0]), _number(s[1])) for path, s in spans.items() if s}
    groups = _groups(sorted(set(ends.values())), rules.max_gap_days)
    if len(groups) < 2:
        return tuple(files)
    main = max(groups, key=lambda group: (group.weight, -group.first))
    faults: dict[str, str] = {}
    for group in groups:
        those = [path for path, (first, _) in ends.items() if group.first <= first <= group.last]
        if group != main:
            faults |= dict.fromkeys(those, _far_fault(sorted(those), group, main, rules))
    return tuple(
        replace(file, fault=faults[file.path], lost=True, any_day=False)
        if file.path in faults
        else file
        for file in files
    )


def _far_fault(paths: Sequence[str], group: _Group, main: _Group, rules: DayRules) -> str:
    others = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
    return f"{paths[0]}{others}: found {_apart(group, main)}, {_expected(rules)}"


def _apart(group: _Group, main: _Group) -> str:
    """Where a group lies, seen from the main one."""
    gap = group.first - main.last if group.first > main.last else main.first - group.last
    days = f"{_shown(group.first)} to {_shown(group.last)}"
    days = _shown(group.first) if group.first == group.last else days
    return f"{days}, {gap} days from the others ({_shown(main.first)} to {_shown(main.last)})"


def _expected(rules: DayRules) -> str:
    return f"expected at most {rules.max_gap_days} days (if they are right: --set {_ALLOW}=...)"


def _with_span(root: str, file: RawFile, columns: Sequence[Column], rules: DayRules) -> RawFile:
    if file.fault:
        return replace(file, any_day=not file.lost)
    time = next(column for column in columns if column.target == "timestamp")
    try:
        footer = read_footer(root, file)
    except ItemembError as unreadable:
        return replace(file, fault=str(unreadable), any_day=True)
    error = check_schema(file, footer, columns)
    if check_schema(file, footer, [time]):
        return replace(file, fault=str(error), any_day=True)
    if footer.num_rows == 0:
        return replace(file, fault=str(error) if error else None)
    try:
        found = _spanned(root, file, footer, time.source, rules)
    except ItemembError as fault:
        return replace(file, fault=str(fault), any_day=True)
    return replace(found, fault=str(error)) if error else found


def _spanned(
    root: str, file: RawFile, footer: pq.FileMetaData, source: str, rules: DayRules
) -> RawFile:
    """The file with its span; the time column itself is read only where statistics do not do."""
    kind = footer.schema.to_arrow_schema().field(source).type
    zero = _number(rules.epoch) if pa.types.is_duration(kind) else 0
    bounds = _statistics(footer, source, kind)
    if bounds and bounds[1] - bounds[0] <= rules.max_gap_days and _are_days(bounds, zero):
        return replace(file, span=(_date(bounds[0] + zero), _date(bounds[1] + zero)))
    days = {day + zero: n for day, n in _read(root, file, source).items()}
    if not days:
        fault = f"{file.path}: column '{source}' holds no value, expected times"
        return replace(file, fault=fault, lost=True)
    groups = _groups([(day, day) for day in sorted(days)], rules.max_gap_days, days)
    main = max(groups, key=lambda group: (group.weight, -group.first))
    if not _are_days((main.first, main.last), 0):
        fault = f"{file.path}: column '{source}' holds times beyond any date"
        return replace(file, fault=f"{fault}, expected {FIRST_DAY} to {LAST_DAY}", lost=True)
    span = (_date(main.first), _date(main.last))
    for group in groups:
        if group != main:
            where = f"{file.path}: column '{source}' has {group.weight} rows of"
            return replace(
                file, span=span, fault=f"{where} {_apart(group, main)}, {_expected(rules)}"
            )
    return replace(file, span=span)


def _groups(
    spans: Sequence[tuple[int, int]], longest: int, weights: Days | None = None
) -> list[_Group]:
    """Sorted spans as groups between which more than ``longest`` days lie.

    A group weighs the rows of its days, or as many days as its spans cover.
    """
    groups: list[_Group] = []
    for first, last in spans:
        weight = weights[first] if weights else last - first + 1
        if not groups or first - groups[-1].last > longest:
            groups.append(_Group(first, last, weight))
            continue
        before = groups[-1]
        if not weights:
            weight = max(0, last - max(first, before.last + 1) + 1)
        groups[-1] = _Group(before.first, max(before.last, last), before.weight + weight)
    return groups


def _statistics(footer: pq.FileMetaData, source: str, kind: pa.DataType) -> tuple[int, int] | None:
    """First and last day by the footer, from 1970 or the epoch; None where it does not know."""
    paths = [footer.schema.column(i).path for i in range(footer.num_columns)]
    index, found = paths.index(source), []
    for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
        facts = group.column(index).statistics
        if facts is not None and facts.has_min_max:
            try:
                found += [_day(facts.min, kind), _day(facts.max, kind)]
            except (ValueError, OverflowError):
                return None
        elif group.num_rows and (facts is None or facts.null_count != group.num_rows):
            return None
    return (min(found), max(found)) if found else None


def _day(value: Any, kind: pa.DataType) -> int:
    """The day (UTC) of a duration's ticks or of a moment."""
    ticks = value if isinstance(value, int) else pa.scalar(value, kind).cast(pa.int64()).as_py()
    return int(ticks // _TICKS_A_DAY[kind.unit])


def _read(root: str, file: RawFile, source: str) -> Days:
    """The days of all rows, by reading the one column.

    Raises:
        ItemembError: It cannot be read.
    """
    fs, path = filesystem(root)
    found: Counter[int] = Counter()
    try:
        with fs.open(f"{path}/{file.path}", "rb") as stream, pq.ParquetFile(stream) as parquet:
            for batch in parquet.iter_batches(columns=[source]):
                found.update(_days(batch.column(0)))
    except (OSError, pa.ArrowException, ValueError, MemoryError) as error:
        raise ItemembError(
            f"{file.path}: not readable as Parquet ({one_line(error)}), expected a whole file"
        ) from error
    return found


def _days(values: pa.Array) -> Days:
    a_day = _TICKS_A_DAY[values.type.unit]
    ticks = values.cast(pa.int64()).drop_null()
    whole = pc.divide(ticks, a_day)  # toward zero
    below = pc.less(ticks, pc.multiply(whole, a_day)).cast(pa.int64())
    counted = pc.subtract(whole, below).value_counts()
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _are_days(bounds: tuple[int, int], zero: int) -> bool:
    return _number(FIRST_DAY) <= bounds[0] + zero and bounds[1] + zero <= _number(LAST_DAY)


def _number(day: date) -> int:
    return (day - _UNIX).days


def _date(number: int) -> date:
    return _UNIX + timedelta(days=number)


def _shown(number: int) -> str:
    """A day for people; one that no calendar has, by its distance from 1970."""
    if _number(FIRST_DAY) <= number <= _number(LAST_DAY):
        return str(_date(number))
    return f"a time {abs(number) // 366} years {'before' if number < 0 else 'after'} 1970"
