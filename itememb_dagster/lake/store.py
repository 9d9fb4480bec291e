"""Paths of the lake, its staged writes and its stamps. What does not belong here: Dagster."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from itememb_core.errors import ItemembError
from itememb_dagster.lake.lock import writing
from itememb_dagster.lake.stamps import Stamp, footer_stamp

#: An asset's key: ``("edges",)`` or ``("backtest", "edges")``.
Key = tuple[str, ...]

#: The one file of a table, a day or a month.
PART: Final = "part.parquet"
POINTER: Final = "current.json"
NOTE: Final = "lake.json"

#: Of what a lake's files are like. A lake of an older one opens; its next run says what it redoes.
FORMAT: Final = 2
_DATES: Final = ("epoch", "first_day", "last_day")


def rejected_key(key: Key) -> Key:
    """Return where the rejected rows of a table lie: beside it, no asset of their own."""
    return (*key[:-1], f"{key[-1]}_rejected")


@dataclass(frozen=True)
class LakeNote:
    """What a lake says of itself, in ``lake.json``.

    Attributes:
        epoch: Date of day 0.
        first_day: The first day that raw held in any run; None: none yet.
        last_day: The last one.
        format: Of the files in the lake; 1 had stamps whose code was counted by hand.
    """

    epoch: date
    first_day: date | None = None
    last_day: date | None = None
    format: int = FORMAT

    def with_days(self, days: Sequence[date]) -> "LakeNote":
        """Return it in today's format, with these days among those that it spans."""
        known = [d for d in (self.first_day, self.last_day, *days) if d]
        first, last = (min(known), max(known)) if known else (None, None)
        return LakeNote(self.epoch, first, last)

    def to_json(self) -> str:
        """Return it as one line."""
        days = {n: d.isoformat() for n in _DATES if (d := getattr(self, n)) is not None}
        return json.dumps({"format": self.format, **days}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, root: Path) -> "LakeNote":
        """Read what ``to_json`` wrote."""
        told = json.loads(text)
        found = told.get("format", 1)
        if found > FORMAT:
            raise ItemembError(
                f"lake {root}: written in format {found}, this itememb knows formats up to "
                f"{FORMAT}; install a newer itememb or use another lake"
            )
        return cls(**{n: date.fromisoformat(told[n]) for n in _DATES if n in told}, format=found)


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
        names = (name for name in os.listdir(folder) if "=" in name)
        return sorted(n for n in names if os.path.exists(f"{folder}/{n}/{PART}"))

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

    def prepare(self, epoch: date, days: Sequence[date] = ()) -> None:
        """Record the epoch of a new lake and the days seen, or check that they fit.

        Raises:
            ItemembError: If the folder cannot be written, records another epoch, or was written
                by a newer version.
        """
        note = self.note()
        if note is not None and note.epoch != epoch:
            raise ItemembError(
                f"lake {self.root}: made with epoch {note.epoch}, found epoch {epoch}; "
                "use the recorded epoch or another lake"
            )
        known = (note or LakeNote(epoch)).with_days(days)
        if note != known:
            with self.staged(self.root / NOTE) as staged:
                staged.write_text(known.to_json() + "\n")

    def note(self) -> LakeNote | None:
        """Return what the lake says of itself; None: nothing was written yet.

        Raises:
            ItemembError: It was written by a newer version.
        """
        path = self.root / NOTE
        return LakeNote.from_json(path.read_text(), self.root) if path.exists() else None

    def epoch(self) -> date:
        """Return the recorded date of day 0.

        Raises:
            ItemembError: There is no lake yet.
        """
        note = self.note()
        if note is None:
            raise ItemembError(f"lake {self.root}: nothing was made yet; itememb run makes it")
        return note.epoch

    def writing(
        self, waiting: Callable[[str], None] | None = None, writer: str | None = None
    ) -> AbstractContextManager[None]:
        """Be part of the one writer here: see ``lock.writing``."""
        return writing(self.root, waiting, writer)

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
        return footer_stamp(self.part(key, segment))

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
