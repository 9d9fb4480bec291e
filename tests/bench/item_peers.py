"""The item fit beside what a user could take instead: the plain notebook way, gensim's Word2Vec.

``python -m tests.bench.item_peers LAKE [--holdout-days N] [--steps N] [--gensim N] [--plot PNG]``
trains on the backtest of a finished lake, in one run on two threads: ours with the settings as they
are, and with fewer steps; the notebook's way
(Xavier table of 128, projection of two layers with ReLU, cosine, temperature 0.1, batches of 1,024
with the batch as negatives, Adam over the whole table at 1e-3, a Dataset of single pairs under a
DataLoader) for the given steps; and gensim's Word2Vec on baskets and sessions, two workers, by four
settings, evaluated by input and output vectors. It prints pairs a second, seconds, and hit@20 and
hit@100 on the backtest's pairs, ranked within the channel; the smoothed counts stand beside them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from itememb_core.evaluation.items.baskets import holdout_baskets
from itememb_core.evaluation.items.evaluate import draw_queries
from itememb_core.evaluation.items.goes_with import (
    ChannelTask,
    Scores,
    Space,
    channel_task,
    context_scores,
    evaluate_pairs,
)
from itememb_core.evaluation.ranking import hit_at
from itememb_core.evaluation.split import cut_day
from itememb_core.items.training import fit, training_data
from itememb_core.items.training.data import TrainingData
from itememb_core.services import CHANNELS
from itememb_core.settings import Settings
from itememb_dagster.lake.io_manager import LakeIOManager

THREADS, DIM, BATCH = 2, 128, 1024
SETTINGS = Settings()
#: gensim's settings: skip-gram or not, context, negatives, passes, power of the negatives' counts.
WORD2VEC: tuple[dict[str, Any], ...] = (
    {"sg": 0, "window": 50, "negative": 10, "epochs": 30, "ns_exponent": 0.75},
    {"sg": 1, "window": 50, "negative": 10, "epochs": 10, "ns_exponent": 0.75},
    {"sg": 1, "window": 50, "negative": 10, "epochs": 10, "ns_exponent": 1.0},
    {"sg": 1, "window": 50, "negative": 5, "epochs": 20, "ns_exponent": 0.75},
)


@dataclass(frozen=True)
class Backtest:
    """Training data and the held-out pairs."""

    data: TrainingData
    vocabulary: pa.Table
    edges: pa.Table
    pairs: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    sentences: list[list[str]]  # nodes of a basket or session, as words

    def tasks(self, embeddings: pa.Table) -> list[ChannelTask]:
        """Queries and targets of each channel."""
        space = Space(embeddings, self.vocabulary, self.edges)
        return [channel_task(space, channel, *ends) for channel, ends in self.pairs.items()]


def read(lake: Path, holdout_days: int) -> Backtest:
    """Read a lake's backtest."""
    found = ds.dataset(lake / "user_items", partitioning="hive").to_table()
    days = sorted({date.fromisoformat(str(day)) for day in found["day"].unique().to_pylist()})
    cut = cut_day(days[-1], holdout_days)
    manager = LakeIOManager(root=str(lake))
    names = [day.isoformat() for day in days]

    def load(name: str) -> Any:
        return manager.load_ibis((name,), names)

    vocabulary = ds.dataset(lake / "backtest" / "vocabulary").to_table().combine_chunks()
    edges = ds.dataset(lake / "backtest" / "edges", partitioning="hive").to_table()
    events = load("retail_events").union(load("marketplace_events"), load("offers_events"))
    gap = SETTINGS.coview_edges.gap_minutes
    baskets = holdout_baskets(load("receipts"), events, days[0], gap).to_pyarrow()
    later = holdout_baskets(load("receipts"), events, cut, gap).to_pyarrow()
    at = baskets["at"].to_numpy().astype("datetime64[D]")
    before = baskets.filter(pa.array(at < np.datetime64(cut)))
    items = load("user_items")
    last = cut - timedelta(days=1)
    return Backtest(
        data=training_data(
            vocabulary,
            edges,
            items.filter(items.day < cut).to_pyarrow(),
            settings=SETTINGS.item_model,
            last_day=last,
        ),
        vocabulary=vocabulary,
        edges=edges,
        pairs=draw_queries(vocabulary, later, SETTINGS.seed).pairs,
        sentences=sentences(vocabulary, before),
    )


