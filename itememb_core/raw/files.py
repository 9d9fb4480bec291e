"""Files of a raw folder, local or behind any fsspec URL: names, days, sizes, fingerprints.

What does not belong here: what a layout's folders are called, what stands in a file's columns.
"""

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from itememb_core.errors import ItemembError
from itememb_core.settings import DomainSettings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SUFFIXES: Final = (".pq", ".parquet")
_BLOCK: Final = 1 << 20
#: What file systems call the mark of a change, the best first.
_CHANGE_MARKS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated")
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
    """

    path: str
    name: str
    day: date | None
    bytes: int
    span: tuple[date, date] | None = None

    @property
    def first_last(self) -> tuple[date, date] | None:
        """First and last day of its rows; None for a file of no day."""
        return (self.day, self.day) if self.day else self.span

    def covers(self, day: date) -> bool:
        """Whether it may hold rows of a day."""
        span = self.first_last
        return span is not None and span[0] <= day <= span[1]


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
        for span in {file.first_last for file in self.files}:
            if span:
                length = (span[1] - span[0]).days + 1
                found.update(span[0] + timedelta(days=offset) for offset in range(length))
        return sorted(found)

    def named(self, name: str) -> list[RawFile]:
        """Every file of one channel or table."""
        return [file for file in self.files if file.name == name]

    def day_files(self, channel: str, day: date) -> list[RawFile]:
        """Files of a channel that may hold rows of ``day``; empty where there are none."""
        return self.range_files(channel, [day])

    def range_files(self, channel: str, days: Iterable[date]) -> list[RawFile]:
        """Files of a channel that may hold rows of any of ``days``."""
        wanted = set(days)
        return [
            file
            for file in self.named(channel)
            if file.day in wanted or (file.span and any(map(file.covers, wanted)))
        ]

    def static_files(self, name: str) -> list[RawFile]:
        """Files of a table that has no days (``users``, ``retail_items``, …)."""
        return [file for file in self.named(name) if file.first_last is None]

    def url(self, file: RawFile) -> str:
        """Where the engine finds the file."""
        return f"{self.root}/{file.path}"


def filesystem(root: str) -> tuple["AbstractFileSystem", str]:
    """The fsspec file system of a folder and the folder's path in it.

    Raises:
        ItemembError: No file system takes the URL, or its package is not installed.
    """
    try:
        fs, path = url_to_fs(root)
    except Exception as error:  # whatever a file system of any package finds wrong
        raise ItemembError(f"raw folder {root}: cannot be opened ({_one_line(error)})") from error
    return fs, path.rstrip("/")


def is_local(root: str) -> bool:
    """Whether plain paths reach the folder."""
    return isinstance(filesystem(root)[0], LocalFileSystem)


def canonical_root(raw: str) -> str:
    """Absolute path of a local folder, or the URL as the file system itself spells it.

    Raises:
        ItemembError: There is no such folder, or it cannot be listed.
    """
    fs, path = filesystem(raw)
    try:
        fs.invalidate_cache()
        there = fs.isdir(path)
        if there:
            fs.ls(path)
    except Exception as error:  # as above
        raise ItemembError(f"raw folder {raw}: cannot be listed ({_one_line(error)})") from error
    if not there:
        raise ItemembError(f"raw folder {raw}: found no folder there, expected one of raw files")
    if isinstance(fs, LocalFileSystem):
        return path
    root = str(fs.unstrip_protocol(path))
    # Some leave the host out of it.
    return root if filesystem(root)[0] == fs else raw.rstrip("/")


def list_folder(root: str, folder: str = "") -> dict[str, int | None]:
    """Entries of a folder below ``root``: name to size, None for folders; {} if there is none.

    Names that start with ``.`` or ``_`` are markers of tools, not data, and are left out.
    """
    fs, path = filesystem(root)
    try:
        entries = fs.ls(f"{path}/{folder}".rstrip("/"), detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    named = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry for entry in entries}
    return {
        name: None if entry["type"] == "directory" else int(entry["size"] or 0)
        for name, entry in sorted(named.items())
        if not name.startswith((".", "_"))
    }


def listing_digest(root: str) -> str:
    """Hash of what a listing shows of every file below a folder; no file is opened.

    Names, sizes and whichever mark of a change the file system gives (a tag of the content, else
    the time of the last change). A file that is written anew has another one.
    """
    fs, path = filesystem(root)
    fs.invalidate_cache()
    state = hashlib.blake2b(digest_size=16)
    for name, entry in sorted(fs.find(path, detail=True).items()):
        if not name.rsplit("/", 1)[-1].startswith((".", "_")):
            mark = next((entry[key] for key in _CHANGE_MARKS if entry.get(key)), None)
            state.update(f"{name}\0{entry.get('size')}\0{mark}\0".encode())
    return state.hexdigest()


def stem_of(path: str) -> str | None:
    """The file's name without a Parquet suffix; None if it has another suffix."""
    name = path.rsplit("/", 1)[-1]
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), None)


