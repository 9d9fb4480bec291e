"""Reading raw files: both timestamp forms, optional columns, bad files."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw, tables
from itememb_core.errors import ItemembError
from itememb_core.settings import DomainSettings
from tests.worlds.tiny import TinyWorld

EPOCH = date(2017, 1, 1)
DAY = date(2017, 1, 3)
SECOND = 1_000_000
MOMENT = datetime(2017, 1, 3, 1, 2, 3)


@pytest.fixture
def con() -> ibis.BaseBackend:
    return ibis.duckdb.connect(threads=2)


def since_epoch(unit: str) -> int:
    seconds = int((MOMENT - datetime(2017, 1, 1)).total_seconds())
    return seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]


def write_retail(root: Path, day: int, **columns: Any) -> Path:
    """A retail day of one row unless columns say otherwise."""
    row = {
        "timestamp": pa.array([since_epoch("us")], pa.duration("us")),
        "user_id": pa.array([7], pa.uint64()),
        "item_id": pa.array(["fmcg_1"], pa.large_string()),
        "action_type": pa.array(["view"], pa.large_string()),
    }
    table = {name: value for name, value in {**row, **columns}.items() if value is not None}
    path = root / f"retail/events/{day:05d}.pq"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path


def read(con: ibis.BaseBackend, root: Path | str, channel: str = "retail") -> list[dict[str, Any]]:
    scan = raw.scan(root, EPOCH)
    rows = raw.read_events(con, scan, channel, scan.days)
    assert rows.to_pyarrow().schema.names == raw.RAW_EVENTS.names
    return rows.order_by("source_file", "source_row").to_pyarrow().to_pylist()


FORMS = {
    "duration[s]": pa.array([since_epoch("s")], pa.duration("s")),
    "duration[ms]": pa.array([since_epoch("ms")], pa.duration("ms")),
    "duration[us]": pa.array([since_epoch("us")], pa.duration("us")),
    "duration[ns]": pa.array([since_epoch("ns")], pa.duration("ns")),
    "timestamp[ms]": pa.array([MOMENT], pa.timestamp("ms")),
    "timestamp[us]": pa.array([MOMENT], pa.timestamp("us")),
    "timestamp[ns]": pa.array([MOMENT], pa.timestamp("ns")),
    "timestamp[us, Moscow]": pa.array([MOMENT], pa.timestamp("us", "Europe/Moscow")),
    "timestamp[ns, UTC]": pa.array([MOMENT], pa.timestamp("ns", "UTC")),
}


def test_every_form_of_time_in_one_range_reads_alike(con: ibis.BaseBackend, tmp_path: Path) -> None:
    for day, form in enumerate(FORMS.values()):
        write_retail(tmp_path, day, timestamp=form)
    rows = read(con, tmp_path)
    assert [row["timestamp"] for row in rows] == [MOMENT] * len(FORMS)
    assert [row["file_day"] for row in rows] == [EPOCH + timedelta(d) for d in range(len(FORMS))]


def test_nanoseconds_are_floored_and_far_durations_do_not_overflow(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    ticks = [since_epoch("ns") + 1999, -1, 2**62 - 2**61, None]
    one = {"user_id": [1] * 4, "item_id": ["fmcg_1"] * 4, "action_type": ["view"] * 4}
    write_retail(tmp_path, 0, timestamp=pa.array(ticks, pa.duration("ns")), **one)
    write_retail(
        tmp_path, 1, timestamp=pa.array([2**62, -(2**62), 0, None], pa.duration("us")), **one
    )
    times = [row["timestamp"] for row in read(con, tmp_path)]
    assert times[0] == MOMENT + timedelta(microseconds=1)
    assert times[1] == datetime(2016, 12, 31, 23, 59, 59, 999999)
    assert times[3] is None
    assert times[4].year > 2300
    assert times[5].year < 1750
    assert times[6:] == [datetime(2017, 1, 1), None]


def test_optional_columns_and_types_may_differ_between_files(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    write_retail(tmp_path, 0, subdomain=pa.array([None], pa.null()), os=["ios"])
    write_retail(tmp_path, 1, user_id=pa.array([8], pa.int32()), subdomain=["search"])
    write_retail(tmp_path, 2, item_id=pa.array(["fmcg_2"]).dictionary_encode())
    rows = read(con, tmp_path)
    assert [row["user_id"] for row in rows] == [7, 8, 7]
    assert [row["item_id"] for row in rows] == ["fmcg_1", "fmcg_1", "fmcg_2"]
    assert [row["subdomain"] for row in rows] == [None, "search", None]
    assert [row["os"] for row in rows] == ["ios", None, None]


def test_receipts_are_read_with_canonical_names(con: ibis.BaseBackend, tmp_path: Path) -> None:
    folder = tmp_path / "payments/receipts"
    folder.mkdir(parents=True)
    for day, brand in enumerate([pa.array([2**64 - 1, None], pa.uint64()), [3.0, None], None]):
        columns = {
            "timestamp": pa.array([5, 6], pa.duration("us")),
            "user_id": pa.array([2**63, 2**63 - 1], pa.uint64()),
            "brand_id": brand,
            "approximate_item_id": ["abc", "fmcg_1"],
            "count": pa.array([1.5, None], pa.float32()),
            "price": pa.array([-2.25, None], pa.float32()),
            "transaction_hash": ["t", "t"],
        }
        table = pa.table({name: value for name, value in columns.items() if value is not None})
        pq.write_table(table, folder / f"{day}.pq")
    rows = read(con, tmp_path, "receipts")
    assert [row["item_id"] for row in rows[:2]] == ["abc", "fmcg_1"]
    assert [(row["count"], row["price"]) for row in rows[:2]] == [(1.5, -2.25), (None, None)]
    assert [row["brand_id"] for row in rows] == [None, None, 3, None, None, None]
    assert [row["user_id"] for row in rows] == [None, 2**63 - 1] * 3
    assert [row["id_out_of_range"] for row in rows] == [True, False] * 3
    assert rows[0]["transaction_hash"] == "t"


def test_numbers_that_are_none_are_found_beside_statistics_that_leave_them_out(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    folder = tmp_path / "payments/receipts"
    folder.mkdir(parents=True)
    nan, inf = float("nan"), float("inf")
    columns = {
        "timestamp": pa.array([86_400 * SECOND] * 5, pa.duration("us")),
        "user_id": [1] * 5,
        "brand_id": [3.0, 5.0, nan, inf, 1e30],
        "approximate_item_id": ["abc"] * 5,
        "count": pa.array([1.0, 2.0, 1.0, nan, inf], pa.float32()),
        "price": [1.0, 2.0, nan, 1.0, -inf],
        "transaction_hash": ["t"] * 5,
    }
    pq.write_table(pa.table(columns), folder / "0.pq")
    few = {name: column[:3] for name, column in columns.items()}
    pq.write_table(pa.table(few), folder / "1.pq")
    rows = read(con, tmp_path, "receipts")
    assert [row["brand_id"] for row in rows] == [3, 5, None, None, None, 3, 5, None]
    assert [row["id_out_of_range"] for row in rows] == [False] * 3 + [True] * 2 + [False] * 3
    scan = raw.scan(tmp_path, EPOCH)
    cleaned = tables.clean_events(
        raw.read_events(con, scan, "receipts", scan.days[1:]), "receipts", DomainSettings()
    )
    assert cleaned.order_by("source_row").to_pyarrow()["reason"].to_pylist() == [
        None, None, "price_not_finite",
    ]  # fmt: skip


def test_source_rows_count_over_row_groups_from_zero(con: ibis.BaseBackend, tmp_path: Path) -> None:
    path = write_retail(tmp_path, 0)
    table = pa.concat_tables([pq.read_table(path)] * 7)
    table = table.set_column(2, "item_id", pa.array([f"fmcg_{k}" for k in range(7)]))
    pq.write_table(table, path, row_group_size=3)
    rows = read(con, tmp_path)
    assert [(row["source_row"], row["item_id"]) for row in rows] == [
        (k, f"fmcg_{k}") for k in range(7)
    ]
    assert {row["source_file"] for row in rows} == {"retail/events/00000.pq"}
    assert raw.count_rows(str(tmp_path), raw.scan(tmp_path, EPOCH).files) == {
        "retail/events/00000.pq": 7
    }


def test_days_and_channels_without_files_give_no_rows(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    write_retail(tmp_path, 0)
    scan = raw.scan(tmp_path, EPOCH)
    for channel, day in (("retail", DAY), ("receipts", EPOCH)):
        rows = raw.read_events(con, scan, channel, [day]).to_pyarrow()
        assert rows.num_rows == 0
        assert rows.schema.names == raw.RAW_EVENTS.names
        assert raw.check_files(scan, channel, [day]) == {}


def test_file_without_rows_is_good(con: ibis.BaseBackend, tmp_path: Path) -> None:
    path = write_retail(tmp_path, 0)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert raw.check_files(raw.scan(tmp_path, EPOCH), "retail", [EPOCH]) == {}
    assert read(con, tmp_path) == []


def test_bad_files_are_named_and_the_good_days_stay(con: ibis.BaseBackend, tmp_path: Path) -> None:
    for day in (0, 6):
        write_retail(tmp_path, day)
    half = write_retail(tmp_path, 1)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    write_retail(tmp_path, 2).write_bytes(b"")
    write_retail(tmp_path, 3, item_id=None)
    write_retail(tmp_path, 4, timestamp=["noon"])
    write_retail(tmp_path, 5, user_id=[1.5])
    scan = raw.scan(tmp_path, EPOCH)
    bad = raw.check_files(scan, "retail", scan.days)
    messages = {day.day - 1: str(error) for day, error in bad.items()}
    assert sorted(messages) == [1, 2, 3, 4, 5]
    assert all(m.startswith(f"retail/events/0000{d}.pq: ") for d, m in messages.items())
    assert "not readable as Parquet" in messages[1]
    assert "0 bytes" in messages[2]
    assert "column 'item_id' is missing (found timestamp, user_id, action_type)" in messages[3]
    assert "column 'timestamp' is string, expected a duration or a timestamp" in messages[4]
    assert "column 'user_id' is double, expected integer" in messages[5]
    assert all("\n" not in message for message in messages.values())
    good = [day for day in scan.days if day not in bad]
    rows = raw.read_events(con, scan, "retail", good).to_pyarrow()
    assert sorted(rows["file_day"].to_pylist()) == [EPOCH, EPOCH + timedelta(6)]
    with pytest.raises(ItemembError, match=r"retail/events/00001.pq"):
        raw.read_events(con, scan, "retail", scan.days)


def test_file_that_vanishes_after_the_scan_is_bad(tmp_path: Path) -> None:
    path = write_retail(tmp_path, 0)
    scan = raw.scan(tmp_path, EPOCH)
    path.unlink()
    assert "00000.pq: not readable" in str(raw.check_files(scan, "retail", [EPOCH])[EPOCH])


def test_deep_check_finds_a_broken_page_behind_a_good_footer(tmp_path: Path) -> None:
    path = write_retail(tmp_path, 0)
    write_retail(tmp_path, 1)
    body = bytearray(path.read_bytes())
    body[4:60] = b"\xff" * 56
    path.write_bytes(bytes(body))
    scan = raw.scan(tmp_path, EPOCH)
    assert raw.check_files(scan, "retail", scan.days) == {}
    assert list(raw.check_files(scan, "retail", scan.days, deep=True)) == [EPOCH]


def test_names_with_signs_that_engines_read_as_patterns(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    write_retail(tmp_path / "it's [1] ?day=5", 0)
    (row,) = read(con, tmp_path / "it's [1] ?day=5")
    assert row["source_file"] == "retail/events/00000.pq"


def test_remote_files_read_as_local_ones(con: ibis.BaseBackend, tmp_path: Path) -> None:
    remote = fsspec.filesystem("memory")
    for day in (0, 1):
        path = write_retail(tmp_path, day)
        remote.pipe(f"/far/raw/retail/events/{path.name}", path.read_bytes())
    assert read(con, "memory://far/raw") == read(con, tmp_path)


def test_tiny_world_reads_row_for_row(con: ibis.BaseBackend, tiny_world: TinyWorld) -> None:
    scan = raw.scan(tiny_world.raw, EPOCH)
    assert len(scan.days) == tiny_world.days
    found: dict[str, int] = {}
    for channel in ("receipts", "retail", "marketplace", "offers"):
        assert raw.check_files(scan, channel, scan.days) == {}
        rows = raw.read_events(con, scan, channel, scan.days)
        for row in rows.group_by("source_file").agg(n=rows.count()).to_pyarrow().to_pylist():
            found[row["source_file"]] = row["n"]
    assert found == {path: n for path, n in tiny_world.rows.items() if n}
