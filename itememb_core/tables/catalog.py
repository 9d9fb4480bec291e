"""The catalog: items files of all catalog channels, united with ids seen only in events.

What does not belong here: columns of a layout's files, receipt items.
"""

from dataclasses import dataclass
from typing import Final, cast

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core.channels import CATALOG_CHANNELS, RECEIPT_DOMAIN
from itememb_core.errors import ItemembError
from itememb_core.raw import RawScan, read_items
from itememb_core.raw.reader import conform, empty_table
from itememb_core.schemas import CATALOG
from itememb_core.settings import DomainSettings
from itememb_core.tables.clean import (
    ID_OUT_OF_RANGE,
    ITEM_ID_MISSING,
    ITEM_ID_OTHER_DOMAIN,
    PRICE_NOT_FINITE,
)
from itememb_core.tables.domains import domain_of, has_catalog_prefix

VECTORS: Final = ("embedding", "image_embedding", "text_embedding")

_LISTED: Final = pa.schema(
    [
        *CATALOG,
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class CatalogRows:
    """The catalog and what became of every row of the items files.

    Attributes:
        items: Columns of :data:`itememb_core.schemas.CATALOG`, one row an id.
        rejected: The same columns, ``source_file``, ``source_row``, ``reason``.
        counts: ``source_file``, ``reason`` (null: clean), ``n``, as in
            :func:`itememb_core.tables.day_counts`; merged rows count as clean.
        duplicates: ``item_id``, ``n``: ids with several rows, whose last non-null values won.
    """

    items: ir.Table
    rejected: ir.Table
    counts: ir.Table
    duplicates: ir.Table


def read_catalog(
    con: ibis.BaseBackend, scan: RawScan, seen_items: ir.Table | None, domains: DomainSettings
) -> CatalogRows:
    """Catalog items, listed or only seen.

    Args:
        con: The engine.
        scan: The raw folder; a missing items file, or column in it, is normal and gives nulls.
        seen_items: Any table with an ``item_id`` column of events (receipts too); ids without a
            catalog prefix and repeated ids do not matter. None: no events.
        domains: Item id prefixes.

    Raises:
        ItemembError: An items file is bad, or vectors of one of its columns differ in length.
    """
    listed = _listed(con, scan, domains)
    clean = listed.filter(listed.reason.isnull())
    items, duplicates = merge_duplicates(clean)
    items = conform(items.mutate(listed=True), CATALOG)
    if seen_items is not None:
        items = items.union(_unlisted(items, seen_items, domains))
    return CatalogRows(
        items=items,
        rejected=listed.filter(listed.reason.notnull()),
        counts=listed.group_by("source_file", "reason").agg(n=listed.count()),
        duplicates=duplicates,
    )


def merge_duplicates(rows: ir.Table) -> tuple[ir.Table, ir.Table]:
    """One row an id: of each column the last non-null value, by source file and row.

    Only repeated ids are grouped, so vectors of a large catalog are never held in a hash table.

    Args:
        rows: Columns of the catalog, ``source_file``, ``source_row``.

    Returns:
        The rows without their source, and ``item_id``, ``n`` of the repeated ids.
    """
    counted = rows.group_by("item_id").agg(n=rows.count())
    repeated = counted.filter(counted.n > 1)
    ordered = rows.semi_join(repeated, "item_id")
    ordered = ordered.mutate(
        nth=ibis.row_number().over(
            group_by=ordered.item_id, order_by=[ordered.source_file, ordered.source_row]
        )
    )
    values = [name for name in CATALOG.names if name != "item_id"]
    merged = ordered.group_by("item_id").agg(
        **{
            name: ordered[name].argmax(ordered.nth, where=ordered[name].notnull())
            for name in values
        }
    )
    single = rows.anti_join(repeated, "item_id").select("item_id", *values)
    return single.union(merged.select("item_id", *values)), repeated


def _listed(con: ibis.BaseBackend, scan: RawScan, domains: DomainSettings) -> ir.Table:
    """Rows of every items file with ``domain``, their source and ``reason``."""
    parts = [empty_table(_LISTED)]
    for channel in CATALOG_CHANNELS:
        rows = read_items(con, scan, channel)
        if rows is None:
            continue
        _check_widths(rows)
        rows = rows.mutate(domain=domain_of(rows.item_id, domains))
        parts.append(conform(rows.mutate(reason=_reason(rows, channel)), _LISTED))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def _reason(rows: ir.Table, channel: str) -> ir.StringValue:
    """The first rule that an items row breaks; null for a clean one."""
    item, price = cast(ir.StringValue, rows.item_id), cast(ir.FloatingValue, rows.price)
    reason = ibis.cases(
        (rows.id_out_of_range, ID_OUT_OF_RANGE),
        (item.isnull() | (item.strip() == ""), ITEM_ID_MISSING),
        (rows.domain != channel, ITEM_ID_OTHER_DOMAIN),
        (price.isnan() | price.isinf(), PRICE_NOT_FINITE),
        else_=None,
    )
    return cast(ir.StringValue, reason.cast("string"))


def _check_widths(rows: ir.Table) -> None:
    """Every vector of a column of one channel's items has the same number of components."""
    lengths = {name: cast(ir.ArrayValue, rows[name]).length() for name in VECTORS}
    widths = rows.agg(
        source_file=rows.source_file.max(),
        **{f"low_{name}": length.min() for name, length in lengths.items()},
        **{f"high_{name}": length.max() for name, length in lengths.items()},
    )
    (found,) = widths.to_pyarrow().to_pylist()
    for name in VECTORS:
        low, high = found[f"low_{name}"], found[f"high_{name}"]
        if low != high:
            raise ItemembError(
                f"{found['source_file']}: column '{name}' has vectors of {low} and of {high} "
                "numbers, expected one length"
            )


def _unlisted(items: ir.Table, seen_items: ir.Table, domains: DomainSettings) -> ir.Table:
    """Catalog ids that no items file lists, with null attributes."""
    seen = seen_items.select(item_id=seen_items.item_id.cast("string")).distinct()
    seen = seen.mutate(domain=domain_of(seen.item_id, domains))
    seen = seen.filter(has_catalog_prefix(seen.item_id, domains) & (seen.domain != RECEIPT_DOMAIN))
    return conform(seen.anti_join(items, "item_id").mutate(listed=False), CATALOG)
