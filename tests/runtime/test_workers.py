"""Stages side by side in processes: the same lake; what dies or is stopped is told and ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from itememb_dagster.assets import STAGES
from itememb_dagster.lake import Lake
from itememb_dagster.runtime.executor import descendants
from itememb_dagster.runtime.profiling import Recorder, StageTime
from itememb_dagster.runtime.resources import reporting_to
from itememb_dagster.runtime.threads import one_of_workers, threads_for
from tests.conftest import TINY_OPTIONS, run
from tests.pipeline.test_pipeline import tree

FITTING = "item vectors"
ITEMS = '+key:"backtest/item_embeddings"'


def workers_of(pid: int) -> list[psutil.Process]:
    """A process's workers; multiprocessing has a helper process of its own."""
    found = psutil.Process(pid).children()
    return [p for p in found if any("spawn_main" in word for word in p.cmdline())]


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
    assert descendants(needs) == {"raw": 4, "edges": 2, "map": 1, "fit": 1, "use": 0}


def test_time_in_which_two_stages_ran_counts_once():
    recorder = Recorder()
    for name, began, seconds in [("b", 12.0, 3.0), ("a", 10.0, 4.0), ("c", 20.0, 1.0)]:
        recorder.stages.append(StageTime(name, began, seconds, 0))
    assert recorder.seconds == 6.0


@pytest.mark.usefixtures("one_thread")
def test_a_stage_beside_which_nothing_long_runs_takes_all_threads():
    by_name = {stage.name: stage for stage in STAGES}
    with one_of_workers(3), threads_for(by_name["backtest/item_model"]):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 1
    with one_of_workers(3), threads_for(by_name["item_model"]):
        assert torch.get_num_threads() == 1
    with threads_for(by_name["backtest/item_model"]):
        assert torch.get_num_threads() == 1


def kill_a_fitting_worker(killed: list[int]):
    def told(what: str, done: int, _total: int) -> None:
        if what == FITTING and done and not killed:
            busy = max(workers_of(os.getpid()), key=lambda p: p.memory_info().rss)
            killed.append(busy.pid)
            busy.kill()

    return told


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_side_by_side_makes_the_same_lake_even_where_a_process_died(
    tiny_raw, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = run(tiny_raw, tmp_path / "alone", select=ITEMS)
    with reporting_to(kill_a_fitting_worker([])):
        died = run(tiny_raw, tmp_path / "both", select=ITEMS, workers=2)
    (error,) = died.errors
    assert error.startswith("backtest/item_model: its process died (signal 9, perhaps because mem")
    both = run(tiny_raw, tmp_path / "both", select=ITEMS, workers=2)
    assert alone.errors == both.errors == []
    assert lake_files(tmp_path / "both") == lake_files(tmp_path / "alone")
    again = {s.name for s in both.recorder.stages}
    assert again == {"backtest/item_model", "backtest/item_embeddings"}
    assert {s.name for s in died.recorder.stages} | again == {s.name for s in alone.recorder.stages}
    assert died.reasons | both.reasons == alone.reasons
    assert workers_of(os.getpid()) == []
    assert [each.name for each in (tmp_path / "both").glob("_scratch*")] == []


def started(raw: Path, lake: Path) -> subprocess.Popen:
    """The command, with its workers at work."""
    code = "from itememb_dagster.cli import main; main()"
    words = [sys.executable, "-c", code, "run", "--workers", "2", *TINY_OPTIONS]
    words += ["--raw", str(raw), "--lake", str(lake)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (lake / "user_items").is_dir():
        assert process.poll() is None
        time.sleep(0.1)
    return process


@pytest.mark.slow
def test_a_killed_command_takes_its_workers_and_the_lock_with_it(tiny_raw, tmp_path):
    process = started(tiny_raw, tmp_path)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    with Lake(tmp_path).writing():
        pass


@pytest.mark.slow
def test_an_interrupted_command_ends_its_steps_and_says_so(tiny_raw, tmp_path):
    process = started(tiny_raw, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted; run again to go on with what is not made yet" in told
    assert run(tiny_raw, tmp_path, select=ITEMS).errors == []
