"""Which layout a raw folder has; what to call for it.

A new layout is a module that fits :class:`Layout`, named once in ``_LAYOUTS``. What does not
belong here: anything of one layout.
"""

from collections.abc import Collection, Iterable
from datetime import date
from pathlib import Path
from typing import Final, Protocol

import ibis
import ibis.expr.types as ir

from itememb_core.errors import ItemembError
from itememb_core.raw import notebook, ozon, tecd
from itememb_core.raw.columns import Column, check_schema, good_footers
from itememb_core.raw.files import DayRules, RawFile, RawScan, count_rows, read_footers
from itememb_core.raw.listing import canonical_root, list_folder, walk
from itememb_core.raw.reader import RAW_EVENTS, Footers, canonical_rows, conform, empty_table
from itememb_core.raw.spans import mark_far
from itememb_core.raw.unclaimed import unclaimed_lines
from itememb_core.settings import DomainSettings, RawSettings


class Layout(Protocol):
    """What a layout's module offers."""

    #: Where its files lie, for people: folders (ending in a slash) and files that stand alone.
    KNOWN: tuple[str, ...]

    def find(self, root: str, rules: DayRules) -> tuple[RawFile, ...]:
        """Every file of the layout below ``root``, sorted by path; empty where there is none.

        What is in the place of one, and cannot be read as one, is a file with a fault.
        """

    def columns(self, file: RawFile) -> tuple[Column, ...]:
        """The columns of a file, with their canonical names."""

    def shape(self, con: ibis.BaseBackend, scan: RawScan, name: str, rows: ir.Table) -> ir.Table:
        """Rows of files of equal ``columns`` in their canonical form (ids, statuses, ...).

        ``name``: the channel or table. ``source_file`` and ``source_row`` pass through.
        """


_LAYOUTS: Final[dict[str, Layout]] = {
    tecd.LAYOUT: tecd,
    notebook.LAYOUT: notebook,
    ozon.LAYOUT: ozon,
}


def scan(
    raw: str | Path,
    epoch: date,
    domains: DomainSettings | None = None,
    settings: RawSettings | None = None,
    strict: bool = True,
) -> RawScan:
    """List a raw folder; of files of many days the footers are read, of others nothing.

    Args:
        raw: Local folder or fsspec URL.
        epoch: The date of day number 0.
        domains: Item id prefixes, for layouts whose ids come without one.
        settings: How far days may be apart.
        strict: Whether what a look finds wrong is raised. If not, it is the fault of its file, of
            which nothing is read: :func:`check_files` tells the days that it spoils, and
            ``RawScan.lost`` those faults that spoil no day.

    Raises:
        ItemembError: No such folder, or a folder of no known layout or of two. If ``strict``: a
            day file whose name is no day or is far from all others, two files for one day of a
            channel, what is no file that can be read, a file of many days that is bad.
    """
    root = canonical_root(str(raw))
    rules = DayRules(epoch, (settings or RawSettings()).max_gap_days)
    found = {name: layout.find(root, rules) for name, layout in _LAYOUTS.items()}
    # What is broken alone says little of a layout: a folder named orders may be anybody's.
    named = [name for name, files in found.items() if any(not file.fault for file in files)]
    named = named or [name for name, files in found.items() if files]
    if len(named) != 1:
        have = ", ".join(list(list_folder(root))[:8]) or "nothing"
        expected = "expected the files of one layout: " + ", ".join(found)
        raise ItemembError(f"raw folder {raw}: found {' and '.join(named) or have}, {expected}")
    files = mark_far(found[named[0]], rules)
    for file in files if strict else ():
        if file.fault:
            raise ItemembError(file.fault)
    return RawScan(root, named[0], epoch, files, domains or DomainSettings())


def unclaimed(scan: RawScan) -> list[str]:
    """One line for each folder below raw with files that no layout takes, with the nearest name."""
    paths = (path for path, _state in walk(scan.root))
    claimed = (file.path for file in scan.files)
    return unclaimed_lines(paths, claimed, _LAYOUTS[scan.layout].KNOWN, scan.layout)


