"""What is stale: exactly what raw files, settings or code changed, and what depends on it."""

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core.errors import ItemembError
from itememb_core.raw import scan
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.stage import Input
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.staleness import Planner, ranges
from itememb_dagster.lake.writer import write_file
from itememb_dagster.runtime.resources import RawResource
from tests.worlds.layouts import START, order, put, tracked
from tests.worlds.two_months import DAYS, file_of

EPOCH = date(2017, 1, 1)


@pytest.fixture
def world(tiny_raw: Path, tmp_path: Path) -> tuple[Path, Lake]:
    raw = tmp_path / "raw"
    shutil.copytree(tiny_raw, raw)
    return raw, Lake(tmp_path / "lake")


def planner(raw: Path, lake: Lake, **settings) -> Planner:
    return Planner(STAGES, CHECKS, lake, scan(raw, EPOCH), Settings(**settings))


def pretend_days(plan: Planner) -> Planner:
    """Write empty day files that carry the stamps which the planner expects; return a new one."""
    schema = pa.schema([("nothing", pa.int64())])
    for day in plan.days:
        for stage in plan.stages.values():
            if stage.daily:
                stamp = plan.stamp(stage, day, plan.expected)
                write_file(plan.lake, plan.lake.day(stage.key, day), [], schema, stamp)
    return Planner(list(plan.stages.values()), CHECKS, plan.lake, plan.scan, plan.settings)


def pretend_made(plan: Planner) -> None:
    """The same of every table."""
    fresh = pretend_days(plan)
    schema = pa.schema([("nothing", pa.int64())])
    for stage in fresh.stages.values():
        stamp = None if stage.daily else fresh.stamp(stage, None, fresh.expected)
        if stamp and stage.by_month:
            with fresh.lake.whole(stage.key, stamp):
                for month, own in fresh.month_stamps(stage).items():
                    part = fresh.lake.part(stage.key, f"month={month}")
                    write_file(fresh.lake, part, [], schema, own)
        elif stamp:
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


def test_a_changed_day_makes_its_month_stale_and_no_other(months_raw, tmp_path):
    raw, lake = tmp_path / "raw", Lake(tmp_path / "lake")
    shutil.copytree(months_raw, raw)
    pretend_made(planner(raw, lake, holdout_days=6))
    path = file_of(raw, "retail", DAYS - 1)
    pq.write_table(pq.read_table(path).slice(1), path)
    plan = pretend_days(planner(raw, lake, holdout_days=6))
    assert set(plan.months_to_make(plan.stages["edges",])) == {"2017-02"}
    # The cut is January 30.
    assert plan.cut == date(2017, 1, 30)
    backtest = plan.stages["backtest", "edges"]
    assert set(plan.month_stamps(backtest)) == {"2017-01"}
    assert plan.months_to_make(backtest) == {}


def test_a_version_descends_from_the_current_one_and_a_redone_one_from_its_own(world):
    raw, lake = world
    plan = planner(raw, lake)
    stage = plan.stages["item_model",]

    def make(inputs: str) -> Stamp:
        stamp = plan.with_parent(stage, Stamp("item_model", inputs, {}, "1"))
        with lake.new_version(stage.key, stamp):
            pass
        return stamp

    first, second = make("a"), make("b")
    assert (first.parent, second.parent) == (None, first.id)
    # Made again and again: the parent stays in the lake, though it is neither new nor the last.
    assert make("b") == make("b") == second
    third = make("a")
    assert (third.parent, third.recipe) == (second.id, first.recipe)
    assert third.id != first.id
    shutil.rmtree(lake.version_folder(stage.key, second.id))
    assert make("a").parent is None


