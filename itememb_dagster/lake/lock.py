"""One writer at a time: a lake's lock, and the removal of what killed writers left behind.

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

#: The locks that this process holds, with how often: a run inside a run is one writer.
_held: dict[Path, tuple[int, int]] = {}


@contextmanager
def writing(root: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Be the one process that writes a lake; what killed writers left is removed first.

    The lock is the system's own (``flock``): it ends with its process, however that ends.

    Args:
        root: The lake, which is made if there is none.
        waiting: Called once when another process writes the lake, which is then waited for; None:
            another writer is an error.

    Raises:
        ItemembError: The lake cannot be written or locked, or another process writes it.
    """
    path = root.resolve()
    if path in _held:
        fd, times = _held[path]
        _held[path] = fd, times + 1
    else:
        _held[path] = _lock(root, waiting), 1
    try:
        yield
    finally:
        fd, times = _held.pop(path)
        if times > 1:
            _held[path] = fd, times - 1
        else:
            os.ftruncate(fd, 0)
            os.close(fd)


def lent(root: Path) -> int:
    """Return the descriptor of a lock that this process holds, for the processes that it starts.

    The system keeps the lock until all of them have ended.
    """
    return _held[root.resolve()][0]


def adopt(root: Path, fd: int) -> None:
    """Be part of the one writer: hold the lock that the process which started this one lent."""
    _held[root.resolve()] = fd, 1


def _lock(root: Path, waiting: Callable[[str], None] | None) -> int:
    """Take the lock, note who has it, and sweep."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ItemembError(f"lake {root}: cannot be written ({error.strerror})") from error
    try:
        while not _taken(fd, root):
            who = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            busy = f"lake {root}: {who} is writing it"
            if waiting is None:
                raise ItemembError(f"{busy}; run again when it has ended")
            waiting(f"{busy}; waiting until it has ended")
            waiting = _quiet
            time.sleep(_POLL_SECONDS)
        sweep(root)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        os.close(fd)
        raise ItemembError(f"lake {root}: cannot be written ({error.strerror})") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _quiet(_message: str) -> None:
    """Say nothing more."""


def _taken(fd: int, root: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ItemembError(
            f"lake {root}: cannot be locked ({error.strerror}), expected a file system with locks"
        ) from error
    return True


def engine_scratch(root: Path, pid: int | None = None) -> Path:
    """Return the folder to which a process's embedded engine spills; this one's without ``pid``."""
    return root / f"_scratch{os.getpid() if pid is None else pid:08}"


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
