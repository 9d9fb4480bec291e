"""What stages and checks reach in the source, kept on disk beside the bytecode.

Following every function takes a second of each process that loads the definitions. What was found
holds as long as no source changes, so it is kept as bytecode is: a cache that may go at any time.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pydantic

import itememb_core
import itememb_dagster
from itememb_core.settings import Settings
from itememb_dagster.lake.sources import Reach, Sources, settings_read
from itememb_dagster.lake.stamps import digest, sealed_line, unsealed_line

#: Both packages as they are on disk, parsed once a process.
SOURCES: Final = Sources()


@dataclass(frozen=True)
class Found:
    """What a function reaches: a hash of the source, and the settings that it reads, sorted."""

    code: str
    settings: tuple[str, ...]


@dataclass
class Kept:
    """What was found for one state of the source.

    Attributes:
        file: Where it is on disk; a file of another source, or a damaged one, is as good as none.
        source: The hash of the source that it holds for.
    """

    file: Path
    source: str

    @cached_property
    def found(self) -> dict[str, Found]:
        """By function."""
        try:
            read = unsealed_line(self.file.read_bytes()) or {}
        except OSError:
            return {}
        rows = read["found"] if read.get("source") == self.source else {}
        return {name: Found(code, tuple(settings)) for name, (code, settings) in rows.items()}

    def keep(self, name: str, found: Found) -> None:
        """Add what was found for a function."""
        self.found[name] = found
        rows = {name: (one.code, one.settings) for name, one in self.found.items()}
        # Processes that write at once write the same, and each reads a whole file.
        written = self.file.with_suffix(f".{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(sealed_line({"source": self.source, "found": rows}))
            written.replace(self.file)
        except OSError:
            return  # a folder that is not ours to write: all is found anew in each process


def found_in(function: Callable[..., Any]) -> Found:
    """Return what a function of the wiring reaches.

    Raises:
        TypeError: It uses ``ctx.settings`` other than as ``ctx.settings.<name>``.
    """
    module, name = function.__module__, function.__name__
    kept = _kept()
    whole = f"{module}.{name}"
    if whole not in kept.found:
        code = Reach.of(module, name, SOURCES).digest
        found = Found(code, tuple(settings_read(module, name, SOURCES, Settings)))
        if sys.dont_write_bytecode:
            kept.found[whole] = found
        else:
            kept.keep(whole, found)
    return kept.found[whole]


@cache
def _kept() -> Kept:
    """What is kept of this source, in the folder of this module's bytecode."""
    roots = [Path(path) for package in (itememb_core, itememb_dagster) for path in package.__path__]
    folder = Path(importlib.util.cache_from_source(__file__)).parent
    return Kept(folder / "found_in_source.json", source_digest(roots))


def source_digest(roots: Iterable[Path]) -> str:
    """Return a hash of all source below folders, and of what decides how it is written as text."""
    files = sorted(path for root in roots for path in root.rglob("*.py"))
    texts = (part for path in files for part in (str(path), path.read_text()))
    return digest([platform.python_version(), pa.__version__, pydantic.VERSION, *texts])
