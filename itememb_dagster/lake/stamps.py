"""A stamp says what a file was made from: what "up to date" is decided by.

It is kept where the data is (a Parquet footer, a version's pointer), so the lake alone knows what
is up to date. It holds no wall-clock, host or path.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
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


def sealed_line(fields: Mapping[str, Any]) -> str:
    """Return fields as a line of JSON with sorted keys, with a digest that shows any damage."""
    # As it will be read: keys that are no texts become texts, in another order.
    text = json.dumps(json.loads(json.dumps(fields)), sort_keys=True)
    return json.dumps({**fields, "digest": digest([text])}, sort_keys=True)


def unsealed_line(text: str | bytes) -> dict[str, Any] | None:
    """Return the fields of what ``sealed_line`` wrote; None where it is damaged."""
    try:
        fields = json.loads(text)
        kept = fields.pop("digest")
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return fields if kept == digest([json.dumps(fields, sort_keys=True)]) else None


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
        """Return the stamp as one sealed line of JSON."""
        return sealed_line({**asdict(self), "id": self.id})

    @classmethod
    def parse(cls, text: str | bytes) -> "Stamp | None":
        """Read what ``to_json`` wrote; None where it is damaged."""
        stored = unsealed_line(text)
        if stored is None or stored.keys() != {each.name for each in fields(cls)} | {"id"}:
            return None
        del stored["id"]
        return cls(**stored)
