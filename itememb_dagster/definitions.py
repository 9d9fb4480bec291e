"""The definitions that Dagster loads, built for a raw folder, a lake and an epoch.

``dagster dev -m itememb_dagster.definitions`` reads the environment's; tests call ``build_defs``.
"""

import os
import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg

from itememb_core.errors import ItemembError
from itememb_core.raw import scan
from itememb_dagster.assets import STAGES
from itememb_dagster.automation.jobs import build_jobs, build_schedules
from itememb_dagster.automation.sensor import build_sensor
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.asset import build_asset
from itememb_dagster.factory.check import build_check
from itememb_dagster.lake.io_manager import LakeIOManager
from itememb_dagster.lake.staleness import lake_days
from itememb_dagster.runtime.place import Place
from itememb_dagster.runtime.resources import RawResource, SettingsResource


def day_bounds(place: Place) -> tuple[date, date]:
    """Return the first and last day of daily assets: of the environment, else of raw.

    ``ITEMEMB_START`` and ``ITEMEMB_END`` win; without raw files it is the epoch's day alone.
    """
    first, last = os.environ.get("ITEMEMB_START"), os.environ.get("ITEMEMB_END")
    try:
        found = lake_days(scan(place.raw, place.epoch))
    except ItemembError:
        found = (place.epoch,)
    return (
        date.fromisoformat(first) if first else found[0],
        date.fromisoformat(last) if last else found[-1],
    )


def build_defs(
    place: Place | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Build all assets, checks, jobs, schedules and the sensor for a place.

    Args:
        place: Raw folder, lake, epoch and engine; from the environment when left out.
        resource_overrides: Resources to use instead of the place's.
    """
    # Backfill policies are beta in Dagster 1.13 and what a set of days in one run needs.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    place = place or Place.from_env()
    first, last = day_bounds(place)
    days = dg.DailyPartitionsDefinition(
        start_date=first.isoformat(), end_date=(last + timedelta(days=1)).isoformat()
    )
    jobs = build_jobs(STAGES, days)
    resources = {
        "settings": SettingsResource.configure_at_launch(),
        "raw": RawResource(root=place.raw, epoch=place.epoch.isoformat()),
        "lake": LakeIOManager(root=place.lake, engine=place.engine),
    }
    return dg.Definitions(
        assets=[build_asset(stage, STAGES, days) for stage in STAGES],
        asset_checks=[build_check(item) for item in CHECKS],
        jobs=list(jobs),
        schedules=build_schedules(STAGES, jobs),
        sensors=[build_sensor(STAGES, jobs)],
        resources={**resources, **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )


defs = build_defs()
