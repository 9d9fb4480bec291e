"""Rows and file forms that engines may take differently, put into a demo world's second day."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

DAY = 1
START = datetime(2017, 1, 1)
NOON_US = (DAY * 86_400 + 43_200) * 1_000_000
END_US = (DAY + 1) * 86_400 * 1_000_000
NAN, INF = float("nan"), float("inf")


def write_odd_rows(raw: Path) -> None:
    """Add rows to the second day of three channels and to two items files."""
    receipts, retail, marketplace = (
        raw / folder / f"{DAY:05}.pq"
        for folder in ("payments/receipts", "retail/events", "marketplace/events")
    )
    pq.write_table(with_rows(receipts, receipt_rows()), receipts)
    # Nanoseconds with a zone, in row groups of seven rows.
    times = nanoseconds(with_rows(retail, event_rows("fmcg_1")))
    pq.write_table(times, retail, row_group_size=7)
    # What Spark itself writes unless told otherwise: INT96.
    times = microseconds(with_rows(marketplace, event_rows("nfmcg_1")))
    pq.write_table(times, marketplace, use_deprecated_int96_timestamps=True)
    retail_items, marketplace_items = (raw / c / "items.pq" for c in ("retail", "marketplace"))
    pq.write_table(with_vectors(with_rows(retail_items, item_rows("fmcg_1"))), retail_items)
    floats = with_rows(marketplace_items, item_rows("nfmcg_1"))
    at = floats.schema.get_field_index("brand_id")
    brands = pc.add(floats["brand_id"].cast(pa.float64()), pa.scalar(0.0))
    brands = pa.chunked_array([[*brands.to_pylist()[:-2], 2.5, NAN]], pa.float64())
    pq.write_table(floats.set_column(at, "brand_id", brands), marketplace_items)


def write_side_tables(raw: Path) -> None:
    """Users, brands, two days of reviews and of payments events: lists, nulls, ids out of range."""
    vectors = pa.array([[0.5, -2.0], None, [0.25, 1.0], [3.0, 4.0]], pa.list_(pa.float32()))
    ids = pa.array([1, 2, 2**64 - 1, None], pa.uint64())
    regions = pa.array([None, 3, 4, 5], pa.uint8())
    pq.write_table(pa.table({"user_id": ids, "region": regions}), raw / "users.pq")
    pq.write_table(pa.table({"brand_id": ids, "embedding": vectors}), raw / "brands.pq")
    reviews = {"user_id": ids, "brand_id": ids, "rating": pa.array([5.0, NAN, 1.0, None])}
    pays = {"user_id": ids, "brand_id": ids, "price": pa.array([-1.0, INF, 2.0, None])}
    hashes = pa.array(["t", None, "u", "v"], pa.large_string())
    for day in (DAY, DAY + 1):
        at = pa.array([NOON_US + k for k in range(4)], pa.int64())
        times = pc.add(at, (day - DAY) * 86_400_000_000).cast(pa.duration("us"))
        for folder, columns in (
            ("reviews", {**reviews, "embedding": vectors}),
            ("payments/events", {"timestamp": times, **pays, "transaction_hash": hashes}),
        ):
            (raw / folder).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), raw / folder / f"{day:05}.pq")


def with_vectors(table: pa.Table) -> pa.Table:
    """The same rows, every other one with a vector instead of what ``embedding`` held."""
    lists = [[float(k), -0.5] if k % 2 else None for k in range(table.num_rows)]
    at = table.schema.get_field_index("embedding")
    return table.set_column(at, "embedding", pa.array(lists, pa.list_(pa.float32())))


def with_rows(path: Path, rows: list[dict[str, Any]]) -> pa.Table:
    """The file's rows, then these, of which keys the file lacks are left out."""
    table = pq.read_table(path, partitioning=None)
    return pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)])


