"""Goes-with: one item of a holdout basket as the query, another as the target, by method."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import QueryMetrics, Values
from itememb_core.evaluation.items.baselines import (
    SMOOTHING_WEIGHTS,
    CountedPairs,
    cooccurrence,
    counted_pairs,
    popularity,
    ppmi_svd,
)
from itememb_core.evaluation.ranking import (
    hit_at,
    random_hit_at,
    random_reciprocal,
    reciprocal,
    sparse_ranks,
    tied_ranks,
)
from itememb_core.items.vectors import BEHAVIOUR, parts_of, vectors
from itememb_core.items.vocabulary import UNKNOWN, node_counts
from itememb_core.services import CHANNELS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Most queries, and most bytes of scores, at once.
ROWS: Final = 256
BLOCK_BYTES: Final = 2**26
#: Queries of a half that a blend is chosen on, for the other half.
TUNING_QUERIES: Final = 300
#: Blends of counts and vectors: weights of popularity in the counts, powers of the model.
Blend = tuple[float, float]
BLENDS: Final = ((300.0, 0.4), (1000.0, 0.2), (1000.0, 0.4), (1000.0, 0.7))
#: Quantiles of training counts in a channel that end the tail and the torso.
TAIL_END, TORSO_END = 0.90, 0.99

METRICS: Final[Mapping[str, Callable[[Values], Values]]] = {
    "hit@20": lambda ranks: hit_at(ranks, 20),
    "hit@100": lambda ranks: hit_at(ranks, 100),
    "mrr": reciprocal,
}

Nodes = NDArray[np.int64]
Scores = Callable[[Nodes], NDArray[np.float32]]


class Space(NamedTuple):
    """The vectors that are evaluated, and what their baselines may see.

    Attributes:
        embeddings: ``schemas.item_embeddings(dim)``, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY`` of the backtest: its counts are training counts.
        edges: Within-channel edges of training (``schemas.EDGES``).
        without_bridge: As ``embeddings``, of a fit without the bridge; None: not compared.
    """

    embeddings: pa.Table
    vocabulary: pa.Table
    edges: pa.Table
    without_bridge: pa.Table | None = None


@dataclass(frozen=True)
class ChannelTask:
    """Queries and targets of one channel; candidates are the items with training events there."""

    channel: str
    queries: Nodes  # [queries], nodes
    seen: Nodes  # [candidates], nodes
    place: Nodes  # [nodes], the candidate that a node is, or UNKNOWN
    counts: Nodes  # [candidates], training counts in the channel
    targets: Nodes  # [queries], candidates

    @property
    def own(self) -> Nodes:
        """The queries as candidates: they are left out, ``[queries]``."""
        return self.place[self.queries]

    def blocks(self, rows: Nodes) -> Iterator[Nodes]:
        """Parts of ``rows`` (places of queries) whose scores fit ``BLOCK_BYTES``."""
        size = int(np.clip(BLOCK_BYTES // (4 * len(self.seen)), 1, ROWS))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))

    def ranks(self, scores: Scores) -> Values:
        """Rank of each target; ``scores`` takes places of queries, its blocks are overwritten."""
        own = self.own
        parts = [
            tied_ranks(scores(part), self.targets[part], own[part])
            for part in self.blocks(np.arange(len(self.queries)))
        ]
        return np.concatenate(parts)


def evaluate_pairs(
    space: Space, pairs: Mapping[str, tuple[Nodes, Nodes]], seed: int
) -> list[QueryMetrics]:
    """Evaluate the pairs of each channel.

    Args:
        space: Vectors and training data.
        pairs: Query and target nodes by channel (``baskets.draw_pairs``).
        seed: Of the PPMI baseline's random subspace.

    Returns:
        For each channel ``hit@20``, ``hit@100`` and ``mrr`` of every method, with slices by channel
        and by ``head``, ``torso`` and ``tail``: the target's training count in the channel. The
        smoothed counts' weight is each metric's best on these very queries, which favours them;
        the blend is the best of ``BLENDS`` by hit@20 on one half of the queries, for the other.
    """
    known = counted_pairs(space.vocabulary, space.edges)
    return [
        _evaluate(space, known.of(channel), channel_task(space, channel, *ends), seed)
        for channel, ends in pairs.items()
    ]


def channel_task(space: Space, channel: str, queries: Nodes, targets: Nodes) -> ChannelTask:
    """Queries and targets of one channel, as :func:`evaluate_pairs` ranks them."""
    counts = node_counts(space.vocabulary)[:, CHANNELS.index(channel)]
    seen = np.flatnonzero(counts > 0)
    place = np.full(len(counts), UNKNOWN, np.int64)
    place[seen] = np.arange(len(seen))
    return ChannelTask(channel, queries, seen, place, counts[seen], place[targets])


def _evaluate(space: Space, known: CountedPairs, task: ChannelTask, seed: int) -> QueryMetrics:
    together = cooccurrence(known, task.queries, task.place)
    baseline = ppmi_svd(known, task.place, parts_of(space.embeddings)[BEHAVIOUR], seed)
    scores = {**_vector_scores(space, task), "ppmi_svd": _cosines(baseline[task.own], baseline)}
    ranks = {
        **dict(_untuned_ranks(task, together, scores)),
        "blend": _blended(task, together, scores["goes_with"]),
    }
    values = {
        (method, metric): of(found)
        for method, found in ranks.items()
        for metric, of in METRICS.items()
    }
    smoothed = _smoothed(task, together)
    values |= {("counts_smoothed", metric): found for metric, found in smoothed.items()}
    slices = {task.channel: np.ones(len(task.queries), bool), **_bands(task)}
    return QueryMetrics(values, _chance(task), slices)


def _untuned_ranks(
    task: ChannelTask, together: "csr_array", scores: Mapping[str, Scores]
) -> Iterable[tuple[str, Values]]:
    """Ranks by every method without a weight to tune."""
    for method, score in scores.items():
        yield method, task.ranks(score)
    share = popularity(task.counts)
    yield "channel_popularity", _count_ranks(task, type(together)(together.shape), share)
    yield "counts", _count_ranks(task, together, np.zeros(len(share)))


def _vector_scores(space: Space, task: ChannelTask) -> dict[str, Scores]:
    """Scores of candidates by our vectors."""
    unit = vectors(space.embeddings)
    found = {
        "goes_with": context_scores(space.embeddings, task),
        "cosine": _cosines(unit[task.queries], unit[task.seen]),
    }
    if space.without_bridge is not None:
        found["without_bridge"] = context_scores(space.without_bridge, task)
    return found


def context_scores(embeddings: pa.Table, task: ChannelTask) -> Scores:
    """context(query) · embedding(candidate) + bias(candidate), ``[queries, candidates]``."""
    context = vectors(embeddings, column="context", unit=False)[task.queries]  # [queries, dim]
    candidates = np.ascontiguousarray(vectors(embeddings)[task.seen].T)  # [dim, candidates]
    bias = embeddings["bias"].to_numpy()[task.seen]
    return lambda rows: context[rows] @ candidates + bias


def _cosines(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> Scores:
    """Cosines of unit rows ``[queries, dim]`` and ``[candidates, dim]``."""
    columns = np.ascontiguousarray(candidates.T)  # [dim, candidates]
    return lambda rows: queries[rows] @ columns


def _count_ranks(task: ChannelTask, together: "csr_array", prior: Values) -> Values:
    parts = []
    for start in range(0, len(task.queries), ROWS):
        part = slice(start, start + ROWS)
        rows, own = together[part], task.own[part]
        parts.append(sparse_ranks(rows, prior, task.targets[part], own))
    return np.concatenate(parts)


def _smoothed(task: ChannelTask, together: "csr_array") -> dict[str, Values]:
    """Counts plus a weight times popularity, each metric with its best weight."""
    share = popularity(task.counts)
    ranks = [_count_ranks(task, together, weight * share) for weight in SMOOTHING_WEIGHTS]
    return {
        metric: max((of(found) for found in ranks), key=lambda values: float(values.mean()))
        for metric, of in METRICS.items()
    }


def _blended(task: ChannelTask, together: "csr_array", goes_with: Scores) -> Values:
    """Ranks by smoothed counts times a power of what the model adds to popularity."""
    everyone = np.arange(len(task.queries))
    halves = everyone[::2], everyone[1::2]
    out = np.empty(len(everyone))
    for half, other in (halves, halves[::-1]):
        tuning = other[:TUNING_QUERIES]
        tuned = blend_ranks(task, together, goes_with, tuning, BLENDS)
        best = max(tuned, key=lambda blend: float(hit_at(tuned[blend], 20).sum()))
        out[half] = blend_ranks(task, together, goes_with, half, (best,))[best]
    return out


def blend_ranks(
    task: ChannelTask,
    together: "csr_array",
    goes_with: Scores,
    rows: Nodes,
    blends: Sequence[Blend],
) -> dict[Blend, Values]:
    """Ranks of the targets of ``rows`` by each blend of weight w and power p.

    A candidate's score is log(n + w q) + p (s - log q), q its popularity and s the model's score,
    which is a log probability but for what is the same for all candidates of a query. Where n is
    0, that is (1 - p) log q + p s and a constant, so that only counted candidates are touched.
    """
    share = popularity(task.counts)
    log_share = np.log(share).astype(np.float32)
    found: dict[Blend, list[Values]] = {blend: [np.empty(0)] for blend in blends}
    for part in task.blocks(rows):
        model, counts = goes_with(part), together[part]
        of_entry = np.repeat(np.arange(len(part)), np.diff(counts.indptr))
        for weight, power in blends:
            scores = np.float32(power) * model + np.float32(1 - power) * log_share
            gain = np.log1p(counts.data / (weight * share[counts.indices]))
            scores[of_entry, counts.indices] += gain.astype(np.float32)
            ranks = tied_ranks(scores, task.targets[part], task.own[part])
            found[weight, power].append(ranks)
    return {blend: np.concatenate(parts) for blend, parts in found.items()}


def _chance(task: ChannelTask) -> dict[tuple[str, str], Values]:
    others = len(task.seen) - 1
    found = {
        "hit@20": random_hit_at(others, 20),
        "hit@100": random_hit_at(others, 100),
        "mrr": random_reciprocal(others),
    }
    return {("random", name): np.full(len(task.queries), v) for name, v in found.items()}


def _bands(task: ChannelTask) -> dict[str, NDArray[np.bool_]]:
    low, high = np.quantile(task.counts, [TAIL_END, TORSO_END])
    count = task.counts[task.targets]
    return {"head": count > high, "torso": (count > low) & (count <= high), "tail": count <= low}
