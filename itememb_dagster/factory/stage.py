"""What a stage is: a core call with named inputs, its table and the settings it depends on.

A stage is a ``dg.asset`` minus what is known only when the definitions are built for a raw folder
(the partitions). The planner reads stages without an instance; ``build`` turns them into assets.
"""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, cast

import dagster as dg
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from pydantic import BaseModel

from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.progress import Progress
from itememb_core.raw import RawScan
from itememb_core.settings import Settings
from itememb_core.tables import MergedRows
from itememb_dagster.factory.source import found_in
from itememb_dagster.lake import Key, Lake
from itememb_dagster.lake.sources import canonical
from itememb_dagster.lake.stamps import digest

BACKTEST: Final = "backtest"

#: ``raw`` of a stage that looks at all files and makes rows of none.
EVERY_FILE: Final = ("*",)


@dataclass(frozen=True)
class TableSpec:
    """Columns and row order of a table.

    Attributes:
        schema: Its Arrow schema; None when vectors' width decides (then the value's own).
        sort: Columns that order the rows totally (relational tables only); those that
            are not in the schema are not written.
        segment: The column that names the folders: ``day``, ``month`` or None.
    """

    schema: pa.Schema | None
    sort: tuple[str, ...] = ()
    segment: str | None = None

    @property
    def text(self) -> str:
        """All of it as text that is equal for equal tables."""
        return f"{canonical(self.schema)} {self.sort} {self.segment}"


@dataclass(frozen=True)
class Input:
    """A stage's input: a table or version, with ``before`` more days where both are daily."""

    key: Key
    before: int = 0


@dataclass(frozen=True)
class Stage:
    """One asset: what it reads, computes and writes, and what its result depends on."""

    key: Key
    compute: Callable[..., Any]
    inputs: Mapping[str, Input]
    daily: bool
    group: str
    kinds: tuple[str, ...]
    table: TableSpec | None
    raw: tuple[str, ...]
    reads: tuple[Key, ...]
    gates: tuple[Key, ...]
    judges: bool
    descends: bool
    alone: bool

    @cached_property
    def code(self) -> str:
        """A hash of the source that its function can reach, and of its table's columns."""
        reach = found_in(self.compute).code
        return digest([reach, self.table.text if self.table else ""])

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """The settings that its function reads, found in its source."""
        return found_in(self.compute).settings

    @property
    def needs(self) -> set[Key]:
        """All assets that come before it."""
        return {*self.after, *(spec.key for spec in self.inputs.values())}

    @property
    def after(self) -> tuple[Key, ...]:
        """The assets that come before it beside its inputs."""
        return (*self.reads, *self.gates)

    @property
    def name(self) -> str:
        """The key as a path: ``backtest/edges``."""
        return "/".join(self.key)

    @property
    def counts_files(self) -> bool:
        """Whether its rows are those of raw files, so that each of them is counted."""
        return bool(self.raw) and self.raw != EVERY_FILE

    @property
    def description(self) -> str:
        """The docstring of its function: what people read in the UI."""
        return inspect.getdoc(self.compute) or ""

    @property
    def by_month(self) -> bool:
        """Whether it is a table with a file a month."""
        return self.table is not None and self.table.segment == "month"

    @property
    def relational(self) -> bool:
        """Whether it makes Ibis tables, so that the engine computes it; else it takes arrays."""
        return typing.get_type_hints(self.compute)["return"] in {ir.Table, MergedRows}

    @property
    def numeric(self) -> bool:
        """Whether Python libraries compute it; else the engine or a pass over rows does."""
        return not {"duckdb", "parquet"}.issuperset(self.kinds)

    def input_type(self, parameter: str) -> Any:
        """Return the annotated type of an input: how the lake loads it."""
        return typing.get_type_hints(self.compute)[parameter]


@cache
def dagster_type(kind: type[Any]) -> dg.DagsterType:
    """Return the one Dagster type of a class, named after its package (``PyarrowTable``)."""
    package = kind.__module__.split(".")[0].title().replace("_", "")
    return dg.PythonObjectDagsterType(kind, name=f"{package}{kind.__name__}")


