"""Options that several commands share, and the parsing of ``--set key=value``."""

import difflib
import os
import re
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

import click
import yaml

from itememb_core.errors import ItemembError, UsageError
from itememb_core.settings import Settings
from itememb_dagster.cli.text import plain
from itememb_dagster.runtime.place import settings_from

#: What a command reads of the environment.
VARIABLES: Final = tuple(
    f"ITEMEMB_{name}"
    for name in (
        *("RAW", "LAKE", "EPOCH", "ENGINE", "WORKERS", "MEMORY", "SPARK_MASTER"),
        "PARITY_HOUSEHOLDS",
    )
)
_SIZE: Final = re.compile(r"[0-9]+(\.[0-9]+)?\s*([KMGT]i?)?B", re.IGNORECASE)

#: The largest number that every library takes.
MOST: Final = 2**31 - 1


class Folder(click.Path):
    """A folder to write; an empty word (a variable that is not set, say) is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value):
            self.fail("found '', expected a folder", param, ctx)
        return super().convert(value, param, ctx)


def lake_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--lake``."""
    return click.option("--lake", help="Folder of the lake. [ITEMEMB_LAKE, data/lake]")(command)


def raw_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--raw``."""
    return click.option("--raw", help="Raw folder or URL. [ITEMEMB_RAW, data/raw]")(command)


def k_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-k``."""
    kind = click.IntRange(1, MOST)
    return click.option("-k", type=kind, default=10, show_default=True, help="How many.")(command)


def check_lake(lake: str) -> None:
    """Check that a lake is a folder, or that there is nothing yet.

    Raises:
        ItemembError: It is a file, or cannot be reached.
    """
    try:
        is_folder = stat.S_ISDIR(Path(lake).stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ItemembError(f"lake {lake}: cannot be read ({error.strerror})") from error
    if not is_folder:
        raise ItemembError(f"lake {lake}: found a file, expected a folder")


def check_variables() -> None:
    """Check the environment's ``ITEMEMB_MEMORY``, and warn of variables that nothing reads.

    Raises:
        UsageError: It is no size.
    """
    memory = os.environ.get("ITEMEMB_MEMORY") or "2GB"
    if not _SIZE.fullmatch(memory) or not float(re.split("[^0-9.]", memory)[0]):
        raise UsageError(f"ITEMEMB_MEMORY: found {memory!r}, expected a size such as 2GB")
    for name in sorted(os.environ):
        near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.0)
        if name.startswith("ITEMEMB_") and name not in VARIABLES:
            line = f"warning: {name}: no such variable, it is ignored; close: {near[0]}"
            click.echo(plain(line), err=True)


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
