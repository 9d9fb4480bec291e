"""Files of a raw folder, local or behind any fsspec URL: names, days, fingerprints, footers.

What does not belong here: what a layout's folders are called, what stands in a file's columns.
"""

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.listing import Entry, filesystem
from itememb_core.settings import DomainSettings, RawSettings

SUFFIXES: Final = (".pq", ".parquet")
_BLOCK: Final = 1 << 20
#: Days that a file's name or rows may have: those that every engine, and the lake, can hold.
FIRST_DAY: Final = date(1700, 1, 1)
LAST_DAY: Final = date(2199, 12, 31)
#: The fingerprint of what cannot be read.
UNREADABLE: Final = "unreadable"
#: Footers are small and, on object stores, far away: several are fetched at once.
_FOOTER_THREADS: Final = 8


@dataclass(frozen=True)
class RawFile:
    """One raw file.

    Attributes:
        path: Relative to the scan's root, with forward slashes.
        name: The channel (``receipts``, ``retail``, …) or table (``users``, ``retail_items``, …).
        day: The day its name claims; None for files of no day or of many.
        bytes: Its size.
        span: First and last day that its rows may have, for files of many days.
        fault: Why it cannot be read as what it should be, with its path; None for what a look at
            names, and at the footers of files of many days, finds good.
        any_day: Whether it may hold rows of any day: of many days, and nobody can say which.
        lost: Whether it spoils no day: nobody can say which, or it is too far from all others.
    """

    path: str
    name: str
    day: date | None
    bytes: int
    span: tuple[date, date] | None = None
    fault: str | None = None
    any_day: bool = False
    lost: bool = False

    @property
    def first_last(self) -> tuple[date, date] | None:
        """First and last day of its rows; None for a file of no day."""
        return (self.day, self.day) if self.day else self.span

    def covers(self, day: date) -> bool:
        """Whether it may hold rows of a day."""
        span = self.first_last
        if span is None or self.lost:
            return self.any_day
        return span[0] <= day <= span[1]


@dataclass(frozen=True)
class DayRules:
    """What days files may have.

    Attributes:
        epoch: The date of day number 0 and of a duration of 0.
        max_gap_days: Days between one day of raw and the next; what is farther is no day of it.
    """

    epoch: date
    max_gap_days: int = RawSettings().max_gap_days


@dataclass(frozen=True)
class RawScan:
    """What a raw folder holds, without the content of any file.

    Attributes:
        root: Absolute local path or fsspec URL, without a slash at the end.
        layout: The recognised layout: ``tecd``, ``notebook`` or ``ozon``.
        epoch: The date of day number 0 and of a duration of 0.
        files: Sorted by path.
        domains: Item id prefixes, for layouts whose ids come without one.
    """

    root: str
    layout: str
    epoch: date
    files: tuple[RawFile, ...]
    domains: DomainSettings = field(default_factory=DomainSettings)

    @property
    def days(self) -> list[date]:
        """All days that any daily file covers, sorted."""
        found: set[date] = set()
        for span in {file.first_last for file in self.files if not file.lost}:
            if span:
                length = (span[1] - span[0]).days + 1
                found.update(span[0] + timedelta(days=offset) for offset in range(length))
        return sorted(found)

    @property
    def lost(self) -> list[str]:
        """The faults of files that spoil no day; nothing is read of them. Each once."""
        return list(dict.fromkeys(file.fault for file in self.files if file.lost and file.fault))

    def named(self, name: str) -> list[RawFile]:
        """Every file of one channel or table."""
        return list(self._by_name.get(name, ()))

    @cached_property
    def _by_name(self) -> dict[str, list[RawFile]]:
        """The files of each channel or table: looked up for every day of a lake."""
        found: dict[str, list[RawFile]] = {}
        for file in self.files:
            found.setdefault(file.name, []).append(file)
        return found

    @cached_property
    def _by_day(self) -> dict[tuple[str, date | None], list[RawFile]]:
        """The files of each channel and day; those of many days under None."""
        found: dict[tuple[str, date | None], list[RawFile]] = {}
        for file in self.files:
            if file.span or file.any_day:
                found.setdefault((file.name, None), []).append(file)
            elif file.day and not file.lost:
                found.setdefault((file.name, file.day), []).append(file)
        return found

    def day_files(self, channel: str, day: date) -> list[RawFile]:
        """Files of a channel that may hold rows of ``day``; empty where there are none."""
        return self.range_files(channel, [day])

    def range_files(self, channel: str, days: Iterable[date]) -> list[RawFile]:
        """Files of a channel that may hold rows of any of ``days``."""
        wanted = set(days)
        many = [
            file for file in self._by_day.get((channel, None), ()) if any(map(file.covers, wanted))
        ]
        single = [file for day in wanted for file in self._by_day.get((channel, day), ())]
        return sorted(many + single, key=lambda file: file.path)

    def static_files(self, name: str) -> list[RawFile]:
        """Files of a table that has no days (``users``, ``retail_items``, …)."""
        return [file for file in self.named(name) if file.first_last is None]

    def url(self, file: RawFile) -> str:
        """Where the engine finds the file."""
        return f"{self.root}/{file.path}"


def stem_of(path: str) -> str | None:
    """The file's name without a Parquet suffix; None if it has another suffix."""
    name = path.rsplit("/", 1)[-1]
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), None)