def sentences(vocabulary: pa.Table, baskets: pa.Table) -> list[list[str]]:
    """The nodes of each basket of two items or more, as words in the order of time."""
    from itememb_core.items.vocabulary import node_index

    keys = [(name, "ascending") for name in ("channel", "user_id", "basket", "at")]
    ordered = baskets.sort_by(keys)
    node = node_index(vocabulary, ordered["item_id"], ordered["channel"])
    basket = ordered["basket"].to_numpy(zero_copy_only=False)
    channel = ordered["channel"].to_numpy(zero_copy_only=False)
    new = np.flatnonzero((basket[1:] != basket[:-1]) | (channel[1:] != channel[:-1])) + 1
    parts = np.split(node, new)
    return [[str(n) for n in part if n >= 0] for part in parts if len(part) > 1]


def ours(backtest: Backtest, steps: int) -> tuple[float, float, pa.Table]:
    """Seconds, pairs a second, the table of vectors."""
    settings = SETTINGS.item_model.model_copy(update={"max_steps": steps})
    begun = time.perf_counter()
    model = fit(backtest.data, settings, SETTINGS.seed)
    seconds = time.perf_counter() - begun
    return seconds, steps * settings.batch_size / seconds, model.table(backtest.vocabulary)


def batches(data: TrainingData, size: int) -> Iterator[Any]:
    """Batches of single pairs as a notebook draws them."""
    import torch
    from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

    pairs = data.pairs

    class Pairs(Dataset):
        """One pair of nodes an item."""

        def __len__(self) -> int:
            return len(pairs.a)

        def __getitem__(self, row: int) -> Any:
            return torch.tensor(pairs.a[row]), torch.tensor(pairs.b[row])

    weights = torch.from_numpy(pairs.weight.astype(np.float64))
    sampler = WeightedRandomSampler(weights, size * BATCH, replacement=True)
    yield from DataLoader(Pairs(), batch_size=BATCH, sampler=sampler)


