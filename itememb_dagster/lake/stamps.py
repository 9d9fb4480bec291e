"""A stamp says what a file was made from: what "up to date" is decided by.

It is kept where the data is (a Parquet footer, a version's pointer), so the lake alone knows what
is up to date. It holds no wall-clock, host or path.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

#: Key of the stamp in a Parquet footer.
FOOTER_KEY: Final = b"itememb"


def digest(parts: Iterable[str]) -> str:
    """Return a short stable hash (20 hex digits) of strings, in order."""
    state = hashlib.blake2b(digest_size=10)
    for part in parts:
        state.update(part.encode())
        state.update(b"\0")
    return state.hexdigest()


@dataclass(frozen=True)
class Stamp:
    """What one file or version was made from.

    Attributes:
        inputs: Hash of the ids of all it was read from.
        settings: The settings it depends on, as JSON values.
        code: Hash of the source that its stage can reach.
        parent: Id of the version a retrain started from; not part of being up to date.
        counts: What was counted while it was written (rows, rejected rows by reason, files).
    """

    name: str
    inputs: str
    settings: Mapping[str, Any]
    code: str
    parent: str | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> str:
        """Hash of name, inputs, settings and code: equal recipes are up to date."""
        settings = json.dumps(self.settings, sort_keys=True)
        return digest([self.name, self.inputs, settings, self.code])

    @property
    def id(self) -> str:
        """Hash of the recipe and the parent: the name of a version's folder."""
        return self.recipe if self.parent is None else digest([self.recipe, self.parent])

    def to_json(self) -> str:
        """Return the stamp as one line of JSON with sorted keys."""
        return json.dumps({**asdict(self), "id": self.id}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Stamp":
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        fields.pop("id")
        return cls(**fields)


def footer_stamp(path: Path) -> Stamp | None:
    """Return the stamp of a Parquet file; None where there is no file, or it has none."""
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _footer_stamp(str(path), (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=1 << 16)
def _footer_stamp(path: str, _state: tuple[int, int, int]) -> Stamp | None:
    """Read a footer once a process: a file of the lake is replaced by another, never changed."""
    try:
        text = (pq.read_metadata(path).metadata or {}).get(FOOTER_KEY)
    except pa.ArrowInvalid:  # damaged, by a power cut perhaps: it is made again
        return None
    return Stamp.from_json(text) if text else None