def parse_day(path: str, epoch: date) -> date:
    """The day that a file's name claims: a day number from ``epoch``, or ``YYYY-MM-DD``.

    Raises:
        ItemembError: The name is neither.
    """
    stem = stem_of(path) or ""
    try:
        if re.fullmatch(r"[0-9]+", stem):
            return epoch + timedelta(days=int(stem))
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", stem):
            return date.fromisoformat(stem)
    except (ValueError, OverflowError):
        pass
    raise ItemembError(
        f"{path}: name is no day, expected a day number (01272) or YYYY-MM-DD and .pq or .parquet"
    )


def file_size(path: str, size: int | None) -> int:
    """The size that :func:`list_folder` gives a file.

    Raises:
        ItemembError: It is a folder.
    """
    if size is None:
        raise ItemembError(f"{path}: found a folder, expected a Parquet file")
    return size


def check_unique(files: Iterable[RawFile]) -> None:
    """Two files for one day of a channel, or for one table, are an error.

    Raises:
        ItemembError: Naming both.
    """
    seen: dict[tuple[str, date | None], str] = {}
    for file in files:
        first = seen.setdefault((file.name, file.day), file.path)
        if first != file.path:
            thing = f"day {file.day} of {file.name}" if file.day else f"table {file.name}"
            raise ItemembError(f"{thing}: found {first} and {file.path}, expected one file")


def fingerprint(root: str, file: RawFile) -> str:
    """Hash of a file's bytes (BLAKE2b, 128 bits, hex), read in blocks.

    Raises:
        ItemembError: The file has gone or cannot be read.
    """
    fs, path = filesystem(root)
    digest = hashlib.blake2b(digest_size=16)
    try:
        with fs.open(f"{path}/{file.path}", "rb", block_size=_BLOCK) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ItemembError(f"{file.path}: cannot be read ({_one_line(error)})") from error
    return digest.hexdigest()


def read_footer(root: str, file: RawFile, deep: bool = False) -> pq.FileMetaData:
    """Parquet footer of one file; with ``deep`` every page is read too.

    Raises:
        ItemembError: Missing, empty, truncated or not Parquet.
    """
    fs, path = filesystem(root)
    if file.bytes == 0:
        raise ItemembError(f"{file.path}: file is empty (0 bytes), expected a Parquet file")
    try:
        with fs.open(f"{path}/{file.path}", "rb") as stream, pq.ParquetFile(stream) as parquet:
            if deep:
                for _batch in parquet.iter_batches():
                    pass
            return parquet.metadata
    except (OSError, pa.ArrowException) as error:
        raise ItemembError(
            f"{file.path}: not readable as Parquet ({_one_line(error)}), expected a whole file"
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


def _one_line(error: BaseException) -> str:
    """First line of an error's text, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
