"""The definitions that Dagster loads, built for a raw folder, a lake and an epoch.

``dagster dev -m itememb_dagster.definitions`` reads the environment's; tests call ``build_defs``.
"""

import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from itememb_dagster.assets import STAGES
from itememb_dagster.automation.jobs import build_jobs, build_schedules
from itememb_dagster.automation.sensor import build_sensor
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.asset import build_asset
from itememb_dagster.factory.judge import build_check
from itememb_dagster.lake import Lake, LakeNote
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
    workers = 1 if place.engine == SPARK else worker_count()
    return _build(place, partition_days(place), workers, resource_overrides)


def job_of(name: str, raw: str, lake: str, epoch: str, engine: str) -> dg.JobDefinition:
    """Return a job of a place: how each step's process finds it again.

    What was built before for the same place is used, as by the fork server that steps come from.
    """
    place = Place(raw, lake, date.fromisoformat(epoch), engine)
    key = place, partition_days(place)
    if key not in _built:
        _built[key] = build_defs(place)
    return _built[key].resolve_job_def(name)


_built: Final[dict[tuple[Place, tuple[date, date]], dg.Definitions]] = {}


def _build(
    place: Place,
    span: tuple[date, date],
    workers: int,
    resource_overrides: Mapping[str, Any] | None,
) -> dg.Definitions:
    # Backfill policies are beta in Dagster 1.13 and what a set of days in one run needs.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    first, last = span
    days = dg.DailyPartitionsDefinition(
        start_date=first.isoformat(), end_date=(last + timedelta(days=1)).isoformat()
    )
    jobs = build_jobs(STAGES)
    waiting = priorities({s.name: {"/".join(key) for key in s.needs} for s in STAGES})
    resources = {
        "settings": SettingsResource.configure_at_launch(),
        "raw": RawResource(root=place.raw, epoch=place.epoch.isoformat()),
        "lake": LakeIOManager(root=place.lake, engine=place.engine),
    }
    return dg.Definitions(
        assets=[build_asset(stage, STAGES, CHECKS, days, waiting[stage.name]) for stage in STAGES],
        asset_checks=[build_check(item) for item in CHECKS],
        jobs=list(jobs),
        schedules=build_schedules(STAGES, CHECKS, jobs),
        sensors=[build_sensor(STAGES, CHECKS, jobs)],
        resources={**resources, **(resource_overrides or {})},
        executor=executor(workers),
    )


_here: Final = Place.from_env()
defs = _built[_here, partition_days(_here)] = build_defs(_here)
