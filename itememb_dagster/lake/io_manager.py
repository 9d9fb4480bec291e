"""The lake's IO manager: the one place where assets are read and written.

Ibis tables stream to Parquet in their total row order, one file a day or month; Arrow tables, also
several one after the other, are one file; values with ``save`` become immutable version folders.
Counts go to each day's metadata.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, Final

import dagster as dg
import ibis.expr.types as ir
import pyarrow as pa
from dagster import DagsterEvent

from itememb_core.errors import ItemembError
from itememb_core.tables import MergedRows, count_unknown, epoch_errors
from itememb_dagster.factory.stage import Stage, TableSpec
from itememb_dagster.lake.reader import LOADERS, load_arrow
from itememb_dagster.lake.stamps import Stamp
from itememb_dagster.lake.store import Key, Lake, rejected_key
from itememb_dagster.lake.writer import ROW_GROUP, SegmentWriter, write_file
from itememb_dagster.runtime.engine import connect, read_parts, stream
from itememb_dagster.runtime.executor import worker_count
from itememb_dagster.runtime.profiling import StageWatch
from itememb_dagster.runtime.reporting import Reports
from itememb_dagster.runtime.threads import limited_to, threads_of

#: Tag of a run: what writes the lake; runs of one command have one writer together.
WRITER_TAG: Final = "itememb/writer"

#: Bad days that an error names; the others are counted.
SHOWN: Final = 5


@dataclass(frozen=True)
class Made:
    """What a stage made, with a stamp for each segment (key None: the table or version).

    ``value`` of a daily stage is a list of tables, each of some days, in order.
    ``segments``: all that a table by month has, those that stay as they are among them, with the
    recipe of each.
    """

    stage: Stage
    value: Any
    stamps: Mapping[str | None, Stamp]
    bad_days: Mapping[date, str] = field(default_factory=dict)
    segments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What a stage made, to be written: much of it is computed then.

    Attributes:
        made: Value and stamps.
        watch: Runs until all is written.
        reports: Where its end is reported.
    """

    made: Made
    watch: StageWatch
    reports: Reports


def _batches(lake: Lake, value: ir.Table, spec: TableSpec) -> Iterator[pa.RecordBatch]:
    """Stream a relational result in its total row order."""
    first = [spec.segment] if spec.segment else []
    return stream(value.order_by([*first, *spec.sort]), ROW_GROUP, lake.scratch)


def save_table(lake: Lake, made: Made) -> int:
    """Write a table of one file; return its rows."""
    spec, value = made.stage.table, made.value
    assert spec is not None
    tables: Iterator[pa.Table]
    if isinstance(value, ir.Table):
        tables = (pa.Table.from_batches([b]) for b in _batches(lake, value, spec))
    else:
        tables = iter([value] if isinstance(value, pa.Table) else value)
    schema = spec.schema
    if schema is None:  # the first table has the width of its vectors
        first = next(tables)
        schema, tables = first.schema, chain([first], tables)
    return write_file(lake, lake.part(made.stage.key), tables, schema, made.stamps[None])


def save_merged(lake: Lake, made: Made) -> dict[str, Any]:
    """Write a table of one row an id and its rejected rows beside; return its counts."""
    value, stamp, key = made.value, made.stamps[None], made.stage.key
    files = {path: {**f, "clean": 0, "rejected": 0} for path, f in stamp.counts["files"].items()}
    reasons: Counter[str] = Counter()
    for row in value.counts.to_pyarrow().to_pylist():
        files[row["source_file"]]["rejected" if row["reason"] else "clean"] += row["n"]
        if row["reason"]:
            reasons[row["reason"]] += row["n"]
    lake.remove(rejected_key(key))
    if reasons:
        bad = value.rejected.order_by("source_file", "source_row")
        tables = (pa.Table.from_batches([b]) for b in stream(bad, ROW_GROUP, lake.scratch))
        write_file(lake, lake.part(rejected_key(key)), tables, bad.schema().to_pyarrow(), stamp)
    counts = {"files": files, "rejected": dict(reasons)}
    rows = save_table(
        lake, replace(made, value=value.rows, stamps={None: replace(stamp, counts=counts)})
    )
    return {**counts, "rows": rows}


