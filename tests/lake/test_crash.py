"""A kill, a full disk, bad files: a day is old or new, never half, and the rerun is clean."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.lock import LOCK
from itememb_dagster.lake.writer import SegmentWriter
from tests.lake.test_lock import holder
from tests.pipeline.test_pipeline import tree
from tests.worlds.tiny import FOLDERS
from tests.worlds.two_months import FIRST, SET, TABLES, date_of, file_of, make

KILLS = 3


def staged(lake: Path) -> list[Path]:
    """What is in a lake beside tables and versions, that is, staged."""
    own = ("_versions", "_stamps", "_checks", LOCK)
    return [p for p in lake.rglob("_*") if p.name not in own]


def crash(raw: Path, *lakes: str) -> list[int]:
    """Exit statuses of runs on lakes given as ``LAKE:POINT``."""
    command = [sys.executable, "-m", "tests.worlds.crash", str(raw), *lakes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def halve_all(raw: Path) -> None:
    """Change every day file."""
    for channel in FOLDERS:
        for path in (raw / FOLDERS[channel]).iterdir():
            pq.write_table(pq.read_table(path)[::2], path)


@pytest.mark.slow
def test_a_killed_run_leaves_old_or_new_files_and_the_rerun_is_clean(copies, tmp_path):
    raw, old = copies
    halve_all(raw)
    shutil.copytree(old, tmp_path / "new")
    assert crash(raw, f"{tmp_path / 'new'}:0") == [0]
    before, after = tree(old), tree(tmp_path / "new")
    writes = int((tmp_path / "new.writes").read_text())
    assert writes > 50
    points = sorted(random.Random(7).sample(range(1, writes + 1), KILLS))
    lakes = [tmp_path / f"killed{point}" for point in points]
    for lake in lakes:
        shutil.copytree(old, lake)
    words = [f"{lake}:{point}" for lake, point in zip(lakes, points, strict=True)]
    assert crash(raw, *words) == [signal.SIGKILL] * KILLS
    left = 0
    for lake in lakes:
        found = tree(lake)
        left += len(staged(lake))
        live = {n: v for n, v in found.items() if not n.rpartition("/")[2].startswith("_")}
        assert {n for n, v in live.items() if v not in (before.get(n), after.get(n))} == set()
        gone = (before.keys() & after.keys()) - live.keys()
        assert {n for n in gone if not n.startswith("_stamps/")} == {LOCK}
    assert left > 0
    assert crash(raw, *(f"{lake}:0" for lake in lakes)) == [0] * KILLS
    assert all(tree(lake) == after for lake in lakes)


SCHEMA = pa.schema([("item_id", pa.string())])


def day_rows(day: int, count: int) -> pa.RecordBatch:
    """Rows that no codec makes small."""
    names = [random.Random(k).randbytes(16).hex() for k in range(count)]
    return pa.record_batch({"item_id": names, "day": [date(2017, 1, day)] * count})


def test_a_day_that_the_disk_refuses_is_named_and_is_as_it_was(tmp_path: Path):
    lake, key = Lake(tmp_path), ("things",)

    def write(*batches: pa.RecordBatch) -> SegmentWriter:
        writer = SegmentWriter(lake, key, "day", SCHEMA, lambda _: Stamp("things", "a", {}, "1"))
        with pytest.raises(ItemembError, match=r"day=2017-01-02/part.parquet: cannot be written"):
            writer.write(batches, [])
        return writer

    SegmentWriter(lake, key, "day", SCHEMA, lambda _: Stamp("things", "a", {}, "1")).write(
        [day_rows(2, 3)], []
    )
    before = tree(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        writer = write(day_rows(1, 10), day_rows(2, 10_000), day_rows(3, 10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(writer.counts) == ["2017-01-01"]
    assert tree(tmp_path).items() - before.items() == {
        ("things/day=2017-01-01/part.parquet", tree(tmp_path)["things/day=2017-01-01/part.parquet"])
    }
    assert staged(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=400k"]
    mounted = subprocess.run(
        ["mount", *options, "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a disk needs more rights")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_keeps_the_days_before_and_the_rerun_is_clean(
    months_raw, months_lake, small_disk
):
    lake = small_disk / "lake"
    told = make(months_raw, lake).errors
    assert told
    assert all(line.count("\n") == 0 for line in told)
    assert any("part.parquet: cannot be written" in line for line in told), told
    assert any("No space left on device" in line for line in told), told
    expected, found = tree(months_lake), tree(lake)
    kept = {name: v for name, v in found.items() if name.endswith(".parquet")}
    assert kept
    assert kept.items() <= expected.items()
    assert staged(lake) == []
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert make(months_raw, lake).errors == []
    assert tree(lake) == expected


def command(raw: Path, lake: Path, **environment: str) -> subprocess.CompletedProcess:
    """``itememb run`` in a process of its own."""
    words = ["run", "--raw", str(raw), "--lake", str(lake), "--select", TABLES]
    words += [word for setting in SET for word in ("--set", setting)]
    code = "from itememb_dagster.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def errors_of(done: subprocess.CompletedProcess) -> list[str]:
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def spoil(raw: Path) -> dict[int, str]:
    """Break a file each of five days, and change a good one; return what an error must name."""
    half, schema = file_of(raw, "retail", 1), file_of(raw, "receipts", 3)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    pq.write_table(pq.read_table(schema).drop_columns(["user_id"]), schema)
    other = file_of(raw, "marketplace", 6)
    shutil.copy(file_of(raw, "marketplace", 2), other)
    file_of(raw, "offers", 8).write_bytes(b"")
    damaged = file_of(raw, "receipts", 9)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:4] + bytes(200) + content[204:])
    good = file_of(raw, "retail", 5)
    pq.write_table(pq.read_table(good)[::2], good)
    return {
        1: f"retail/events/{FIRST + 1:05}.pq: not readable as Parquet",
        3: f"payments/receipts/{FIRST + 3:05}.pq: column 'user_id' is missing",
        6: f"marketplace/events/{FIRST + 6:05}.pq: all",
        8: f"offers/events/{FIRST + 8:05}.pq: file is empty",
        9: f"payments/receipts/{FIRST + 9:05}.pq: not readable as Parquet",
    }


@pytest.mark.slow
def test_bad_day_files_are_named_left_as_they_were_and_hold_up_no_other_day(copies, tmp_path):
    raw, lake = copies
    shutil.copytree(raw, tmp_path / "clean")
    before = tree(lake)
    bad = spoil(raw)
    done = command(raw, lake)
    assert done.returncode == 1
    lines = errors_of(done)
    missed = [named for named in bad.values() if not any(named in line for line in lines)]
    assert missed == [], lines
    days = {f"day={date_of(day)}": day for day in range(10)}
    now = tree(lake)
    changed = {days.get(n.split("/")[-2]) for n in before if before[n] != now.get(n)} - {None}
    assert changed == {5}
    shutil.copy(file_of(raw, "retail", 5), file_of(tmp_path / "clean", "retail", 5))
    assert command(tmp_path / "clean", lake).returncode == 0
    assert make(tmp_path / "clean", tmp_path / "fresh").errors == []
    assert tree(lake) == tree(tmp_path / "fresh")


@pytest.mark.slow
def test_two_files_of_one_day_and_a_second_run_are_one_line_errors(copies):
    raw, lake = copies
    before = tree(lake)
    path = file_of(raw, "retail", 2)
    twin = path.with_suffix(".parquet")
    shutil.copy(path, twin)
    done = command(raw, lake)
    assert done.returncode == 1
    assert len(errors_of(done)) == 1
    assert path.name in errors_of(done)[0]
    assert twin.name in errors_of(done)[0]
    twin.unlink()
    other = holder(lake)
    done = command(raw, lake)
    other.communicate("\n")
    assert done.returncode == 1
    assert f"process {other.pid}" in errors_of(done)[0]
    assert len(errors_of(done)) == 1
    assert tree(lake) == before
