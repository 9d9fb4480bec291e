"""The T-ECD layout: one folder a service, one file a day.

What belongs here: its folders, file names and columns. How files are listed, checked and read is
the same for every layout and stands beside this module.
"""

from datetime import date
from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.raw.columns import Column
from itememb_core.raw.files import (
    RawFile,
    RawScan,
    check_unique,
    file_size,
    list_folder,
    parse_day,
    stem_of,
)
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


def find(root: str, epoch: date) -> tuple[RawFile, ...]:
    """Every file of the layout below ``root``, sorted by path; empty where there is none.

    Raises:
        ItemembError: A file in a day folder whose name is no day, or two files for one thing.
    """
    files = []
    for name, folder in DAY_FOLDERS.items():
        for entry, size in list_folder(root, folder).items():
            path = f"{folder}/{entry}"
            files.append(RawFile(path, name, parse_day(path, epoch), file_size(path, size)))
    for name, place in SINGLE_FILES.items():
        folder, _, stem = place.rpartition("/")
        for entry, size in list_folder(root, folder).items():
            if stem_of(entry) == stem:
                path = f"{folder}/{entry}" if folder else entry
                files.append(RawFile(path, name, None, file_size(path, size)))
    check_unique(files)
    return tuple(sorted(files, key=lambda file: file.path))


def columns(file: RawFile) -> tuple[Column, ...]:
    """The columns of a file."""
    return COLUMNS[file.name]


def shape(_con: ibis.BaseBackend, _scan: RawScan, _name: str, rows: ir.Table) -> ir.Table:
    """Rows as they are: the columns' names say it all."""
    return rows
