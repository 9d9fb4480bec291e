"""Late and changed data: what a new, changed or removed file redoes, and that nothing else tells.

A lake that was told late holds byte for byte what one holds that had the data from the start.
"""

import shutil
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from itememb_dagster.automation.jobs import range_of
from itememb_dagster.automation.sensor import Cursor
from itememb_dagster.definitions import build_defs
from itememb_dagster.runtime.resources import SettingsResource
from tests.conftest import TINY_SETTINGS, place_for
from tests.pipeline.test_pipeline import tree
from tests.worlds.tiny import FOLDERS
from tests.worlds.two_months import DAYS, date_of, file_of, make


def replace_file(raw: Path) -> None:
    """Half of a day's rows, on a day whose sessions run over midnight."""
    path = file_of(raw, "retail", 3)
    pq.write_table(pq.read_table(path)[::2], path)


def copy_day(raw: Path, source: int, day: int) -> None:
    """Retail's rows of one day as those of another."""
    rows = pq.read_table(file_of(raw, "retail", source))
    times = [t + timedelta(days=day - source) for t in rows["timestamp"].to_pylist()]
    column = pa.array(times, rows.schema.field("timestamp").type)
    moved = rows.set_column(rows.column_names.index("timestamp"), "timestamp", column)
    pq.write_table(moved, file_of(raw, "retail", day))


def add_file(raw: Path) -> None:
    """A new day."""
    copy_day(raw, 3, DAYS)


def remove_files(raw: Path) -> None:
    """Every file of the last day, one channel's of a day between; a day far before the first."""
    for channel in FOLDERS:
        file_of(raw, channel, DAYS - 1).unlink(missing_ok=True)
    file_of(raw, "receipts", 5).unlink()
    copy_day(raw, 6, -3)


def written(lake: Path) -> dict[str, int]:
    """When each Parquet file was put where it is, ns."""
    return {str(p.relative_to(lake)): p.stat().st_mtime_ns for p in lake.rglob("*.parquet")}


def segments_written(before: dict[str, int], lake: Path) -> set[str]:
    """Days, and months with their table, of which a file is new, another or gone."""
    after = written(lake)
    changed = {name for name in after.keys() | before if after.get(name) != before.get(name)}
    places = {name.rpartition("/")[0] for name in changed if "=" in name}
    return {place if "month" in place else place.rpartition("/")[2] for place in places}