def parse_day(path: str, epoch: date) -> date:
    """The day that a file's name claims: a day number from ``epoch``, or ``YYYY-MM-DD``.

    Raises:
        ItemembError: The name is neither, or too far a day.
    """
    stem = stem_of(path) or ""
    try:
        day = None
        if re.fullmatch(r"[0-9]+", stem):
            day = epoch + timedelta(days=int(stem))
        elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", stem):
            day = date.fromisoformat(stem)
        if day is not None and FIRST_DAY <= day <= LAST_DAY:
            return day
    except (ValueError, OverflowError):
        pass
    raise ItemembError(
        f"{path}: name is no day, expected a day number (01272) or YYYY-MM-DD and .pq or .parquet, "
        f"from {FIRST_DAY} to {LAST_DAY}"
    )


def day_file(path: str, name: str, entry: Entry, epoch: date) -> RawFile:
    """The file of one day of a channel or table; what is no such file has its fault."""
    try:
        file = RawFile(path, name, parse_day(path, epoch), entry.size)
    except ItemembError as error:
        file = RawFile(path, name, None, entry.size, fault=str(error), lost=True)
    return replace(file, fault=f"{path}: {entry.fault}") if entry.fault else file


def folder_file(folder: str, name: str, entry: Entry) -> RawFile:
    """What stands in a folder's place: it may hold any day of a channel."""
    return RawFile(folder, name, None, 0, fault=f"{folder}: {entry.fault}", any_day=True)


def table_file(path: str, name: str, entry: Entry) -> RawFile:
    """A file of no day, or of days that are still to be found; a fault if it is no file."""
    fault = f"{path}: {entry.fault}" if entry.fault else None
    return RawFile(path, name, None, entry.size, fault=fault)


def unique(files: Iterable[RawFile]) -> list[RawFile]:
    """The files, sorted by path; two for one day of a channel, or for one table, are both faulty.

    Which of them is meant nobody can say.
    """
    ordered = sorted(files, key=lambda file: file.path)
    found: dict[tuple[str, date | None], list[RawFile]] = {}
    for file in ordered:
        if not file.lost:
            found.setdefault((file.name, file.day), []).append(file)
    twice: dict[str, str] = {}
    for (name, day), those in found.items():
        if len(those) > 1:
            thing = f"day {day} of {name}" if day else f"table {name}"
            paths = " and ".join(file.path for file in those)
            twice |= {file.path: f"{thing}: found {paths}, expected one file" for file in those}
    return [replace(f, fault=f.fault or twice.get(f.path)) for f in ordered]


def fingerprint(root: str, file: RawFile) -> str:
    """Hash of a file's bytes (BLAKE2b, 128 bits, hex), read in blocks.

    ``UNREADABLE`` for a file that has gone, has a fault or cannot be read: reading it says why, and
    another file's days do not depend on it.
    """
    fs, path = filesystem(root)
    digest = hashlib.blake2b(digest_size=16)
    if file.fault:
        return UNREADABLE
    try:
        with fs.open(f"{path}/{file.path}", "rb", block_size=_BLOCK) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError:
        return UNREADABLE
    return digest.hexdigest()


def read_footer(root: str, file: RawFile, deep: bool = False) -> pq.FileMetaData:
    """Parquet footer of one file; with ``deep`` every page is read too, and text is UTF-8.

    Raises:
        ItemembError: The file has a fault, or is missing, empty, truncated or not Parquet.
    """
    if file.fault:
        raise ItemembError(file.fault)
    if file.bytes == 0:
        raise ItemembError(f"{file.path}: file is empty (0 bytes), expected a Parquet file")
    fs, path = filesystem(root)
    try:
        with fs.open(f"{path}/{file.path}", "rb") as stream, pq.ParquetFile(stream) as parquet:
            parquet.schema_arrow.names  # noqa: B018 - names and types can be broken, too
            for batch in parquet.iter_batches() if deep else ():
                _check_values(file, batch)
            return parquet.metadata
    except (OSError, pa.ArrowException, ValueError, MemoryError) as error:
        raise ItemembError(
            f"{file.path}: not readable as Parquet ({one_line(error)}), expected a whole file"
        ) from error


def _check_values(file: RawFile, batch: pa.RecordBatch) -> None:
    """Nothing of Arrow's reader looks whether text is text."""
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ItemembError(
                f"{file.path}: column '{name}' holds what is no {values.type} "
                f"({one_line(error)}), expected text in UTF-8"
            ) from error


def read_footers(
    root: str, files: Iterable[RawFile], deep: bool = False
) -> dict[RawFile, pq.FileMetaData | ItemembError]:
    """Footers of many files; a file that has none gets its error instead."""

    def one(file: RawFile) -> pq.FileMetaData | ItemembError:
        try:
            return read_footer(root, file, deep)
        except ItemembError as error:
            return error

    files = list(files)
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        return dict(zip(files, pool.map(one, files), strict=True))


def count_rows(root: str, files: Iterable[RawFile]) -> dict[str, int]:
    """Rows of each file by its footer, path to count; files without a footer are left out."""
    footers = read_footers(root, files)
    return {
        file.path: footer.num_rows
        for file, footer in footers.items()
        if not isinstance(footer, ItemembError)
    }


def one_line(error: BaseException) -> str:
    """First line of an error's text, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
