"""Candidates of a million receipt items among a million catalog items.

``python -m tests.bench.link_scale LAKE [--rows N] [--jitter J]`` takes the trained vectors of a
lake's two sides, repeats them up to N rows a side, adds to each a random direction of length J
(so that no two are equal) and brings them to norm 1. In one process, on two threads, it times
FAISS's ``IndexFlatIP`` and the pipeline's index on samples, scaled to all queries, both ways (CSLS
needs both). It prints how many times faster, with the build counted and not, by wall clock and by
CPU time (which other work on the machine disturbs less), the share of the exact ten in the
returned hundred, and peak memory.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from itememb_core.items.vectors import vectors
from itememb_core.links.nodes import link_nodes
from itememb_core.progress import silent
from itememb_core.retrieval.exact import top_k
from itememb_core.retrieval.indexed import Aim, Side
from itememb_core.retrieval.recall import RECALL_AT
from itememb_core.retrieval.recall import recall as recall_of
from itememb_core.settings import LinkPoolSettings

#: Candidates returned, queries on which the flat index is timed, and on which ours is.
SIZE, SAMPLE, SEARCHED = 100, 512, 8192
#: FAISS's flat index is several times slower per query where it is asked for fewer at once.
FLAT = 4096
THREADS = 2


def jittered(
    values: NDArray[np.float32], rows: int, jitter: float, seed: int
) -> NDArray[np.float32]:
    """Trained vectors repeated with a random step of that length, float32 [rows, dim], norm 1."""
    rng = np.random.default_rng(seed)
    result = np.empty((rows, values.shape[1]), np.float32)
    for start in range(0, rows, len(values)):
        part = result[start : start + len(values)]
        step = rng.standard_normal(part.shape, np.float32)
        step *= jitter / np.linalg.norm(step, axis=1, keepdims=True)
        part[:] = values[: len(part)] + step
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return result


class Clock:
    """Seconds since it was made, wall clock and of this process's threads."""

    def __init__(self) -> None:
        self._began = np.array([time.perf_counter(), time.process_time()])

    def read(self) -> NDArray[np.float64]:
        """Both, [2]."""
        return np.array([time.perf_counter(), time.process_time()]) - self._began


def flat_seconds(queries: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of all queries, by a sample: the whole search without the build, [2] as of ``Clock``."""
    import faiss

    index = faiss.IndexFlatIP(base.shape[1])
    index.add(base)
    some = np.ascontiguousarray(queries[:: max(len(queries) // FLAT, 1)][:FLAT])
    index.search(some[:64], SIZE)
    clock = Clock()
    index.search(some, SIZE)
    return clock.read() / len(some) * len(queries)


def measure(lake: Path, rows: int, jitter: float) -> dict[str, Any]:
    """Time both ways of finding candidates."""
    import faiss
    import torch

    faiss.omp_set_num_threads(THREADS)
    torch.set_num_threads(THREADS)
    table = pq.read_table(lake / "item_embeddings", columns=["embedding"]).combine_chunks()
    nodes = link_nodes(pq.read_table(lake / "vocabulary").combine_chunks(), LinkPoolSettings())
    trained = vectors(table)
    queries = jittered(trained[nodes.receipts], rows, jitter, 0)
    base = jittered(trained[nodes.catalog], rows, jitter, 1)
    settings = LinkPoolSettings(size=SIZE, exact_up_to=0)
    figures: dict[str, Any] = {"rows a side": rows, "dim": trained.shape[1], "jitter": jitter}
    whole = [Way.of(*sides, settings) for sides in ((queries, base), (base, queries))]
    for name, way in zip(("receipts to catalog", "catalog to receipts"), whole, strict=True):
        for what, value in way._asdict().items():
            told = value.round(1).tolist() if isinstance(value, np.ndarray) else value
            figures[f"{name}, {what}"] = told
    flat, build, search = (np.sum([each[i] for each in whole], axis=0) for i in range(3))
    return figures | {
        "times faster, search [wall, CPU]": (flat / search).round(2).tolist(),
        "times faster, build counted [wall, CPU]": (flat / (build + search)).round(2).tolist(),
        "peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


class Way(NamedTuple):
    """One way of searching: seconds [wall, CPU] of all queries, and what the index is."""

    flat_s: NDArray[np.float64]
    build_and_tuning_s: NDArray[np.float64]
    search_s: NDArray[np.float64]
    recall: float
    lists: int
    lists_read: int

    @classmethod
    def of(
        cls,
        asking: NDArray[np.float32],
        answering: NDArray[np.float32],
        settings: LinkPoolSettings,
    ) -> "Way":
        """Time the flat index and ours on samples; compare the exact ten with the hundred."""
        flat = flat_seconds(asking, answering)
        aim = Aim(settings.exact_up_to, settings.recall, settings.recall_sample)
        clock = Clock()
        side = Side.of(asking, answering, settings.size, aim)
        build = clock.read()
        some = asking[:: max(len(asking) // SEARCHED, 1)]
        clock = Clock()
        _, cosine = side._replace(queries=some).search(SIZE, silent, "")
        search = clock.read() / len(some) * len(asking)
        sample = slice(None, None, max(len(some) // SAMPLE, 1))
        wanted = top_k(some[sample], answering, RECALL_AT)[1]
        recall = recall_of(cosine[sample], wanted)
        return cls(flat, build, search, recall, side.lists.count, side.probed)


def main(arguments: list[str]) -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="tests.bench.link_scale", description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jitter", type=float, default=0.5)
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.lake, options.rows, options.jitter), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
