"""Stages to Dagster assets: partitions, inputs, stamps and metadata, in one place."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster import AssetExecutionContext, TimeWindowPartitionMapping

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.counts import with_file_rows
from itememb_dagster.engine import connect
from itememb_dagster.lake import Key, Stamp
from itememb_dagster.lake.io_manager import Made
from itememb_dagster.observe import recorder
from itememb_dagster.plan import Planner
from itememb_dagster.resources import progress_for
from itememb_dagster.stage import Input, Stage, StageContext, dagster_type

RESOURCES = {"settings", "raw", "lake"}


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
            # A stage without days sees those that every daily table holds, as its stamp does.
            "held_by": [] if stage.daily else [list(s.key) for s in by_key.values() if s.daily],
        },
        dagster_type=dagster_type(kind),
    )


def _plot(png: bytes) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def _stamps(stage: Stage, planner: Planner, ctx: StageContext) -> dict[str | None, Stamp]:
    if not stage.daily:
        return {None: planner.stamp(stage, None, planner.stored)}
    found: dict[str | None, Stamp] = {
        f"day={d.isoformat()}": planner.stamp(stage, d, planner.stored) for d in ctx.days
    }
    return with_file_rows(stage, found, planner.scan, ctx.con) if stage.raw else found


def stage_context(context: AssetExecutionContext, stage: Stage, planner: Planner,
                  settings: Settings) -> StageContext:  # fmt: skip
    """Return what the stage's function gets beside its inputs."""
    engine = context.resources.lake.engine
    days = planner.present
    if stage.daily:
        days = tuple(date.fromisoformat(key) for key in context.partition_keys)
    return StageContext(
        settings=settings,
        days=days,
        cut=planner.cut,
        scan=planner.scan,
        lake=planner.lake,
        connect=lambda: connect(engine),
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
    ctx = stage_context(context, stage, planner, settings)
    stamps = _stamps(stage, planner, ctx)
    try:
        value = stage.compute(ctx, **inputs)
    except ItemembError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    if ctx.nothing:
        recorder().reasons[stage.name] = ctx.metadata["nothing to do"] = ctx.nothing
    facts = {**ctx.metadata, **{name: _plot(png) for name, png in ctx.plots.items()}}
    if facts and not stage.daily:
        context.add_output_metadata(facts)
    return Made(stage, value, stamps, ctx.bad_days)


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