def receipt_rows() -> list[dict[str, Any]]:
    good = {
        "timestamp": timedelta(microseconds=NOON_US),
        "user_id": 3,
        "brand_id": 4,
        "approximate_item_id": "odd",
        "count": 1.0,
        "price": 2.0,
        "transaction_hash": "t",
    }
    odd: list[dict[str, Any]] = [
        {},
        {},  # the same line twice is two scans
        {"user_id": None},
        {"user_id": 2**63},
        {"user_id": 2**63 - 1},
        {"brand_id": 2**64 - 1},
        {"approximate_item_id": None},
        {"approximate_item_id": " \t"},
        {"approximate_item_id": "\u00a0"},
        {"approximate_item_id": "fmcg_\U0001f600"},
        {"transaction_hash": None},
        {"transaction_hash": "", "approximate_item_id": "even"},
        *({"price": price} for price in (None, NAN, INF, -INF, -0.0, -7.5)),
        *({"count": count} for count in (None, NAN, INF, 0.0, -0.0, -1.0, 0.25)),
        *({"timestamp": at and timedelta(microseconds=at)} for at in (None, END_US - 1, END_US)),
        {"timestamp": timedelta(days=-9_000, microseconds=-1)},
    ]
    return [good | change for change in odd]


def event_rows(item: str) -> list[dict[str, Any]]:
    good = {
        "timestamp": timedelta(microseconds=NOON_US),
        "user_id": 3,
        "item_id": item,
        "subdomain": "catalog",
        "action_type": "view",
        "os": "ios",
    }
    actions = ("VIEW", " Added-To-Cart ", "added_to_cart", "ÜNKNOWN İ", "", None, "order", "remove")
    odd: list[dict[str, Any]] = [
        *({} for _ in range(3)),  # one event three times
        *({"action_type": action} for action in actions),
        {"item_id": "offer_1"},
        {"item_id": "opaque"},
        {"subdomain": None},
        {"user_id": -0},
        {"timestamp": timedelta(microseconds=END_US - 1)},
        *({"timestamp": timedelta(microseconds=NOON_US + k * 1_799_999_999)} for k in (1, 2, 3)),
        *({"timestamp": timedelta(microseconds=NOON_US), "item_id": f"{item}{k}"} for k in "ba"),
    ]
    return [good | change for change in odd]


def item_rows(item: str) -> list[dict[str, Any]]:
    """Repeated ids whose last non-null values win, prices that are none, foreign ids."""
    odd: list[dict[str, Any]] = [
        {"item_id": item, "brand_id": 1, "category": "a", "price": 1.0},
        {"item_id": item, "brand_id": None, "category": "b", "price": None},
        {"item_id": item, "brand_id": 2, "category": None, "price": 3.0},
        *({"item_id": item, "price": price} for price in (NAN, INF)),
        {"item_id": "opaque"},
        {"item_id": None},
        {"item_id": f"{item}x"},
        {"item_id": f"{item}y"},
    ]
    return odd


def microseconds(table: pa.Table) -> pa.Table:
    """Real timestamps instead of durations."""
    ticks = table["timestamp"].cast(pa.int64()).to_pylist()
    times = [None if t is None else START + timedelta(microseconds=t) for t in ticks]
    return table.set_column(0, "timestamp", pa.chunked_array([times], pa.timestamp("us")))


def nanoseconds(table: pa.Table) -> pa.Table:
    """Nanoseconds of UTC, each a part of a microsecond later: some round up, one over midnight."""
    at = microseconds(table)["timestamp"].cast(pa.int64()).to_pylist()
    parts = (0, 499, 500, 501, 999)
    late = START.replace(day=DAY + 2)
    last = int((late - datetime(1970, 1, 1)).total_seconds()) * 1_000_000 - 1
    ticks = [
        None if t is None else t * 1000 + (999 if t == last else parts[k % 5])
        for k, t in enumerate(at)
    ]
    times = pa.chunked_array([ticks], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    return table.set_column(0, "timestamp", times)
