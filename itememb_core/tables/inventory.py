"""The inventory: every raw file with its fingerprint, its rows and what became of them.

Rows are counted before cleaning (by the files' own footers where a file is one day), clean and
rejected ones after it, so that the two can disagree. What does not belong here: finding out which
days to redo.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from itememb_core.raw import RawFile, RawScan
from itememb_core.schemas import RAW_INVENTORY


@dataclass(frozen=True)
class FileCount:
    """What cleaning made of one file's rows of one day; stored beside that day.

    Attributes:
        file: Path relative to the raw folder.
        day: The day; None for files of no day.
        fingerprint: Of the content that was read.
        rows: Rows of this file and day before cleaning.
        clean: Kept rows of this file and day.
        rejected: Rows with a reason.
    """

    file: str
    day: date | None
    fingerprint: str
    rows: int
    clean: int
    rejected: int


def file_counts(
    rows: Mapping[tuple[str, date | None], int],
    fingerprints: Mapping[str, str],
    counts: pa.Table,
) -> list[FileCount]:
    """Clean and rejected rows of each file read; a file without rows counts 0 and 0.

    Args:
        rows: (file, day) to rows before cleaning, for everything that was read: from
            :func:`itememb_core.raw.day_rows`, or with day None for files of no day.
        fingerprints: File to hash, taken before reading.
        counts: ``source_file``, ``reason``, ``n`` and, for daily tables, ``day``.
    """
    clean: dict[tuple[str, date | None], int] = {}
    rejected: dict[tuple[str, date | None], int] = {}
    for row in counts.to_pylist():
        side = clean if row["reason"] is None else rejected
        key = (row["source_file"], row.get("day"))
        side[key] = side.get(key, 0) + row["n"]
    return [
        FileCount(file, day, fingerprints[file], n, clean.get(key, 0), rejected.get(key, 0))
        for key, n in rows.items()
        for file, day in [key]
    ]


def raw_inventory(
    scan: RawScan,
    fingerprints: Mapping[str, str],
    counts: Iterable[FileCount],
    totals: Mapping[str, int] | None = None,
) -> pa.Table:
    """One row a file of the scan, sorted by path: columns of ``RAW_INVENTORY``.

    Args:
        scan: The raw folder now.
        fingerprints: File to hash now; null where it is not given.
        counts: Of all days made so far. Those of another content of the file do not count:
            ``rows``, ``clean`` and ``rejected`` are null for a file not read as it is now.
        totals: File to rows by its footer, for files of many days: once all of its days are made,
            this is its ``rows``, so that a row of no day is missed. Until then it is their sum.
    """
    read: dict[str, list[FileCount]] = {}
    for count in counts:
        if fingerprints.get(count.file) == count.fingerprint:
            read.setdefault(count.file, []).append(count)
    records = [
        {
            "file": file.path,
            "layout": scan.layout,
            "channel": file.name,
            "day": file.day,
            "bytes": file.bytes,
            "fingerprint": fingerprints.get(file.path),
            **_summed(file, read.get(file.path, []), totals or {}),
        }
        for file in sorted(scan.files, key=lambda file: file.path)
    ]
    return pa.Table.from_pylist(records, schema=RAW_INVENTORY)


def _summed(
    file: RawFile, parts: Sequence[FileCount], totals: Mapping[str, int]
) -> dict[str, int | None]:
    """A file's ``rows``, ``clean`` and ``rejected`` over the days made of it."""
    if not parts:
        return dict.fromkeys(("rows", "clean", "rejected"))
    rows = sum(part.rows for part in parts)
    if file.span and len(parts) == (file.span[1] - file.span[0]).days + 1:
        rows = totals.get(file.path, rows)
    return {
        "rows": rows,
        "clean": sum(part.clean for part in parts),
        "rejected": sum(part.rejected for part in parts),
    }


def conservation_violations(inventory: pa.Table) -> list[str]:
    """One line for each file that was read and whose rows are not clean + rejected."""
    return [
        f"{row['file']}: {row['rows']} rows, found {row['clean']} clean + {row['rejected']} "
        "rejected, expected the same sum"
        for row in inventory.to_pylist()
        if row["rows"] is not None and row["rows"] != row["clean"] + row["rejected"]
    ]
