"""Where a run reads and writes, on which engine, and with which settings.

What does not belong here: Dagster, and what takes long to import; every command needs this.
"""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from traceback import format_exception
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from itememb_core.errors import ItemembError, UsageError
from itememb_core.settings import Settings
from itememb_core.urls import check_url, hidden

DEFAULT_EPOCH: Final = "2017-01-01"

#: In this process: what stages that compute with arrays read the lake with, on any engine.
EMBEDDED: Final = "duckdb"
SPARK: Final = "spark"
ENGINES: Final = (EMBEDDED, SPARK)


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes, and on which engine.

    Attributes:
        raw: Folder or URL as people write it, with ``${NAME}`` for what nobody may see.
        lake: Folder.
        epoch: Day 0 of raw.
        engine: One of ``ENGINES``.
    """

    raw: str
    lake: str
    epoch: date
    engine: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that ``from_env`` reads it from."""
        return {
            "ITEMEMB_RAW": self.raw,
            "ITEMEMB_LAKE": self.lake,
            "ITEMEMB_EPOCH": self.epoch.isoformat(),
            "ITEMEMB_ENGINE": self.engine,
        }

    @classmethod
    def from_env(
        cls,
        raw: str | None = None,
        lake: str | None = None,
        epoch: str | None = None,
        engine: str | None = None,
    ) -> "Place":
        """Fill what is not given from ``ITEMEMB_RAW``, ``_LAKE``, ``_EPOCH`` and ``_ENGINE``.

        Raises:
            UsageError: If the epoch is no date, the engine unknown, the lake a URL, or raw's URL
                holds a secret.
        """
        env = os.environ.get
        text = epoch or env("ITEMEMB_EPOCH", DEFAULT_EPOCH)
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise UsageError(f"epoch: found {text!r}, expected YYYY-MM-DD") from error
        raw = raw or env("ITEMEMB_RAW") or "data/raw"
        lake = check_url("lake", lake or env("ITEMEMB_LAKE") or "data/lake")
        if "://" in lake:
            raise UsageError(f"lake {lake}: found a URL, expected a folder")
        return cls(
            check_url("raw", raw),
            lake,
            day,
            checked_engine(engine or env("ITEMEMB_ENGINE", EMBEDDED)),
        )


def without_secrets(text: str, raw: str | None = None) -> str:
    """Return a text with ``${NAME}`` in the place of what raw's URL gets from the environment."""
    return hidden(text, raw or os.environ.get("ITEMEMB_RAW", ""), os.environ)


@contextmanager
def hiding(raw: str) -> Iterator[None]:
    """Let no exception out that shows what raw's URL gets from the environment.

    Raises:
        ItemembError: In the place of such an exception.
    """
    try:
        yield
    except Exception as error:
        found = "\n".join(format_exception(error))
        if without_secrets(found, raw) == found:
            raise
        kind = UsageError if isinstance(error, UsageError) else ItemembError
        raise kind(without_secrets(str(error), raw)) from None


def checked_engine(engine: str) -> str:
    """Return the engine.

    Raises:
        UsageError: If it is not one of those there are.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine: found {engine!r}, expected one of {', '.join(ENGINES)}")
    return engine


def settings_from(values: dict[str, Any]) -> Settings:
    """Validate settings.

    Raises:
        UsageError: If a setting is unknown or out of range; it names the setting.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"setting {name}: no such setting{_close(first['loc'])}") from error
        found = first.get("input")
        raise UsageError(f"setting {name}: {first['msg']}, found {found!r}") from error


def _close(path: tuple[int | str, ...]) -> str:
    """Name settings that are spelled like the unknown one."""
    names = list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += [f"{name}.{inner}" for inner in field.annotation.model_fields]
    near = difflib.get_close_matches(".".join(map(str, path)), names, n=3)
    return f"; close ones: {', '.join(near)}" if near else ""
