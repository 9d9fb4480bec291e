"""What a lake needs of the place where its files lie: one small protocol, and local disks.

A name is a relative path with ``/``, taken literally: no pattern, never out of the root. Every
storage passes the contract suite ``tests/lake/test_storage.py``. What does not belong here: what
the files hold (``store``), who may write (``lock``).
"""

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from itememb_core.errors import ItemembError


class Storage(Protocol):
    """Where the files of a lake lie.

    A name that leaves the root, and a file that cannot be written, are an ``ItemembError``; the
    file is then as it was.
    """

    def list(self, prefix: str = "") -> Sequence[str]:
        """Return the names of what lies directly in a folder, sorted; of no folder none."""

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of the name."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file."""

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; exactly one of several writers gets True."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file; a reader finds the old content or the new, never a part.

        After a power cut it is the one or the other, too: what was written is on the disk.
        """

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing may be there."""

    def local(self, name: str) -> Path:
        """Return where a file or folder can be read on this machine, whether it is there or not."""

    def staged(self, name: str, folder: bool = False) -> AbstractContextManager[Path]:
        """Give a path for a new file, or an empty folder; it replaces ``name`` if all went well."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give an empty folder on this machine that is removed afterwards."""


def checked(name: str) -> str:
    """Return a name as it is.

    Raises:
        ItemembError: It leaves the root, or is none.
    """
    if "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise ItemembError(f"{name!r}: no name in a lake, expected a path below its root")
    return name


@dataclass(frozen=True)
class LocalStorage:
    """A folder of a local disk, or of one that is mounted."""

    root: Path

    def list(self, prefix: str = "") -> Sequence[str]:
        """Return the names of what lies directly in a folder, sorted; of no folder none."""
        try:
            return sorted(os.listdir(self.local(prefix) if prefix else self.root))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of the name."""
        return os.path.lexists(f"{self.root}/{checked(name)}")

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file."""
        path = self.local(name)
        try:
            # To open a pipe waits for ever.
            return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one; exactly one of several writers gets True."""
        with _beside(self.local(name)) as (staged, target):
            staged.write_bytes(data)
            _sync(staged)
            try:
                _claim(staged, target)
            except FileExistsError:
                return False
            _sync(target.parent)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Write a file; a reader finds the old content or the new, never a part."""
        with self.staged(name) as staged:
            staged.write_bytes(data)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing may be there."""
        path = self.local(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            return
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return

    def local(self, name: str) -> Path:
        """Return where a file or folder lies, whether it is there or not."""
        return self.root / checked(name)

    @contextmanager
    def staged(self, name: str, folder: bool = False) -> Iterator[Path]:
        """Give a path for a new file, or an empty folder; it replaces ``name`` if all went well.

        Raises:
            ItemembError: The disk is full or refuses a file. A folder's ``OSError`` is the
                caller's own.
        """
        if folder:
            with _folder_beside(self.local(name)) as staged:
                yield staged
            return
        with _beside(self.local(name)) as (staged, target):
            yield staged
            _sync(staged)
            if target.is_dir():  # no file of ours
                shutil.rmtree(target)
            os.replace(staged, target)
            _sync(target.parent)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the same disk that is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.root, prefix="_scratch") as folder:
            yield Path(folder)


# What a killed writer leaves of these two, ``lock.sweep`` knows by its name.


@contextmanager
def _beside(target: Path) -> Iterator[tuple[Path, Path]]:
    """Give a path beside a file, which no other thread has, and the file's own."""
    staged = target.with_name(f"_{target.name}.{threading.get_native_id()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield staged, target
        finally:
            staged.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise ItemembError(f"{target}: cannot be written ({why}); it is as it was") from error


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """Give an empty folder beside another, which it replaces."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=target.parent, prefix="_"))
    gone = staged.with_name(f"{staged.name}_old")
    try:
        yield staged
        staged.chmod(0o755)
        for path in (*staged.rglob("*"), staged):
            _sync(path)
        if target.exists():  # a folder cannot replace another at once
            os.replace(target, gone)
        os.replace(staged, target)
        _sync(target.parent)
        shutil.rmtree(gone, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _claim(staged: Path, target: Path) -> None:
    """Move a file to where none is.

    Raises:
        FileExistsError: There is one.
    """
    try:
        os.link(staged, target)
    except FileExistsError:
        raise
    except OSError:  # no links here, as on exFAT: an empty file is the claim, for a moment
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(staged, target)
