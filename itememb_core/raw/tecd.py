"""The T-ECD layout: one folder a service, one file a day.

What belongs here: its folders, file names and columns. How files are listed, checked and read is
the same for every layout and stands beside this module.
"""

from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.raw.columns import Column
from itememb_core.raw.files import (
    DayRules,
    RawFile,
    RawScan,
    day_file,
    folder_file,
    stem_of,
    table_file,
    unique,
)
from itememb_core.raw.listing import list_folder
from itememb_core.services import CATALOG_CHANNELS, MARKETPLACE, OFFERS, RECEIPTS, RETAIL

LAYOUT: Final = "tecd"

#: Tables that are no channel: their rows are no events of items.
PAYMENTS: Final = "payments"
REVIEWS: Final = "reviews"
USERS: Final = "users"
BRANDS: Final = "brands"

#: Channel or table to the folder that holds its day files.
DAY_FOLDERS: Final = {
    RECEIPTS: "payments/receipts",
    RETAIL: "retail/events",
    MARKETPLACE: "marketplace/events",
    OFFERS: "offers/events",
    PAYMENTS: "payments/events",
    REVIEWS: "reviews",
}

#: Table to its single file, without suffix.
SINGLE_FILES: Final = {
    USERS: "users",
    BRANDS: "brands",
    **{f"{channel}_items": f"{channel}/items" for channel in CATALOG_CHANNELS},
}

_EVENT: Final = (
    Column("timestamp", "time"),
    Column("user_id", "id"),
    Column("item_id", "text"),
    Column("action_type", "text", name="action"),
    Column("subdomain", "text", required=False),
    Column("os", "text", required=False),
)
_ITEM: Final = (
    Column("item_id", "text"),
    Column("brand_id", "integer", required=False),
    Column("category", "label", required=False),
    Column("subcategory", "label", required=False),
    Column("price", "number", required=False),
    Column("title", "text", required=False),
    Column("attributes", "pairs", required=False),
    Column("group_id", "label", required=False),
    Column("embedding", "vector", required=False),
    Column("image_embedding", "vector", required=False),
    Column("text_embedding", "vector", required=False),
)

#: Where its files lie, for people: folders, and files that stand alone.
KNOWN: Final = (
    *(f"{folder}/" for folder in DAY_FOLDERS.values()),
    *(f"{place}.pq" for place in SINGLE_FILES.values()),
)

#: Columns of each channel and table.
COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    RECEIPTS: (
        Column("timestamp", "time"),
        Column("user_id", "id"),
        Column("approximate_item_id", "text", name="item_id"),
        Column("brand_id", "integer", required=False),
        Column("count", "number"),
        Column("price", "number"),
        Column("transaction_hash", "text"),
        Column("title", "text", required=False),
    ),
    **dict.fromkeys(CATALOG_CHANNELS, _EVENT),
    **{f"{channel}_items": _ITEM for channel in CATALOG_CHANNELS},
    USERS: (
        Column("user_id", "id"),
        Column("socdem_cluster", "integer", required=False),
        Column("region", "integer", required=False),
    ),
    BRANDS: (Column("brand_id", "id"), Column("embedding", "vector", required=False)),
    REVIEWS: (
        Column("timestamp", "time", required=False),
        Column("user_id", "id"),
        Column("brand_id", "integer"),
        Column("rating", "number"),
        Column("embedding", "vector", required=False),
    ),
    PAYMENTS: (
        Column("timestamp", "time"),
        Column("user_id", "id"),
        Column("brand_id", "integer", required=False),
        Column("price", "number"),
        Column("transaction_hash", "text"),
    ),
}


def find(root: str, rules: DayRules) -> tuple[RawFile, ...]:
    """Every file of the layout below ``root``, sorted by path; empty where there is none.

    A file in a day folder whose name is no day, and two files for one thing, have a fault.
    """
    files = []
    for name, folder in DAY_FOLDERS.items():
        for path, entry in list_folder(root, folder).items():
            if path == folder:
                files.append(folder_file(path, name, entry))
            else:
                files.append(day_file(path, name, entry, rules.epoch))
    for name, place in SINGLE_FILES.items():
        folder, _, stem = place.rpartition("/")
        for path, entry in list_folder(root, folder).items():
            if path == folder or stem_of(path) == stem:
                files.append(table_file(path, name, entry))
    return tuple(unique(files))


def columns(file: RawFile) -> tuple[Column, ...]:
    """The columns of a file."""
    return COLUMNS[file.name]


def shape(_con: ibis.BaseBackend, _scan: RawScan, _name: str, rows: ir.Table) -> ir.Table:
    """Rows as they are: the columns' names say it all."""
    return rows