def check_files(
    scan: RawScan, channel: str, days: Iterable[date], deep: bool = False
) -> dict[date, ItemembError]:
    """The days of a channel with a file that cannot be read as it should, each with the reason.

    Args:
        scan: The raw folder.
        channel: One of :data:`itememb_core.services.CHANNELS`.
        days: Days to look at; those without a file are good.
        deep: Also read every page: slow, for finding the file that an engine failed on.
    """
    days, layout = list(days), _LAYOUTS[scan.layout]
    bad: dict[date, ItemembError] = {}
    footers = read_footers(scan.root, scan.range_files(channel, days), deep)
    for file, footer in footers.items():
        error = check_schema(file, footer, layout.columns(file))
        if error:
            bad |= {day: error for day in days if file.covers(day)}
    return bad


def read_events(
    con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
) -> ir.Table:
    """All rows of some days of a channel, not validated.

    Args:
        con: The engine.
        scan: The raw folder.
        channel: One of :data:`itememb_core.services.CHANNELS`.
        days: Days; those without a file give no rows.

    Returns:
        Columns of :data:`itememb_core.raw.RAW_EVENTS`. Times are UTC without zone. ``file_day`` is
        the day that the file's name claims; in a file of many days the row's own, and the first
        of the file for a row without a time.

    Raises:
        ItemembError: A file is bad; :func:`check_files` says which days to leave out.
    """
    days = list(days)
    parts = _parts(con, scan, channel, scan.range_files(channel, days))
    if not parts:
        return empty_table(RAW_EVENTS)
    rows = ibis.union(*(conform(part, RAW_EVENTS) for part in parts))
    many = any(file.span for file in scan.named(channel))
    return rows.filter(rows.file_day.isin(days)) if many else rows


def read_table(
    con: ibis.BaseBackend, scan: RawScan, name: str, days: Iterable[date] | None = None
) -> ir.Table | None:
    """All rows of a table that is no channel (items, users, ...), unvalidated; None without a file.

    Args:
        con: The engine.
        scan: The raw folder.
        name: The table.
        days: Days of a table with day files; None: a table without days.

    Returns:
        The canonical columns of its files, ``id_out_of_range``, ``source_file``, ``source_row``,
        and ``file_day`` if it has days.

    Raises:
        ItemembError: A file is bad.
    """
    if days is None:
        files = scan.static_files(name)
    else:
        lost = (file for file in scan.named(name) if file.any_day)
        files = list(dict.fromkeys([*scan.range_files(name, days), *lost]))
    # Few and small beside events: read whole, since an engine would not say which file is broken.
    parts = _parts(con, scan, name, files, deep=True)
    return ibis.union(*parts) if parts else None


def _parts(
    con: ibis.BaseBackend, scan: RawScan, name: str, files: list[RawFile], deep: bool = False
) -> list[ir.Table]:
    """Rows of files in canonical form, a table for each list of columns."""
    layout = _LAYOUTS[scan.layout]
    groups: dict[tuple[Column, ...], Footers] = {}
    for file, footer in good_footers(scan.root, files, layout.columns, deep).items():
        groups.setdefault(layout.columns(file), {})[file] = footer
    return [
        layout.shape(con, scan, name, _dated(canonical_rows(con, scan, footers, columns), footers))
        for columns, footers in groups.items()
    ]


def _dated(rows: ir.Table, files: Collection[RawFile]) -> ir.Table:
    """Add ``file_day``; rows of files without days pass as they are."""
    spans = {file.path: file.first_last for file in files}
    claims = [{"path": path, "claimed": span[0]} for path, span in spans.items() if span]
    if not claims:
        return rows
    claimed = ibis.memtable(claims, schema={"path": "string", "claimed": "date"})
    rows = rows.left_join(claimed, rows.source_file == claimed.path)
    # The files of one table are all of one day each, or all of many.
    many = any(file.span for file in files)
    day = ibis.coalesce(rows.timestamp.cast("date"), rows.claimed) if many else rows.claimed
    return rows.mutate(file_day=day).drop("path", "claimed")


def day_rows(
    con: ibis.BaseBackend, scan: RawScan, channel: str, days: Iterable[date]
) -> dict[tuple[str, date | None], int]:
    """Rows before cleaning of every file and day that :func:`read_events` reads.

    Counted by the footer where a file is one day, else by the engine; 0 where a file of many days
    has no row of a day. Days that a bad file of many days spoils have none.
    """
    days = list(days)
    if any(file.span or file.any_day for file in scan.range_files(channel, days)):
        bad = check_files(scan, channel, days)
        days = [day for day in days if day not in bad]
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
