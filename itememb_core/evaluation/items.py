"""``item_evaluation``: one item of a later basket, given another item of it.

What belongs here: later baskets, the pairs drawn from them, our answers beside the baselines'.
What does not: training; links, users (their own modules).
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.channels import CHANNELS
from itememb_core.evaluation.baselines import SMOOTHING_WEIGHTS, cooccurrence, popularity
from itememb_core.evaluation.metrics import (
    bootstrap_intervals,
    hit_at,
    random_hit_at,
    random_reciprocal,
    reciprocal,
    tied_ranks,
)
from itememb_core.schemas import EVALUATION
from itememb_core.vectors import vectors
from itememb_core.vocabulary import UNKNOWN, channel_codes, node_counts, node_index

#: Most baskets of a channel that are asked about; a seeded sample of them.
QUERIES: Final = 6000
#: Queries that the smoothing weight is chosen on, for the baseline's benefit.
TUNING_QUERIES: Final = 500
#: Queries scored at once.
ROWS: Final = 256
#: Quantiles of training counts in a channel that end the tail and the torso.
TAIL_END, TORSO_END = 0.90, 0.99

METHODS: Final = ("goes_with", "cosine", "channel_popularity", "counts", "counts_smoothed")
METRICS: Final = ("hit@20", "hit@100", "mrr")

Nodes = NDArray[np.int64]
Scores = Callable[[NDArray[np.int64]], NDArray[np.float32]]
Row = tuple[str, str, str, float, float | None, float | None]


class ItemEvaluation(NamedTuple):
    """Figures on later baskets.

    Attributes:
        table: ``schemas.EVALUATION``; empty where nothing can be judged.
        queries: Pairs asked about.
        reason: Why there are no figures; ``None`` otherwise.
    """

    table: pa.Table
    queries: int
    reason: str | None


class _Asked(NamedTuple):
    """Queries of one channel with every method's ranks."""

    channel: str
    candidates: int
    band: NDArray[np.str_]  # [queries]: head, torso or tail
    ranks: dict[str, NDArray[np.float64]]  # [queries] by method


def holdout_baskets(receipts: ir.Table, catalog_events: ir.Table) -> ir.Table:
    """The distinct items of each basket, as ``channel``, ``basket``, ``item_id``.

    Args:
        receipts: Clean receipts after the cut; a basket is (user, transaction, day).
        catalog_events: Clean events of the catalog channels after the cut, with ``channel``; a
            basket is what a user did in a channel on a day. Actions of strength 0 take no part.
    """
    own = receipts.filter(receipts.strength > 0)
    bought = own.select(
        "channel",
        "item_id",
        basket=_key(own.user_id, own.day, own.transaction_hash.coalesce(ibis.literal(""))),
    )
    met = catalog_events.filter(catalog_events.strength > 0)
    seen = met.select("channel", "item_id", basket=_key(met.user_id, met.day))
    both = bought.union(seen, distinct=False)
    return both.select("channel", "basket", "item_id").distinct()


def _key(*parts: ir.Value) -> ir.Value:
    texts = [part.cast("string") for part in parts]
    return ibis.literal("|").join(texts)


def item_evaluation(
    embeddings: pa.Table, vocabulary: pa.Table, edges: pa.Table, baskets: pa.Table, seed: int
) -> ItemEvaluation:
    """Judge the backtest's vectors on later baskets.

    From each basket one random pair in random direction, both items seen in training in the
    basket's channel; the answer is ranked among all items seen there but the query, ties half.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY`` of the backtest: its counts are training counts.
        edges: Within-channel edges that training saw (``schemas.EDGES``).
        baskets: ``channel``, ``basket``, ``item_id`` of the holdout (:func:`holdout_baskets`).
        seed: Of the pairs and of the intervals.

    Returns:
        ``hit@20``, ``hit@100`` and ``mrr`` by slice: ``all``, the channels, and ``head``,
        ``torso``, ``tail`` by the answer's training count. The smoothed counts' weight is the
        best of ``SMOOTHING_WEIGHTS`` on a part of the queries, which favours the baseline.
    """
    if not baskets.num_rows:
        return ItemEvaluation(_table([]), 0, "no baskets after the cut: nothing to judge on")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    pairs = draw_pairs(vocabulary, baskets, rng)
    asked = [_ask(embeddings, vocabulary, edges, channel, *pair) for channel, pair in pairs.items()]
    if not asked:
        return ItemEvaluation(_table([]), 0, "no later basket holds two items seen in training")
    rows = [row for name, part in _slices(asked) for row in _rows(name, part, rng)]
    return ItemEvaluation(_table(rows), sum(len(part.band) for part in asked), None)


