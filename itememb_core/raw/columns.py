"""Columns that a layout promises, the check of a file against them, and their canonical types.

One :class:`Column` says a column's name in the file, its name in the canonical table, which Arrow
types are good, and whether it must be there. What does not belong here: file names, engines.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.files import RawFile, read_footers
from itememb_core.raw.names import name_fault, near_name

Kind = Literal["time", "id", "text", "label", "integer", "number", "vector", "pairs", "labels"]

EXPECTED: Final[dict[Kind, str]] = {
    "time": "a duration or a timestamp",
    "id": "integer",
    "text": "string",
    "label": "string or integer",
    "integer": "integer",
    "number": "number",
    "vector": "list of numbers",
    "pairs": "list of structs",
    "labels": "list of strings or integers",
}
#: Ibis type of each kind in the canonical table.
CANONICAL: Final[dict[Kind, str]] = {
    "time": "timestamp(6)",
    "id": "int64",
    "text": "string",
    "label": "string",
    "integer": "int64",
    "number": "float64",
    "vector": "array<float32>",
    "pairs": "array<struct<name: string, value: string>>",
    "labels": "array<string>",
}
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NANO: Final = 1_000_000_000
#: 317 years: farther than any day file, near enough for every engine's timestamp.
_FARTHEST_US: Final = 10**16
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True)
class Column:
    """A column of a raw file.

    Attributes:
        source: Its name in the file.
        kind: What it holds.
        required: Whether a file without it is bad.
        name: Its canonical name; the same as ``source`` unless given.
        fields: Of ``pairs``: what the file calls a pair's name and value.
    """

    source: str
    kind: Kind
    required: bool = True
    name: str = ""
    fields: tuple[str, str] = ("name", "value")

    @property
    def target(self) -> str:
        """Its name in the canonical table."""
        return self.name or self.source

    @property
    def expected(self) -> str:
        """What the column should be, for people."""
        if self.kind == "pairs":
            return "list of struct<{} string, {} string>".format(*self.fields)
        return EXPECTED[self.kind]


def check_schema(
    file: RawFile, footer: pq.FileMetaData | ItemembError, columns: Sequence[Column]
) -> ItemembError | None:
    """The first fault of a file's schema, or its footer's fault; None for a good file."""
    if isinstance(footer, ItemembError):
        return footer
    schema = footer.schema.to_arrow_schema()
    fault = name_fault(schema, [column.source for column in columns])
    faults = (_column_fault(schema, column) for column in columns)
    fault = fault or next(filter(None, faults), None)
    return ItemembError(f"{file.path}: {fault}") if fault else None


def _column_fault(schema: pa.Schema, column: Column) -> str | None:
    """What is wrong with one column of a file; None for a good one, or one that may be missing."""
    found = schema.get_all_field_indices(column.source)
    near = near_name(column.source, schema.names)
    if not found and (column.required or near):
        have = f"'{near}', which differs by case" if near else ", ".join(schema.names[:12])
        return f"column '{column.source}' is missing (found {have}), expected {column.expected}"
    if len(found) > 1:
        return f"column '{column.source}' stands {len(found)} times, expected once"
    if found and not _fits(schema.field(found[0]).type, column):
        kind = schema.field(found[0]).type
        return f"column '{column.source}' is {kind}, expected {column.expected}"
    return None


def good_footers(
    root: str,
    files: Iterable[RawFile],
    columns: Callable[[RawFile], Sequence[Column]],
    deep: bool = False,
) -> dict[RawFile, pq.FileMetaData]:
    """Footers of files that are all good; the first fault is raised.

    Args:
        root: The raw folder.
        files: Files of it.
        columns: The columns that a file should have.
        deep: Also read every page, see :func:`~itememb_core.raw.files.read_footer`.

    Raises:
        ItemembError: A file that cannot be read, or a column that is missing or of another type.
    """
    good = {}
    for file, footer in read_footers(root, files, deep).items():
        error = check_schema(file, footer, columns(file))
        if isinstance(footer, ItemembError) or error:
            raise error or footer
        good[file] = footer
    return good


def signature(
    footer: pq.FileMetaData, columns: Sequence[Column]
) -> tuple[tuple[str, pa.DataType], ...]:
    """The wanted columns a file has, with their types: equal ones are read in one query."""
    schema = footer.schema.to_arrow_schema()
    return tuple(
        (column.source, _plain(schema.field(column.source).type))
        for column in columns
        if column.source in schema.names
    )


def canonical_column(
    rows: ir.Table, column: Column, found: pa.DataType | None, epoch: date
) -> ir.Value:
    """A raw column in its canonical type; null of that type where the file lacks it.

    Args:
        rows: The rows as the engine reads them.
        column: What is wanted.
        found: The Arrow type in the file; None if the column is not there.
        epoch: The date of a duration of 0.
    """
    if found is None or pa.types.is_null(found):
        return ibis.null().cast(CANONICAL[column.kind])
    value = rows[column.source]
    if column.kind == "time":
        return _timestamp(value, found, epoch)
    if column.kind in ("id", "integer"):
        return _int64(value, found)
    if column.kind == "pairs":
        name, text = column.fields
        pairs = cast(ir.ArrayValue, value)
        value = pairs.map(
            lambda pair: ibis.struct(
                {"name": pair[name].cast("string"), "value": pair[text].cast("string")}
            )
        )
    return value.cast(CANONICAL[column.kind])


def out_of_range(rows: ir.Table, column: Column, found: pa.DataType | None) -> ir.BooleanValue:
    """Whether a number stands in the column that is not whole or does not fit into int64."""
    if found is None or pa.types.is_null(found):
        return cast(ir.BooleanValue, ibis.literal(False))
    value = rows[column.source]
    given = value.notnull()
    if pa.types.is_floating(found):
        # NaN is what pandas makes of null; infinity, whose arc tangent is finite, is too large.
        given = given & ~not_finite(cast(ir.FloatingValue, value).atan())
    return cast(ir.BooleanValue, given & _int64(value, found).isnull())


def not_finite(value: ir.Value) -> ir.BooleanValue:
    """Whether a number is NaN or infinite; null for null.

    Both have a sine that is NaN. For the value itself, or a monotone function of it, DuckDB
    answers from the statistics of a Parquet file, which leave NaN out, and finds none.
    """
    return cast(ir.FloatingValue, value.cast("float64")).sin().isnan()


def _timestamp(value: ir.Value, found: pa.DataType, epoch: date) -> ir.Value:
    """Timestamp without zone (UTC), microseconds; times far off are clipped, never overflow."""
    if not isinstance(value, ir.IntegerValue):
        zoned = value.cast("timestamp('UTC', 6)") if found.tz else value
        return zoned.cast("timestamp(6)")
    # Engines read durations as bare integers, and Spark timestamps of nanoseconds, too.
    lasting = pa.types.is_duration(found)
    if found.unit == "ns":
        micros = _from_nanoseconds(value, floor=lasting)
    else:
        factor = _MICROSECONDS[found.unit]
        limit = _FARTHEST_US // factor
        micros = cast(ir.IntegerValue, value.clip(-limit, limit) * factor)
    start = ibis.timestamp(epoch.isoformat() if lasting else "1970-01-01")
    return (start + micros.as_interval("us")).cast("timestamp(6)")


def _from_nanoseconds(ticks: ir.IntegerValue, floor: bool) -> ir.IntegerValue:
    """Microseconds, rounded down or, as DuckDB rounds timestamps, to the nearest."""

    def whole(number: ir.IntegerValue, by: int) -> ir.IntegerValue:
        """Quotient toward zero; exact, since it is far below 2**53."""
        quotient = cast(ir.FloatingValue, (number - number % by) / by)
        return cast(ir.IntegerValue, quotient.round().cast("int64"))

    # In two steps, so that every quotient is. A remainder has the sign of its dividend.
    within = ticks % _NANO
    rest = within % 1000
    low, high = (rest < 0, ibis.literal(False)) if floor else (rest <= -500, rest >= 500)
    carry = high.cast("int64") - low.cast("int64")
    return cast(ir.IntegerValue, whole(ticks, _NANO) * 1_000_000 + whole(within, 1000) + carry)


def _int64(value: ir.Value, found: pa.DataType) -> ir.Value:
    """int64, null where the number does not fit or is not whole."""
    if pa.types.is_floating(found):
        number = cast(ir.FloatingColumn, value)
        fits = ~not_finite(number) & (number.abs() < 2.0**63) & (number % 1 == 0)
        return fits.ifelse(number, ibis.null()).cast("int64")
    if pa.types.is_uint64(found):
        return (value <= _INT64_MAX).ifelse(value, ibis.null()).cast("int64")
    return value.cast("int64")


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without its encoding: large, view and dictionary strings read alike."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if _is_text(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _item_type(kind: pa.DataType) -> pa.DataType:
    """What a list holds; null for what is no list."""
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return kind.value_type if is_list else pa.null()


def _fits(kind: pa.DataType, column: Column) -> bool:
    """Whether an Arrow type is good for a column. One of type null holds no value: good."""
    if pa.types.is_null(kind):
        return column.kind != "time"
    kind = _plain(kind)
    item = _item_type(kind)
    checks = {
        "time": pa.types.is_duration(kind) or pa.types.is_timestamp(kind),
        "id": pa.types.is_integer(kind),
        "text": _is_text(kind),
        "label": _is_text(kind) or pa.types.is_integer(kind),
        # pandas writes integers with gaps as floats.
        "integer": pa.types.is_integer(kind) or pa.types.is_floating(kind),
        "number": _is_number(kind),
        "vector": _is_number(item),
        "pairs": pa.types.is_struct(item) and set(column.fields) <= {f.name for f in item},
        "labels": _is_text(item) or pa.types.is_integer(item),
    }
    return bool(checks[column.kind])
