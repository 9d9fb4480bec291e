"""A killed command's run is not shown as going on for ever; others' runs are left alone."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import dagster as dg
import pytest

from itememb_dagster.automation.killed import KILLED, LAKE_TAG, end_killed_runs
from itememb_dagster.lake import Lake
from itememb_dagster.runtime.home import use_dagster_home
from tests.conftest import TINY_OPTIONS, run

ROOT = Path(__file__).parents[2]
COMMAND = "from itememb_dagster.cli import main; main()"
#: Seconds within which the command's run begins.
PATIENCE = 120


def killed_command(raw: Path, lake: Path) -> str:
    """Kill a command with all its processes when its first run has started; return the run's id."""
    words = ["run", "--raw", str(raw), "--lake", str(lake), *TINY_OPTIONS, "--workers", "2"]
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + PATIENCE
    try:
        with dg.DagsterInstance.get() as instance:
            started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
            while not (found := instance.get_runs(started)):
                assert command.poll() is None, "the command ended before it was killed"
                assert time.monotonic() < until, "no run has started"
                time.sleep(0.05)
    finally:
        os.killpg(command.pid, signal.SIGKILL)
        command.wait()
    return found[0].run_id


def going_on(tags: dict[str, str], **more: str) -> str:
    """Add a run that goes on; return its id."""
    made = dg.DagsterRun(
        job_name="days", run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags=tags,
        **more,
    )  # fmt: skip
    with dg.DagsterInstance.get() as instance:
        return instance.add_run(made).run_id


def status(run_id: str) -> dg.DagsterRunStatus:
    with dg.DagsterInstance.get() as instance:
        return instance.get_run_by_id(run_id).status


def test_only_the_runs_of_this_lakes_commands_are_ended(tmp_path: Path):
    own = {LAKE_TAG: str(tmp_path / "lake")}
    killed, other = going_on(own), going_on({LAKE_TAG: str(tmp_path / "other")})
    again = going_on(own, parent_run_id=killed, root_run_id=killed)  # the UI's
    end_killed_runs(Lake(tmp_path / "lake"))
    assert status(killed) == dg.DagsterRunStatus.FAILURE
    assert [status(run_id) for run_id in (other, again)] == [dg.DagsterRunStatus.STARTED] * 2


@pytest.mark.slow
def test_the_next_command_ends_a_killed_ones_run(
    tiny_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    use_dagster_home()
    killed = killed_command(tiny_raw, tmp_path / "lake")
    assert status(killed) == dg.DagsterRunStatus.STARTED
    others = [going_on({LAKE_TAG: str(tmp_path / "other")}), going_on({})]
    assert run(tiny_raw, tmp_path / "lake", select='key:"receipts"').errors == []
    assert status(killed) == dg.DagsterRunStatus.FAILURE
    assert [status(other) for other in others] == [dg.DagsterRunStatus.STARTED] * 2
    with dg.DagsterInstance.get() as instance:
        assert KILLED in [
            entry.user_message or entry.message for entry in instance.all_logs(killed)
        ]
        assert instance.get_runs()[0].status == dg.DagsterRunStatus.SUCCESS
