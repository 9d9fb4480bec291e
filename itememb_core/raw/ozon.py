"""The Ozon layout (E-CUP recommendation data): orders, tracker and items of one marketplace.

What belongs here: its folders, columns, and how its ids, orders and categories become canonical
ones. What its actions and statuses mean stands in :mod:`itememb_core.services`; from when a status
counts, in :mod:`itememb_core.tables.clean`.
"""

from dataclasses import replace
from typing import Final, cast

import ibis
import ibis.expr.types as ir

from itememb_core.raw.columns import Column, good_footers
from itememb_core.raw.files import (
    DayRules,
    RawFile,
    RawScan,
    folder_file,
    stem_of,
    table_file,
    unique,
)
from itememb_core.raw.listing import Entry, list_folder
from itememb_core.raw.reader import canonical_rows
from itememb_core.raw.spans import with_spans
from itememb_core.services import MARKETPLACE, ORDER

LAYOUT: Final = "ozon"
ITEMS: Final = f"{MARKETPLACE}_items"
CATEGORIES: Final = "categories"

#: Folder of Parquet files of any name to what its rows are.
FOLDERS: Final = {"orders": MARKETPLACE, "tracker": MARKETPLACE, "items": ITEMS}

#: Where its files lie, for people: folders, and a file that stands alone.
KNOWN: Final = (*(f"{folder}/" for folder in FOLDERS), f"{CATEGORIES}.parquet")

#: Columns by folder; of the categories by the file's stem.
COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "orders": (
        Column("item_id", "label"),
        Column("user_id", "id"),
        Column("created_timestamp", "time", name="timestamp"),
        Column("last_status", "text", name="status"),
        Column("last_status_timestamp", "time", name="status_timestamp"),
    ),
    "tracker": (
        Column("item_id", "label"),
        Column("user_id", "id"),
        Column("timestamp", "time"),
        Column("action_type", "text", name="action"),
        Column("action_widget", "text", required=False, name="subdomain"),
    ),
    "items": (
        Column("item_id", "label"),
        Column("itemname", "text", required=False, name="title"),
        Column("attributes", "pairs", required=False, fields=("attribute_name", "attribute_value")),
        Column("fclip_embed", "vector", required=False, name="image_embedding"),
        Column("catalogid", "label", required=False),
        Column("variant_id", "label", required=False),
        Column("model_id", "label", required=False),
    ),
    CATEGORIES: (
        Column("catalogid", "label"),
        Column("catalogpath", "text", required=False),
        Column("ids", "labels"),
    ),
}
#: What the list of a category's ids ends with: no category, but the root of all.
_ROOT: Final = "-1"


def find(root: str, rules: DayRules) -> tuple[RawFile, ...]:
    """Every file of the layout below ``root``, sorted by path; empty where there is none.

    What is no Parquet file, and an event file whose days cannot be found, have a fault.
    """
    files = [
        _table_file(path, name, entry)
        for folder, name in FOLDERS.items()
        for path, entry in list_folder(root, folder).items()
    ]
    if not any(stem_of(file.path) for file in files):
        files = []  # folders of such names are common
    events = [file for file in files if file.name == MARKETPLACE]
    items = [file for file in files if file.name == ITEMS]
    single = unique(
        table_file(path, CATEGORIES, entry)
        for path, entry in list_folder(root).items()
        if stem_of(path) == CATEGORIES
    )
    found = [*with_spans(root, events, columns, rules), *items, *single]
    return tuple(sorted(found, key=lambda file: file.path))


def _table_file(path: str, name: str, entry: Entry) -> RawFile:
    """A file of a folder, by any name that ends as it should."""
    if path in FOLDERS:
        return folder_file(path, name, entry)
    file = table_file(path, name, entry)
    if stem_of(path) or file.fault:
        return file
    return replace(file, fault=f"{path}: expected a file that ends in .parquet or .pq", lost=True)


def columns(file: RawFile) -> tuple[Column, ...]:
    """The columns of a file."""
    return COLUMNS[file.path.partition("/")[0] if "/" in file.path else CATEGORIES]


def shape(con: ibis.BaseBackend, scan: RawScan, name: str, rows: ir.Table) -> ir.Table:
    """Ids with the marketplace's prefix; orders as events; items with categories and groups.

    Args:
        con: The engine.
        scan: The raw folder.
        name: The channel, its items, or the categories, whose rows stay as they are.
        rows: What :data:`COLUMNS` of one folder name.
    """
    if name == CATEGORIES:
        return rows
    plain = cast(ir.StringValue, rows.item_id).strip().nullif("")
    rows = rows.mutate(item_id=ibis.literal(scan.domains.marketplace) + plain)
    if name == MARKETPLACE:
        if "status" not in rows.columns:
            return rows
        # An order without a status is no order without statuses: "" is an unknown one.
        return rows.mutate(action=ibis.literal(ORDER), status=rows.status.fill_null(""))
    variant = ibis.literal("variant ") + rows.variant_id
    rows = rows.mutate(group_id=ibis.coalesce(rows.model_id, variant))
    return _with_categories(con, scan, rows)


def _with_categories(con: ibis.BaseBackend, scan: RawScan, items: ir.Table) -> ir.Table:
    """Items with ``category`` (the highest), ``subcategory`` (the item's own), ``category_path``.

    A category is named by its path, by its id where the table has no path for it; those of
    ``category_path`` by their ids.
    """
    found = _categories(con, scan)
    if found is None:
        return items.mutate(category=ibis.null("string"), subcategory=items.catalogid)
    tops = found.select(top="catalogid", top_path="catalogpath").view()
    named = found.left_join(tops, "top").select(
        "catalogid",
        "category_path",
        category=ibis.coalesce(tops.top_path, found.top),
        subcategory=found.catalogpath,
    )
    joined = items.left_join(named, "catalogid").drop("catalogid_right")
    return joined.mutate(subcategory=ibis.coalesce(joined.subcategory, joined.catalogid))


def _categories(con: ibis.BaseBackend, scan: RawScan) -> ir.Table | None:
    """One row an id (catalogid, catalogpath, top, category_path); None without a file.

    Of an id in several rows the first values count.
    """
    footers = good_footers(scan.root, scan.static_files(CATEGORIES), columns, deep=True)
    if not footers:
        return None
    rows = canonical_rows(con, scan, footers, COLUMNS[CATEGORIES])
    ids = cast(ir.ArrayValue, rows.ids).filter(lambda one: one != _ROOT)
    path = ibis.range(ids.length()).map(lambda n: ids[ids.length() - 1 - n])
    rows = rows.mutate(  # Spark makes an empty list of the ids of none
        top=(ids.length() > 0).ifelse(ids[ids.length() - 1], ibis.null()),
        category_path=(ids.length() > 0).ifelse(path, ibis.null()),
    )
    return rows.group_by("catalogid").agg(
        **{
            name: rows[name].argmin(rows.source_row, where=rows[name].notnull())
            for name in ("catalogpath", "top", "category_path")
        }
    )