JANUARY, FEBRUARY = "month=2017-01", "month=2017-02"
#: What is done to the raw folder; the days and months that a run then writes or removes. The
#: backtest's cut is a day of January, and moves with the last day.
CHANGES = {
    "replaced": (replace_file, {3, 4}, {f"edges/{JANUARY}"}),
    "added": (add_file, {DAYS, DAYS + 1}, {f"edges/{FEBRUARY}", f"backtest/edges/{JANUARY}"}),
    "removed": (
        remove_files,
        {-3, -2, -1, 0, 5, DAYS - 1, DAYS},
        {f"edges/{JANUARY}", f"edges/{FEBRUARY}", f"backtest/edges/{JANUARY}"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_lake_told_late_equals_one_that_knew_from_the_start(
    change, copies, months_lake, tmp_path
):
    raw, lake = copies
    alter, days, months = CHANGES[change]
    before = written(lake)
    alter(raw)
    assert make(raw, lake).errors == []
    assert segments_written(before, lake) == {f"day={date_of(day)}" for day in days} | months
    assert make(raw, tmp_path / "fresh").errors == []
    assert tree(lake) == tree(tmp_path / "fresh")
    assert tree(lake) != tree(months_lake)


class Daemon:
    """The sensor's ticks over one place, and the runs it asks for, made in this process."""

    def __init__(self, raw: Path, lake: Path) -> None:
        settings = SettingsResource(**TINY_SETTINGS.model_dump())
        self.defs = build_defs(place_for(raw, lake), {"settings": settings})
        self.sensor = next(s for s in self.defs.sensors if s.name == "raw_files")
        self.cursor: str | None = None

    def tick(self) -> SensorExecutionData:
        """What one look asks for or says."""
        with dg.build_sensor_context(cursor=self.cursor, definitions=self.defs,
                                     resources=dict(self.defs.resources)) as context:  # fmt: skip
            told = self.sensor.evaluate_tick(context)
        self.cursor = told.cursor
        return told

    def says(self) -> str:
        """Why one look asks for nothing."""
        told = self.tick()
        assert not told.run_requests
        return told.skip_message

    def make(self, request: dg.RunRequest, keys: set[str] | None = None) -> bool:
        """Run a request (of it, only the assets ``keys``); whether it went well."""
        wanted = [k for k in request.asset_selection if keys is None or k.to_user_string() in keys]
        job = self.defs.resolve_job_def(request.job_name)
        with dg.DagsterInstance.get() as instance:
            return job.execute_in_process(
                tags=request.tags, asset_selection=wanted, instance=instance, raise_on_error=False
            ).success


def asks(told: SensorExecutionData) -> list[tuple[str, str, set[str]]]:
    """First day, last day and assets of each run request."""
    return [(*range_of(r), {k.to_user_string() for k in r.asset_selection})
            for r in told.run_requests]  # fmt: skip


@pytest.mark.slow
def test_the_sensor_asks_for_the_days_a_file_touches_and_then_for_the_rest(copies, tmp_path):
    raw, lake = copies
    daemon = Daemon(raw, lake)
    replace_file(raw)
    assert "changed since the last look" in daemon.says()
    days = daemon.tick()
    third, fourth = date_of(3).isoformat(), date_of(4).isoformat()
    assert asks(days) == [(third, fourth, {"retail_events", "coview_edges", "user_items"})]
    assert f"2 requested days are not made yet, the first is {third}" in daemon.says()
    assert daemon.make(days.run_requests[0])
    rest = daemon.tick().run_requests
    assert [r.job_name for r in rest] == ["rest"]
    sums = {"catalog", "raw_inventory", "edges", "bridge_edges", "backtest/edges"}
    assert daemon.make(rest[0], sums)
    assert "no raw file is new, changed or removed" in daemon.says()
    assert make(raw, tmp_path / "fresh").errors == []
    assert tree(lake) == tree(tmp_path / "fresh")


@pytest.mark.slow
def test_the_sensor_requests_a_day_of_two_files_once_and_its_run_names_both(copies):
    raw, lake = copies
    daemon, path = Daemon(raw, lake), file_of(raw, "retail", 2)
    shutil.copy(path, path.with_suffix(".parquet"))
    daemon.tick()
    told, bad = daemon.tick(), date_of(2).isoformat()
    *_, last = told.run_requests
    assert asks(told)[-1][:2] == (bad, bad)
    assert not daemon.make(last)
    assert f"the first is {bad}" in daemon.says()


def test_the_sensor_requests_a_broken_day_once_and_the_others_beside(copies):
    raw, lake = copies
    daemon, path = Daemon(raw, lake), file_of(raw, "retail", 2)
    path.write_bytes(path.read_bytes()[:400])
    replace_file(raw)
    daemon.tick()
    bad, good = date_of(2).isoformat(), date_of(3).isoformat()
    told = daemon.tick()
    assert [found[:2] for found in asks(told)] == [(good, date_of(4).isoformat()), (bad, bad)]
    assert [daemon.make(request) for request in told.run_requests] == [True, False]
    assert f"the first is {bad}" in daemon.says()


def test_what_the_sensor_remembers_is_read_back():
    cursor = Cursor("a", "b", [("2017-01-01", "2017-01-02")], "c")
    assert Cursor.read(cursor.write()).write() == cursor.write()
    assert Cursor.read(None) == Cursor()


def test_a_cursor_of_another_version_is_no_error():
    newer = '{"seen": "a", "days": "b", "requested": [], "rest": "c", "more": 1}'
    assert Cursor.read(newer) == Cursor("a", "b", [], "c")
    older = '{"seen": "a", "days": "b", "asked": [["2017-01-01", "2017-01-02"]], "rest": "c"}'
    assert Cursor.read(older) == Cursor()
