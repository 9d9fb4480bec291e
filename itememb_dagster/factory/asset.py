"""Stages to Dagster assets: partitions, inputs and metadata, in one place."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg
import pyarrow as pa
from dagster import AssetExecutionContext, TimeWindowPartitionMapping

from itememb_core.errors import ItemembError
from itememb_core.schemas import describe
from itememb_core.settings import Settings
from itememb_dagster.factory.compute import make_stage
from itememb_dagster.factory.stage import Input, Stage, StageContext, dagster_type
from itememb_dagster.lake import Key
from itememb_dagster.lake.io_manager import Made
from itememb_dagster.lake.staleness import Planner
from itememb_dagster.runtime.engine import EMBEDDED, connect
from itememb_dagster.runtime.profiling import recorder
from itememb_dagster.runtime.resources import progress_for
from itememb_dagster.runtime.threads import threads_for

RESOURCES = {"settings", "raw", "lake"}

#: Tag of a run that makes what is up to date, too: every month of a table by month.
FORCE_TAG: Final = "itememb/force"


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
    try:
        with threads_for(stage):
            made = make_stage(stage, planner, ctx, inputs, force)
    except ItemembError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    if ctx.nothing:
        recorder().reasons[stage.name] = ctx.metadata["nothing to do"] = ctx.nothing
    facts = {**ctx.metadata, **{name: _plot(png) for name, png in ctx.plots.items()}}
    if facts and not stage.daily:
        context.add_output_metadata(facts)
    return made


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
