"""A stamp says what a file was made from: what "up to date" is decided by.

It is kept where the data is (a Parquet footer, a version's pointer), so the lake alone knows what
is up to date. It holds no wall-clock, host or path.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

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

    @classmethod
    def parse(cls, text: str | bytes) -> "Stamp | None":
        """Read what ``to_json`` wrote; None where it is broken."""
        try:
            stamp = cls.from_json(text)
        except (ValueError, TypeError, AttributeError, KeyError):
            return None
        texts = (stamp.name, stamp.inputs, stamp.code, stamp.parent or "")
        facts = (stamp.settings, stamp.counts)
        whole = all(isinstance(t, str) for t in texts) and all(isinstance(f, dict) for f in facts)
        return stamp if whole else None
