"""Stages to Dagster assets: partitions, inputs, stamps and metadata, in one place."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from dagster import AssetExecutionContext, TimeWindowPartitionMapping

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.counts import with_file_rows
from itememb_dagster.engine import EMBEDDED, connect
from itememb_dagster.lake import Key, Stamp
from itememb_dagster.lake.io_manager import Made
from itememb_dagster.observe import recorder
from itememb_dagster.plan import Planner, ranges
from itememb_dagster.resources import progress_for
from itememb_dagster.stage import Input, Stage, StageContext, dagster_type

RESOURCES = {"settings", "raw", "lake"}

#: Rows of input that the embedded engine takes at a time; days beyond them are another query. So
#: memory does not grow with the days of a run, and no sort is over all of them.
ROWS_AT_ONCE: Final = 4_000_000

#: Tag of a run that makes what is up to date, too: every month of a table by month.
FORCE_TAG: Final = "itememb/force"


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return an Arrow schema as Dagster shows it."""
    return dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])


def _asset_in(stage: Stage, parameter: str, spec: Input, by_key: Mapping[Key, Stage]) -> dg.AssetIn:
    upstream = by_key[spec.key]
    mapping: dg.PartitionMapping | None = None
    if upstream.daily and stage.daily and spec.before:
        mapping = TimeWindowPartitionMapping(
            start_offset=-spec.before, allow_nonexistent_upstream_partitions=True
        )
    elif upstream.daily and not stage.daily:
        mapping = dg.AllPartitionMapping()
    kind = stage.input_type(parameter)
    return dg.AssetIn(
        key=dg.AssetKey(list(spec.key)),
        partition_mapping=mapping,
        metadata={
            "every_day": stage.daily and not spec.before,
            # Arrays are made from the lake's files in this process, whatever the engine.
            "engine": None if stage.relational else EMBEDDED,
            # A stage without days sees those that every daily table holds, as its stamp does.
            "held_by": [] if stage.daily else [list(s.key) for s in by_key.values() if s.daily],
        },
        dagster_type=dagster_type(kind),
    )


def _plot(png: bytes) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def _stamps(
    stage: Stage, planner: Planner, ctx: StageContext, force: bool = False
) -> dict[str | None, Stamp]:
    """Return the stamps of what is to be made: days, months, the table or version."""
    found: dict[str | None, Stamp] = {}
    if stage.daily:
        found = {f"day={d.isoformat()}": planner.stamp(stage, d, planner.stored) for d in ctx.days}
    else:
        found[None] = planner.stamp(stage, None, planner.stored)
    if stage.by_month:
        months = planner.months_to_make(stage, force)
        found |= {f"month={month}": stamp for month, stamp in months.items()}
    return with_file_rows(stage, found, ctx) if stage.counts_files else found


def _of_days(inputs: dict[str, ir.Table], days: Sequence[date]) -> dict[str, ir.Table]:
    """Return the inputs' rows of the months to write; the engine opens no other days' files."""
    parts = ranges(days)
    return {
        name: table.filter(ibis.or_(*(table.day.between(*part) for part in parts)))
        for name, table in inputs.items()
    }


def _portions(
    stage: Stage, planner: Planner, stamps: Mapping[str | None, Stamp], days: Sequence[date]
) -> list[list[date]]:
    """Return the days in portions of at most ``ROWS_AT_ONCE`` rows of input, or of one day."""
    portions: list[list[date]] = []
    left = 0
    for day in days:
        stamp = stamps[f"day={day.isoformat()}"]
        rows = sum(file["rows"] or 0 for file in stamp.counts.get("files", {}).values())
        for spec in stage.inputs.values():
            held = planner.held(planner.stages[spec.key], day)
            rows += held.counts["rows"] if held else 0
        if not portions or rows > left:
            portions.append([])
            left = ROWS_AT_ONCE
        portions[-1].append(day)
        left -= rows
    return portions