def notebook(backtest: Backtest, steps: int) -> tuple[float, float, NDArray[np.float32]]:
    """Seconds, pairs a second, unit vectors [nodes, DIM] of the plain way."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    torch.manual_seed(0)
    table = nn.Embedding(backtest.data.nodes, DIM)
    nn.init.xavier_uniform_(table.weight)
    head = nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
    optimizer = torch.optim.Adam([*table.parameters(), *head.parameters()], lr=1e-3)
    begun = time.perf_counter()
    for a, b in batches(backtest.data, steps):
        left, right = (normalize(head(table(side.long())), dim=1) for side in (a, b))
        loss = cross_entropy(left @ right.T / 0.1, torch.arange(len(a)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        vectors = normalize(head(table.weight), dim=1).numpy()
    return seconds, steps * BATCH / seconds, vectors


def word2vec(
    backtest: Backtest, options: dict[str, Any]
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Seconds, input and output vectors [nodes, DIM] of gensim."""
    from gensim.models import Word2Vec

    begun = time.perf_counter()
    model = Word2Vec(
        backtest.sentences, vector_size=DIM, min_count=1, workers=THREADS, seed=1, sample=0,
        **options,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    inward = np.zeros((backtest.data.nodes, DIM), np.float32)
    outward = np.zeros_like(inward)
    nodes = np.array([int(word) for word in model.wv.index_to_key])
    inward[nodes], outward[nodes] = model.wv.vectors, model.syn1neg
    return seconds, inward, outward


def products(
    left: NDArray[np.float32], right: NDArray[np.float32]
) -> Callable[[ChannelTask], Scores]:
    """Score by the inner product of a query's row of one table with the candidates' of another."""

    def scores(task: ChannelTask) -> Scores:
        queries, candidates = left[task.queries], np.ascontiguousarray(right[task.seen].T)
        return lambda rows: queries[rows] @ candidates

    return scores


def hits(tasks: list[ChannelTask], scores: Callable[[ChannelTask], Scores]) -> tuple[float, float]:
    """hit@20 and hit@100 over the queries of all channels."""
    ranks = np.concatenate([each.ranks(scores(each)) for each in tasks])
    return float(hit_at(ranks, 20).mean()), float(hit_at(ranks, 100).mean())


class Table:
    """Rows that are printed as they come, and their picture."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[float, float]]] = {}  # seconds and hit@20 by family

    def show(
        self, name: str, seconds: float, rate: float | None, found: tuple[float, float]
    ) -> None:
        """Print a row; its family is the name up to the comma."""
        results = f"{rate:,.0f}" if rate else ""
        print(
            f"| {name} | {seconds:.1f} | {results} | {found[0]:.3f} | {found[1]:.3f} |", flush=True
        )
        self.points.setdefault(name.split(",", maxsplit=1)[0], []).append((seconds, found[0]))

    def plot(self, path: Path) -> None:
        """Write hit@20 by seconds of training."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for family, points in self.points.items():
            seconds, hit = zip(*sorted(points), strict=True)
            if family == "counts":
                axes.axhline(hit[0], color="grey", linestyle=":", label="smoothed counts")
            else:
                joined = "-" if family == "itememb" else ""
                axes.plot(seconds, hit, marker="o", linestyle=joined, label=family)
        axes.set(xscale="log", xlabel="seconds of training, two threads", ylabel="hit@20")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
        axes.legend()
        figure.savefig(path, dpi=100, metadata={"Software": None})


def measure(backtest: Backtest, steps: int, gensim: int) -> Table:
    """Train and evaluate all of them."""
    import torch

    torch.set_num_threads(THREADS)
    nodes, pairs = backtest.data.nodes, len(backtest.data.pairs.a)
    print(f"{nodes:,} nodes, {pairs:,} pairs, {len(backtest.sentences):,} baskets and sessions")
    print("\n| way | seconds | pairs a second | hit@20 | hit@100 |\n|---|---:|---:|---:|---:|")
    results, most = Table(), SETTINGS.item_model.max_steps
    for share in (16, 8, 4, 2):
        seconds, rate, table = ours(backtest, most // share)
        found = hits(backtest.tasks(table), lambda task, of=table: context_scores(of, task))
        results.show(f"itememb, {most // share:,} steps", seconds, rate, found)
    seconds, rate, table = ours(backtest, most)
    metrics = evaluate_pairs(
        Space(table, backtest.vocabulary, backtest.edges), backtest.pairs, SETTINGS.seed
    )

    def of(method: str) -> tuple[float, float]:
        first, second = (
            np.concatenate([each.values[method, metric] for each in metrics]).mean()
            for metric in ("hit@20", "hit@100")
        )
        return float(first), float(second)

    results.show(f"itememb, {most:,} steps", seconds, rate, of("goes_with"))
    results.show("counts, smoothed (no training)", 0.0, None, of("counts_smoothed"))
    tasks = backtest.tasks(table)
    seconds, rate, unit = notebook(backtest, steps)
    results.show(f"notebook, {steps:,} steps", seconds, rate, hits(tasks, products(unit, unit)))
    for options in WORD2VEC[:gensim]:
        seconds, inward, outward = word2vec(backtest, options)
        words = ", ".join(f"{name} {value}" for name, value in options.items())
        results.show(f"gensim, {words}", seconds, None, hits(tasks, products(inward, outward)))
    return results


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="tests.bench.item_peers", description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--holdout-days", type=int, default=SETTINGS.holdout_days)
    parser.add_argument("--steps", type=int, default=200, help="Of the notebook's way.")
    parser.add_argument("--gensim", type=int, default=len(WORD2VEC), help="Settings of gensim's.")
    parser.add_argument("--plot", type=Path, help="A PNG of hit@20 by seconds.")
    options = parser.parse_args(arguments)
    print("channels:", ", ".join(CHANNELS))
    results = measure(read(options.lake, options.holdout_days), options.steps, options.gensim)
    if options.plot:
        results.plot(options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
