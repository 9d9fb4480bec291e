"""Tiny raw folders of the notebook and Ozon layouts, with their real columns and types."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.worlds.tiny import FOLDERS, write_tiny_world

START = datetime(2025, 3, 1)
ATTRIBUTES = pa.list_(
    pa.struct([("attribute_name", pa.string()), ("attribute_value", pa.string())])
)
STAMP = pa.timestamp("us")
ORDERS = pa.schema(
    [
        ("item_id", pa.int64()),
        ("user_id", pa.int64()),
        ("created_timestamp", STAMP),
        ("last_status", pa.string()),
        ("last_status_timestamp", STAMP),
    ]
)
TRACKER = pa.schema(
    [
        ("item_id", pa.int64()),
        ("user_id", pa.int64()),
        ("timestamp", STAMP),
        ("action_type", pa.string()),
        ("action_widget", pa.string()),
    ]
)
ITEMS = pa.schema(
    [
        ("item_id", pa.int64()),
        ("itemname", pa.string()),
        ("attributes", ATTRIBUTES),
        ("fclip_embed", pa.list_(pa.float32())),
        ("catalogid", pa.int64()),
        ("variant_id", pa.int64()),
        ("model_id", pa.int64()),
    ]
)
CATEGORIES = pa.schema(
    [("catalogid", pa.int64()), ("catalogpath", pa.string()), ("ids", pa.list_(pa.int64()))]
)
SCHEMAS = {"orders": ORDERS, "tracker": TRACKER, "items": ITEMS, "categories": CATEGORIES}
NOTEBOOK = {"receipts": "payments_receipts", "retail": "retail_events",
            "marketplace": "marketplace_events"}  # fmt: skip

Row = dict[str, Any]


def put(raw: Path, path: str, rows: list[Row], **options: Any) -> Path:
    """Write an Ozon file; columns that rows lack are null."""
    schema = SCHEMAS[path.partition("/")[0].removesuffix(".parquet")]
    (raw / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), raw / path, **options)
    return raw


def order(item: int = 1, user: int = 7, day: int = 0, **changes: Any) -> Row:
    """An order of noon, delivered two days later."""
    made = START + timedelta(days=day, hours=12)
    good = {
        "item_id": item,
        "user_id": user,
        "created_timestamp": made,
        "last_status": "delivered_orders",
        "last_status_timestamp": made + timedelta(days=2),
    }
    return {**good, **changes}


def tracked(item: int = 1, user: int = 7, day: int = 0, **changes: Any) -> Row:
    """A page view of the morning."""
    seen = START + timedelta(days=day, hours=9)
    good = {"item_id": item, "user_id": user, "timestamp": seen, "action_type": "page_view"}
    return {**good, **changes}


def write_ozon_world(
    raw: Path, seed: int = 0, *, days: int = 28, users: int = 120, items: int = 150
) -> Path:
    """Write visits of users with tastes; a third of the carts become orders, some canceled."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 8, items)
    likes = rng.dirichlet(np.full(8, 0.3), users)
    seen: list[Row] = []
    orders: list[Row] = []
    for user, day in np.argwhere(rng.random((users, days)) < 0.5):
        chance = likes[user, kind] + 0.01
        chosen = rng.choice(items, 5, replace=False, p=chance / chance.sum())
        moment = START + timedelta(days=int(day), seconds=int(rng.integers(70_000)))
        for item in chosen.tolist():
            moment += timedelta(seconds=int(rng.integers(30, 120)))
            action = ("page_view", "review_view", "favorite", "to_cart")[int(rng.integers(4))]
            seen.append(tracked(item, int(user), timestamp=moment, action_type=action,
                                action_widget="search"))  # fmt: skip
            if action == "to_cart" and rng.random() < 0.3:
                status = ("delivered_orders", "canceled_orders", "proccesed_orders")[item % 3]
                later = moment + timedelta(hours=int(rng.integers(1, 90)))
                orders.append(order(item, int(user), created_timestamp=moment, last_status=status,
                                    last_status_timestamp=later))  # fmt: skip
    half = START + timedelta(days=days // 2)
    put(raw, "tracker/part-0.parquet", [row for row in seen if row["timestamp"] < half])
    put(raw, "tracker/part-1.parquet", [row for row in seen if row["timestamp"] >= half])
    put(raw, "orders/part-0.parquet", orders)
    _write_items(raw, rng, kind)
    return raw


def _write_items(raw: Path, rng: np.random.Generator, kind: np.ndarray) -> None:
    rows = [
        {
            "item_id": item,
            "itemname": f"thing {item}",
            "attributes": [{"attribute_name": "color", "attribute_value": "red"}],
            "fclip_embed": rng.normal(size=512).astype(np.float32),
            "catalogid": 10 + int(group),
            "variant_id": item // 2,
            "model_id": item // 4,
        }
        for item, group in enumerate(kind)
    ]
    put(raw, "items/part-0.parquet", rows)
    put(raw, "categories.parquet", [
        {"catalogid": 1, "catalogpath": "clothes", "ids": [1, -1]},
        *({"catalogid": 10 + k, "catalogpath": f"clothes/{k}", "ids": [10 + k, 1, -1]}
          for k in range(8)),
    ])  # fmt: skip


def write_notebook_world(raw: Path, **options: Any) -> Path:
    """Write the tiny world's days as single files with real timestamps, as notebooks keep them."""
    world = write_tiny_world(raw.parent / f"{raw.name}_days", **options)
    raw.mkdir(parents=True)
    epoch = int(datetime(2017, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    for channel, name in NOTEBOOK.items():
        parts = sorted((world.raw / FOLDERS[channel]).glob("*.pq"))
        rows = pa.concat_tables([pq.read_table(part) for part in parts])
        ticks = rows["timestamp"].cast(pa.int64()).to_numpy() + epoch
        moments = pa.array(ticks, pa.int64()).cast(STAMP)
        rows = rows.set_column(rows.schema.get_field_index("timestamp"), "timestamp", moments)
        pq.write_table(rows, raw / f"{name}_clean.parquet")
    for channel in ("retail", "marketplace"):
        table = pq.read_table(world.raw / channel / "items.pq")
        pq.write_table(table, raw / f"{channel}_items_clean.parquet")
    return raw
