"""Two jobs (days; the rest), a schedule for each, and the run requests for what is stale."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import dagster as dg

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.factory.check import Check
from itememb_dagster.factory.stage import Stage
from itememb_dagster.lake.staleness import Planner, ranges
from itememb_dagster.runtime.executor import executor
from itememb_dagster.runtime.place import hiding

DAYS_JOB: Final = "days"
REST_JOB: Final = "rest"

#: Dagster's tags of a run over a range of partitions.
FIRST_TAG: Final = "dagster/asset_partition_range_start"
LAST_TAG: Final = "dagster/asset_partition_range_end"

#: What ``dg.define_asset_job`` gives.
Job: TypeAlias = Any

#: What a schedule or sensor looks at.
RESOURCES: Final = {"raw", "lake", "settings"}


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the run tags of a range of days."""
    return {FIRST_TAG: first, LAST_TAG: last}


def range_of(request: dg.RunRequest) -> tuple[str, str]:
    """Return the first and last day of a run request of a range."""
    return request.tags[FIRST_TAG], request.tags[LAST_TAG]


def build_jobs(stages: Sequence[Stage]) -> tuple[Job, Job]:
    """Return the job of the daily stages and the job of the others."""
    daily = dg.AssetSelection.assets(*(list(s.key) for s in stages if s.daily))
    rest = dg.AssetSelection.assets(*(list(s.key) for s in stages if not s.daily))
    return (
        dg.define_asset_job(
            DAYS_JOB,
            daily,
            # The engine takes all cores for a step; processes beside it would only start.
            executor_def=executor(workers=1),
            description="Cleans days and makes their edges; a range of days is one run.",
        ),
        dg.define_asset_job(
            REST_JOB,
            rest,
            description="Everything after the days: vectors, links, evaluation.",
        ),
    )


def build_schedules(
    stages: Sequence[Stage], checks: Sequence[Check], jobs: Sequence[Job]
) -> list[dg.ScheduleDefinition]:
    """Return the daily schedule of stale days, as one run a range, and the weekly one."""

    @dg.schedule(
        job=jobs[0],
        cron_schedule="30 3 * * *",
        required_resource_keys=RESOURCES,
        description="Makes the days whose raw files, settings or code changed.",
    )
    def stale_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        try:
            with hiding(context.resources.raw.root):
                found = stale_requests(planner_of(context.resources, stages, checks))
        except ItemembError as error:
            return dg.SkipReason(str(error))
        return found or dg.SkipReason("every day is up to date")

    @dg.schedule(
        job=jobs[1],
        cron_schedule="0 5 * * 1",
        required_resource_keys=RESOURCES,
        description="Sums edges, refits vectors and links, and evaluates them, where days changed.",
    )
    def weekly_rest(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            with hiding(context.resources.raw.root):
                found = rest_request(planner_of(context.resources, stages, checks))
        except ItemembError as error:
            return dg.SkipReason(str(error))
        return found or dg.SkipReason("everything after the days is up to date")

    return [stale_days, weekly_rest]


def planner_of(resources: Any, stages: Sequence[Stage], checks: Sequence[Check]) -> Planner:
    """Return a planner of what a schedule's or sensor's resources show now.

    Raises:
        ItemembError: The raw folder cannot be read.
    """
    settings = Settings.model_validate(resources.settings.model_dump())
    scan = resources.raw.scan(settings)
    return Planner(stages, checks, resources.lake.lake, scan, settings)


def stale_requests(planner: Planner) -> list[dg.RunRequest]:
    """Return one run request a range of stale days, with the assets that are stale in it.

    Days that a broken file spoils are runs of their own, which fail and name it.
    """
    stale = planner.stale_days(planner.days)
    wanted = {day for days in stale.values() for day in days}
    bad = set(planner.bad_days(wanted))
    return [
        dg.RunRequest(
            job_name=DAYS_JOB,
            tags=range_tags(first.isoformat(), last.isoformat()),
            asset_selection=[
                dg.AssetKey(list(key))
                for key, days in stale.items()
                if any(first <= day <= last for day in days)
            ],
        )
        for first, last in (*ranges(wanted - bad), *ranges(bad))
    ]


def rest_request(planner: Planner) -> dg.RunRequest | None:
    """Return a run request for the stages without days that are stale or not judged, if any is."""
    stale = planner.stale_tables()
    checks = planner.checks_due(stale)
    if not stale and not checks:
        return None
    return dg.RunRequest(
        job_name=REST_JOB,
        asset_selection=[dg.AssetKey(list(key)) for key in stale],
        asset_check_keys=[check_key(item) for item in checks],
    )


def check_key(item: Check) -> dg.AssetCheckKey:
    """Return Dagster's key of a check."""
    return dg.AssetCheckKey(dg.AssetKey(list(item.asset)), item.name)
