"""Names of the lake's files, its stamps and its versions.

What does not belong here: Dagster, and the file system, which is ``storage``'s.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from itememb_core.errors import ItemembError
from itememb_dagster.lake import seal
from itememb_dagster.lake.lock import writing
from itememb_dagster.lake.stamps import FOOTER_KEY, Stamp, digest, sealed_line, unsealed_line
from itememb_dagster.lake.storage import LocalStorage, Storage

#: An asset's key: ``("edges",)`` or ``("backtest", "edges")``.
Key = tuple[str, ...]

#: The one file of a table, a day or a month.
PART: Final = "part.parquet"
POINTER: Final = "current.json"
NOTE: Final = "lake.json"

#: Of what a lake's files are like. A lake of an older one opens; its next run says what it redoes.
FORMAT: Final = 3
#: The first format whose files are sealed.
SEALED: Final = 3
_DATES: Final = ("epoch", "first_day", "last_day")
_VERDICT: Final = {"version", "content", "code", "passed", "severity"}


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
        format: Of the files in the lake; 1 had stamps whose code was counted by hand, 2 no seals.
    """

    epoch: date
    first_day: date | None = None
    last_day: date | None = None
    format: int = FORMAT

    def with_days(self, days: Sequence[date]) -> "LakeNote":
        """Return it in today's format, with these days of raw; without any, with those it has.

        Days that raw no longer holds are forgotten: what was there before changes no file.
        """
        first, last = (min(days), max(days)) if days else (self.first_day, self.last_day)
        return LakeNote(self.epoch, first, last)

    def to_json(self) -> str:
        """Return it as one line."""
        days = {n: d.isoformat() for n in _DATES if (d := getattr(self, n)) is not None}
        return sealed_line({"format": self.format, **days})

    @classmethod
    def from_json(cls, text: str | bytes, root: Path) -> "LakeNote":
        """Read what ``to_json`` wrote.

        Raises:
            ItemembError: It was written by a newer version, or cannot be read.
        """
        try:
            stored = json.loads(text)
            found = int(stored.get("format", 1))
            newer = found > FORMAT
            if found >= SEALED and not newer and unsealed_line(text) is None:
                raise ValueError("another digest")
            note = None if newer else cls(**_dates(stored), format=found)
        except (ValueError, TypeError, AttributeError) as error:
            raise ItemembError(
                f"{root / NOTE}: broken, expected one line of JSON with the lake's epoch; remove "
                "this file and itememb run writes it again (with the lake's own --epoch)"
            ) from error
        if note is None:
            raise ItemembError(
                f"lake {root}: written in format {found}, this itememb knows formats up to "
                f"{FORMAT}; install a newer itememb or use another lake"
            )
        return note


def _dates(stored: Mapping[str, Any]) -> dict[str, date]:
    return {name: date.fromisoformat(stored[name]) for name in _DATES if name in stored}


