"""A storage without a disk: what a lake's files look like where there are no folders."""

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from itememb_dagster.lake.storage import checked


class MemoryStorage:
    """Files by name; ``local`` gives copies in a folder that may go at any time."""

    def __init__(self, copies: Path) -> None:
        self.files: dict[str, bytes] = {}
        self._copies, self._lock = copies, threading.Lock()

    def list(self, prefix: str = "") -> Sequence[str]:
        start = f"{checked(prefix)}/" if prefix else ""
        below = [name for name in self.files if name.startswith(start)]
        return sorted({name[len(start) :].partition("/")[0] for name in below})

    def exists(self, name: str) -> bool:
        return bool(self._below(name))

    def read(self, name: str) -> bytes | None:
        return self.files.get(checked(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        with self._lock:
            if checked(name) in self.files:
                return False
            self.files[name] = data
            return True

    def replace(self, name: str, data: bytes) -> None:
        self.files[checked(name)] = data

    def remove(self, name: str) -> None:
        for found in self._below(name):
            del self.files[found]

    def local(self, name: str) -> Path:
        for found in self._below(name):
            path = self._copies / found
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[found])
        return self._copies / name

    @contextmanager
    def staged(self, name: str, folder: bool = False) -> Iterator[Path]:
        checked(name)
        with self.scratch() as scratch:
            path = scratch if folder else scratch / "file"
            yield path
            made = {name: path} if path.is_file() else {
                f"{name}/{p.relative_to(path)}": p for p in path.rglob("*") if p.is_file()
            }  # fmt: skip
            content = {n: p.read_bytes() for n, p in made.items()}
        self.remove(name)
        shutil.rmtree(self._copies / name, ignore_errors=True)
        self.files |= content

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def _below(self, name: str) -> Sequence[str]:
        checked(name)
        return [n for n in self.files if n == name or n.startswith(f"{name}/")]