class SomeSettings:
    """Of the settings those that a stage's stamp has; another one is a mistake in its wiring."""

    def __init__(self, settings: BaseModel, names: Iterable[str], stage: str) -> None:
        self._settings, self._names, self._stage = settings, set(names), stage

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return getattr(self._settings, name)
        inner = [n.partition(".")[2] for n in self._names if n.startswith(f"{name}.")]
        if not inner:
            raise AttributeError(f"{self._stage}: reads setting {name}, which its stamp lacks")
        return SomeSettings(getattr(self._settings, name), inner, self._stage)


def only_settings(settings: Settings, stage: Stage) -> Settings:
    """Return the settings that a stage reads, and no others."""
    return cast(Settings, SomeSettings(settings, stage.settings, stage.name))


@dataclass
class StageContext:
    """What a stage's function gets beside its inputs.

    Attributes:
        days: The days to make (daily stages; of the months to make where raw day files become a
            table by month), else all days of the lake, in order.
        cut: The first day that the backtest does not see; None without temporal holdout.
        metadata: Facts for the UI, filled by the stage; ``plots`` its pictures (PNG).
        counts: Facts that the stamp of its table or version keeps, for checks to read.
        nothing: Why the stage had nothing to do; None where it had.
        checkpoint: Where a long fit keeps how far it came; gone once the version is there.
        parent: Folder of the version before, for a stage that descends from it, if there is one.
        bad_days: Days that the stage could not make, with the reason; they stay as they were.
    """

    settings: Settings
    days: tuple[date, ...]
    cut: date | None
    scan: RawScan
    lake: Lake
    connect: Callable[[], ibis.BaseBackend]
    progress: Progress
    metadata: dict[str, Any] = field(default_factory=dict)
    bad_days: dict[date, str] = field(default_factory=dict)
    plots: dict[str, bytes] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    nothing: str | None = None
    parent: Path | None = None
    checkpoint: Checkpoint | None = None

    @cached_property
    def con(self) -> ibis.BaseBackend:
        """The engine's connection, opened on first use."""
        return self.connect()


def stage(
    *,
    group: str,
    inputs: Mapping[str, Input] | None = None,
    key: Key | None = None,
    daily: bool = False,
    kinds: tuple[str, ...] = (),
    table: TableSpec | None = None,
    raw: tuple[str, ...] = (),
    reads: tuple[Key, ...] = (),
    gates: tuple[Key, ...] = (),
    judges: bool = False,
    descends: bool = False,
    alone: bool = False,
) -> Callable[[Callable[..., Any]], Stage]:
    """Declare a stage; parameters of the function beyond ``ctx`` are its inputs, by asset name.

    Args:
        group: Group in the asset graph.
        inputs: Inputs whose key or days differ from the parameter's name.
        key: Asset key; the function's name when left out.
        daily: Whether it is partitioned by day.
        kinds: Labels in the UI (duckdb, torch, faiss, ...).
        table: Its table; None for versions (a value with ``save`` and ``load``).
        raw: Channels or file names of the raw layout that it reads.
        reads: Assets of which it reads what their stamps count, beside the inputs.
        gates: Assets whose blocking checks must pass first; their rows change nothing in it.
        judges: Whether it is an evaluation: what comes after depends on its verdict alone.
        descends: Whether a version starts from the one before (``ctx.parent``).
        alone: Whether it runs while nothing else long can, and so takes all workers' threads.
    """

    def declare(compute: Callable[..., Any]) -> Stage:
        names = [name for name in inspect.signature(compute).parameters if name != "ctx"]
        wired = {name: (inputs or {}).get(name, Input((name,))) for name in names}
        rest = (daily, group, kinds, table, raw, reads, gates, judges, descends, alone)
        return Stage(key or (compute.__name__,), compute, wired, *rest)

    return declare
