"""The tiny world is what its truth says, so that tests built on it mean something."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.services import RETAIL
from tests.worlds.tiny import DAY_S, FOLDERS, TinyWorld, write_tiny_world


def rows_of(raw: Path, channel: str) -> pd.DataFrame:
    files = sorted((raw / FOLDERS[channel]).glob("*.pq"))
    return pd.concat([pq.read_table(file).to_pandas() for file in files])


def test_rows_lie_in_their_days_files(tiny_world: TinyWorld) -> None:
    for path, count in tiny_world.rows.items():
        stamps = pq.read_table(tiny_world.raw / path)["timestamp"].cast(pa.int64()).to_numpy()
        assert len(stamps) == count > 0
        assert (stamps // (DAY_S * 1_000_000) == int(Path(path).stem)).all()
    assert sum(tiny_world.rows.values()) == sum(len(rows_of(tiny_world.raw, c)) for c in FOLDERS)


def test_midnight_session_crosses_alone(tiny_world: TinyWorld) -> None:
    user, day, items = tiny_world.midnight
    rows = rows_of(tiny_world.raw, RETAIL)
    rows = rows[rows["user_id"] == user].reset_index(drop=True)
    minutes = (rows["timestamp"] - pd.Timedelta(days=day + 1)) / pd.Timedelta(minutes=1)
    near = rows[minutes.abs() < 12 * 60].assign(minutes=minutes).sort_values("minutes")
    assert tuple(near["item_id"]) == items
    assert near["minutes"].tolist() == [-10, -2, 5, 12]


def test_truth_names_what_receipts_hold(tiny_world: TinyWorld) -> None:
    receipts = set(rows_of(tiny_world.raw, "receipts")["approximate_item_id"])
    assert receipts <= set(tiny_world.truth) | set(tiny_world.direct)
    assert len(tiny_world.direct) == 36
    assert None in tiny_world.truth.values()
    assert all(item.startswith(("fmcg_", "nfmcg_")) for item in tiny_world.direct)
    assert not any("_" in item for item in tiny_world.truth)


def test_true_matches_are_bought_by_the_same_users(tiny_world: TinyWorld) -> None:
    receipts = rows_of(tiny_world.raw, "receipts")
    events = pd.concat([rows_of(tiny_world.raw, c) for c in ("retail", "marketplace")])
    users = range(1, tiny_world.users + 1)
    left = pd.crosstab(receipts["approximate_item_id"], receipts["user_id"])
    right = pd.crosstab(events["item_id"], events["user_id"])
    a, b = (np.log1p(t.reindex(columns=users, fill_value=0).to_numpy()) for t in (left, right))
    unit_a = a / np.linalg.norm(a, axis=1, keepdims=True)
    unit_b = b / np.linalg.norm(b, axis=1, keepdims=True)
    best = right.index[(unit_a @ unit_b.T).argmax(axis=1)]
    match = left.index.map(tiny_world.truth)
    known = match.isin(right.index)
    assert (best[known] == match[known]).mean() > 0.7


def test_options(tmp_path: Path) -> None:
    again = [write_tiny_world(tmp_path / str(k), seed=1, days=6, first_day=1272) for k in (0, 1)]
    assert again[0].rows == again[1].rows
    for path in again[0].rows:
        assert (again[0].raw / path).read_bytes() == (again[1].raw / path).read_bytes()
    retail = write_tiny_world(tmp_path / "retail", days=3, channels=(RETAIL,), bad=True)
    assert {p.name for p in retail.raw.iterdir()} == {"users.pq", "brands.pq", "retail"}
    assert retail.bad == {"retail/events/00001.pq": 5}
    rows = pq.read_table(retail.raw / "retail/events/00001.pq")
    assert rows["user_id"].null_count == 1
    assert rows["item_id"].null_count == 1
    assert rows["timestamp"].null_count == 1
