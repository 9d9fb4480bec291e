"""Options that several commands share, and the parsing of ``--set key=value``."""

from collections.abc import Callable
from datetime import date
from typing import Any

import click
import yaml

from itememb_core.errors import UsageError
from itememb_core.settings import Settings
from itememb_dagster.runtime.place import settings_from


def lake_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--lake``."""
    return click.option("--lake", help="Folder of the lake. [ITEMEMB_LAKE, data/lake]")(command)


def raw_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--raw``."""
    return click.option("--raw", help="Raw folder or URL. [ITEMEMB_RAW, data/raw]")(command)


def k_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-k``."""
    kind = click.IntRange(1)
    return click.option("-k", type=kind, default=10, show_default=True, help="How many.")(command)


def day(text: str | None, option: str) -> date | None:
    """Parse a day of an option.

    Raises:
        UsageError: If it is no date.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{option}: found {text!r}, expected YYYY-MM-DD") from error


def parse_settings(assignments: tuple[str, ...]) -> Settings:
    """Turn ``seed=1`` and ``item_model.dim=64`` into settings.

    Raises:
        UsageError: If one is not ``key=value``, is unknown or out of range.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"--set {text!r}: expected key=value, such as item_model.dim=64")
        at = values
        *stages, last = name.split(".")
        for part in stages:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise UsageError(f"--set {text!r}: {part} is a value, not a stage")
        try:
            at[last] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # a day that is none is the latter
            raise UsageError(f"--set {text!r}: the value is no YAML") from error
    return settings_from(values)
