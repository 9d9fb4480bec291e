"""Pairs a second of the item fit at any number of items.

``python -m tests.bench.item_rate [ITEMS ...] [--rows bfloat16]`` (default 100,000 and 1,000,000)
prints a row for each, measured in a process of its own: pairs a second, each pair against 1,023 or
1,024 drawn negatives and the settings' even ones, with sampling, masks, log-q correction and
optimizer; the same of the bare matrix products of a whole batch (three a step); and peak memory.
Interactions follow Zipf's law, 200 entries a user, and the median of several rounds is printed.
"""

import argparse
import json
import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

import numpy as np

from itememb_core.device import product_type
from itememb_core.items.training.data import Bags, Pairs, TrainingData
from itememb_core.items.training.fit import Trainer
from itememb_core.items.training.start import start_vectors
from itememb_core.settings import ItemModelSettings

ENTRIES, PER_USER, PAIRS = 2_000_000, 200, 2_000_000
#: Shift of the ranks in Zipf's law: the first item has about 1 % of the events.
SHIFT = 10
SETTINGS = ItemModelSettings()
WARM, STEPS, ROUNDS = 100, 100, 9


def zipf_items(rng: np.random.Generator, items: int, size: int) -> np.ndarray:
    """Draw items by Zipf's law; their numbers are independent of their frequency."""
    rank = np.exp(rng.random(size) * np.log((items + SHIFT) / SHIFT)) * SHIFT - SHIFT
    spread = np.random.default_rng(0).permutation(items)
    return spread[np.minimum(rank.astype(np.int64), items - 1)].astype(np.int32)


def data(items: int) -> TrainingData:
    """Two channels of equal size, each with half of the items, and pairs of the first."""
    rng = np.random.default_rng(1)
    channel = rng.integers(0, 2, ENTRIES).astype(np.int8)
    node = zipf_items(rng, items // 2, ENTRIES) + channel * np.int32(items // 2)
    user = np.repeat(np.arange(ENTRIES // PER_USER, dtype=np.int32), PER_USER)
    day = rng.integers(0, 300, ENTRIES).astype(np.int32)
    order = np.lexsort((node, day, user, channel))
    counts = np.zeros((items, 4), np.int64)
    np.add.at(counts, (node, channel), 1)
    ends = zipf_items(rng, items // 2, PAIRS), zipf_items(rng, items // 2, PAIRS)
    different = ends[0] != ends[1]
    none = np.empty(0, np.int32)
    kind, weight = np.zeros(PAIRS, np.int8), rng.random(PAIRS).astype(np.float32)
    return TrainingData(
        counts=counts,
        pairs=Pairs(*(part[different] for part in (*ends, kind, weight))),
        bags=Bags(user[order], day[order], channel[order], node[order]),
        validation_pairs=Pairs(none, none, none.astype(np.int8), none.astype(np.float32)),
        validation_from=None,
    )


def fit_rate(items: int, rows: str) -> float:
    """Pairs a second of the fit's steps; ``rows``: their type."""
    settings, found = SETTINGS.model_copy(update={"row_type": rows, "start": "random"}), data(items)
    trainer = Trainer(found, settings, 0, start_vectors(found, settings, 0))
    for _ in range(WARM):
        trainer.step(SETTINGS.learning_rate)
    seconds = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        for _ in range(STEPS):
            trainer.step(SETTINGS.learning_rate)
        seconds.append(perf_counter() - begun)
    return STEPS * SETTINGS.batch_size / median(seconds)


def bare_rate() -> float:
    """Pairs a second of the three products of a batch, and nothing else."""
    import torch

    kind = product_type("cpu")
    size = SETTINGS.batch_size
    query = torch.randn(size, SETTINGS.dim).to(kind)
    candidate = torch.randn(SETTINGS.negatives + SETTINGS.uniform_negatives, SETTINGS.dim).to(kind)
    e = query @ candidate.T
    seconds = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        for _ in range(STEPS):
            torch.mm(query, candidate.T, out=e)
            e @ candidate
            query.T @ e
        seconds.append(perf_counter() - begun)
    return STEPS * size / median(seconds)


def one(items: int, rows: str) -> dict[str, float]:
    """Measure one size in this process."""
    rate = fit_rate(items, rows)
    found = {"items": items, "pairs/s": rate, "bare products, pairs/s": bare_rate()}
    found["share"] = found["pairs/s"] / found["bare products, pairs/s"]
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main(arguments: list[str]) -> int:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(prog="tests.bench.item_rate", description=__doc__)
    parser.add_argument("items", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--rows", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--one", action="store_true", help="Measure in this process.")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(options.items[0], options.rows)))
        return 0
    for items in options.items:
        words = [sys.executable, "-m", "tests.bench.item_rate", str(items), "--one"]
        words += ["--rows", options.rows]
        printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        print("  ".join(f"{name} {value:,.3f}" for name, value in json.loads(printed).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
