"""Resources: the settings as the launchpad shows them, the raw folder, and progress.

The settings resource is generated from ``itememb_core.settings``: there is no second list.
"""

import os
from datetime import date
from functools import lru_cache
from typing import Any, Final

import dagster as dg
from fsspec.config import conf as fsspec_options
from pydantic import BaseModel, create_model

from itememb_core.raw import RawScan, listing_digest, scan
from itememb_core.settings import DomainSettings, RawSettings, Settings
from itememb_core.urls import opened
from itememb_dagster.runtime.place import DEFAULT_EPOCH, hiding


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


class RawResource(dg.ConfigurableResource[None]):
    """The raw folder.

    Attributes:
        root: Folder or fsspec URL; ``${NAME}`` in it is a variable, read where it is opened.
        epoch: Day 0 of raw timestamps and numbered files, ``YYYY-MM-DD``.
    """

    root: str
    epoch: str = DEFAULT_EPOCH

    def scan(self, settings: Settings) -> RawScan:
        """List the raw files; what is wrong with one is its own fault."""
        with hiding(self.root):
            digest = listing_digest(opened_root(self.root))
            epoch = date.fromisoformat(self.epoch)
            return _scan(self.root, epoch, settings.domains, settings.raw, digest)


@lru_cache(maxsize=4)
def _scan(
    root: str, epoch: date, domains: DomainSettings, settings: RawSettings, _digest: str
) -> RawScan:
    """Scan a listing once: every stage needs it, and files of many days have to be opened."""
    with hiding(root):
        return scan(opened_root(root), epoch, domains, settings, strict=False)


def scan_raw(root: str, epoch: date, settings: Settings) -> RawScan:
    """List the files of a raw folder or URL in which ``${NAME}`` may stand.

    Raises:
        ItemembError: As ``scan``; it shows no variable's value.
    """
    with hiding(root):
        return scan(opened_root(root), epoch, settings.domains, settings.raw, strict=False)


def opened_root(root: str) -> str:
    """Return the URL to open; the login in it goes to the file systems of this process."""
    found = opened(root, os.environ)
    if found.options:
        fsspec_options.setdefault(found.protocol, {}).update(found.options)
    return found.url
