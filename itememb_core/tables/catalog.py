"""The catalog: items files of all catalog channels, united with ids seen only in events.

What does not belong here: columns of a layout's files, receipt items.
"""

from dataclasses import replace
from typing import Final, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core.raw import RawScan, read_table
from itememb_core.raw.columns import not_finite
from itememb_core.raw.ozon import CATEGORIES
from itememb_core.raw.reader import conform, empty_table
from itememb_core.schemas import CATALOG
from itememb_core.services import CATALOG_CHANNELS, RECEIPT_DOMAIN
from itememb_core.settings import DomainSettings
from itememb_core.tables.clean import (
    ID_OUT_OF_RANGE,
    ITEM_ID_MISSING,
    ITEM_ID_OTHER_DOMAIN,
    PRICE_NOT_FINITE,
    first_reason,
)
from itememb_core.tables.domains import domain_of, has_catalog_prefix
from itememb_core.tables.merge import MergedRows, check_widths, merged_rows

CATEGORY_ID_MISSING: Final = "category_id_missing"

VECTORS: Final = ("embedding", "image_embedding", "text_embedding")

_SOURCED: Final = [*CATALOG, ("source_file", pa.string()), ("source_row", pa.int64())]
_RAW: Final = pa.schema([*_SOURCED, ("id_out_of_range", pa.bool_())])
_VALIDATED: Final = pa.schema([*_SOURCED, ("reason", pa.string())])


def read_catalog(
    con: ibis.BaseBackend, scan: RawScan, seen_items: ir.Table | None, domains: DomainSettings
) -> MergedRows:
    """Catalog items, listed or only seen; columns of :data:`itememb_core.schemas.CATALOG`.

    Args:
        con: The engine.
        scan: The raw folder; a missing items file, or column in it, is normal and gives nulls.
        seen_items: Any table with an ``item_id`` column of events (receipts too); ids without a
            catalog prefix and repeated ids do not matter. None: no events.
        domains: Item id prefixes.

    Raises:
        ItemembError: An items file is bad, or vectors of one of its columns differ in length.
    """
    merged = merged_rows(_listed(con, scan, domains), "item_id", CATALOG.names)
    items = conform(merged.rows.mutate(listed=True), CATALOG)
    if seen_items is not None:
        items = items.union(_unlisted(items, seen_items, domains))
    categories = read_table(con, scan, CATEGORIES)
    if categories is not None:
        merged = _counted(merged, categories)
    return replace(merged, rows=items)


def _counted(merged: MergedRows, categories: ir.Table) -> MergedRows:
    """Count the rows of categories, which items take their names from, and reject those without id.

    The first row of an id that has a value gives it; all of them count as clean.
    """
    plain = cast(ir.StringValue, categories.catalogid)
    missing = first_reason({CATEGORY_ID_MISSING: plain.isnull() | (plain.strip() == "")})
    named = categories.mutate(category=categories.catalogpath, reason=missing)
    validated = conform(named, _VALIDATED)
    counts = validated.group_by("source_file", "reason").agg(n=validated.count())
    return replace(
        merged,
        rejected=merged.rejected.union(validated.filter(validated.reason.notnull())),
        counts=merged.counts.union(counts),
    )


def _listed(con: ibis.BaseBackend, scan: RawScan, domains: DomainSettings) -> ir.Table:
    """Rows of every items file with ``domain``, their source and ``reason``."""
    parts = [empty_table(_VALIDATED)]
    for channel in CATALOG_CHANNELS:
        rows = read_table(con, scan, f"{channel}_items")
        if rows is None:
            continue
        rows = conform(rows, _RAW)
        check_widths(rows, VECTORS)
        rows = rows.mutate(
            domain=domain_of(rows.item_id, domains), category_path=_category_path(rows)
        )
        parts.append(conform(rows.mutate(reason=_reason(rows, channel)), _VALIDATED))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def _category_path(rows: ir.Table) -> ir.Value:
    """The layout's path, else category and subcategory; null: neither is known.

    Levels that are null or blank are left out, and blanks at the ends of others: one null would
    make the whole path unknown.
    """
    named = ibis.array([rows.category, rows.subcategory])
    whole = cast(ir.ArrayValue, ibis.coalesce(rows.category_path, named))
    path = whole.filter(lambda name: name.notnull() & (name.strip() != "")).map(
        lambda name: name.strip()
    )
    return (path.length() > 0).ifelse(path, ibis.null())


def _reason(rows: ir.Table, channel: str) -> ir.StringValue:
    """The first rule that an items row breaks; null for a clean one."""
    item = cast(ir.StringValue, rows.item_id)
    return first_reason(
        {
            ID_OUT_OF_RANGE: rows.id_out_of_range,
            ITEM_ID_MISSING: item.isnull() | (item.strip() == ""),
            ITEM_ID_OTHER_DOMAIN: rows.domain != channel,
            PRICE_NOT_FINITE: not_finite(rows.price),
        }
    )


def _unlisted(items: ir.Table, seen_items: ir.Table, domains: DomainSettings) -> ir.Table:
    """Catalog ids that no items file lists, with null attributes."""
    seen = seen_items.select(item_id=seen_items.item_id.cast("string")).distinct()
    seen = seen.mutate(domain=domain_of(seen.item_id, domains))
    seen = seen.filter(has_catalog_prefix(seen.item_id, domains) & (seen.domain != RECEIPT_DOMAIN))
    return conform(seen.anti_join(items, "item_id").mutate(listed=False), CATALOG)