def _compute_days(
    stage: Stage, ctx: StageContext, inputs: dict[str, ir.Table], portions: Iterable[list[date]]
) -> list[ir.Table]:
    """Return a table for each portion of days, made of no other days' rows than it needs."""
    tables, reasons = [], []
    before = timedelta(days=max((spec.before for spec in stage.inputs.values()), default=0))
    for days in portions:
        part = replace(ctx, days=tuple(days), nothing=None)
        tables.append(stage.compute(part, **_of_days(inputs, [days[0] - before, *days])))
        reasons.append(part.nothing)
    ctx.nothing = reasons[0] if all(reasons) else None
    return tables


def stage_context(context: AssetExecutionContext, stage: Stage, planner: Planner,
                  settings: Settings, force: bool) -> StageContext:  # fmt: skip
    """Return what the stage's function gets beside its inputs."""
    engine = context.resources.lake.engine if stage.relational else EMBEDDED
    days = planner.present
    if stage.daily:
        days = tuple(date.fromisoformat(key) for key in context.partition_keys)
    if stage.by_month:
        months = planner.months(stage)
        days = tuple(d for month in planner.months_to_make(stage, force) for d in months[month])
    return StageContext(
        settings=settings,
        days=days,
        cut=planner.cut,
        scan=planner.scan,
        lake=planner.lake,
        connect=lambda: connect(engine, planner.lake.root),
        progress=progress_for(context),
    )


def run_stage(context: AssetExecutionContext, stage: Stage, stages: Sequence[Stage],
              inputs: dict[str, Any]) -> Made:  # fmt: skip
    """Run one stage: stamp, compute, hand its metadata to Dagster."""
    recorder().start(stage.name)
    resources = context.resources
    settings = Settings.model_validate(resources.settings.model_dump())
    scan = resources.raw.scan(settings)
    lake = resources.lake.lake
    lake.prepare(scan.epoch)
    planner = Planner(stages, lake, scan, settings)
    if stage.raw:  # the first of each job: what follows is loaded after
        planner.prune()
    force = FORCE_TAG in context.run.tags
    ctx = stage_context(context, stage, planner, settings, force)
    stamps = _stamps(stage, planner, ctx, force)
    if stage.by_month:
        inputs = _of_days(inputs, ctx.days)
    try:
        if stage.daily:
            whole = resources.lake.engine != EMBEDDED  # a cluster cuts its work itself
            portions = [list(ctx.days)] if whole else _portions(stage, planner, stamps, ctx.days)
            value = _compute_days(stage, ctx, inputs, portions)
        else:
            value = stage.compute(ctx, **inputs)
    except ItemembError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    if ctx.nothing:
        recorder().reasons[stage.name] = ctx.metadata["nothing to do"] = ctx.nothing
    facts = {**ctx.metadata, **{name: _plot(png) for name, png in ctx.plots.items()}}
    if facts and not stage.daily:
        context.add_output_metadata(facts)
    kept = planner.month_stamps(stage) if stage.by_month else ()
    return Made(stage, value, stamps, ctx.bad_days, tuple(f"month={month}" for month in kept))


def build_asset(
    stage: Stage, stages: Sequence[Stage], days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """Turn a stage into an asset of the given days."""
    by_key = {s.key: s for s in stages}

    @dg.asset(
        key=list(stage.key),
        ins={name: _asset_in(stage, name, spec, by_key) for name, spec in stage.inputs.items()},
        deps=[dg.AssetKey(list(key)) for key in stage.after],
        partitions_def=days if stage.daily else None,
        backfill_policy=dg.BackfillPolicy.single_run() if stage.daily else None,
        io_manager_key="lake",
        group_name=stage.group,
        kinds=set(stage.kinds),
        code_version=stage.code,
        description=stage.description,
        metadata=asset_metadata(stage),
        required_resource_keys=RESOURCES,
        output_required=True,
    )
    def compute(context: AssetExecutionContext, **inputs: Any) -> Any:
        return run_stage(context, stage, stages, inputs)

    return compute


def asset_metadata(stage: Stage) -> dict[str, Any]:
    """Return what the UI shows of a stage before it ran: its columns, where it lies."""
    if stage.table is None or stage.table.schema is None:
        return {}
    return {"dagster/column_schema": column_schema(stage.table.schema)}
