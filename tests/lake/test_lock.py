"""One writer at a time, whatever dies: the lock, and what the next writer removes."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.lock import LOCK, engine_scratch
from itememb_dagster.runtime.engine import connect

HOLD = """
import sys, time
from pathlib import Path
from itememb_dagster.lake import Lake
lake = Lake(Path(sys.argv[1]))
with lake.writing(writer=sys.argv[2] if len(sys.argv) > 2 else None):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(root: Path, *writer: str) -> subprocess.Popen:
    """A process that writes the lake until it is told to end, or killed."""
    command = [sys.executable, "-c", HOLD, str(root), *writer]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_writes_and_a_killed_one_holds_nothing(tmp_path):
    lake = Lake(tmp_path / "lake")
    other = holder(lake.root)
    with pytest.raises(ItemembError, match=rf"lake: process {other.pid} on \S+ is writing it;"):
        lake.writing().__enter__()
    other.send_signal(signal.SIGKILL)
    other.wait()
    with lake.writing(), lake.writing():
        assert str(os.getpid()) in (lake.root / LOCK).read_text()
    assert (lake.root / LOCK).read_text() == ""
    ended = holder(lake.root)
    ended.communicate("\n")
    assert ended.returncode == 0


def test_a_run_that_may_wait_says_so_once_and_goes_on_when_the_other_has_ended(tmp_path):
    lake, told = Lake(tmp_path / "lake"), []
    other = holder(lake.root)

    def waiting(message: str) -> None:
        told.append(message)
        other.communicate("\n")

    with lake.writing(waiting):
        pass
    assert len(told) == 1
    assert f"process {other.pid}" in told[0]


def test_processes_of_one_writer_write_together_and_keep_another_out_to_the_last(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.prepare(date(2017, 1, 1))
    first = holder(lake.root, "run 1")
    staged = lake.root / "receipts/day=2017-01-01/_part.parquet.4242"
    staged.parent.mkdir(parents=True)
    staged.write_text("being written by the first")
    with lake.writing(writer="run 1"):
        assert staged.exists()
        first.kill()
        first.wait()
        other = subprocess.run(
            [sys.executable, "-c", HOLD, str(lake.root), "run 2"],
            capture_output=True, text=True, check=False, input="\n",
        )  # fmt: skip
        assert f"process {first.pid}" in other.stderr
        assert "is writing it; run again" in other.stderr
    assert staged.exists()
    with lake.writing(writer="run 2"):
        assert not staged.exists()


def test_the_next_writer_removes_what_a_killed_one_staged_and_nothing_else(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.prepare(date(2017, 1, 1))
    with lake.new_version(("backtest", "model"), Stamp("m", "a", {}, "1")) as folder:
        (folder / "_config.json").write_text("its own")
    with lake.staged(lake.day(("receipts",), date(2017, 1, 1))) as staged:
        staged.write_text("whole")
    kept = {"__init__.py": None, "_site/index.html": None, "notes/_draft.json": None}
    left = {
        "_scratchab12cd_3/deep/rows.parquet", "receipts/day=2017-01-01/_part.parquet.4242",
        "receipts_rejected/day=2017-01-02/_part.parquet.1", "_stamps/_edges.json.77",
        "_checks/backtest/_vocabulary.json.8", "_versions/backtest/model/_x1y2z3_a/half.txt",
        "_versions/backtest/model/_x1y2z3_a_old/file", "item_model/_current.json.9",
    }  # fmt: skip
    for name in (*kept, *left):
        path = lake.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    before = {p for p in lake.root.rglob("*") if p.is_file()}
    with lake.writing():
        pass
    after = {p for p in lake.root.rglob("*") if p.is_file()}
    assert {str(p.relative_to(lake.root)) for p in before - after} == left
    assert {str(p.relative_to(lake.root)) for p in after - before} == {LOCK}
    assert not list(lake.root.rglob("_x1y2z3*")) + list(lake.root.glob("_scratch*"))


def test_a_folder_that_is_no_lake_loses_nothing(tmp_path):
    (tmp_path / "_part.parquet.1").write_text("somebody's")
    with Lake(tmp_path).writing():
        pass
    assert (tmp_path / "_part.parquet.1").exists()


SPILLING = """
create or replace temp table spilled as
select md5(i::varchar) a, md5((i + 1)::varchar) b, i from range(8000000) t(i) order by a
"""


@pytest.mark.slow
def test_an_engine_that_outlives_a_run_can_spill_in_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("ITEMEMB_MEMORY", "200MB")
    lake = Lake(tmp_path)
    lake.prepare(date(2017, 1, 1))
    con = connect("duckdb", tmp_path)
    con.raw_sql("set threads = 1")
    for _run in range(2):
        with lake.writing():
            con.raw_sql(SPILLING)
            assert list(engine_scratch(tmp_path).iterdir())
    con.disconnect()
