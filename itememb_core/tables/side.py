"""Users, brands, reviews and payments events: cleaned and kept, though no stage uses them yet.

What does not belong here: events of items (``clean``), items (``catalog``).
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core.raw import RawScan, read_table
from itememb_core.raw.columns import not_finite
from itememb_core.raw.reader import conform, empty_table
from itememb_core.schemas import BRANDS, PAYMENTS_EVENTS, REVIEWS, USERS
from itememb_core.tables.clean import (
    ID_OUT_OF_RANGE,
    PRICE_NOT_FINITE,
    SOURCE,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_DAY,
    USER_ID_MISSING,
    first_reason,
    mark_duplicates,
)
from itememb_core.tables.merge import MergedRows, check_widths, merged_rows

BRAND_ID_MISSING: Final = "brand_id_missing"
RATING_NOT_FINITE: Final = "rating_not_finite"

_SOURCED: Final = [("source_file", pa.string()), ("source_row", pa.int64())]


def read_users(con: ibis.BaseBackend, scan: RawScan) -> MergedRows:
    """Users, one row an id: columns of :data:`itememb_core.schemas.USERS`.

    Args:
        con: The engine.
        scan: The raw folder; without a file there are no rows.

    Raises:
        ItemembError: The file is bad.
    """
    rows = _raw_rows(con, scan, "users", USERS)
    validated = _validated(rows, {USER_ID_MISSING: rows.user_id.isnull()})
    return merged_rows(validated, "user_id", USERS.names)


def read_brands(con: ibis.BaseBackend, scan: RawScan) -> MergedRows:
    """Brands, one row an id: columns of :data:`itememb_core.schemas.BRANDS`.

    Args:
        con: The engine.
        scan: The raw folder; without a file there are no rows.

    Raises:
        ItemembError: The file is bad, or vectors differ in length.
    """
    rows = _raw_rows(con, scan, "brands", BRANDS)
    check_widths(rows, ["embedding"])
    validated = _validated(rows, {BRAND_ID_MISSING: rows.brand_id.isnull()})
    return merged_rows(validated, "brand_id", BRANDS.names)


def read_reviews(con: ibis.BaseBackend, scan: RawScan, days: Iterable[date]) -> ir.Table:
    """All reviews of some days, each with a reason or none.

    Args:
        con: The engine.
        scan: The raw folder.
        days: Days; those without a file give no rows.

    Returns:
        Columns of :data:`itememb_core.schemas.REVIEWS`, ``reason`` (null: clean) and ``month``.

    Raises:
        ItemembError: A file is bad, or vectors differ in length.
    """
    rows = _raw_rows(con, scan, "reviews", REVIEWS, days)
    check_widths(rows, ["embedding"])
    rules = {
        USER_ID_MISSING: rows.user_id.isnull(),
        BRAND_ID_MISSING: rows.brand_id.isnull(),
        RATING_NOT_FINITE: not_finite(rows.rating),
    }
    return _daily(rows, REVIEWS, rules)


def read_payments_events(con: ibis.BaseBackend, scan: RawScan, days: Iterable[date]) -> ir.Table:
    """All payments of some days, each with a reason or none.

    Args:
        con: The engine.
        scan: The raw folder.
        days: Days; those without a file give no rows.

    Returns:
        Columns of :data:`itememb_core.schemas.PAYMENTS_EVENTS`, ``reason`` (null: clean) and
        ``month``.

    Raises:
        ItemembError: A file is bad.
    """
    rows = _raw_rows(con, scan, "payments", PAYMENTS_EVENTS, days)
    rules = {
        TIMESTAMP_MISSING: rows.timestamp.isnull(),
        USER_ID_MISSING: rows.user_id.isnull(),
        PRICE_NOT_FINITE: not_finite(rows.price),
    }
    return _daily(rows, PAYMENTS_EVENTS, rules)


def _raw_rows(
    con: ibis.BaseBackend,
    scan: RawScan,
    name: str,
    schema: pa.Schema,
    days: Iterable[date] | None = None,
) -> ir.Table:
    """The schema's columns, the source and ``id_out_of_range``; no rows without a file."""
    names = set(schema.names)
    sourced = [*schema, *(field for field in _SOURCED if field[0] not in names)]
    wanted = pa.schema([*sourced, ("id_out_of_range", pa.bool_())])
    rows = read_table(con, scan, name, days)
    if rows is None:
        return empty_table(wanted)
    return conform(rows.rename(day="file_day") if days is not None else rows, wanted)


def _validated(rows: ir.Table, rules: Mapping[str, ir.Value]) -> ir.Table:
    """Add the first reason; ids out of range are tried before missing ones, which they become."""
    reason = first_reason({ID_OUT_OF_RANGE: rows.id_out_of_range, **rules})
    return rows.mutate(reason=reason).drop("id_out_of_range")


def _daily(rows: ir.Table, schema: pa.Schema, rules: Mapping[str, ir.Value]) -> ir.Table:
    """Add the reason (also for times of another day and repeated rows) and the month."""
    outside = {TIMESTAMP_OUTSIDE_DAY: rows.timestamp.cast("date") != rows.day}
    validated = _validated(rows, {**outside, **rules})
    marked = mark_duplicates(validated, [name for name in schema.names if name not in SOURCE])
    return marked.mutate(month=marked.day.strftime("%Y-%m"))
