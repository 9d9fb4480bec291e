"""Two jobs (days; the rest), a schedule for each, and the run requests they make."""

from collections.abc import Sequence
from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.lake import Lake
from itememb_dagster.plan import Planner, ranges
from itememb_dagster.stage import Stage

DAYS_JOB: Final = "days"
REST_JOB: Final = "rest"


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the run tags of a range of days."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def build_jobs(
    stages: Sequence[Stage], days: dg.DailyPartitionsDefinition
) -> tuple[UnresolvedAssetJobDefinition, UnresolvedAssetJobDefinition]:
    """Return the job of the daily stages and the job of the others."""
    daily = dg.AssetSelection.assets(*(list(s.key) for s in stages if s.daily))
    rest = dg.AssetSelection.assets(*(list(s.key) for s in stages if not s.daily))
    return (
        dg.define_asset_job(
            DAYS_JOB,
            daily,
            executor_def=dg.in_process_executor,
            description="Cleans days and makes their edges; a range of days is one run.",
        ),
        dg.define_asset_job(
            REST_JOB,
            rest,
            executor_def=dg.in_process_executor,
            description="Everything after the days: vectors, links, evaluation.",
        ),
    )


def build_schedules(
    stages: Sequence[Stage], jobs: Sequence[UnresolvedAssetJobDefinition]
) -> list[dg.ScheduleDefinition]:
    """Return the daily schedule of stale days, as one run a range, and the weekly one."""

    @dg.schedule(
        job=jobs[0],
        cron_schedule="30 3 * * *",
        required_resource_keys={"raw", "lake", "settings"},
        description="Makes the days whose raw files, settings or code changed.",
    )
    def stale_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        resources = context.resources
        settings = Settings.model_validate(resources.settings.model_dump())
        try:
            scan = resources.raw.scan(settings)
        except ItemembError as error:
            return dg.SkipReason(str(error))
        return stale_requests(Planner(stages, Lake(resources.lake.lake.root), scan, settings))

    weekly = dg.ScheduleDefinition(
        name="weekly_rest", job=jobs[1], cron_schedule="0 5 * * 1",
        description="Refits vectors and links, and evaluates them.",
    )  # fmt: skip
    return [stale_days, weekly]


def stale_requests(planner: Planner) -> list[dg.RunRequest] | dg.SkipReason:
    """Return one run request a range of stale days."""
    stale = planner.stale_days(planner.days)
    found = ranges(day for days in stale.values() for day in days)
    if not found:
        return dg.SkipReason("every day is up to date")
    return [
        dg.RunRequest(
            tags=range_tags(first.isoformat(), last.isoformat()),
            asset_selection=[dg.AssetKey(list(key)) for key in stale],
        )
        for first, last in found
    ]
