"""The sensor of raw files: days that a new, changed or removed file touches, then the rest.

What does not belong here: what is stale (``staleness``), run requests (``jobs``).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from typing import Any

import dagster as dg

from itememb_core.errors import ItemembError
from itememb_core.raw import listing_digest
from itememb_dagster.automation.jobs import (
    RESOURCES,
    Job,
    planner_of,
    range_of,
    rest_request,
    stale_requests,
)
from itememb_dagster.factory.check import Check
from itememb_dagster.factory.stage import Stage
from itememb_dagster.lake.staleness import Planner, day_range
from itememb_dagster.runtime.place import hiding
from itememb_dagster.runtime.resources import opened_root


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers; a listing is the digest of names, sizes and times of raw files.

    Attributes:
        seen: The listing of the last look.
        days: The listing for which runs of stale days were requested.
        requested: First and last day of each of those runs.
        rest: The listing for which the run of the rest was requested.
    """

    seen: str = ""
    days: str = ""
    requested: list[tuple[str, str]] = field(default_factory=list)
    rest: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Read what ``write`` gave; nothing is remembered at first.

        Dagster keeps cursors between versions of this code. Fields that are unknown are ignored;
        where one is missing, the sensor begins anew, and then requests only what is stale.
        """
        stored = json.loads(text) if text else {}
        known = {each.name: stored[each.name] for each in fields(cls) if each.name in stored}
        return cls(**known) if len(known) == len(fields(cls)) else cls()

    def write(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


def build_sensor(
    stages: Sequence[Stage], checks: Sequence[Check], jobs: Sequence[Job]
) -> dg.SensorDefinition:
    """Return the sensor; people switch it on in the UI."""

    @dg.sensor(
        jobs=list(jobs),
        required_resource_keys=RESOURCES,
        minimum_interval_seconds=60,
        description=(
            "Looks for new, changed and removed raw files. Requests the days they touch, "
            "as one run a range, and when these are made everything after the days."
        ),
    )
    def raw_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = Cursor.read(context.cursor)
        try:
            with hiding(context.resources.raw.root):
                return _look(context.resources, stages, checks, cursor)
        except ItemembError as error:
            return _skip(str(error), cursor)

    return raw_files


def _look(
    resources: Any, stages: Sequence[Stage], checks: Sequence[Check], cursor: Cursor
) -> dg.SensorResult:
    """Return what a look at the raw files requests."""
    listing = listing_digest(opened_root(resources.raw.root))
    if listing == cursor.rest:
        return _skip("no raw file is new, changed or removed", cursor)
    if listing != cursor.seen:
        # Files may still be being copied: they are read when a second look is the same.
        return _skip("raw files changed since the last look", replace(cursor, seen=listing))
    planner = planner_of(resources, stages, checks)
    request = request_days if listing != cursor.days else request_rest
    return request(planner, cursor)


def _skip(why: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=cursor.write())


def request_days(planner: Planner, cursor: Cursor) -> dg.SensorResult:
    """Request the stale days, once for a listing: a day that fails is not tried over and over."""
    requests = stale_requests(planner)
    requested = [range_of(request) for request in requests]
    cursor = replace(cursor, days=cursor.seen, requested=requested)
    if not requests:
        return request_rest(planner, cursor)
    return dg.SensorResult(run_requests=requests, cursor=cursor.write())


def request_rest(planner: Planner, cursor: Cursor) -> dg.SensorResult:
    """Request everything after the days when all requested days are made."""
    requested = [
        day
        for first, last in cursor.requested
        for day in day_range(date.fromisoformat(first), date.fromisoformat(last))
    ]
    waits = sorted({day for days in planner.stale_days(requested).values() for day in days})
    if waits:
        why = f"{len(waits)} requested days are not made yet, the first is {waits[0]}"
        return _skip(why, cursor)
    cursor, request = replace(cursor, rest=cursor.seen), rest_request(planner)
    if request is None:
        return _skip("everything is up to date", cursor)
    return dg.SensorResult(run_requests=[request], cursor=cursor.write())
