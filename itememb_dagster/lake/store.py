"""Paths of the lake, its staged writes and its stamps. What does not belong here: Dagster."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_dagster.lake.lock import writing
from itememb_dagster.lake.stamps import FOOTER_KEY, Stamp

#: An asset's key: ``("edges",)`` or ``("backtest", "edges")``.
Key = tuple[str, ...]

#: The one file of a table, a day or a month.
PART: Final = "part.parquet"
POINTER: Final = "current.json"


def rejected_key(key: Key) -> Key:
    """Return where the rejected rows of a table lie: beside it, no asset of their own."""
    return (*key[:-1], f"{key[-1]}_rejected")


@dataclass(frozen=True)
class Lake:
    """A folder of tables (Parquet) and versions (folders of several files)."""

    root: Path

    def table(self, key: Key) -> Path:
        """Return the folder of a table or of a version's pointer."""
        return self.root.joinpath(*key)

    def part(self, key: Key, segment: str | None = None) -> Path:
        """Return a table's one file, or that of a segment such as ``day=2017-01-01``."""
        folder = self.table(key)
        return (folder / segment if segment else folder) / PART

    def day(self, key: Key, day: date) -> Path:
        """Return the file of one day of a daily table."""
        return self.part(key, f"day={day.isoformat()}")

    def segments(self, key: Key) -> list[str]:
        """Return the ``day=`` or ``month=`` folders of a table, sorted."""
        folder = self.table(key)
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if "=" in p.name and (p / PART).exists())

    def common_segments(self, keys: Iterable[Key]) -> set[str]:
        """Return the segments that every one of the tables holds."""
        held = [set(self.segments(key)) for key in keys]
        return set.intersection(*held) if held else set()

    def parts(self, key: Key) -> list[Path]:
        """Return the live Parquet files of a table, sorted."""
        single = self.part(key)
        if single.exists():
            return [single]
        return [self.part(key, segment) for segment in self.segments(key)]

    def prepare(self, epoch: date) -> None:
        """Record the epoch of a new lake, or check that it was made with this one.

        Raises:
            ItemembError: If the folder cannot be written or records another epoch.
        """
        note = self.root / "lake.json"
        if not note.exists():
            with self.staged(note) as staged:
                staged.write_text(json.dumps({"epoch": epoch.isoformat()}) + "\n")
        recorded = self.epoch()
        if recorded != epoch:
            raise ItemembError(
                f"lake {self.root}: made with epoch {recorded}, found epoch {epoch}; "
                "use the recorded epoch or another lake"
            )

    def epoch(self) -> date:
        """Return the recorded date of day 0."""
        return date.fromisoformat(json.loads((self.root / "lake.json").read_text())["epoch"])

    def writing(self, waiting: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
        """Be the one process that writes here: see ``lock.writing``."""
        return writing(self.root, waiting)

    @contextmanager
    def staged(self, target: Path) -> Iterator[Path]:
        """Give a path beside ``target`` to write to; it replaces ``target`` when all went well.

        Raises:
            ItemembError: The disk is full or refuses; ``target`` is as it was.
        """
        staged = target.with_name(f"_{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield staged
                os.replace(staged, target)
            finally:
                staged.unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise ItemembError(f"{target}: cannot be written ({why}); it is as it was") from error

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the lake's disk that is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.root, prefix="_scratch") as folder:
            yield Path(folder)

    def stamp(self, key: Key, segment: str | None = None) -> Stamp | None:
        """Return the stamp of a table, a segment or a version; None where there is none."""
        pointer, months = self.table(key) / POINTER, self._months_stamp(key)
        if segment is None and pointer.exists():
            stamp = Stamp.from_json(pointer.read_text())
            return stamp if self.version_folder(key, stamp.id).is_dir() else None
        if segment is None and months.exists():
            stamp = Stamp.from_json(months.read_text())
            whole = set(stamp.counts.get("segments", ())) <= set(self.segments(key))
            return stamp if whole else None
        path = self.part(key, segment)
        if not path.exists():
            return None
        try:
            text = (pq.read_metadata(path).metadata or {}).get(FOOTER_KEY)
        except pa.ArrowInvalid:  # damaged, by a power cut perhaps: it is made again
            return None
        return Stamp.from_json(text) if text else None

    def version(self, key: Key) -> Path:
        """Return the folder of a version that its pointer names.

        Raises:
            ItemembError: If the asset was never made.
        """
        stamp = self.stamp(key)
        if stamp is None:
            raise ItemembError(f"{'/'.join(key)}: not in lake {self.root}; itememb run makes it")
        return self.version_folder(key, stamp.id)

    def version_folder(self, key: Key, version: str) -> Path:
        """Return where the version of an id lies, whether it is there or not."""
        return self.root.joinpath("_versions", *key, version)

    def checkpoint(self, key: Key) -> Path:
        """Return where a fit keeps how far it came, whether there is one or not."""
        return self.root.joinpath("_checkpoints", *key)

    def _months_stamp(self, key: Key) -> Path:
        return self.root.joinpath("_stamps", *key).with_suffix(".json")

    @contextmanager
    def whole(self, key: Key, stamp: Stamp) -> Iterator[None]:
        """Stamp a table of several files when all were written; until then it has no stamp."""
        path = self._months_stamp(key)
        path.unlink(missing_ok=True)
        yield
        with self.staged(path) as staged:
            staged.write_text(stamp.to_json() + "\n")

    @contextmanager
    def new_version(self, key: Key, stamp: Stamp) -> Iterator[Path]:
        """Give an empty folder to fill; the pointer moves to it when all went well.

        The version before stays for readers that hold it, the parent for a new try; older ones are
        removed.
        """
        folder = self.root.joinpath("_versions", *key)
        folder.mkdir(parents=True, exist_ok=True)
        before = self.stamp(key)
        staged = Path(tempfile.mkdtemp(dir=folder, prefix="_"))
        try:
            yield staged
            staged.chmod(0o755)
            target, gone = folder / stamp.id, staged.with_name(f"{staged.name}_old")
            if target.exists():  # a folder cannot replace another at once
                os.replace(target, gone)
            os.replace(staged, target)
            shutil.rmtree(gone, ignore_errors=True)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        with self.staged(self.table(key) / POINTER) as pointer:
            pointer.write_text(stamp.to_json() + "\n")
        self.checkpoint(key).unlink(missing_ok=True)
        keep = {stamp.id, stamp.parent, before.id if before else stamp.id}
        for old in folder.iterdir():
            if old.name not in keep:
                shutil.rmtree(old)

    def remove_segments(self, key: Key, keep: set[str]) -> list[str]:
        """Remove the segments that are not in ``keep``; return their names."""
        gone = [name for name in self.segments(key) if name not in keep]
        for name in gone:
            shutil.rmtree(self.table(key) / name)
        return gone

    def record_check(self, key: Key, name: str, verdict: Mapping[str, Any]) -> None:
        """Keep a check's verdict, so that a failed one is not forgotten by the next run."""
        # A file a check: two of one asset may end at the same time, in two processes.
        path = self.root.joinpath("_checks", *key, f"{name}.json")
        with self.staged(path) as staged:
            staged.write_text(json.dumps(verdict, sort_keys=True, indent=1) + "\n")

    def checks(self, key: Key) -> dict[str, Any]:
        """Return the recorded verdicts of an asset's checks, by name."""
        folder = self.root.joinpath("_checks", *key)
        return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
