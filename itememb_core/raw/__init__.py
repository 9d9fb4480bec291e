"""Raw files: which layout a folder has, which files, and their rows as one canonical table.

This package knows folders, file names, Parquet types and engines' readers. It does not validate
rows: that is :mod:`itememb_core.tables`. A layout is one module that finds files, lists columns
and gives rows their canonical form; :mod:`itememb_core.raw.layouts` chooses between them.
"""

from itememb_core.raw.files import RawFile, RawScan, count_rows, fingerprint
from itememb_core.raw.layouts import (
    check_files,
    day_rows,
    read_events,
    read_table,
    scan,
    unclaimed,
)
from itememb_core.raw.listing import listing_digest
from itememb_core.raw.reader import RAW_EVENTS

__all__ = [
    "RAW_EVENTS",
    "RawFile",
    "RawScan",
    "check_files",
    "count_rows",
    "day_rows",
    "fingerprint",
    "listing_digest",
    "read_events",
    "read_table",
    "scan",
    "unclaimed",
]
