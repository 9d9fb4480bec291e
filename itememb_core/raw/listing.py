"""What lies in a raw folder, local or behind any fsspec URL; no file is opened.

What belongs here: entries of folders, what is no file that can be read, a listing's digest. What
does not: what a layout's folders are called, what stands in files.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from itememb_core.errors import ItemembError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: What file systems call the mark of a change, the best first.
_CHANGE_MARKS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated")
_FOLDER: Final = "expected a folder of files"
_FILE: Final = "expected a Parquet file"
#: What lies in a local folder and is no file; to open one can wait for ever.
_SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Entry:
    """An entry of a folder.

    Attributes:
        size: Bytes; 0 where it is no file.
        fault: Why it is no file that can be read: what was found, what is expected.
    """

    size: int
    fault: str | None = None


def filesystem(root: str) -> tuple["AbstractFileSystem", str]:
    """The fsspec file system of a folder and the folder's path in it.

    Raises:
        ItemembError: No file system takes the URL, or its package is not installed.
    """
    if root.startswith("/"):  # no URL, whatever its name holds ("::" chains URLs)
        return LocalFileSystem(), root.rstrip("/")
    try:
        fs, path = url_to_fs(root)
    except Exception as error:  # whatever a file system of any package finds wrong
        raise ItemembError(f"raw folder {root}: cannot be opened ({_reason(error)})") from error
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
            fs.ls(path, detail=False)
    except Exception as error:  # as above
        raise ItemembError(f"raw folder {raw}: cannot be listed ({_reason(error)})") from error
    if not there:
        raise ItemembError(f"raw folder {raw}: found no folder there, {_FOLDER}")
    if "\\" in path and any(sign in path for sign in "*?["):
        raise ItemembError(
            f"raw folder {raw}: found a backslash beside a star, question mark or bracket in its "
            "path, expected one or the other, else engines cannot be told which folder it is"
        )
    if isinstance(fs, LocalFileSystem):
        return path
    root = str(fs.unstrip_protocol(path))
    # Some leave the host out of it.
    return root if filesystem(root)[0] == fs else raw.rstrip("/")


def list_folder(root: str, folder: str = "") -> dict[str, Entry]:
    """Entries of a folder below ``root`` by their path below it; {} if there is no such folder.

    Names that start with ``.`` or ``_`` are markers of tools, not data, and are left out. What
    stands in the folder's place and cannot be listed is the one entry, by the folder's own path.
    """
    fs, path = filesystem(root)
    place = f"{path}/{folder}".rstrip("/")
    try:
        found = _local(place) if isinstance(fs, LocalFileSystem) else _remote(fs, place)
    except (FileNotFoundError, NotADirectoryError):
        return {folder: Entry(0, fault)} if (fault := _no_folder(fs, place)) else {}
    except OSError as error:
        return {folder: Entry(0, f"cannot be listed ({_reason(error)}), {_FOLDER}")}
    return {
        f"{folder}/{shown}" if folder else shown: entry if shown == name else _unnamable(name)
        for name, entry in sorted(found.items())
        if not is_hidden(name)
        for shown in [printable(name)]
    }


def is_hidden(name: str) -> bool:
    """Whether a name is that of a tool's marker, not of data."""
    return name.startswith((".", "_"))


def printable(name: str) -> str:
    """A name as it can be shown in one line: bytes that are no UTF-8 and controls are escaped."""
    signs = (s.encode("unicode_escape").decode() if _is_odd(s) else s for s in name)
    return "".join(signs)


def walk(root: str) -> Iterator[tuple[str, str]]:
    """Every file below a folder that no marker hides: its path below it, and a mark of its state.

    The mark is of size and whatever sign of a change the file system gives (a tag of the content,
    else the time of the last change). Links to folders are followed, each folder once.
    """
    fs, path = filesystem(root)
    fs.invalidate_cache()
    if isinstance(fs, LocalFileSystem):
        yield from _walk_local(path)
        return
    for name, entry in sorted(fs.find(path, detail=True).items()):
        below = name[len(path) :].lstrip("/")
        if not any(map(is_hidden, below.split("/"))):
            mark = next((entry[key] for key in _CHANGE_MARKS if entry.get(key)), None)
            yield below, f"{entry.get('size')}\0{mark}"


