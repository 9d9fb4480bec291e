"""Options that several commands share, and the parsing of ``--set key=value``."""

from collections.abc import Callable
from datetime import date
from typing import Any

import click
import yaml

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.runtime.resources import settings_from


def lake_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--lake``."""
    return click.option("--lake", help="Folder of the lake. [ITEMEMB_LAKE, data/lake]")(command)


def raw_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--raw``."""
    return click.option("--raw", help="Raw folder or URL. [ITEMEMB_RAW, data/raw]")(command)


def day(text: str | None, option: str) -> date | None:
    """Parse a day of an option.

    Raises:
        ItemembError: If it is no date.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ItemembError(f"{option}: found {text!r}, expected YYYY-MM-DD") from error


def parse_settings(assignments: tuple[str, ...]) -> Settings:
    """Turn ``seed=1`` and ``item_model.dim=64`` into settings.

    Raises:
        ItemembError: If one is not ``key=value``, is unknown or out of range.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ItemembError(f"--set {text!r}: expected key=value, such as item_model.dim=64")
        at = values
        *stages, last = name.split(".")
        for part in stages:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise ItemembError(f"--set {text!r}: {part} is a value, not a stage")
        at[last] = yaml.safe_load(value)
    return settings_from(values)
