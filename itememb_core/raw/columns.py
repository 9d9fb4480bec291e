"""Columns that a layout promises, the check of a file against them, and their canonical types.

One :class:`Column` says a column's name in the file, its name in the canonical table, which Arrow
types are good, and whether it must be there. What does not belong here: file names, engines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.files import RawFile

Kind = Literal["time", "id", "text", "label", "integer", "number", "vector", "pairs"]

EXPECTED: Final[dict[Kind, str]] = {
    "time": "a duration or a timestamp",
    "id": "integer",
    "text": "string",
    "label": "string or integer",
    "integer": "integer",
    "number": "number",
    "vector": "list of numbers",
    "pairs": "list of struct<name string, value string>",
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
}
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
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
    """

    source: str
    kind: Kind
    required: bool = True
    name: str = ""

    @property
    def target(self) -> str:
        """Its name in the canonical table."""
        return self.name or self.source


def check_schema(
    file: RawFile, footer: pq.FileMetaData | ItemembError, columns: Sequence[Column]
) -> ItemembError | None:
    """The first fault of a file's schema, or its footer's fault; None for a good file."""
    if isinstance(footer, ItemembError):
        return footer
    schema = footer.schema.to_arrow_schema()
    for column in columns:
        found = schema.get_all_field_indices(column.source)
        expected = f"expected {EXPECTED[column.kind]}"
        if not found and column.required:
            have = ", ".join(schema.names[:12])
            return ItemembError(
                f"{file.path}: column '{column.source}' is missing (found {have}), {expected}"
            )
        if len(found) > 1:
            return ItemembError(
                f"{file.path}: column '{column.source}' stands {len(found)} times, expected once"
            )
        if found and not _fits(schema.field(found[0]).type, column.kind):
            kind = schema.field(found[0]).type
            return ItemembError(f"{file.path}: column '{column.source}' is {kind}, {expected}")
    return None


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
    return value.cast(CANONICAL[column.kind])


def out_of_range(rows: ir.Table, column: Column, found: pa.DataType | None) -> ir.BooleanValue:
    """Whether a number stands in the column that does not fit into int64."""
    if found is None or pa.types.is_null(found):
        return cast(ir.BooleanValue, ibis.literal(False))
    value = rows[column.source]
    given = value.notnull()
    if pa.types.is_floating(found):
        given = given & ~cast(ir.FloatingColumn, value).isnan()
    return cast(ir.BooleanValue, given & _int64(value, found).isnull())


def _timestamp(value: ir.Value, found: pa.DataType, epoch: date) -> ir.Value:
    """Timestamp without zone (UTC), microseconds; times far off are clipped, never overflow."""
    if not pa.types.is_duration(found):
        zoned = value.cast("timestamp('UTC', 6)") if found.tz else value
        return zoned.cast("timestamp(6)")
    ticks = cast(ir.IntegerValue, value)  # engines read durations as bare integers
    if found.unit == "ns":
        # Floor. Exact: the dividend is a multiple of 1000, the quotient is below 2**53. The
        # remainder is made positive because engines give it the sign of the dividend.
        clipped = cast(ir.IntegerValue, ticks.clip(-_FARTHEST_US * 100, _FARTHEST_US * 100))
        micros = ((clipped - (clipped % 1000 + 1000) % 1000) / 1000).round().cast("int64")
    else:
        factor = _MICROSECONDS[found.unit]
        limit = _FARTHEST_US // factor
        micros = cast(ir.IntegerValue, ticks.clip(-limit, limit) * factor)
    start = ibis.timestamp(epoch.isoformat())
    return (start + cast(ir.IntegerValue, micros).as_interval("us")).cast("timestamp(6)")


def _int64(value: ir.Value, found: pa.DataType) -> ir.Value:
    """int64, null where the number does not fit."""
    if pa.types.is_floating(found):
        number = cast(ir.FloatingColumn, value)
        fits = ~number.isnan() & (number.abs() < 2.0**63)
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


def _fits(kind: pa.DataType, wanted: Kind) -> bool:
    """Whether an Arrow type is good for a kind. A column of type null holds no value: good."""
    if pa.types.is_null(kind):
        return wanted != "time"
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
        "pairs": pa.types.is_struct(item) and {"name", "value"} <= {f.name for f in item},
    }
    return bool(checks[wanted])
