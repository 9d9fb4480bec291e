"""The tables of a raw folder, made as a run makes them, without Dagster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw import RawScan, scan
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.assets.tables import CHANNEL_STAGES, OTHER_STAGES, raw_inventory
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.compute import make_stage
from itememb_dagster.factory.stage import Stage, StageContext
from itememb_dagster.lake import Lake
from itememb_dagster.lake.io_manager import LakeIOManager, save_days, save_whole
from itememb_dagster.lake.staleness import Planner
from itememb_dagster.runtime.engine import connect

EPOCH = date(2017, 1, 1)


@dataclass
class Made:
    """What a lake holds of a raw folder."""

    found: RawScan
    errors: list[str]
    days: dict[tuple[str, date], pa.Table]
    tables: dict[str, pa.Table]
    inventory: pa.Table


def make(root: Path, work: Path) -> Made:
    """Make the tables of a raw folder as a run does, without Dagster."""
    found = scan(root, EPOCH, strict=False)
    lake = Lake(work)
    lake.prepare(found.epoch, found.days)
    planner = Planner(STAGES, CHECKS, lake, found, Settings())
    planner.prune()
    bad = planner.bad_days(planner.days)
    errors = [*found.lost, *map(str, bad.values())]
    good = [day for day in planner.days if day not in bad]
    while good:
        refused, why = _days(lake, found, good)
        broken = planner.bad_days(refused, deep=True) if refused else {}
        errors += map(str, broken.values() if broken else why)
        good = [day for day in refused if day not in (broken or refused)]
    tables = _tables(lake, found, errors)
    inventory = _inventory(lake, found)
    return Made(found, list(dict.fromkeys(errors)), _day_tables(lake), tables, inventory)


def context_of(lake: Lake, found: RawScan, days: Sequence[date]) -> StageContext:
    """What a stage's function gets beside its inputs, without Dagster."""
    return StageContext(
        settings=Settings(),
        days=tuple(days),
        cut=None,
        scan=found,
        lake=lake,
        connect=lambda: connect("duckdb", lake.root),
        progress=lambda *_: None,
    )


def _days(lake: Lake, found: RawScan, days: list[date]) -> tuple[list[date], list[str]]:
    """Make days of all channels; give back those that a channel refused or failed for, and why."""
    failed: set[date] = set()
    why = []
    planner = Planner(STAGES, CHECKS, lake, found, Settings())
    stale = planner.stale_days(days)
    for stage in (s for s in CHANNEL_STAGES if s.key in stale):
        try:
            made = make_stage(stage, planner, context_of(lake, found, stale[stage.key]), {})
            writer = save_days(lake, made, found.epoch)
            why += [*writer.refused.values(), *([writer.failure] if writer.failure else [])]
            failed |= {date.fromisoformat(day) for day in writer.refused}
        except ItemembError as error:
            why.append(str(error))
            failed |= set(stale[stage.key])
        except (duckdb.Error, pa.ArrowException) as error:  # a run looks for the file, then
            why.append(f"engine: {error}")
            failed |= set(stale[stage.key])
    return sorted(failed), why


def _tables(lake: Lake, found: RawScan, errors: list[str]) -> dict[str, pa.Table]:
    manager = LakeIOManager(root=str(lake.root))
    tables = {}
    for stage in OTHER_STAGES:
        planner = Planner(STAGES, CHECKS, lake, found, Settings())
        if planner.stamp(stage, None, planner.stored).recipe == planner.stored(stage, None):
            tables[stage.name] = _table(lake, stage)
            continue
        days = sorted({d for those in planner.months(stage).values() for d in those})
        inputs: dict[str, Any] = {}
        if stage.inputs:
            held = [d.isoformat() for d in planner.days if lake.stamp(("receipts",), f"day={d}")]
            if not held:
                continue
            inputs = {name: manager.load_ibis(("receipts",), held) for name in stage.inputs}
        try:
            made = make_stage(stage, planner, context_of(lake, found, days), inputs)
            save_whole(lake, made)
        except ItemembError as error:
            errors.append(str(error))
            continue
        tables[stage.name] = _table(lake, stage)
    return tables


def _table(lake: Lake, stage: Stage) -> pa.Table:
    parts = sorted((lake.root / stage.name).rglob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(part).read() for part in parts])


def _day_tables(lake: Lake) -> dict[tuple[str, date], pa.Table]:
    return {
        (stage.name, date.fromisoformat(part.parent.name[4:])): pq.ParquetFile(part).read()
        for stage in CHANNEL_STAGES
        for part in (lake.root / stage.name).glob("day=*/part.parquet")
    }


def _inventory(lake: Lake, found: RawScan) -> pa.Table:
    """The inventory; what spoils no day would end its stage, and is an error already."""
    held = replace(found, files=tuple(file for file in found.files if not file.lost))
    inputs = {stage.name: None for stage in CHANNEL_STAGES}
    return raw_inventory.compute(context_of(lake, held, held.days), **inputs)
