"""Days far from all others are errors that name their files; no day between is made."""

import time
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from itememb_core import raw
from itememb_core.errors import ItemembError
from itememb_core.settings import RawSettings, Settings
from itememb_dagster.assets.tables import raw_faults
from itememb_dagster.runtime.resources import RawResource, scan_raw
from tests.raw.test_scan import put as put_bytes
from tests.worlds.layouts import START, order, put, tracked

EPOCH = date(2017, 1, 1)
DAYS = [date(2017, 1, 1) + timedelta(days=k) for k in range(3)]


def days_of(root: Path, gap: int = 400) -> tuple[list[date], list[str]]:
    """The days of a folder, and the faults that spoil none; it is quick."""
    begun = time.perf_counter()
    scan = raw.scan(root, EPOCH, settings=RawSettings(max_gap_days=gap), strict=False)
    found = scan.days, scan.lost
    assert time.perf_counter() - begun < 5
    return found


@pytest.mark.parametrize("far", ["2030-01-01", "1900-01-01", "2199-12-31", "1700-01-01", "04748"])
def test_a_day_far_from_the_others_is_named_and_not_made(tmp_path: Path, far: str) -> None:
    put_bytes(tmp_path, *(f"retail/events/0000{k}.pq" for k in range(3)))
    put_bytes(tmp_path, f"reviews/{far}.pq")
    days, (lost,) = days_of(tmp_path)
    assert days == DAYS
    assert lost.startswith(f"reviews/{far}.pq: found ")
    assert "days from the others (2017-01-01 to 2017-01-03), expected at most 400 days" in lost
    assert "raw.max_gap_days" in lost


def test_a_gap_is_what_lies_between_two_days(tmp_path: Path) -> None:
    put_bytes(tmp_path, "retail/events/00000.pq", "offers/events/00400.pq")
    assert days_of(tmp_path) == ([EPOCH, EPOCH + timedelta(days=400)], [])
    days, (lost,) = days_of(tmp_path, gap=399)
    assert days == [EPOCH]
    assert lost.startswith("offers/events/00400.pq: found 2018-02-05, 400 days from")
    put_bytes(tmp_path, "offers/events/00401.pq")
    days, (lost,) = days_of(tmp_path, gap=399)
    assert days == [EPOCH + timedelta(days=400), EPOCH + timedelta(days=401)]
    assert lost.startswith("retail/events/00000.pq: found 2017-01-01, 400 days from")


def test_several_far_files_are_one_error(tmp_path: Path) -> None:
    put_bytes(tmp_path, *(f"retail/events/0000{k}.pq" for k in range(5)))
    put_bytes(tmp_path, *(f"retail/events/2030-01-0{k}.pq" for k in (1, 2, 3)))
    days, (lost,) = days_of(tmp_path)
    assert len(days) == 5
    assert lost.startswith("retail/events/2030-01-01.pq and 2 more files: found 2030-01-01 to 2030")


@pytest.mark.parametrize("far", [datetime(2031, 1, 1), datetime(1970, 1, 1), datetime(1601, 1, 1)])
def test_a_row_far_from_the_others_of_its_file(tmp_path: Path, far: datetime) -> None:
    rows = [tracked(day=k) for k in (0, 1, 2)]
    put(tmp_path, "tracker/a.parquet", [*rows, tracked(timestamp=far)])
    put(tmp_path, "tracker/b.parquet", [tracked(day=5)])
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    first = START.date()
    assert scan.days == [first + timedelta(days=k) for k in (0, 1, 2, 5)]
    bad = raw.check_files(scan, "marketplace", scan.days)
    assert list(bad) == scan.days[:3]
    (error,) = set(map(str, bad.values()))
    assert error.startswith("tracker/a.parquet: column 'timestamp' has 1 rows of ")
    assert "days from the others (2025-03-01 to 2025-03-03), expected at most 400 days" in error


def test_a_file_far_from_the_others(tmp_path: Path) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked(day=k) for k in (0, 11)])
    put(tmp_path, "orders/b.parquet", [order(day=-20_000), order(day=-19_990)])
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    assert len(scan.days) == 12
    assert raw.check_files(scan, "marketplace", scan.days) == {}
    assert scan.lost[0].startswith("orders/b.parquet: found 1970-05-29 to 1970-06-08")


def test_a_long_log_without_gaps_is_whole(tmp_path: Path) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked(day=k * 300) for k in range(30)])
    (file,) = raw.scan(tmp_path, EPOCH).files
    assert file.span == (START.date(), START.date() + timedelta(days=29 * 300))


def test_runs_and_the_ui_hear_the_setting_and_the_inventory_names_the_file(tmp_path: Path) -> None:
    put_bytes(tmp_path, "retail/events/00000.pq", "offers/events/00400.pq")
    near = Settings(raw=RawSettings(max_gap_days=399))
    root, resource = str(tmp_path), RawResource(root=str(tmp_path))
    assert scan_raw(root, EPOCH, Settings()).lost == resource.scan(Settings()).lost == []
    for scan in (scan_raw(root, EPOCH, near), resource.scan(near)):
        assert scan.days == [EPOCH]
        with pytest.raises(ItemembError, match=r"^offers/events/00400.pq: found 2018-02-05, 400"):
            raw_faults(scan)
