"""Raw files: which layout a folder has, which files, and their rows as one canonical table.

This package knows folders, file names, Parquet types and engines' readers. It does not judge
rows: that is :mod:`itememb_core.tables`. A layout is one module with ``find``, ``EVENTS``-like
column lists and nothing else; :mod:`itememb_core.raw.layouts` chooses between them.
"""

from itememb_core.raw.files import RawFile, RawScan, count_rows, fingerprint
from itememb_core.raw.layouts import check_files, day_rows, read_events, read_items, scan
from itememb_core.raw.reader import RAW_EVENTS

__all__ = [
    "RAW_EVENTS",
    "RawFile",
    "RawScan",
    "check_files",
    "count_rows",
    "day_rows",
    "fingerprint",
    "read_events",
    "read_items",
    "scan",
]
