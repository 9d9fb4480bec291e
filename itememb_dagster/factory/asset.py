"""Stages to Dagster assets: partitions, inputs and metadata, in one place."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg
import pyarrow as pa
from dagster import AssetExecutionContext, TimeWindowPartitionMapping

from itememb_core.errors import ItemembError
from itememb_core.progress import Progress
from itememb_core.schemas import describe
from itememb_core.settings import Settings
from itememb_dagster.factory.check import Check
from itememb_dagster.factory.compute import make_stage
from itememb_dagster.factory.stage import Input, Stage, StageContext, dagster_type, only_settings
from itememb_dagster.lake import Key
from itememb_dagster.lake.io_manager import Written
from itememb_dagster.lake.staleness import Planner
from itememb_dagster.runtime.engine import connect
from itememb_dagster.runtime.executor import end_with_parent, worker_count
from itememb_dagster.runtime.place import EMBEDDED, hiding
from itememb_dagster.runtime.profiling import StageWatch
from itememb_dagster.runtime.reporting import reports_of
from itememb_dagster.runtime.threads import limited_to, threads_of

RESOURCES = {"settings", "raw", "lake"}

#: Tag of a run that makes what is up to date, too: every month of a table by month.
FORCE_TAG: Final = "itememb/force"

#: Tag of a run whose versions start from none and are aligned with none.
FRESH_TAG: Final = "itememb/fresh"

#: Dagster's tag: of the steps that are ready, the one of the highest number goes first.
PRIORITY_TAG: Final = "dagster/priority"


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return an Arrow schema as Dagster shows it, with what the columns of a lake table mean."""
    said = {column.name: column.description for column in describe(schema)}
    return dg.TableSchema(
        [dg.TableColumn(each.name, str(each.type), said.get(each.name)) for each in schema]
    )


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


def stage_context(
    stage: Stage, planner: Planner, context: AssetExecutionContext, progress: Progress
) -> StageContext:
    """Return what the stage's function gets beside its inputs."""
    engine = context.resources.lake.engine if stage.relational else EMBEDDED
    days = planner.present
    if stage.daily:
        days = tuple(date.fromisoformat(key) for key in context.partition_keys)
    if stage.by_month:
        months = planner.months(stage)
        made = planner.months_to_make(stage, FORCE_TAG in context.run.tags)
        days = tuple(d for month in made for d in months[month])
    return StageContext(
        settings=only_settings(planner.settings, stage),
        days=days,
        cut=planner.cut,
        scan=planner.scan,
        lake=planner.lake,
        connect=lambda: connect(engine, planner.lake.root),
        progress=progress,
    )


def run_stage(
    context: AssetExecutionContext,
    stage: Stage,
    stages: Sequence[Stage],
    checks: Sequence[Check],
    inputs: dict[str, Any],
) -> dg.Output[Written]:
    """Run one stage: stamp, compute, hand its metadata and its version to Dagster."""
    end_with_parent()
    watch = StageWatch(stage.name)
    try:
        with hiding(context.resources.raw.root):
            planner = _planner(context, stages, checks)
            return _computed(context, stage, planner, inputs, watch)
    except BaseException as error:
        watch.stop()
        if isinstance(error, ItemembError):
            raise dg.Failure(description=str(error), allow_retries=False) from error
        raise


def _computed(
    context: AssetExecutionContext,
    stage: Stage,
    planner: Planner,
    inputs: dict[str, Any],
    watch: StageWatch,
) -> dg.Output[Written]:
    reports = reports_of(context.run, context.log)
    if stage.raw:  # the first of each job: what follows is loaded after
        planner.prune()
    planner.check_inputs(stage)
    ctx = stage_context(stage, planner, context, reports.progress)
    with limited_to(threads_of(stage.alone, worker_count())):
        made = make_stage(stage, planner, ctx, inputs, FORCE_TAG in context.run.tags)
    if ctx.checkpoint and ctx.checkpoint.fault:
        context.log.warning(ctx.checkpoint.fault)
        ctx.metadata["checkpoint"] = ctx.checkpoint.fault
    if ctx.nothing:
        ctx.metadata["nothing to do"] = ctx.nothing
        reports.nothing(stage.name, ctx.nothing)
    version = dg.DataVersion(planner.data_version(stage, made.stamps.values()))
    value = Written(made, watch, reports)
    return dg.Output(value, data_version=version, metadata=facts(ctx, stage))


def _planner(
    context: AssetExecutionContext, stages: Sequence[Stage], checks: Sequence[Check]
) -> Planner:
    resources = context.resources
    settings = Settings.model_validate(resources.settings.model_dump())
    scan = resources.raw.scan(settings)
    lake = resources.lake.lake
    lake.prepare(scan.epoch)
    return Planner(stages, checks, lake, scan, settings, FRESH_TAG in context.run.tags)


def facts(ctx: StageContext, stage: Stage) -> dict[str, Any]:
    """Return what the UI shows of a stage, with its pictures."""
    if stage.daily:
        return {}
    return {**ctx.metadata, **{name: _plot(png) for name, png in ctx.plots.items()}}


def build_asset(
    stage: Stage,
    stages: Sequence[Stage],
    checks: Sequence[Check],
    days: dg.DailyPartitionsDefinition | None,
    priority: int,
) -> dg.AssetsDefinition:
    """Turn a stage into an asset, of the given days if it is daily.

    ``priority`` orders steps that are ready.
    """
    by_key = {s.key: s for s in stages}

    @dg.asset(
        key=list(stage.key),
        ins={name: _asset_in(stage, name, spec, by_key) for name, spec in stage.inputs.items()},
        deps=[dg.AssetKey(list(key)) for key in stage.after],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run() if stage.daily else None,
        io_manager_key="lake",
        group_name=stage.group,
        kinds=set(stage.kinds),
        code_version=stage.code,
        description=stage.description,
        metadata=asset_metadata(stage),
        required_resource_keys=RESOURCES,
        output_required=True,
        op_tags={PRIORITY_TAG: str(priority)},
    )
    def compute(context: AssetExecutionContext, **inputs: Any) -> dg.Output[Any]:
        return run_stage(context, stage, stages, checks, inputs)

    return compute


def asset_metadata(stage: Stage) -> dict[str, Any]:
    """Return what the UI shows of a stage before it ran: its columns, where it lies."""
    if stage.table is None or stage.table.schema is None:
        return {}
    return {"dagster/column_schema": column_schema(stage.table.schema)}