@dataclass(frozen=True)
class Lake:
    """A folder of tables (Parquet) and versions (folders of several files).

    Attributes:
        root: Where it is worked with on this machine; its lock and the engine's scratch lie here.
        place: Where its files lie; None: right there.
    """

    root: Path
    place: Storage | None = None

    @property
    def storage(self) -> Storage:
        """Where its files lie."""
        return self.place or LocalStorage(self.root)

    def table(self, key: Key) -> Path:
        """Return the folder of a table or of a version's pointer."""
        return self.storage.local(_name(*key))

    def part(self, key: Key, segment: str | None = None) -> Path:
        """Return a table's one file, or that of a segment such as ``day=2017-01-01``."""
        return self.storage.local(_part(key, segment))

    def day(self, key: Key, day: date) -> Path:
        """Return the file of one day of a daily table."""
        return self.part(key, f"day={day.isoformat()}")

    def segments(self, key: Key) -> list[str]:
        """Return the ``day=`` or ``month=`` folders of a table, sorted."""
        there = self.storage.exists
        return [n for n in self.storage.list(_name(*key)) if "=" in n and there(_part(key, n))]

    def common_segments(self, keys: Iterable[Key]) -> set[str]:
        """Return the segments that every one of the tables holds."""
        held = [set(self.segments(key)) for key in keys]
        return set.intersection(*held) if held else set()

    def parts(self, key: Key) -> list[Path]:
        """Return the live Parquet files of a table, sorted."""
        if self.storage.exists(_part(key)):
            return [self.part(key)]
        return [self.part(key, segment) for segment in self.segments(key)]

    def prepare(self, epoch: date, days: Sequence[date] = ()) -> None:
        """Record the epoch of a new lake and the days seen, or check that they fit.

        Raises:
            ItemembError: If the folder cannot be written, records another epoch, or was written
                by a newer version.
        """
        new = LakeNote(epoch).with_days(days)
        note = self.note()
        if note is None and self.storage.put_if_absent(NOTE, _line(new.to_json())):
            return
        note = note or self.note() or new
        if note.epoch != epoch:
            raise ItemembError(
                f"lake {self.root}: made with epoch {note.epoch}, found epoch {epoch}; "
                "use the recorded epoch or another lake"
            )
        known = replace(note.with_days(days), format=note.format)
        if note != known:
            self.storage.replace(NOTE, _line(known.to_json()))

    def is_older(self) -> bool:
        """Whether files of an older format may lie here, which are made again."""
        note = self.note()
        return note is not None and note.format < FORMAT

    def finish_format(self) -> None:
        """Record that all files are of today's format."""
        note = self.note()
        if note is not None and note.format < FORMAT:
            self.storage.replace(NOTE, _line(replace(note, format=FORMAT).to_json()))

    def check_files(self, paths: Iterable[Path]) -> None:
        """Look at all bytes of Parquet files that are about to be read.

        Raises:
            DamagedError: One is not as it was written.
        """
        note = self.note()
        seal.check_files(paths, all_sealed=note is not None and note.format >= SEALED)

    def note(self) -> LakeNote | None:
        """Return what the lake says of itself; None: nothing was written yet.

        Raises:
            ItemembError: It was written by a newer version, or is broken.
        """
        text = self.storage.read(NOTE)
        if text is None and self.storage.exists(NOTE):
            text = b""  # a folder, say
        return None if text is None else LakeNote.from_json(text, self.root)

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

    def staged(self, target: Path) -> AbstractContextManager[Path]:
        """Give a path for a new file; it replaces ``target`` when all went well.

        Raises:
            ItemembError: The disk is full or refuses; ``target`` is as it was.
        """
        return self.storage.staged(target.relative_to(self.root).as_posix())

    def scratch(self) -> AbstractContextManager[Path]:
        """Give an empty folder on the lake's disk that is removed afterwards."""
        return self.storage.scratch()

    def stamp(self, key: Key, segment: str | None = None) -> Stamp | None:
        """Return the stamp of a table, a segment or a version; None where there is none.

        What is damaged, or not all there, has none: it is made again.
        """
        if segment is not None:
            return self._footer(key, segment)
        pointer = self.pointer(key)
        if pointer is not None:
            return None if self.version_faults(key, pointer.id) else pointer
        months = self.storage.read(_months_stamp(key))
        if months is not None:
            stamp = Stamp.parse(months)
            named = stamp.counts.get("segments", {}) if stamp else {}
            held = ((self._footer(key, each), recipe) for each, recipe in named.items())
            return stamp if all(own and own.recipe == recipe for own, recipe in held) else None
        return self._footer(key)

    def pointer(self, key: Key) -> Stamp | None:
        """Return the stamp of a version, be its files whole or not; None: there is no version."""
        text = self.storage.read(_name(*key, POINTER))
        return None if text is None else Stamp.parse(text)

    def _footer(self, key: Key, segment: str | None = None) -> Stamp | None:
        """The stamp in a Parquet file that is whole, and whose rejected rows are, too."""
        found = seal.metadata(self.part(key, segment)) or {}
        stamp = Stamp.parse(found[FOOTER_KEY]) if FOOTER_KEY in found else None
        if stamp and any(stamp.counts.get("rejected", {}).values()):
            beside = seal.metadata(self.part(rejected_key(key), segment)) or {}
            rejected = Stamp.parse(beside.get(FOOTER_KEY, b""))
            return stamp if rejected and rejected.recipe == stamp.recipe else None
        return stamp

    def content(self, key: Key) -> str:
        """Return a hash of what an asset holds, which is the same for the same bytes."""
        pointer = self.pointer(key)
        if pointer is not None:
            listing = _name("_versions", *key, pointer.id, seal.CONTENTS)
            return digest([(self.storage.read(listing) or b"").hex()])
        return digest(f"{part.parent.name} {seal.content(part)}" for part in self.parts(key))

    def spoil(self, name: str) -> None:
        """Let a damaged file be seen as such by every run until it is made again.

        It stays where it is: what reads it fails, and nothing is made without it.
        """
        path = self.storage.local(name)
        if path.is_file():
            os.truncate(path, 0)

    def faults(self, key: Key, deep: bool = False) -> dict[str, str]:
        """Return the damaged files of an asset, by the storage's names, and what is wrong.

        Args:
            key: The asset.
            deep: Whether to look at all bytes, not only at sizes, footers and lines of JSON.
        """
        local, found = self.storage.local, {}
        checks = _name("_checks", *key)
        lines = [f"{checks}/{name}" for name in self.storage.list(checks)]
        for name in (_name(*key, POINTER), _months_stamp(key), *lines):
            if self.storage.exists(name):
                text = self.storage.read(name)
                if text is None or unsealed_line(text) is None:
                    found[name] = "no line of JSON as it was written"
        for table in (key, rejected_key(key)):
            for name in (_part(table), *(_part(table, each) for each in self.segments(table))):
                why = seal.fault(local(name), deep)
                if why:
                    found[name] = why
        pointer = self.pointer(key)
        if pointer is not None:
            folder = self.version_folder(key, pointer.id)
            for path, why in self.version_faults(key, pointer.id, deep).items():
                inside = path.relative_to(folder).as_posix()
                found[_name("_versions", *key, pointer.id, inside)] = why
        return found

    def version(self, key: Key, only: str | None = None) -> Path:
        """Return the folder of the current version, whose bytes (or ``only`` one file's) are right.

        Raises:
            ItemembError: If the asset was never made, or is damaged.
        """
        stamp = self.pointer(key)
        if stamp is None:
            raise ItemembError(f"{'/'.join(key)}: not in lake {self.root}; itememb run makes it")
        folder = self.version_folder(key, stamp.id)
        for path, why in seal.folder_faults(folder, deep=True, only=only).items():
            raise seal.DamagedError(path, why)
        return folder

    def version_folder(self, key: Key, version: str) -> Path:
        """Return where the version of an id lies, whether it is there or not."""
        return self.storage.local(_name("_versions", *key, version))

    def version_faults(self, key: Key, version: str, deep: bool = False) -> dict[Path, str]:
        """Return the damaged files of a version, with what is wrong with each."""
        return seal.folder_faults(self.version_folder(key, version), deep)

    def checkpoint(self, key: Key) -> Path:
        """Return where a fit keeps how far it came, whether there is one or not."""
        return self.storage.local(_name("_checkpoints", *key))

    @contextmanager
    def whole(self, key: Key, stamp: Stamp) -> Iterator[None]:
        """Stamp a table of several files when all were written; until then it has no stamp."""
        self.storage.remove(_months_stamp(key))
        yield
        self.storage.replace(_months_stamp(key), _line(stamp.to_json()))

    @contextmanager
    def new_version(self, key: Key, stamp: Stamp) -> Iterator[Path]:
        """Give an empty folder to fill; the pointer moves to it when all went well.

        The version before stays for readers that hold it, the parent for a new try; older ones are
        removed.
        """
        before = self.pointer(key)
        versions = _name("_versions", *key)
        with self.storage.staged(f"{versions}/{stamp.id}", folder=True) as staged:
            yield staged
            seal.seal_folder(staged)
        self.storage.replace(_name(*key, POINTER), _line(stamp.to_json()))
        self.storage.remove(_name("_checkpoints", *key))
        keep = {stamp.id, stamp.parent, before.id if before else stamp.id}
        for old in self.storage.list(versions):
            if old not in keep:
                self.storage.remove(f"{versions}/{old}")

    def remove(self, key: Key, segment: str | None = None) -> None:
        """Remove a table, or one segment of it; there may be none."""
        self.storage.remove(_name(*key, segment) if segment else _name(*key))

    def remove_segments(self, key: Key, keep: set[str]) -> list[str]:
        """Remove the segments that are not in ``keep``; return their names."""
        gone = [name for name in self.segments(key) if name not in keep]
        for name in gone:
            self.remove(key, name)
        return gone

    def record_check(self, key: Key, name: str, verdict: Mapping[str, Any]) -> None:
        """Keep a check's verdict, so that a failed one is not forgotten by the next run."""
        # A file a check: two of one asset may end at the same time, in two processes.
        self.storage.replace(_name("_checks", *key, f"{name}.json"), _line(sealed_line(verdict)))

    def checks(self, key: Key) -> dict[str, Any]:
        """Return the recorded verdicts of an asset's checks, by name; a broken one is none."""
        folder = _name("_checks", *key)
        names = [n for n in self.storage.list(folder) if n.endswith(".json")]
        found = {n.removesuffix(".json"): self._verdict(f"{folder}/{n}") for n in names}
        return {name: verdict for name, verdict in found.items() if verdict is not None}

    def _verdict(self, name: str) -> Any:
        verdict = unsealed_line(self.storage.read(name) or b"")
        return verdict if verdict is not None and verdict.keys() >= _VERDICT else None


def _name(*parts: str) -> str:
    """The storage's name of a file or folder."""
    return "/".join(parts)


def _part(key: Key, segment: str | None = None) -> str:
    return _name(*key, segment, PART) if segment else _name(*key, PART)


def _months_stamp(key: Key) -> str:
    return _name("_stamps", *key) + ".json"


def _line(text: str) -> bytes:
    return f"{text}\n".encode()
