"""Dagster's home: made once, whoever comes first; what cannot be one is an error that names it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from itememb_core.errors import ItemembError, UsageError
from itememb_dagster.runtime.home import use_dagster_home

ROOT = Path(__file__).parents[2]
#: Processes of a race; homes that they race for.
RACERS, RACES = 4, 3
RACE = f"""
import multiprocessing, os, sys
import dagster as dg
from itememb_dagster.runtime.home import use_dagster_home

def first_run(home, start):
    os.environ["DAGSTER_HOME"] = home
    start.wait()
    use_dagster_home()
    with dg.DagsterInstance.get() as instance:
        instance.get_runs(), instance.event_log_storage, instance.schedule_storage

fork = multiprocessing.get_context("fork")
for home in sys.argv[1:]:
    start = fork.Barrier({RACERS})
    racers = [fork.Process(target=first_run, args=(home, start)) for _ in range({RACERS})]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    print(*(racer.exitcode for racer in racers))
"""


def heads(home: Path) -> dict[str, int]:
    """How many versions each database says that it has; Dagster opens those of one."""
    found = {}
    for path in home.rglob("*.db"):
        with sqlite3.connect(path) as con:
            found[path.name] = con.execute("select count(*) from alembic_version").fetchone()[0]
    return found


@pytest.mark.slow
def test_first_runs_at_once_make_a_home_that_opens(tmp_path):
    homes = [tmp_path / f"home{n}" for n in range(RACES)]
    done = subprocess.run(
        [sys.executable, "-c", RACE, *map(str, homes)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [" ".join("0" * RACERS)] * RACES, done.stderr[-2000:]
    for home in homes:
        assert set(heads(home)) >= {"runs.db", "index.db", "schedules.db"}
        assert set(heads(home).values()) == {1}


def test_a_home_that_dagster_cannot_open_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "history").mkdir()
    (tmp_path / "history/runs.db").write_text("no database")
    with pytest.raises(ItemembError, match=f"DAGSTER_HOME: {tmp_path} cannot be opened") as error:
        use_dagster_home()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", ["x", "-1", "1.5", ""])
def test_a_batch_of_events_that_is_no_number_is_wrong_use(size, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", size)
    with pytest.raises(UsageError, match="DAGSTER_EVENT_BATCH_SIZE"):
        use_dagster_home()
