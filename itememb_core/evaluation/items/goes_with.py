"""One item of a later basket, given another item of it: every method's rank of the answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Judged, Values
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
from itememb_core.items.vectors import vectors
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
    """What is judged and what its baselines may see.

    Attributes:
        embeddings: ``schemas.item_embeddings(dim)``, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY`` of the backtest: its counts are training counts.
        edges: Within-channel edges that training saw (``schemas.EDGES``).
        without_bridge: As ``embeddings``, of a fit without the bridge; None: not judged.
    """

    embeddings: pa.Table
    vocabulary: pa.Table
    edges: pa.Table
    without_bridge: pa.Table | None = None


@dataclass(frozen=True)
class Asked:
    """Queries of one channel; candidates are the items that training saw there."""

    channel: str
    queries: Nodes  # [queries], nodes
    seen: Nodes  # [candidates], nodes
    place: Nodes  # [nodes], the candidate that a node is, or UNKNOWN
    counts: Nodes  # [candidates], training counts in the channel
    answers: Nodes  # [queries], candidates

    @property
    def own(self) -> Nodes:
        """The queries as candidates: they take no part, ``[queries]``."""
        return self.place[self.queries]

    def blocks(self, rows: Nodes) -> Iterator[Nodes]:
        """Parts of ``rows`` (places of queries) whose scores fit ``BLOCK_BYTES``."""
        size = int(np.clip(BLOCK_BYTES // (4 * len(self.seen)), 1, ROWS))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))

    def ranks(self, scores: Scores) -> Values:
        """Rank of each answer; ``scores`` takes places of queries, its blocks are overwritten."""
        own = self.own
        parts = [
            tied_ranks(scores(part), self.answers[part], own[part])
            for part in self.blocks(np.arange(len(self.queries)))
        ]
        return np.concatenate(parts)


def judge_pairs(space: Space, pairs: Mapping[str, tuple[Nodes, Nodes]], seed: int) -> list[Judged]:
    """Judge the pairs of each channel.

    Args:
        space: Vectors and what training saw.
        pairs: Query and answer nodes by channel (``baskets.draw_pairs``).
        seed: Of the PPMI baseline's random subspace.

    Returns:
        For each channel ``hit@20``, ``hit@100`` and ``mrr`` of every method, with slices by channel
        and by ``head``, ``torso`` and ``tail``: the answer's training count in the channel. The
        smoothed counts' weight is each figure's best on these very queries, which favours them;
        the blend is the best of ``BLENDS`` by hit@20 on one half of the queries, for the other.
    """
    known = counted_pairs(space.vocabulary, space.edges)
    return [
        _judge(space, known.of(channel), ask(space, channel, *ends), seed)
        for channel, ends in pairs.items()
    ]


def ask(space: Space, channel: str, queries: Nodes, answers: Nodes) -> Asked:
    """Return the questions of one channel, as :func:`judge_pairs` judges them."""
    counts = node_counts(space.vocabulary)[:, CHANNELS.index(channel)]
    seen = np.flatnonzero(counts > 0)
    place = np.full(len(counts), UNKNOWN, np.int64)
    place[seen] = np.arange(len(seen))
    return Asked(channel, queries, seen, place, counts[seen], place[answers])


def _judge(space: Space, known: CountedPairs, asked: Asked, seed: int) -> Judged:
    together = cooccurrence(known, asked.queries, asked.place)
    plain = ppmi_svd(known, asked.place, vectors(space.embeddings).shape[1], seed)
    scores = {**_vector_scores(space, asked), "ppmi_svd": _cosines(plain[asked.own], plain)}
    ranks = {
        **dict(_plain_ranks(asked, together, scores)),
        "blend": _blended(asked, together, scores["goes_with"]),
    }
    values = {
        (method, metric): of(found)
        for method, found in ranks.items()
        for metric, of in METRICS.items()
    }
    smoothed = _smoothed(asked, together)
    values |= {("counts_smoothed", metric): found for metric, found in smoothed.items()}
    slices = {asked.channel: np.ones(len(asked.queries), bool), **_bands(asked)}
    return Judged(values, _chance(asked), slices)


def _plain_ranks(
    asked: Asked, together: "csr_array", scores: Mapping[str, Scores]
) -> Iterable[tuple[str, Values]]:
    """Ranks by every method that has no weight to choose."""
    for method, score in scores.items():
        yield method, asked.ranks(score)
    share = popularity(asked.counts)
    yield "channel_popularity", _count_ranks(asked, type(together)(together.shape), share)
    yield "counts", _count_ranks(asked, together, np.zeros(len(share)))


def _vector_scores(space: Space, asked: Asked) -> dict[str, Scores]:
    """Scores of candidates by our vectors."""
    unit = vectors(space.embeddings)
    found = {
        "goes_with": context_scores(space.embeddings, asked),
        "cosine": _cosines(unit[asked.queries], unit[asked.seen]),
    }
    if space.without_bridge is not None:
        found["without_bridge"] = context_scores(space.without_bridge, asked)
    return found


def context_scores(embeddings: pa.Table, asked: Asked) -> Scores:
    """context(query) · embedding(candidate) + bias(candidate), ``[queries, candidates]``."""
    context = vectors(embeddings, column="context", unit=False)[asked.queries]  # [queries, dim]
    candidates = np.ascontiguousarray(vectors(embeddings)[asked.seen].T)  # [dim, candidates]
    bias = embeddings["bias"].to_numpy()[asked.seen]
    return lambda rows: context[rows] @ candidates + bias


def _cosines(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> Scores:
    """Cosines of unit rows ``[queries, dim]`` and ``[candidates, dim]``."""
    columns = np.ascontiguousarray(candidates.T)  # [dim, candidates]
    return lambda rows: queries[rows] @ columns


def _count_ranks(asked: Asked, together: "csr_array", prior: Values) -> Values:
    parts = []
    for start in range(0, len(asked.queries), ROWS):
        part = slice(start, start + ROWS)
        rows, own = together[part], asked.own[part]
        parts.append(sparse_ranks(rows, prior, asked.answers[part], own))
    return np.concatenate(parts)


def _smoothed(asked: Asked, together: "csr_array") -> dict[str, Values]:
    """Counts plus a weight times popularity, each figure with the weight that suits it best."""
    share = popularity(asked.counts)
    ranks = [_count_ranks(asked, together, weight * share) for weight in SMOOTHING_WEIGHTS]
    return {
        metric: max((of(found) for found in ranks), key=lambda values: float(values.mean()))
        for metric, of in METRICS.items()
    }


def _blended(asked: Asked, together: "csr_array", goes_with: Scores) -> Values:
    """Ranks by smoothed counts times a power of what the model adds to popularity."""
    everyone = np.arange(len(asked.queries))
    halves = everyone[::2], everyone[1::2]
    out = np.empty(len(everyone))
    for half, other in (halves, halves[::-1]):
        tuning = other[:TUNING_QUERIES]
        tuned = blend_ranks(asked, together, goes_with, tuning, BLENDS)
        best = max(tuned, key=lambda blend: float(hit_at(tuned[blend], 20).sum()))
        out[half] = blend_ranks(asked, together, goes_with, half, (best,))[best]
    return out


def blend_ranks(
    asked: Asked, together: "csr_array", goes_with: Scores, rows: Nodes, blends: Sequence[Blend]
) -> dict[Blend, Values]:
    """Ranks of the answers of ``rows`` by each blend of weight w and power p.

    A candidate's score is log(n + w q) + p (s - log q), q its popularity and s the model's score,
    which is a log probability but for what is the same for all candidates of a query. Where n is
    0, that is (1 - p) log q + p s and a constant, so that only counted candidates are touched.
    """
    share = popularity(asked.counts)
    log_share = np.log(share).astype(np.float32)
    found: dict[Blend, list[Values]] = {blend: [np.empty(0)] for blend in blends}
    for part in asked.blocks(rows):
        model, counts = goes_with(part), together[part]
        of_entry = np.repeat(np.arange(len(part)), np.diff(counts.indptr))
        for weight, power in blends:
            scores = np.float32(power) * model + np.float32(1 - power) * log_share
            gain = np.log1p(counts.data / (weight * share[counts.indices]))
            scores[of_entry, counts.indices] += gain.astype(np.float32)
            ranks = tied_ranks(scores, asked.answers[part], asked.own[part])
            found[weight, power].append(ranks)
    return {blend: np.concatenate(parts) for blend, parts in found.items()}


def _chance(asked: Asked) -> dict[tuple[str, str], Values]:
    others = len(asked.seen) - 1
    found = {
        "hit@20": random_hit_at(others, 20),
        "hit@100": random_hit_at(others, 100),
        "mrr": random_reciprocal(others),
    }
    return {("random", name): np.full(len(asked.queries), v) for name, v in found.items()}


def _bands(asked: Asked) -> dict[str, NDArray[np.bool_]]:
    low, high = np.quantile(asked.counts, [TAIL_END, TORSO_END])
    count = asked.counts[asked.answers]
    return {"head": count > high, "torso": (count > low) & (count <= high), "tail": count <= low}
