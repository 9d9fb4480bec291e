"""Likeness of items whose categories, title and department nobody wrote down.

``python -m tests.bench.likeness RAW WORK [--seed S]`` blanks them for a seeded half of the items
listed in a raw folder of the demo, makes the item vectors, and looks whether the ten nearest of
such an item share its true category: by whole vectors, and by their behaviour part alone, which is
what vectors were before there were features. Beside it the skew of N_10, how often an item is among
others' ten nearest (Radovanović et al. 2010), of both.
"""

import argparse
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.features.likeness.measures import hubness, label_agreement
from itememb_core.items.vectors import behaviour_vectors, one_array, vectors
from itememb_core.items.vocabulary import node_counts
from itememb_dagster.lake import Lake
from itememb_dagster.lake.reader import load_arrow
from itememb_dagster.runtime.home import use_dagster_home
from tests.bench.cold.lakes import make_lake

#: Of the demo's first day.
EPOCH = date(2017, 1, 1)
#: Look-ups, and items of which hubs are counted, at most about.
LOOKUPS, HUBS = 4_000, 15_000
BLANK = ("category", "subcategory", "title")


def blank(raw: Path, target: Path, seed: int) -> set[str]:
    """Copy a raw folder, and blank half of its listed items; their ids."""
    shutil.copytree(raw, target)
    chosen: set[str] = set()
    for path in sorted(target.glob("*/items.pq")):
        table = pq.read_table(path)
        if "category" not in table.column_names:
            continue
        half = np.random.default_rng(seed).random(table.num_rows) < 0.5
        chosen.update(table["item_id"].filter(pa.array(half)).to_pylist())
        for name in BLANK:
            kept = pc.if_else(pa.array(half), pa.scalar(None, table.schema.field(name).type),
                              table[name])  # fmt: skip
            table = table.set_column(table.column_names.index(name), name, kept)
        rest = [
            [each for each in own or [] if not (gone and each["name"] == "department")]
            for own, gone in zip(table["attributes"].to_pylist(), half.tolist(), strict=True)
        ]
        kind = table.schema.field("attributes").type
        at = table.column_names.index("attributes")
        pq.write_table(table.set_column(at, "attributes", pa.array(rest, kind)), path)
    return chosen


def true_categories(raw: Path) -> dict[str, tuple[str, str]]:
    """Category and both levels of each listed item."""
    found = {}
    for path in sorted(raw.glob("*/items.pq")):
        table = pq.read_table(path)
        if "category" in table.column_names:
            rows = (table[name].to_pylist() for name in ("item_id", "category", "subcategory"))
            found |= {item: (broad, f"{broad}/{narrow}") for item, broad, narrow in zip(*rows)}  # noqa: B905
    return found


def labels(names: list[str | None]) -> np.ndarray:
    """A number for each name, int64; -1 - row where there is none, so that it equals no other."""
    _, codes = np.unique([name or "" for name in names], return_inverse=True)
    none = np.array([name is None for name in names])
    return np.where(none, -1 - np.arange(len(names)), codes)


def measure(raw: Path, lake: Path, chosen: set[str], seed: int) -> None:
    """Print agreement and skew."""
    vocabulary, table = (load_arrow(Lake(lake), (n,)) for n in ("vocabulary", "item_embeddings"))
    truth = true_categories(raw)
    ids = one_array(vocabulary["item_id"]).to_pylist()
    known = np.array([item in truth for item in ids]) & (node_counts(vocabulary).sum(axis=1) > 0)
    among = np.flatnonzero(known)
    hidden = np.flatnonzero(known & np.array([item in chosen for item in ids]))
    rng = np.random.default_rng(seed)
    looked = np.sort(rng.choice(hidden, min(LOOKUPS, len(hidden)), replace=False))
    behaviour = behaviour_vectors(table)
    spaces = {"behaviour alone": behaviour, "whole vectors": vectors(table)}
    print(f"{len(looked):,} blank items looked up among {len(among):,}")
    for name, values in spaces.items():
        parts = []
        for level, word in enumerate(("broad", "narrow")):
            code = labels([truth[item][level] if item in truth else None for item in ids])
            found = label_agreement(values, code, looked, among)
            parts.append(f"{word} category of the ten nearest {found.mean():.3f}")
        some = among[:: max(len(among) // HUBS, 1)]
        skew = hubness(values[some], np.arange(len(some))).skew
        print(f"{name}: {', '.join(parts)}; skew of N_10 {skew:.1f}", flush=True)


def main(arguments: list[str]) -> int:
    """Blank, make, measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.likeness", description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    use_dagster_home()
    target = options.work / f"raw_{options.seed}"
    shutil.rmtree(target, ignore_errors=True)
    chosen = blank(options.raw, target, options.seed)
    lake = options.work / f"lake_{options.seed}"
    make_lake(target, lake, ("item_embeddings",), EPOCH)
    measure(options.raw, lake, chosen, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
