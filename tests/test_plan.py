"""What is stale: exactly what raw files, settings or code changed, and what depends on it."""

import shutil
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from itememb_core.raw import scan
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.lake import Lake
from itememb_dagster.lake.writer import write_file
from itememb_dagster.plan import Planner, ranges

EPOCH = date(2017, 1, 1)


@pytest.fixture
def world(tiny_raw: Path, tmp_path: Path) -> tuple[Path, Lake]:
    raw = tmp_path / "raw"
    shutil.copytree(tiny_raw, raw)
    return raw, Lake(tmp_path / "lake")


def planner(raw: Path, lake: Lake, **settings) -> Planner:
    return Planner(STAGES, lake, scan(raw, EPOCH), Settings(**settings))


def pretend_made(plan: Planner) -> None:
    """Write empty files that carry the stamps which the planner expects."""
    schema = pq.read_schema(next(Path(plan.scan.root).glob("users.pq")))
    for day in plan.days:
        for stage in plan.stages.values():
            if stage.daily:
                stamp = plan.stamp(stage, day, plan.expected)
                write_file(plan.lake, plan.lake.day(stage.key, day), [], schema, stamp)
    fresh = Planner(list(plan.stages.values()), plan.lake, plan.scan, plan.settings)
    for stage in fresh.stages.values():
        if not stage.daily:
            stamp = fresh.stamp(stage, None, fresh.expected)
            write_file(fresh.lake, fresh.lake.part(stage.key), [], schema, stamp)


def test_everything_is_stale_at_first_and_nothing_after(world):
    raw, lake = world
    plan = planner(raw, lake)
    assert all(days == list(plan.days) for days in plan.stale_days(plan.days).values())
    pretend_made(plan)
    again = planner(raw, lake)
    assert again.stale_days(again.days) == {}
    assert again.stale_tables() == []


def test_a_changed_file_makes_its_day_and_the_session_day_after_stale(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    path = raw / "retail/events/00003.pq"
    pq.write_table(pq.read_table(path).slice(1), path)
    plan = planner(raw, lake)
    third, fourth = date(2017, 1, 4), date(2017, 1, 5)
    assert plan.stale_days(plan.days) == {
        ("retail_events",): [third],
        ("coview_edges",): [third, fourth],
        ("user_items",): [third],
    }
    assert ("edges",) in plan.stale_tables()


def test_a_setting_makes_its_stages_stale_and_no_other(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake, copurchase_edges={"basket_cap": 10})
    assert set(plan.stale_days(plan.days)) == {("copurchase_edges",)}
    assert ("catalog",) not in plan.stale_tables()


def test_a_failed_error_check_makes_its_asset_stale_again(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake)
    stored = plan.stored(plan.stages["edges",], None)
    verdict = {"recipe": stored, "passed": False, "severity": "WARN", "why": ""}
    lake.record_check(("edges",), "some", verdict)
    assert planner(raw, lake).stale_tables() == []
    lake.record_check(("edges",), "some", verdict | {"severity": "ERROR"})
    assert planner(raw, lake).stale_tables() == [("edges",)]


def test_days_without_holes_are_one_range():
    days = [date(2017, 1, d) for d in (5, 1, 2, 3, 7, 8, 2)]
    assert [(a.day, b.day) for a, b in ranges(days)] == [(1, 3), (5, 5), (7, 8)]
    assert ranges([]) == []
