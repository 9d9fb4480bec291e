"""Seals: what the lake's files say of their own bytes, so that damage is noticed.

A Parquet file carries between its last row group and its footer the length and the hash of all
before, and the hash of the footer. Parquet's readers go where the footer points, so that it is a
file as any other. A version's folder has a list of its files, a line of JSON a digest of itself.

The footer, sizes and lines are looked at in every run (``fault``), all bytes where a file is read
and with ``itememb run --verify`` (``deep_fault``); each once a process until the file changes.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_dagster.lake.stamps import sealed_line, unsealed_line

#: File of a version's folder that lists the others.
CONTENTS: Final = "contents.json"

#: In each error of a damaged file.
DAMAGED: Final = ": damaged ("

#: Of a file that nothing sealed: an older lake's.
NO_SEAL: Final = "no seal before its footer"

_MAGIC: Final = b"itemembS"
_HASH_BYTES: Final = 16
#: Magic, bytes before the seal, their hash, the hash of the footer with its length and magic.
_SEAL: Final = struct.Struct(f"<8sQ{_HASH_BYTES}s{_HASH_BYTES}s")
#: A Parquet file ends with the length of its footer and this.
_END: Final = struct.Struct("<I4s")
_PARQUET: Final = b"PAR1"
#: Enough of a file's end to hold most footers.
_TAIL: Final = 1 << 15
_BLOCK: Final = 1 << 20


class DamagedError(ItemembError):
    """A file of the lake does not hold what was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}{DAMAGED}{why}); itememb run --verify makes it again")


def _hash(file: BinaryIO, length: int) -> bytes:
    """Hash the next ``length`` bytes."""
    state = hashlib.blake2b(digest_size=_HASH_BYTES)
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        state.update(block)
        length -= len(block)
    return state.digest()


def _short(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest()


def seal(path: Path) -> None:
    """Seal a Parquet file that was just written."""
    with path.open("r+b") as file:
        file.seek(-_END.size, os.SEEK_END)
        length, _magic = _END.unpack(file.read())
        start = file.tell() - _END.size - length
        file.seek(0)
        data = _hash(file, start)
        footer = file.read()
        file.seek(start)
        file.write(_SEAL.pack(_MAGIC, start, data, _short(footer)) + footer)


def _tail(file: BinaryIO, size: int) -> tuple[bytes, bytes] | str:
    """Return the seal and the footer (to the end) of a Parquet file, or what is wrong."""
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    if len(tail) < _END.size or tail[-4:] != _PARQUET:
        return "no end of a Parquet file"
    wanted = _END.size + _END.unpack(tail[-_END.size :])[0] + _SEAL.size
    if wanted > size:
        return "no whole Parquet file"
    if wanted > len(tail):
        file.seek(size - wanted)
        tail = file.read()
    tail = tail[-wanted:]
    return tail[: _SEAL.size], tail[_SEAL.size :]


def _open_tail(path: str, deep: bool) -> tuple[bytes, bytes] | str:
    """Return the seal and the footer of a sealed file, or what is wrong with it."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = _tail(file, size)
        if isinstance(found, str):
            return found
        sealed, footer = found
        magic, length, data, short = _SEAL.unpack(sealed)
        if magic != _MAGIC:
            return NO_SEAL
        if length != size - len(footer) - _SEAL.size or short != _short(footer):
            return "its footer is not as it was written"
        if deep:
            file.seek(0)
            if _hash(file, length) != data:
                return "its bytes are not as they were written"
        return sealed, footer


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced by another; a file of the lake is never changed.

    Raises:
        FileNotFoundError: There is none.
    """
    found = os.stat(path)
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode), found.st_size, *times


@lru_cache(maxsize=1 << 16)
def _metadata(path: str, state: tuple[int, ...]) -> tuple[dict[bytes, bytes], str] | str:
    """The metadata in a file's footer and a hash of its seal, or what is wrong with it."""
    if not stat.S_ISREG(state[2]):
        return "no file"
    found = _open_tail(path, deep=False)
    if isinstance(found, str):
        return found
    sealed, footer = found
    try:
        return pq.read_metadata(pa.BufferReader(footer)).metadata or {}, _short(sealed).hex()
    except (pa.ArrowException, OSError) as error:
        return f"its footer cannot be read: {str(error).splitlines()[0]}"


@lru_cache(maxsize=1 << 16)
def _deep(path: str, _state: tuple[int, ...]) -> str | None:
    found = _open_tail(path, deep=True)
    return found if isinstance(found, str) else None


def _whole(path: Path) -> tuple[dict[bytes, bytes], str] | None:
    try:
        found = _metadata(str(path), _state(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if isinstance(found, str) else found


def metadata(path: Path) -> dict[bytes, bytes] | None:
    """Return the metadata in a Parquet file's footer; None where there is no such whole file."""
    found = _whole(path)
    return found[0] if found else None


def content(path: Path) -> str:
    """Return a hash that two whole Parquet files share if their bytes are the same; else ''."""
    found = _whole(path)
    return found[1] if found else ""


def fault(path: Path, deep: bool = False) -> str | None:
    """Return what is wrong with a Parquet file; None: nothing, or there is none.

    Args:
        path: The file.
        deep: Whether to look at all of its bytes, not only at size and footer.
    """
    try:
        state = _state(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = _metadata(str(path), state)
    if isinstance(found, str):
        return found
    return _deep(str(path), state) if deep else None


def check_files(paths: Iterable[Path], all_sealed: bool = True) -> None:
    """Look at all bytes of Parquet files that are about to be read.

    Args:
        paths: The files.
        all_sealed: Whether one without a seal is damaged; an older lake's have none.

    Raises:
        DamagedError: One is not as it was written.
    """
    paths = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets other threads run
        for path, why in zip(paths, pool.map(lambda p: fault(p, deep=True), paths), strict=True):
            if why and (all_sealed or why != NO_SEAL):
                raise DamagedError(path, why)


def seal_folder(folder: Path) -> None:
    """Write what a version's folder holds into it: each file's size and hash."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {name: _size_and_hash(folder / name) for name in names}
    (folder / CONTENTS).write_text(sealed_line({"files": files}) + "\n")


def _size_and_hash(path: Path) -> list[Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        return [size, _hash(file, size).hex()]


def folder_faults(folder: Path, deep: bool = False, only: str | None = None) -> dict[Path, str]:
    """Return the damaged files of a version's folder, with what is wrong with each.

    Args:
        folder: The folder.
        deep: Whether to look at all bytes, not only at sizes.
        only: The one file to look at; None: all.
    """
    listing = folder / CONTENTS
    try:
        read = unsealed_line(listing.read_bytes())
    except OSError:
        read = None
    if read is None:
        return {listing: "no list of the version's files"}
    faults = {}
    wanted = read["files"] if only is None else {only: read["files"].get(only, (0, ""))}
    for name, (size, content) in wanted.items():
        why = _fault(folder / name, size, content, deep)
        if why:
            faults[folder / name] = why
    return faults


def _fault(path: Path, size: int, content: str, deep: bool) -> str | None:
    try:
        state = _state(path)
    except (FileNotFoundError, NotADirectoryError):
        return "it is gone"
    if not stat.S_ISREG(state[2]):
        return "no file"
    if state[3] != size:
        return f"{state[3]:,} bytes, {size:,} were written"
    if deep and _content(str(path), state) != content:
        return "its bytes are not as they were written"
    return None


@lru_cache(maxsize=1 << 10)
def _content(path: str, _state: tuple[int, ...]) -> str:
    return str(_size_and_hash(Path(path))[1])
