"""Resources: the settings as the launchpad shows them, the raw folder, and progress.

The settings resource is generated from ``itememb_core.settings``: there is no second list.
"""

import difflib
import os
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import BaseModel, ValidationError, create_model

from itememb_core.errors import ItemembError
from itememb_core.raw import RawScan, listing_digest, scan
from itememb_core.settings import DomainSettings, Settings
from itememb_dagster.runtime.engine import checked_engine

DEFAULT_EPOCH: Final = "2017-01-01"

#: Events that are written to the event log in one transaction.
EVENT_BATCH: Final = 500

#: The instance's ``dagster.yaml``, written once.
INSTANCE: Final = """\
telemetry:
  enabled: false
nux:
  enabled: false
event_log_storage:
  module: itememb_dagster.runtime.event_log
  class: BatchedSqliteEventLogStorage
  config:
    base_dir:
      env: DAGSTER_HOME
"""


def _config_class(model: type[BaseModel], base: type[Any]) -> type[Any]:
    """Return a Dagster config class with a core settings class's fields, defaults and bounds."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            nested = _config_class(kind, dg.Config)
            fields[name] = (nested, nested())
        else:
            fields[name] = (kind, field)
    return create_model(model.__name__, __base__=base, __doc__=model.__doc__, **fields)


SettingsResource: Final = _config_class(Settings, dg.ConfigurableResource)


def settings_from(values: dict[str, Any]) -> Settings:
    """Validate settings.

    Raises:
        ItemembError: If a setting is unknown or out of range; it names the setting.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ItemembError(f"setting {name}: no such setting{_close(first['loc'])}") from error
        found = first.get("input")
        raise ItemembError(f"setting {name}: {first['msg']}, found {found!r}") from error


def _close(path: tuple[int | str, ...]) -> str:
    """Name settings that are spelled like the unknown one."""
    names = list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += [f"{name}.{inner}" for inner in field.annotation.model_fields]
    near = difflib.get_close_matches(".".join(map(str, path)), names, n=3)
    return f"; close ones: {', '.join(near)}" if near else ""


class RawResource(dg.ConfigurableResource[None]):
    """The raw folder.

    Attributes:
        root: Folder or fsspec URL.
        epoch: Day 0 of raw timestamps and numbered files, ``YYYY-MM-DD``.
    """

    root: str
    epoch: str = DEFAULT_EPOCH

    def scan(self, settings: Settings) -> RawScan:
        """List the raw files."""
        digest = listing_digest(self.root)
        return _scan(self.root, date.fromisoformat(self.epoch), settings.domains, digest)


@lru_cache(maxsize=4)
def _scan(root: str, epoch: date, domains: DomainSettings, _digest: str) -> RawScan:
    """Scan a listing once: every stage asks, and files of many days have to be opened."""
    return scan(root, epoch, domains)


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes, and on which engine."""

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
            ItemembError: If the epoch is no date.
        """
        env = os.environ.get
        text = epoch or env("ITEMEMB_EPOCH", DEFAULT_EPOCH)
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise ItemembError(f"epoch: found {text!r}, expected YYYY-MM-DD") from error
        return cls(
            raw or env("ITEMEMB_RAW", "data/raw"),
            lake or env("ITEMEMB_LAKE", "data/lake"),
            day,
            checked_engine(engine or env("ITEMEMB_ENGINE", "duckdb")),
        )


def use_dagster_home() -> Path:
    """Return Dagster's home, ``.dagster`` in the working folder unless set, and make it ready."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / ".dagster"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(INSTANCE)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    return home
