"""The T-ECD layout: one folder a service, one file a day.

What belongs here: its folders, file names and columns. How files are listed, checked and read is
the same for every layout and stands beside this module.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.channels import CATALOG_CHANNELS, MARKETPLACE, OFFERS, RECEIPTS, RETAIL
from itememb_core.errors import ItemembError
from itememb_core.raw.columns import Column, check_schema
from itememb_core.raw.files import (
    RawFile,
    RawScan,
    list_folder,
    parse_day,
    read_footers,
    stem_of,
)
from itememb_core.raw.reader import RAW_EVENTS, Footers, canonical_rows, conform, empty_table

LAYOUT: Final = "tecd"

#: Channel or table to the folder that holds its day files.
DAY_FOLDERS: Final = {
    RECEIPTS: "payments/receipts",
    RETAIL: "retail/events",
    MARKETPLACE: "marketplace/events",
    OFFERS: "offers/events",
    "payments": "payments/events",
    "reviews": "reviews",
}

#: Table to its single file, without suffix.
SINGLE_FILES: Final = {
    "users": "users",
    "brands": "brands",
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
            files.append(RawFile(path, name, parse_day(path, epoch), _size(path, size)))
    for name, place in SINGLE_FILES.items():
        folder, _, stem = place.rpartition("/")
        for entry, size in list_folder(root, folder).items():
            if stem_of(entry) == stem:
                path = f"{folder}/{entry}" if folder else entry
                files.append(RawFile(path, name, None, _size(path, size)))
    _check_unique(files)
    return tuple(sorted(files, key=lambda file: file.path))


def check_files(
    scan: RawScan, channel: str, days: Iterable[date], deep: bool = False
) -> dict[date, ItemembError]:
    """The days whose file cannot be read as it should, each with the reason.

    Args:
        scan: The raw folder.
        channel: A channel.
        days: Days to look at; those without a file are good.
        deep: Also read every page of every file, to find out which file an engine failed on.
    """
    footers = read_footers(scan.root, scan.range_files(channel, days), deep)
    bad = {}
    for file, footer in footers.items():
        error = check_schema(file, footer, COLUMNS[channel])
        if error and file.day:
            bad[file.day] = error
    return bad


def read_events(
    con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
) -> ir.Table:
    """All rows of some days' files of a channel, unjudged.

    Args:
        con: The engine.
        scan: The raw folder.
        channel: One of :data:`itememb_core.channels.CHANNELS`.
        days: Days; those without a file give no rows.

    Returns:
        Columns of :data:`itememb_core.raw.RAW_EVENTS`. Times are UTC without zone.

    Raises:
        ItemembError: A file is bad (see :func:`check_files`).
    """
    footers = _good_footers(scan, scan.range_files(channel, days), COLUMNS[channel])
    if not footers:
        return empty_table(RAW_EVENTS)
    rows = canonical_rows(con, scan, footers, COLUMNS[channel])
    claims = ibis.memtable(
        [{"path": file.path, "file_day": file.day} for file in footers],
        schema={"path": "string", "file_day": "date"},
    )
    claimed = rows.left_join(claims, rows.source_file == claims.path).drop("path")
    return conform(claimed, RAW_EVENTS)


def read_items(con: ibis.BaseBackend, scan: RawScan, channel: str) -> ir.Table | None:
    """All rows of a catalog channel's items file, unjudged; None if there is no file.

    Returns:
        Columns of :data:`itememb_core.schemas.CATALOG` but the domain, ``id_out_of_range``,
        ``source_file`` and ``source_row``.

    Raises:
        ItemembError: The file is bad.
    """
    name = f"{channel}_items"
    footers = _good_footers(scan, scan.static_files(name), COLUMNS[name])
    return canonical_rows(con, scan, footers, COLUMNS[name]) if footers else None


def _good_footers(scan: RawScan, files: list[RawFile], columns: tuple[Column, ...]) -> Footers:
    """Footers of files that are all good; the first fault is raised."""
    good: Footers = {}
    for file, footer in read_footers(scan.root, files).items():
        error = check_schema(file, footer, columns)
        if isinstance(footer, ItemembError) or error:
            raise error or footer
        good[file] = footer
    return good


def _size(path: str, size: int | None) -> int:
    if size is None:
        raise ItemembError(f"{path}: found a folder, expected a Parquet file")
    return size


def _check_unique(files: list[RawFile]) -> None:
    """Two files for one day of a channel, or for one table, are an error."""
    seen: dict[tuple[str, date | None], str] = {}
    for file in files:
        first = seen.setdefault((file.name, file.day), file.path)
        if first != file.path:
            thing = f"day {file.day} of {file.name}" if file.day else f"table {file.name}"
            raise ItemembError(f"{thing}: found {first} and {file.path}, expected one file")
