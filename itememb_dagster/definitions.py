"""The definitions that Dagster loads, built for a raw folder, a lake and an epoch.

``dagster dev -m itememb_dagster.definitions`` reads the environment's; tests call ``build_defs``.
"""

import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import dagster as dg

from itememb_dagster.assets import STAGES
from itememb_dagster.automation.jobs import build_jobs, build_schedules
from itememb_dagster.automation.sensor import build_sensor
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.asset import build_asset
from itememb_dagster.factory.judge import build_check
from itememb_dagster.lake import Key, Lake, LakeNote
from itememb_dagster.lake.io_manager import LakeIOManager
from itememb_dagster.runtime.executor import executor, priorities, worker_count
from itememb_dagster.runtime.place import SPARK, Place
from itememb_dagster.runtime.resources import RawResource, SettingsResource

#: How far daily assets go beyond the last day that a run has seen.
AHEAD: Final = timedelta(days=365)


def partition_days(place: Place) -> tuple[date, date]:
    """Return the first and last day of daily assets.

    They run from the lake's first day to a year past the last that a run has seen, so that loading
    looks at no raw file and a new day needs no reload; of a new lake from the epoch on.
    """
    note = Lake(Path(place.lake)).note() or LakeNote(place.epoch)
    first, last = note.first_day or place.epoch, note.last_day or place.epoch
    return first, last + AHEAD


def build_defs(
    place: Place | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Build all assets, checks, jobs, schedules and the sensor for a place.

    Args:
        place: Raw folder, lake, epoch and engine; from the environment when left out.
        resource_overrides: Resources to use instead of the place's.
    """
    place = place or Place.from_env()
    return _build(place, partition_days(place), _workers(place), resource_overrides)


def _workers(place: Place) -> int:
    """Steps side by side; Spark has one driver."""
    return 1 if place.engine == SPARK else worker_count()


def defs_of(place: Place, workers: int | None = None) -> dg.Definitions:
    """Return the definitions of a place; what was built before is used."""
    key = place, partition_days(place), workers or _workers(place)
    if key not in _built:
        _built[key] = _build(*key)
    return _built[key]


def job_of(
    name: str, raw: str, lake: str, epoch: str, engine: str, workers: int | None = None
) -> dg.JobDefinition:
    """Return a job of a place: how each step's process finds it again.

    The fork server that steps come from has built it before.
    """
    place = Place(raw, lake, date.fromisoformat(epoch), engine)
    return defs_of(place, workers).resolve_job_def(name)


_built: Final[dict[tuple[Place, tuple[date, date], int], dg.Definitions]] = {}


@cache
def _priorities() -> dict[str, int]:
    return priorities({s.name: {"/".join(key) for key in s.needs} for s in STAGES})


@cache
def _without_days() -> dict[Key, dg.AssetsDefinition]:
    """The assets without days, which are the same for every place."""
    return {
        stage.key: build_asset(stage, STAGES, CHECKS, None, _priorities()[stage.name])
        for stage in STAGES
        if not stage.daily
    }


@cache
def _checks() -> list[dg.AssetChecksDefinition]:
    return [build_check(item) for item in CHECKS]


def _build(
    place: Place,
    span: tuple[date, date],
    workers: int,
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    # Backfill policies are beta in Dagster 1.13 and what a set of days in one run needs.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    first, last = span
    days = dg.DailyPartitionsDefinition(
        start_date=first.isoformat(), end_date=(last + timedelta(days=1)).isoformat()
    )
    jobs = build_jobs(STAGES)
    resources = {
        "settings": SettingsResource.configure_at_launch(),
        "raw": RawResource(root=place.raw, epoch=place.epoch.isoformat()),
        "lake": LakeIOManager(root=place.lake, engine=place.engine),
    }
    return dg.Definitions(
        assets=[
            _without_days().get(stage.key)
            or build_asset(stage, STAGES, CHECKS, days, _priorities()[stage.name])
            for stage in STAGES
        ],
        asset_checks=_checks(),
        jobs=list(jobs),
        schedules=build_schedules(STAGES, CHECKS, jobs),
        sensors=[build_sensor(STAGES, CHECKS, jobs)],
        resources={**resources, **(resource_overrides or {})},
        executor=executor(workers),
    )


defs = defs_of(Place.from_env())
