"""Steps side by side in processes: the same lake; what dies or is stopped is told and ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake
from itememb_dagster.runtime.executor import WORKERS, priorities, worker_count
from itememb_dagster.runtime.profiling import Recorder, StageTime
from itememb_dagster.runtime.reporting import Sender, listening
from itememb_dagster.runtime.threads import OMP, all_threads, limited_to, threads_of
from tests.conftest import TINY_OPTIONS, run
from tests.pipeline.test_pipeline import tree

FITTING = "item vectors"
ITEMS = '+key:"backtest/item_embeddings"'


def steps_of(pid: int) -> list[psutil.Process]:
    """The processes of a command's steps: the fork server's children."""
    return [p for p in psutil.Process(pid).children(recursive=True) if p.ppid() != pid]


def lake_files(lake: Path) -> dict[str, str]:
    return {name: found for name, found in tree(lake).items() if name != "_lock"}


def test_the_step_that_most_others_need_comes_first():
    needs = {
        "raw": set(),
        "edges": {"raw"},
        "map": {"raw"},
        "fit": {"edges"},
        "use": {"fit", "map"},
    }
    assert priorities(needs) == {"raw": 4, "edges": 2, "map": 1, "fit": 1, "use": 0}


def test_time_in_which_two_stages_ran_counts_once():
    recorder = Recorder()
    for name, began, seconds in [("b", 12.0, 3.0), ("a", 10.0, 4.0), ("c", 20.0, 1.0)]:
        recorder.stages.append(StageTime(name, began, seconds, 0))
    assert recorder.seconds == 6.0


@pytest.mark.usefixtures("one_thread")
def test_a_stage_has_its_share_of_the_threads_or_all(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads_of(alone=True, workers=2) == 4
    assert threads_of(alone=False, workers=2) == 2
    assert threads_of(alone=False, workers=8) == 1
    with limited_to(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("name", "read"), [(OMP, all_threads), (WORKERS, worker_count)])
@pytest.mark.parametrize("text", ["abc", "0", "-1"])
def test_a_number_that_is_none_is_told(name, read, text, monkeypatch):
    monkeypatch.setenv(name, text)
    with pytest.raises(ItemembError, match=f"{name}: found '{text}'"):
        read()


def test_reports_of_another_process_arrive_in_order_and_all():
    recorder, shown = Recorder(), []
    with listening(lambda *what: shown.append(what), recorder) as listener:
        sender = Sender(listener.address)
        sender.progress("rows", 1, 10)
        sender.progress("rows", 2, 10)  # too soon after the first
        sender.progress("rows", 10, 10)
        sender.nothing("reviews", "raw holds none")
        sender.ended(StageTime("edges", 1.0, 2.0, 3))
    assert shown == [("rows", 1, 10), ("rows", 10, 10)]
    assert recorder.reasons == {"reviews": "raw holds none"}
    assert recorder.stages == [StageTime("edges", 1.0, 2.0, 3)]
    sender.progress("late", 0, 1)  # nobody listens any more


def processes_of_the_last_run() -> int:
    """How many steps of the last run were a process each, as Dagster's event log has it."""
    with dg.DagsterInstance.get() as instance:
        (last,) = instance.get_runs(limit=1)
        kind = dg.DagsterEventType.STEP_WORKER_STARTING
        return len(instance.all_logs(last.run_id, of_type=kind))


def test_what_the_engine_makes_starts_no_process(tiny_raw, tmp_path):
    for select in ('key:"users"', 'key:"retail_events"'):
        assert run(tiny_raw, tmp_path, select=select, workers=2).errors == []
        assert processes_of_the_last_run() == 0


def process_of(step: str) -> int:
    """The process of a step of the last run, as Dagster's event log has it."""
    with dg.DagsterInstance.get() as instance:
        (last,) = instance.get_runs(limit=1)
        begun = instance.all_logs(last.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
    (event,) = [each.get_dagster_event() for each in begun if each.step_key == step]
    assert event.pid is not None
    return event.pid


def kill_the_fitting_step(killed: list[int]):
    def shown(what: str, done: int, total: int) -> None:
        if what == FITTING and 2 * done >= total and not killed:
            killed.append(process_of("backtest__item_model"))
            os.kill(killed[0], signal.SIGKILL)

    return shown


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_side_by_side_makes_the_same_lake_even_where_a_process_died(
    tiny_raw, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = run(tiny_raw, tmp_path / "alone", select=ITEMS)
    shown = kill_the_fitting_step([])
    died = run(tiny_raw, tmp_path / "both", select=ITEMS, workers=2, shown=shown)
    (error,) = died.errors
    assert error.startswith("backtest/item_model: its process died (signal 9, perhaps because mem")
    both = run(tiny_raw, tmp_path / "both", select=ITEMS, workers=2)
    assert processes_of_the_last_run() >= 2  # and what judges them
    assert alone.errors == both.errors == []
    assert lake_files(tmp_path / "both") == lake_files(tmp_path / "alone")
    again = {s.name for s in both.recorder.stages}
    vectors = {"backtest/item_model", "backtest/feature_model", "backtest/item_embeddings"}
    assert again == vectors
    assert {s.name for s in died.recorder.stages} | again == {s.name for s in alone.recorder.stages}
    assert died.reasons | both.reasons == alone.reasons
    assert steps_of(os.getpid()) == []
    assert [each.name for each in (tmp_path / "both").glob("_scratch*")] == []


def started(raw: Path, lake: Path) -> subprocess.Popen:
    """The command, with its steps at work."""
    code = "from itememb_dagster.cli import main; main()"
    words = [sys.executable, "-c", code, "run", "--workers", "2", *TINY_OPTIONS]
    words += ["--raw", str(raw), "--lake", str(lake)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not steps_of(process.pid):
        assert process.poll() is None
        time.sleep(0.1)
    return process


@pytest.mark.slow
def test_a_killed_command_takes_its_steps_and_the_lock_with_it(tiny_raw, tmp_path):
    process = started(tiny_raw, tmp_path)
    steps = steps_of(process.pid)
    assert steps
    process.kill()
    process.communicate()
    assert psutil.wait_procs(steps, timeout=30)[1] == []
    with Lake(tmp_path).writing():
        pass


@pytest.mark.slow
def test_an_interrupted_command_ends_its_steps_and_says_so(tiny_raw, tmp_path):
    process = started(tiny_raw, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; run again to go on with what is not made yet" in told
    assert run(tiny_raw, tmp_path, select=ITEMS).errors == []
