"""Seconds and memory of the attribute encoder.

``python -m tests.bench.attributes ITEMS VALUES`` makes a catalog of that many items with a brand
and ten attributes, whose values, together that many, are Zipf-distributed and lean on the item's
kind; then it fits, transforms, and prints seconds, peak memory and the explained variance. One
attribute of the ten has a value of its own for each item.
"""

import resource
import sys
import time

import numpy as np
import pyarrow as pa

from itememb_core.features.attributes.encoder import fit_attributes
from itememb_core.settings import AttributeFeaturesSettings

ATTRIBUTES, KINDS, FILLED, CHUNK = 10, 200, 0.8, 100_000


def catalog(items: int, values: int, seed: int = 0) -> pa.Table:
    """Items with a brand and ten attributes, chunk by chunk."""
    random = np.random.default_rng(seed)
    each = values // ATTRIBUTES  # nine attributes and the brand
    likely = 1 / np.arange(1, each + 1)
    steps = np.cumsum(likely / likely.sum())
    chunks = []
    for first in range(0, items, CHUNK):
        n = min(CHUNK, items - first)
        kind = random.integers(KINDS, size=n)
        drawn = np.searchsorted(steps, random.random((n, ATTRIBUTES)))
        leaning = random.random((n, ATTRIBUTES)) < 0.5
        drawn = np.where(leaning, kind[:, None] * 7 + drawn % 7, drawn) % each
        filled = random.random((n, ATTRIBUTES)) < FILLED
        column, row = np.nonzero(filled.T)
        order = np.lexsort([column, row])
        column, row = column[order], row[order]
        own = column == ATTRIBUTES - 1
        value = np.where(own, first + row, drawn[row, column])
        names = pa.array([f"Attribute {n}" for n in range(ATTRIBUTES)]).take(pa.array(column))
        words = pa.array(np.char.add("Value ", value.astype(str)), pa.string())
        ends = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
        pairs = pa.StructArray.from_arrays([names, words], ["name", "value"])
        lists = pa.ListArray.from_arrays(pa.array(ends), pairs)
        chunks.append(pa.table({"brand_id": drawn[:, -1], "attributes": lists}))
    return pa.concat_tables(chunks)


def peak() -> float:
    """Most memory that the process had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    items, values = (int(word) for word in sys.argv[1:3])
    made = catalog(items, values)
    print(f"catalog of {made.nbytes / 1e9:.2f} GB, peak so far {peak():.2f} GB")
    begun = time.perf_counter()
    encoder = fit_attributes(made, AttributeFeaturesSettings(), seed=0)
    print(f"fit {time.perf_counter() - begun:.0f} s, peak {peak():.2f} GB, {encoder.facts}")
    begun = time.perf_counter()
    features = encoder.transform(made)
    print(f"transform {time.perf_counter() - begun:.0f} s, peak {peak():.2f} GB, {features.shape}")


if __name__ == "__main__":
    main()
