"""Which layout a raw folder has; what to call for it.

A new layout is a module that fits :class:`Layout`, named once in ``_LAYOUTS``. What does not
belong here: anything of one layout.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final, Protocol

import ibis
import ibis.expr.types as ir

from itememb_core.errors import ItemembError
from itememb_core.raw import tecd
from itememb_core.raw.files import RawFile, RawScan, canonical_root, count_rows, list_folder
from itememb_core.settings import DomainSettings


class Layout(Protocol):
    """What a layout's module offers; :mod:`itememb_core.raw.tecd` documents each."""

    def find(self, root: str, epoch: date) -> tuple[RawFile, ...]:
        """Every file of the layout."""

    def check_files(
        self, scan: RawScan, channel: str, days: Iterable[date], deep: bool = False
    ) -> dict[date, ItemembError]:
        """Bad days, each with the reason."""

    def read_events(
        self, con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
    ) -> ir.Table:
        """Raw rows of some days."""

    def read_items(self, con: ibis.BaseBackend, scan: RawScan, channel: str) -> ir.Table | None:
        """Raw rows of a channel's items."""


_LAYOUTS: Final[dict[str, Layout]] = {tecd.LAYOUT: tecd}


def scan(raw: str | Path, epoch: date, domains: DomainSettings | None = None) -> RawScan:
    """List a raw folder; no file is opened.

    Args:
        raw: Local folder or fsspec URL.
        epoch: The date of day number 0.
        domains: Item id prefixes, for layouts whose ids come without one.

    Raises:
        ItemembError: No such folder, a folder of no known layout or of two, a day file whose name
            is no day, two files for one day of a channel.
    """
    root = canonical_root(str(raw))
    found = {name: layout.find(root, epoch) for name, layout in _LAYOUTS.items()}
    named = [name for name, files in found.items() if files]
    if len(named) != 1:
        have = ", ".join(list(list_folder(root))[:8]) or "nothing"
        expected = "expected the files of one layout: " + ", ".join(found)
        raise ItemembError(f"raw folder {raw}: found {' and '.join(named) or have}, {expected}")
    return RawScan(root, named[0], epoch, found[named[0]], domains or DomainSettings())


def check_files(
    scan: RawScan, channel: str, days: Iterable[date], deep: bool = False
) -> dict[date, ItemembError]:
    """The days of a channel whose file cannot be read as it should, each with the reason.

    Args:
        scan: The raw folder.
        channel: One of :data:`itememb_core.channels.CHANNELS`.
        days: Days to look at; those without a file are good.
        deep: Also read every page: slow, for finding the file that an engine failed on.
    """
    return _LAYOUTS[scan.layout].check_files(scan, channel, days, deep)


def read_events(
    con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
) -> ir.Table:
    """All rows of some days of a channel, unjudged: see ``read_events`` of the layout's module.

    Returns:
        Columns of :data:`itememb_core.raw.RAW_EVENTS`.

    Raises:
        ItemembError: A file is bad; :func:`check_files` says which days to leave out.
    """
    return _LAYOUTS[scan.layout].read_events(con, scan, channel, days)


def read_items(con: ibis.BaseBackend, scan: RawScan, channel: str) -> ir.Table | None:
    """All rows of a catalog channel's items, unjudged; None if there are none.

    Raises:
        ItemembError: The file is bad.
    """
    return _LAYOUTS[scan.layout].read_items(con, scan, channel)


def day_rows(
    con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
) -> dict[tuple[str, date | None], int]:
    """Rows before cleaning of every file and day that :func:`read_events` reads.

    Counted by the footer where a file is one day, else by the engine; 0 where a file of many days
    has no row of a day.
    """
    days = list(days)
    files = scan.range_files(channel, days)
    footers = count_rows(scan.root, [file for file in files if file.day])
    rows: dict[tuple[str, date | None], int] = {
        (file.path, file.day): footers[file.path] for file in files if file.path in footers
    }
    many = [file for file in files if file.span]
    if many:
        rows |= {(file.path, day): 0 for file in many for day in days if file.covers(day)}
        raw_rows = read_events(con, scan, channel, days)
        counted = raw_rows.group_by("source_file", "file_day").agg(n=raw_rows.count())
        for row in counted.to_pyarrow().to_pylist():
            rows[row["source_file"], row["file_day"]] = row["n"]
    return rows