def save_months(lake: Lake, made: Made, epoch: date) -> dict[str, Any]:
    """Write the stamped months of a table, remove those that are no more; return its counts.

    Raises:
        ItemembError: A month's file has another epoch; the other months are written.
    """
    spec, key, stamps = made.stage.table, made.stage.key, made.stamps
    assert spec is not None
    assert spec.schema is not None
    stamp_of, refuse = lambda m: stamps[f"month={m}"], _refuse(made, epoch)
    writer = SegmentWriter(lake, key, "month", spec.schema, stamp_of, refuse)
    with lake.whole(key, replace(stamps[None], counts={"segments": dict(made.segments)})):
        for table in (key, rejected_key(key)):
            lake.remove_segments(table, set(made.segments))
        writer.write(_batches(lake, made.value, spec), (s.partition("=")[2] for s in stamps if s))
        if writer.refused:
            raise ItemembError("; ".join(writer.refused.values()))
    stored = [stamp.counts for s in made.segments if (stamp := lake.stamp(key, s))]
    reasons: Counter[str] = Counter()
    for counts in stored:
        reasons.update(counts.get("rejected", {}))
    return {"rows": sum(counts["rows"] for counts in stored), "rejected": dict(reasons)}


def _refuse(made: Made, epoch: date) -> Callable[[pa.Table], str | None] | None:
    """Return what finds the fault of a segment whose file has another epoch."""
    if not made.stage.raw:
        return None
    return lambda counts: next(map(str, epoch_errors(counts, epoch).values()), None)


def save_days(lake: Lake, made: Made, epoch: date) -> SegmentWriter:
    """Write the good days of a daily table; the writer keeps counts, refused days, and failure."""
    spec = made.stage.table
    assert spec is not None
    assert spec.schema is not None

    writer = SegmentWriter(
        lake,
        made.stage.key,
        "day",
        spec.schema,
        lambda d: made.stamps[f"day={d}"],
        _refuse(made, epoch),
        count_unknown if made.stage.counts_files else None,
    )
    writer.refused |= {day.isoformat(): why for day, why in made.bad_days.items()}
    try:
        batches = chain.from_iterable(_batches(lake, portion, spec) for portion in made.value)
        writer.write(batches, (str(d).partition("=")[2] for d in made.stamps))
    except ItemembError as error:  # a full disk: the days before are whole
        writer.failure = str(error)
    return writer