def test_days_that_raw_no_longer_covers_leave_the_lake(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    first = date(2017, 1, 1)
    rejected = lake.day(("receipts_rejected",), first)
    rejected.parent.mkdir(parents=True)
    rejected.write_text("")
    for path in [*raw.glob("**/00000.pq"), *raw.glob("**/00027.pq"), *raw.glob("**/00005.pq")]:
        path.unlink()
    plan = planner(raw, lake)
    plan.prune()
    kept = {f"day={first + timedelta(days=n)}" for n in range(1, 28)}
    assert set(lake.segments(("receipts",))) == kept
    assert set(lake.segments(("coview_edges",))) == kept
    assert not rejected.exists()
    stale = plan.stale_days(plan.days)
    assert stale["coview_edges",] == [date(2017, 1, d) for d in (2, 6, 7, 28)]
    assert stale["user_items",] == [date(2017, 1, d) for d in (6, 28)]


def test_a_changed_file_of_many_days_makes_the_days_it_covers_stale(tmp_path):
    raw, lake = tmp_path / "raw", Lake(tmp_path / "lake")
    put(raw, "tracker/a.parquet", [tracked(day=k) for k in (0, 1)])
    put(raw, "tracker/b.parquet", [tracked(day=k) for k in (3, 5)])
    put(raw, "orders/a.parquet", [order(day=6)])
    pretend_made(planner(raw, lake))
    put(raw, "tracker/b.parquet", [tracked(2, day=k) for k in (3, 5)])
    plan = planner(raw, lake)
    days = [START.date() + timedelta(days=k) for k in range(8)]
    assert plan.days == tuple(days)
    assert plan.stale_days(plan.days) == {
        ("marketplace_events",): days[3:6],
        ("coview_edges",): days[3:7],
        ("user_items",): days[3:6],
    }
    put(raw, "categories.parquet", [{"catalogid": 1, "ids": [1, -1]}])
    assert ("catalog",) in planner(raw, lake).stale_tables()


def test_files_of_many_days_are_opened_once_until_one_changes(tmp_path):
    put(tmp_path, "tracker/a.parquet", [tracked(1, day=0)])
    resource, settings = RawResource(root=str(tmp_path)), Settings()
    first = resource.scan(settings)
    assert resource.scan(settings) is first
    put(tmp_path, "tracker/a.parquet", [tracked(1, day=3)])
    assert resource.scan(settings).days == [START.date() + timedelta(days=3)]


def test_a_setting_makes_its_stages_stale_and_no_other(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake, copurchase_edges={"basket_cap": 10})
    assert set(plan.stale_days(plan.days)) == {("copurchase_edges",)}
    assert ("catalog",) not in plan.stale_tables()


def test_a_target_precision_redoes_the_scorer_and_what_reads_links_and_fits_no_vectors(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake, link_scorer={"target_precision": 0.9})
    assert plan.stale_days(plan.days) == {}
    assert {"/".join(key) for key in plan.stale_tables()} == {
        "link_scorer", "link_evaluation", "link_candidates", "cross_domain_links",
        "enriched_receipts", "backtest/cross_domain_links", "target_strategies",
        "backtest/user_model", "user_evaluation", "user_model", "user_embeddings",
        "recommendations",
    }  # fmt: skip


def test_what_only_gates_makes_nothing_after_it_stale_here_or_in_the_ui(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    before = planner(raw, lake)
    plan = planner(raw, lake, item_evaluation={"without_bridge": True})
    assert plan.stale_tables() == [("item_evaluation",)]
    stage = plan.stages["item_evaluation",]
    stamps = [each.stamp(stage, None, each.stored) for each in (before, plan)]
    assert stamps[0].recipe != stamps[1].recipe
    assert before.data_version(stage, stamps[:1]) == plan.data_version(stage, stamps[1:])


def test_an_older_lake_opens_and_a_newer_one_is_told_with_both_versions(tmp_path):
    lake = Lake(tmp_path)
    (tmp_path / "lake.json").write_text('{"epoch": "2017-01-01"}\n')
    assert lake.epoch() == EPOCH
    lake.prepare(EPOCH, [date(2017, 1, 3), date(2017, 1, 2)])
    note = lake.note()
    assert (note.format, note.first_day, note.last_day) == (1, date(2017, 1, 2), date(2017, 1, 3))
    assert lake.is_older()
    lake.finish_format()
    assert (lake.note().format, lake.note().last_day) == (3, date(2017, 1, 3))
    assert not lake.is_older()
    (tmp_path / "lake.json").write_text('{"epoch": "2017-01-01", "format": 4}\n')
    with pytest.raises(ItemembError, match=r"written in format 4, .* knows formats up to 3"):
        lake.prepare(EPOCH)


def unjudged(plan: Planner) -> set[str]:
    return {item.name for item in plan.unjudged()}


def test_what_lacks_a_verdict_is_judged_and_nothing_is_made_of_it_before(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake)
    stage, (item,) = plan.stages["edges",], [c for c in CHECKS if c.asset == ("edges",)]
    held = plan.held(stage, None)
    content = lake.content(stage.key)
    good = {"version": held.id, "content": content, "code": item.code, "passed": True}
    good |= {"severity": "ERROR", "why": ""}
    bad = good | {"passed": False, "why": "3 not canonical"}
    reader = replace(plan.stages["item_model",], inputs={"edges": Input(("edges",))}, gates=())

    def refused(verdict: dict, why: str) -> bool:
        lake.record_check(("edges",), item.name, verdict)
        again = planner(raw, lake)
        assert again.stale_tables() == []
        with pytest.raises(ItemembError, match=f"edges.canonical_edges has not passed.*{why}"):
            again.check_inputs(reader)
        with pytest.raises(ItemembError, match=r"edges\.canonical_edges has not passed"):
            again.check_inputs(after)
        return item.name in unjudged(again)

    assert unjudged(plan) == {c.name for c in CHECKS}
    for other in CHECKS:
        held_of = {"version": plan.held(plan.stages[other.asset], None).id, "code": other.code}
        held_of |= {"content": lake.content(other.asset)}
        lake.record_check(other.asset, other.name, good | held_of)
    assert unjudged(planner(raw, lake)) == set()
    after = plan.stages["cross_domain_links",]  # is made of what is made of it
    assert refused(good | {"version": "another"}, "not judged yet")
    assert refused(good | {"code": "another"}, "not judged yet")
    assert refused(good | {"content": "another"}, "not judged yet")
    assert refused(bad, "3 not canonical")
    for verdict in (bad | {"severity": "WARN"}, good):
        lake.record_check(("edges",), item.name, verdict)
        again = planner(raw, lake)
        assert item.name not in unjudged(again)
        again.check_inputs(reader)


def test_fresh_makes_what_was_aligned_and_all_that_is_made_of_it(world):
    raw, lake = world
    pretend_made(planner(raw, lake))
    plan = planner(raw, lake)
    stamp = plan.held(plan.stages["item_model",], None)
    with lake.new_version(("item_model",), replace(stamp, parent="before")):
        pass
    assert planner(raw, lake).stale_tables() == []
    fresh = Planner(STAGES, CHECKS, lake, scan(raw, EPOCH), Settings(), fresh=True)
    stale = set(fresh.stale_tables())
    assert {("item_model",), ("item_embeddings",), ("cross_domain_links",)} <= stale
    assert not stale & {("vocabulary",), ("edges",), ("backtest", "item_model")}
    stage = fresh.stages["item_model",]
    other, current = Stamp("item_model", "other", {}, "1"), lake.pointer(stage.key)
    assert plan.with_parent(stage, other).parent == current.id
    assert fresh.with_parent(stage, other).parent is None


def test_another_epoch_makes_all_that_is_read_from_raw_stale(world):
    raw, lake = world
    plan = planner(raw, lake)
    other = Planner(STAGES, CHECKS, lake, scan(raw, date(2018, 1, 1)), Settings())
    users = plan.stages["users",]
    assert plan.expected(users, None) == planner(raw, lake).expected(users, None)
    assert plan.expected(users, None) != other.expected(users, None)


def test_days_without_holes_are_one_range():
    days = [date(2017, 1, d) for d in (5, 1, 2, 3, 7, 8, 2)]
    assert [(a.day, b.day) for a, b in ranges(days)] == [(1, 3), (5, 5), (7, 8)]
    assert ranges([]) == []
