"""One writer at a time, of one or more processes, and the removal of what killed ones left.

What does not belong here: how files are replaced (``store``). Readers need no lock.
"""

import fcntl
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from itememb_core.errors import ItemembError

LOCK: Final = "_lock"

#: Names of what ``store`` stages: a file beside its target, a scratch folder, a version's folder.
#: They are strict: somebody may have put a lake into a folder of other things.
_STAGED: Final = re.compile(r"_[\w.]+\.(parquet|json)\.[0-9]+|_scratch[a-z0-9_]{8}")
_STAGED_VERSION: Final = re.compile(r"_[a-z0-9_]{8}(_old)?")
#: ``_versions/backtest/item_model/<id>`` is as deep as a lake goes.
_DEPTH: Final = 4
_POLL_SECONDS: Final = 1.0
#: Looks at a lock before it counts as another's.
_TRIES: Final = 4

#: The locks that this process holds, with how often: a run inside a run is one writer.
_held: dict[Path, tuple[int, int]] = {}


@contextmanager
def writing(
    root: Path, waiting: Callable[[str], None] | None = None, writer: str | None = None
) -> Iterator[None]:
    """Be part of the one writer of a lake; what killed writers left is removed first.

    A writer is a run, or a command with all its runs: any number of processes that share a name.
    The lock is the system's own (``flock``): it ends with its processes, however they end.

    Args:
        root: The lake, which is made if there is none.
        waiting: Called once when another writer has the lake, which is then waited for; None:
            another writer is an error.
        writer: Name of the writer; None: this process is one alone.

    Raises:
        ItemembError: The lake cannot be written or locked, or has another writer.
    """
    path = root.resolve()
    if path in _held:
        fd, times = _held[path]
        _held[path] = fd, times + 1
    else:
        _held[path] = _lock(root, writer or _process(), waiting), 1
    try:
        yield
    finally:
        fd, times = _held.pop(path)
        if times > 1:
            _held[path] = fd, times - 1
        else:
            if _taken(fd, root, fcntl.LOCK_EX):  # the last of the writer
                os.ftruncate(fd, 0)
            os.close(fd)


def _lock(root: Path, writer: str, waiting: Callable[[str], None] | None) -> int:
    """Take the lock, as the first of a writer or as one more of it."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ItemembError(f"lake {root}: cannot be written ({error.strerror})") from error
    try:
        tries = 0
        while not (_first(fd, root, writer) or _one_more(fd, root, writer)):
            tries += 1
            if tries < _TRIES:  # another may be changing from one lock to the other
                time.sleep(_POLL_SECONDS / 20)
                continue
            busy = f"lake {root}: {_note(fd)[1] or 'another process'} is writing it"
            if waiting is None:
                raise ItemembError(f"{busy}; run again when it has ended")
            waiting(f"{busy}; waiting until it has ended")
            waiting = _quiet
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        os.close(fd)
        raise ItemembError(f"lake {root}: cannot be written ({error.strerror})") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _first(fd: int, root: Path, writer: str) -> bool:
    """Lock for a writer of which no other process has the lake, and sweep."""
    if not _taken(fd, root, fcntl.LOCK_EX):
        return False
    sweep(root)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{writer}\n{_process()}\n".encode(), 0)
    return _taken(fd, root, fcntl.LOCK_SH)  # the system may give it to another in between


def _one_more(fd: int, root: Path, writer: str) -> bool:
    """Lock as another process of the writer that has the lake."""
    if _note(fd)[0] != writer or not _taken(fd, root, fcntl.LOCK_SH):
        return False
    if _note(fd)[0] == writer:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _note(fd: int) -> tuple[str, str]:
    """The name of the writer that holds or held the lake, and who its first process is."""
    writer, _, who = os.pread(fd, 1000, 0).decode(errors="replace").partition("\n")
    return writer, who.strip()


def _quiet(_message: str) -> None:
    """Say nothing more."""


def _taken(fd: int, root: Path, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ItemembError(
            f"lake {root}: cannot be locked ({error.strerror}), expected a file system with locks"
        ) from error
    return True


def engine_scratch(root: Path) -> Path:
    """Return the folder to which this process's embedded engine spills."""
    return root / f"_scratch{os.getpid():08}"


def sweep(root: Path) -> list[Path]:
    """Remove staged files and folders; only who holds the lock may. Return their paths.

    The engine's connection outlives a run and goes on spilling to its folder, which stays.
    """
    if not (root / "lake.json").exists():
        return []
    own = engine_scratch(root).name
    gone: list[Path] = []
    for name, folders, files in os.walk(root):
        folder = Path(name)
        inside = folder.relative_to(root).parts
        staged = _STAGED_VERSION if inside[:1] == ("_versions",) else _STAGED
        for entry in (*folders, *files):
            if staged.fullmatch(entry) and entry != own:
                gone.append(folder / entry)
                _remove(folder / entry)
        if len(inside) >= _DEPTH - 1:
            folders.clear()
        folders[:] = [entry for entry in folders if folder / entry not in gone]
    return gone


def sweep_scratch(root: Path) -> None:
    """Remove what engines of ended processes spilled; only the writer may, between its runs."""
    for folder in root.glob("_scratch*"):
        if folder != engine_scratch(root):
            shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