def draw_pairs(
    vocabulary: pa.Table, baskets: pa.Table, rng: np.random.Generator
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """One random ordered pair of each basket, as query and answer nodes by channel.

    Items that training did not see in the channel take no part; a channel without a basket of
    two is left out. At most ``QUERIES`` a channel.
    """
    order = baskets.sort_by([(name, "ascending") for name in ("channel", "basket", "item_id")])
    node = node_index(vocabulary, order["item_id"], order["channel"])
    code = channel_codes(order["channel"])
    # UNKNOWN, -1, indexes the row of zeros that is added at the end.
    seen = np.pad(node_counts(vocabulary), ((0, 1), (0, 0)))[node, code] > 0
    basket = np.unique(order["basket"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    lot = rng.random(order.num_rows)
    node, code, basket, lot = node[seen], code[seen], basket[seen], lot[seen]
    pairs = {}
    for c in np.unique(code):
        rows = np.flatnonzero(code == c)
        rows = rows[np.lexsort((lot[rows], basket[rows]))]
        first = np.flatnonzero(np.diff(basket[rows], prepend=-1))
        first = first[first + 1 < len(rows)]
        first = first[basket[rows[first]] == basket[rows[first + 1]]]
        if len(first):
            first = np.sort(rng.permutation(first)[:QUERIES])
            ends = node[rows[first]], node[rows[first + 1]]
            pairs[CHANNELS[c]] = (ends[0].astype(np.int64), ends[1].astype(np.int64))
    return pairs


def _ask(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    edges: pa.Table,
    channel: str,
    queries: NDArray[np.int64],
    answers: NDArray[np.int64],
) -> _Asked:
    """Rank one channel's answers by every method."""
    counts = node_counts(vocabulary)[:, CHANNELS.index(channel)]
    seen = np.flatnonzero(counts > 0)  # candidate -> node
    place = np.full(len(counts), UNKNOWN, np.int64)
    place[seen] = np.arange(len(seen))
    asked = (queries, place[answers], place[queries])
    smoothed, scores = _count_scores(vocabulary, edges, channel, queries, seen)
    best = max(smoothed, key=lambda weight: _tuning_hits(smoothed[weight], asked))
    scores = {**_model_scores(embeddings, seen), **scores, "counts_smoothed": smoothed[best]}
    ranks = {name: _ranks(score, *asked) for name, score in scores.items()}
    low, high = np.quantile(counts[seen], [TAIL_END, TORSO_END])
    of_answer = counts[answers]
    band = np.where(of_answer <= low, "tail", np.where(of_answer <= high, "torso", "head"))
    return _Asked(channel, len(seen) - 1, band, ranks)


def _tuning_hits(scores: Scores, asked: tuple[Nodes, Nodes, Nodes]) -> float:
    few = [values[:TUNING_QUERIES] for values in asked]
    return float(hit_at(_ranks(scores, *few), 20).mean())


def _model_scores(embeddings: pa.Table, seen: NDArray[np.int64]) -> dict[str, Scores]:
    unit = vectors(embeddings)  # [nodes, dim]
    context = vectors(embeddings, column="context", unit=False)  # [nodes, dim]
    candidates = np.ascontiguousarray(unit[seen].T)  # [dim, candidates]
    bias = embeddings["bias"].to_numpy()[seen]
    return {
        "goes_with": lambda rows: context[rows] @ candidates + bias,
        "cosine": lambda rows: unit[rows] @ candidates,
    }


def _count_scores(
    vocabulary: pa.Table,
    edges: pa.Table,
    channel: str,
    queries: NDArray[np.int64],
    seen: NDArray[np.int64],
) -> tuple[dict[float, Scores], dict[str, Scores]]:
    """Smoothed counts by weight, and the baselines that have none."""
    together = cooccurrence(vocabulary, edges, channel, queries)[:, seen].tocsr()
    share = popularity(node_counts(vocabulary)[seen, CHANNELS.index(channel)])

    def smoothed(weight: float) -> Scores:
        prior = (weight * share).astype(np.float32)
        return lambda rows: together[rows].toarray() + prior

    plain: dict[str, Scores] = {
        "channel_popularity": lambda rows: np.repeat(share[None, :], len(rows), axis=0),
        "counts": lambda rows: together[rows].toarray(),
    }
    return {weight: smoothed(weight) for weight in SMOOTHING_WEIGHTS}, plain


def _ranks(
    scores: Scores,
    queries: NDArray[np.int64],
    answers: NDArray[np.int64],
    excluded: NDArray[np.int64],
) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(queries), ROWS):
        part = slice(start, start + ROWS)
        parts.append(tied_ranks(scores(queries[part]), answers[part], excluded[part]))
    return np.concatenate(parts)


def _slices(asked: list[_Asked]) -> Iterator[tuple[str, list[_Asked]]]:
    """Each slice's name with the queries that it holds; slices without queries are left out."""
    yield "all", asked
    for part in asked:
        yield part.channel, [part]
    for band in ("head", "torso", "tail"):
        inside = [_only(part, part.band == band) for part in asked]
        if any(len(part.band) for part in inside):
            yield band, inside


def _only(part: _Asked, keep: NDArray[np.bool_]) -> _Asked:
    ranks = {name: values[keep] for name, values in part.ranks.items()}
    return part._replace(band=part.band[keep], ranks=ranks)


def _rows(name: str, parts: list[_Asked], rng: np.random.Generator) -> Iterator[Row]:
    """Figures of one slice, with intervals except for the random order's exact ones."""
    columns = []
    for method in METHODS:
        ranks = np.concatenate([part.ranks[method] for part in parts])
        columns += [hit_at(ranks, 20), hit_at(ranks, 100), reciprocal(ranks)]
    values = np.stack(columns, axis=1)  # [queries, methods * metrics]
    low, high = bootstrap_intervals(values, rng)
    for i, mean in enumerate(values.mean(axis=0)):
        method, metric = METHODS[i // len(METRICS)], METRICS[i % len(METRICS)]
        yield method, metric, name, float(mean), float(low[i]), float(high[i])
    sizes = np.array([len(part.band) for part in parts])
    for metric, chance in (
        ("hit@20", [random_hit_at(part.candidates, 20) for part in parts]),
        ("hit@100", [random_hit_at(part.candidates, 100) for part in parts]),
        ("mrr", [random_reciprocal(part.candidates) for part in parts]),
    ):
        yield "random", metric, name, float(np.average(chance, weights=sizes)), None, None
    yield "queries", "n", name, float(len(values)), None, None


def _table(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(EVALUATION)
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, EVALUATION, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=EVALUATION)
