"""Users, brands, reviews, payments: rules, counts, and what a changed file makes anew."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw, schemas, tables
from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake
from itememb_dagster.lake.counts import stored_counts
from tests.conftest import run

EPOCH = date(2017, 1, 1)
VECTOR = pa.list_(pa.float32())
COLUMNS = {
    "users": {"user_id": pa.uint64(), "socdem_cluster": pa.uint8(), "region": pa.uint8()},
    "brands": {"brand_id": pa.uint64(), "embedding": VECTOR},
    "reviews": {"user_id": pa.uint64(), "brand_id": pa.uint64(), "rating": pa.float32(),
                "embedding": VECTOR},
    "payments": {"timestamp": pa.duration("us"), "user_id": pa.uint64(), "brand_id": pa.uint64(),
                 "price": pa.float32(), "transaction_hash": pa.large_string()},
}  # fmt: skip
FILES = {"users": "users.pq", "brands": "brands.pq", "reviews": "reviews/{:05d}.pq",
         "payments": "payments/events/{:05d}.pq"}  # fmt: skip
BIG = 2**64 - 1
Row = dict[str, Any]


@pytest.fixture
def con() -> ibis.BaseBackend:
    return ibis.duckdb.connect(threads=2)


def put(root: Path, name: str, rows: list[Row], day: int = 0, **types: pa.DataType) -> Path:
    schema = pa.schema(list({**COLUMNS[name], **types}.items()))
    path = root / FILES[name].format(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def review(**changes: Any) -> Row:
    return {"user_id": 1, "brand_id": 2, "rating": 5.0, "embedding": [1.0, 2.0], **changes}


def paid(day: int = 0, **changes: Any) -> Row:
    at = timedelta(days=day, hours=3)
    return {"timestamp": at, "user_id": 1, "price": 2.0, "transaction_hash": "t", **changes}


def reasons(rows: Any) -> list[str | None]:
    return rows.order_by("source_file", "source_row").to_pyarrow()["reason"].to_pylist()


def test_users_and_brands_are_merged_and_bad_ids_rejected(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    people = [(1, 5), (1, None), (None, 3), (BIG, 3), (2, None), (1, 6)]
    put(tmp_path, "users", [{"user_id": user, "region": region} for user, region in people])
    put(tmp_path, "brands", [{"brand_id": 9, "embedding": [1.0]}, {"brand_id": None}])
    scan = raw.scan(tmp_path, EPOCH)
    users = tables.read_users(con, scan)
    assert users.rows.order_by("user_id").to_pyarrow().to_pylist() == [
        {"user_id": 1, "socdem_cluster": None, "region": 6},
        {"user_id": 2, "socdem_cluster": None, "region": None},
    ]
    assert users.duplicates.to_pyarrow().to_pylist() == [{"user_id": 1, "n": 3}]
    assert reasons(users.rejected) == ["user_id_missing", "id_out_of_range"]
    assert sum(users.counts.to_pyarrow()["n"].to_pylist()) == len(people)
    brands = tables.read_brands(con, scan)
    assert brands.rows.to_pyarrow().schema == schemas.BRANDS
    assert brands.rows.to_pyarrow()["brand_id"].to_pylist() == [9]
    assert reasons(brands.rejected) == ["brand_id_missing"]


def test_every_rule_of_reviews(con: ibis.BaseBackend, tmp_path: Path) -> None:
    noon = datetime(2017, 1, 4, 12)
    rules: list[tuple[Row, str | None]] = [
        ({}, None),
        ({"user_id": None}, "user_id_missing"),
        ({"user_id": BIG}, "id_out_of_range"),
        ({"brand_id": None}, "brand_id_missing"),
        ({"rating": float("nan")}, "rating_not_finite"),
        ({"rating": None}, None),
        ({"timestamp": noon}, None),
        ({"timestamp": noon + timedelta(days=1)}, "timestamp_outside_day"),
        ({}, "duplicate_event"),
        ({"embedding": [1.0, 3.0]}, None),
    ]
    put(tmp_path, "reviews", [review(**change) for change, _ in rules], 3,
        timestamp=pa.timestamp("us"))  # fmt: skip
    scan = raw.scan(tmp_path, EPOCH)
    rows = tables.read_reviews(con, scan, scan.days)
    assert reasons(rows) == [reason for _, reason in rules]
    found = rows.to_pyarrow()
    assert found.schema.names == [*schemas.REVIEWS.names, "reason", "month"]
    assert (set(found["day"].to_pylist()), set(found["month"].to_pylist())) == (
        {date(2017, 1, 4)}, {"2017-01"},
    )  # fmt: skip


def test_every_rule_of_payments(con: ibis.BaseBackend, tmp_path: Path) -> None:
    rules: list[tuple[Row, str | None]] = [
        ({}, None),
        ({"timestamp": None}, "timestamp_missing"),
        ({"timestamp": timedelta(days=1)}, "timestamp_outside_day"),
        ({"user_id": None}, "user_id_missing"),
        ({"brand_id": BIG}, "id_out_of_range"),
        ({"price": float("inf")}, "price_not_finite"),
        ({"price": float("nan")}, "price_not_finite"),
        ({"price": -1.0}, None),
        ({}, "duplicate_event"),
        ({"transaction_hash": None}, None),
    ]
    put(tmp_path, "payments", [paid(**change) for change, _ in rules])
    scan = raw.scan(tmp_path, EPOCH)
    rows = tables.read_payments_events(con, scan, scan.days)
    assert reasons(rows) == [reason for _, reason in rules]
    assert rows.to_pyarrow().schema.names == [*schemas.PAYMENTS_EVENTS.names, "reason", "month"]


def test_without_files_the_tables_are_empty_and_whole(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    put(tmp_path, "users", [])
    scan = raw.scan(tmp_path, EPOCH)
    assert tables.read_users(con, scan).rows.to_pyarrow() == schemas.USERS.empty_table()
    assert tables.read_brands(con, scan).rows.to_pyarrow() == schemas.BRANDS.empty_table()
    for read in (tables.read_reviews, tables.read_payments_events):
        rows = read(con, scan, [EPOCH]).to_pyarrow()
        assert rows.num_rows == 0
        assert rows.schema.names[-2:] == ["reason", "month"]


def test_bad_files_are_named(con: ibis.BaseBackend, tmp_path: Path) -> None:
    put(tmp_path, "reviews", [review(), review(embedding=[1.0])])
    scan = raw.scan(tmp_path, EPOCH)
    with pytest.raises(ItemembError, match=r"reviews/00000.pq: column 'embedding' has vectors of"):
        tables.read_reviews(con, scan, scan.days)
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "reviews/00000.pq")
    with pytest.raises(ItemembError, match=r"reviews/00000.pq: column 'brand_id' is missing"):
        tables.read_reviews(con, scan, scan.days)
    (tmp_path / "brands.pq").write_bytes(b"PAR1")
    with pytest.raises(ItemembError, match=r"brands.pq: not readable as Parquet"):
        tables.read_brands(con, raw.scan(tmp_path, EPOCH))


SELECTED = " or ".join(f'key:"{name}"' for name in ("users", "brands", "reviews",
                                                    "payments_events"))  # fmt: skip


def month_files(lake: Path, name: str) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in (lake / name).glob("*/*.parquet")}


@pytest.mark.slow
def test_a_changed_file_makes_its_month_anew_and_no_other(tmp_path: Path) -> None:
    root, lake = tmp_path / "raw", tmp_path / "lake"
    put(root, "users", [{"user_id": 1}, {"user_id": None}])
    for day in (0, 30, 31, 60):
        put(root, "payments", [paid(day), paid(day, user_id=None)], day)
    first = run(root, lake, select=SELECTED)
    assert (first.errors, first.tables, first.asset_days) == ([], 4, 0)
    assert first.reasons["reviews"] == "raw holds no files of reviews"
    before = month_files(lake, "payments_events")
    assert sorted(before) == ["month=2017-01", "month=2017-02", "month=2017-03"]
    counts = {
        c.file: (c.rows, c.clean, c.rejected)
        for name in ("users", "payments_events")
        for c in stored_counts(Lake(lake), (name,))
    }
    assert set(counts.values()) == {(2, 1, 1)}
    assert len(counts) == 5
    assert pd.read_parquet(lake / "users_rejected").reason.tolist() == ["user_id_missing"]
    assert len(pd.read_parquet(lake / "payments_events_rejected")) == 4

    put(root, "payments", [paid(31), paid(31, price=9.0)], 31)
    for path in (root / "payments/events").glob("*60.pq"):
        path.unlink()
    again = run(root, lake, select=SELECTED)
    assert (again.errors, again.tables) == ([], 1)
    after = month_files(lake, "payments_events")
    assert sorted(after) == ["month=2017-01", "month=2017-02"]
    assert after["month=2017-01"] == before["month=2017-01"]
    assert after["month=2017-02"] != before["month=2017-02"]
    assert sorted(month_files(lake, "payments_events_rejected")) == ["month=2017-01"]
    assert pd.read_parquet(lake / "payments_events").price.tolist() == [2.0, 2.0, 2.0, 9.0]
    assert run(root, lake, select=SELECTED).tables == 0
    assert run(root, lake, select='key:"payments_events"', force=True).errors == []
    forced = month_files(lake, "payments_events")
    assert sorted(forced) == sorted(after)
    assert forced["month=2017-01"] != after["month=2017-01"]


@pytest.mark.slow
def test_a_month_with_a_file_of_another_epoch_stays_as_it_was(tmp_path: Path) -> None:
    root, lake = tmp_path / "raw", tmp_path / "lake"
    for day in (0, 31):
        put(root, "payments", [paid(day)], day)
    select = 'key:"payments_events"'
    assert run(root, lake, select=select).errors == []
    put(root, "payments", [paid(400)], 31)
    put(root, "payments", [paid(0), paid(0, user_id=7)], 0)
    (error,) = run(root, lake, select=select).errors
    assert "payments/events/00031.pq: all 1 timestamps are outside 2017-02-01" in error
    assert len(pd.read_parquet(lake / "payments_events")) == 3
    put(root, "payments", [paid(31, user_id=8)], 31)
    assert run(root, lake, select=select).errors == []
    assert sorted(pd.read_parquet(lake / "payments_events").user_id) == [1, 7, 8]