def count_facts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of a day or table as Dagster metadata."""
    facts: dict[str, Any] = {"dagster/row_count": counts["rows"]}
    if "rejected" in counts:
        facts["rejected"] = sum(counts["rejected"].values())
        facts |= {f"rejected: {why}": n for why, n in counts["rejected"].items()}
    facts |= {f"unknown {word}": n for word, n in counts.get("unknown", {}).items()}
    return facts


def _waiting_log(context: dg.InitResourceContext) -> Callable[[str], None]:
    """Return how a run says that it waits."""
    return context.log.info if context.log else lambda _message: None


def save_whole(lake: Lake, made: Made) -> dict[str, Any]:
    """Write a table that is not daily; return its counts."""
    if made.stage.table is not None and made.stage.table.segment is not None:
        return save_months(lake, made, lake.epoch())
    if isinstance(made.value, MergedRows):
        return save_merged(lake, made)
    return {"rows": save_table(lake, made)}


def save_version(lake: Lake, made: Made) -> None:
    """Write a version.

    Raises:
        ItemembError: It cannot be written, as on a full disk.
    """
    target = lake.version_folder(made.stage.key, made.stamps[None].id)
    try:
        with lake.new_version(made.stage.key, made.stamps[None]) as folder:
            made.value.save(folder)
    except ItemembError:
        raise
    except Exception as error:  # each library that writes a model has its own
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ItemembError(
            f"{target}: cannot be written ({why}); the version before stays"
        ) from error


class LakeIOManager(dg.ConfigurableIOManager):
    """Reads and writes the lake's tables and versions.

    Attributes:
        root: Folder of the lake.
        engine: ``duckdb`` or ``spark``.
    """

    root: str
    engine: str = "duckdb"

    @property
    def lake(self) -> Lake:
        """The lake as paths."""
        return Lake(Path(self.root))

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["LakeIOManager"]:
        """Be part of the lake's one writer; a run that comes second waits its turn."""
        run = context.run
        if run is None:  # schedules and sensors only look
            yield self
            return
        # A run that repeats another has its tags, and is a writer of its own.
        writer = run.run_id if run.parent_run_id else run.tags.get(WRITER_TAG, run.run_id)
        with self.lake.writing(_waiting_log(context), writer):
            yield self

    def handle_output(  # type: ignore[override]
        self, context: dg.OutputContext, obj: Written
    ) -> Iterator[DagsterEvent]:
        """Write what a stage made and log its counts, per day for daily tables.

        Raises:
            ItemembError: Naming the days that could not be made; the good ones are recorded.
        """
        try:
            with limited_to(threads_of(obj.made.stage.alone, worker_count())):
                yield from self._write(context, obj.made)
        finally:
            took = obj.watch.stop()
        obj.reports.ended(took)
        context.add_output_metadata(
            {"seconds": round(took.seconds, 1), "peak MiB": took.peak_bytes >> 20}
        )

    def _write(self, context: dg.OutputContext, made: Made) -> Iterator[DagsterEvent]:
        if made.stage.table is None:
            save_version(self.lake, made)
        elif made.stage.daily:
            yield from self._handle_days(context, made)
        else:
            context.add_output_metadata(count_facts(save_whole(self.lake, made)))

    def _handle_days(self, context: dg.OutputContext, made: Made) -> Iterator[DagsterEvent]:
        writer = save_days(self.lake, made, self.lake.epoch())
        facts = {day: count_facts(counts) for day, counts in writer.counts.items()}
        faults = [*writer.refused.values(), *([writer.failure] if writer.failure else [])]
        if not faults:
            for day, shown in facts.items():
                context.step_context.add_asset_metadata(
                    shown, asset_key=context.asset_key, partition_key=day
                )
            return
        for day, shown in facts.items():
            event = dg.AssetMaterialization(context.asset_key, partition=day, metadata=shown)
            yield DagsterEvent.asset_materialization(context.step_context, event)
        kept = f"{len(facts)} good days were kept" if facts else "no day was made"
        more = f"; and {len(faults) - SHOWN} more days" if len(faults) > SHOWN else ""
        raise ItemembError(f"{'; '.join(faults[:SHOWN])}{more} ({kept})")

    def load_input(self, context: dg.InputContext) -> Any:
        """Load an input as its parameter's type: Ibis table, Arrow table or a loadable class."""
        days = context.asset_partition_keys if context.has_asset_partitions else None
        wiring = context.definition_metadata or {}
        strict = bool(wiring.get("every_day"))
        if days is not None and wiring.get("held_by"):
            days = self._held_by_all(days, [tuple(key) for key in wiring["held_by"]])
        key, kind = tuple(context.asset_key.path), context.dagster_type.typing_type
        if kind is ir.Table:
            return self.load_ibis(key, days, strict, wiring.get("engine"))
        return self.load(key, kind)

    def _held_by_all(self, days: Iterable[str], keys: Sequence[Key]) -> list[str]:
        """Return the days that every daily table holds: what stages without days see.

        Raises:
            ItemembError: There is none, though there are days in some.
        """
        held = self.lake.common_segments(keys)
        without = ["/".join(key) for key in keys if not self.lake.segments(key)]
        if not held and 0 < len(without) < len(keys):
            raise ItemembError(
                f"no day is in every daily table of lake {self.root}: {', '.join(without)} "
                "has none; itememb run without --select makes them"
            )
        return [day for day in days if f"day={day}" in held]

    def load(self, key: Key, kind: Any) -> Any:
        """Load an asset as an Ibis table, an Arrow table or a version's class."""
        if kind is ir.Table:
            return self.load_ibis(key)
        if kind is pa.Table:
            return load_arrow(self.lake, key)
        return LOADERS[kind](self.lake.version(key))

    def load_ibis(
        self,
        key: Key,
        days: Iterable[str] | None = None,
        strict: bool = False,
        engine: str | None = None,
    ) -> ir.Table:
        """Load a table, or those of the given days that the lake holds, as an expression.

        Args:
            key: The asset.
            days: Days of a daily table; None: the whole table.
            strict: Whether a day that the lake does not hold is an error.
            engine: What to read it with; None: the lake's engine.

        Raises:
            ItemembError: If there is nothing to load, or ``strict`` and a day is missing.
        """
        parts = self.lake.parts(key)
        if days is not None:
            wanted = {f"day={day}" for day in days}
            parts = [p for p in parts if p.parent.name in wanted]
            missing = sorted(wanted - {p.parent.name for p in parts})
            if strict and missing:
                raise ItemembError(
                    f"{'/'.join(key)}: {missing[0]} ({len(missing)} such days) is not in lake "
                    f"{self.root}; itememb run makes it"
                )
        if not parts:
            raise ItemembError(f"{'/'.join(key)}: not in lake {self.root}; itememb run makes it")
        self.lake.check_files(parts)
        return read_parts(connect(engine or self.engine, self.lake.root), parts)