def listing_digest(root: str) -> str:
    """Hash of what a listing shows of every file below a folder; no file is opened.

    Names, sizes and marks of changes: a file that is written anew has another hash.
    """
    state = hashlib.blake2b(digest_size=16)
    for name, mark in sorted(walk(root)):
        state.update(f"{name}\0{mark}\0".encode())
    return state.hexdigest()


def _local(place: str) -> dict[str, Entry]:
    with os.scandir(place) as found:
        return {one.name: entry for one in found if (entry := _local_entry(one.path))}


def _local_entry(path: str) -> Entry | None:
    """What lies at a path; None where nothing does any more."""
    try:
        facts = os.stat(path)
    except OSError as error:
        if not os.path.lexists(path):
            return None
        return Entry(0, f"{_broken_link(path) or f'cannot be read ({_reason(error)})'}, {_FILE}")
    kind = stat.S_IFMT(facts.st_mode)
    if kind == stat.S_IFDIR:
        return Entry(0, f"found a folder, {_FILE}")
    if kind != stat.S_IFREG:
        return Entry(0, f"found {_SPECIAL.get(kind, 'something else')}, {_FILE}")
    if not os.access(path, os.R_OK):
        return Entry(facts.st_size, f"cannot be read (Permission denied), {_FILE}")
    return Entry(facts.st_size)


def _broken_link(path: str) -> str | None:
    """What is wrong with a link that leads to nothing; None for what is no such link."""
    try:
        os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return f"found a link to {printable(os.readlink(path))}, where nothing is"
    except OSError as error:
        if os.path.islink(path):
            return f"found a link that leads nowhere ({_reason(error)})"
    return None


def _no_folder(fs: "AbstractFileSystem", place: str) -> str | None:
    """What stands where a folder is looked for; None where nothing does."""
    if not isinstance(fs, LocalFileSystem):
        return f"found a file, {_FOLDER}" if fs.isfile(place) else None
    if not os.path.lexists(place):
        return None
    return f"{_broken_link(place) or 'found a file'}, {_FOLDER}"


def _remote(fs: "AbstractFileSystem", place: str) -> dict[str, Entry]:
    entries: list[dict[str, Any]] = fs.ls(place, detail=True)
    found = {}
    for entry in entries:
        path = entry["name"].rstrip("/")
        if path.rstrip("/") == place.rstrip("/"):
            if entry["type"] != "directory" and entry.get("size"):
                raise NotADirectoryError(place)
            continue  # the marker of the folder itself
        fault = f"found a folder, {_FILE}" if entry["type"] == "directory" else None
        found[path.rsplit("/", 1)[-1]] = Entry(int(entry["size"] or 0), fault)
    return found


def _walk_local(top: str) -> Iterator[tuple[str, str]]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        try:
            facts = os.stat(folder)
        except OSError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) in seen:
            folders.clear()  # a link led here once more
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        below = folder[len(top) :].lstrip("/")
        for name in sorted(files):
            if not is_hidden(name):
                path = f"{below}/{name}" if below else name
                yield printable(path), _mark(f"{folder}/{name}")


def _mark(path: str) -> str:
    try:
        facts = os.stat(path)
    except OSError:
        return "unreadable"
    return f"{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_mode}"


def _is_odd(sign: str) -> bool:
    return ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000


def _unnamable(name: str) -> Entry:
    kind = "no UTF-8" if any(0xD800 <= ord(s) < 0xE000 for s in name) else "a control character"
    return Entry(0, f"found {kind} in its name, expected a name that can be written")


def _reason(error: Exception) -> str:
    """What the system says, or the first line of what a package says."""
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(said).splitlines()[0]
