"""How many interactions an item needs to speak for itself, and the mean of both that it gets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import tied_ranks
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.cold.training import ChannelDraws, channel_draws
from itememb_core.features.cold.validation import ENOUGH, QUERIES
from itememb_core.intervals import bootstrap_intervals
from itememb_core.items.training.data import Pairs

#: Candidates that a query's target is ranked among at most.
CANDIDATES: Final = 4_000
#: Interactions up to which an item is tried as rare.
RARE: Final = 100
#: Interactions at which an item's own vector and the predicted one count alike; 0: never.
HALVES: Final = (0.0, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Blend:
    """What is blended.

    Attributes:
        own: Where behaviour put each node.
        predicted: Where its features would.
        total: int64 [nodes], interactions.
        able: bool [nodes], which nodes are predicted; the others stay.
    """

    own: Behaviour
    predicted: Behaviour
    total: NDArray[np.int64]
    able: NDArray[np.bool_]

    def at(self, half: float) -> Behaviour:
        """All nodes, see :func:`blended`."""
        return blended(self.own, self.predicted, self.total, self.able, half)


@dataclass(frozen=True)
class HalfFigures:
    """Reciprocal ranks by the half that a blend was made with.

    Attributes:
        goes_with: Of rare items' pairs of the validation days, float64 [queries].
        links: Of the catalog side of held-out matches, searched by the receipts side, [matches].
        chosen: The half; 0: items with interactions stay where behaviour put them.
    """

    goes_with: Mapping[float, NDArray[np.float64]]
    links: Mapping[float, NDArray[np.float64]]
    chosen: float


def half_of_belief(
    blend: Blend,
    counts: NDArray[np.int64],
    recent: Pairs,
    matches: NDArray[np.int64],
    rng: np.random.Generator,
) -> HalfFigures:
    """Choose how many interactions an item needs to speak for itself, on what training did not see.

    A half is used if rare items' pairs of the validation days are found better with it (the lower
    end of the mean gain's 95 % interval is above 0) and held-out matches not worse: features draw
    an item towards its likes, from which a link must tell it. Of those, the one of most gain.

    Args:
        blend: Both places of every node.
        counts: int64 [nodes, channels].
        recent: Pairs of the days that training did not see.
        matches: Receipts and catalog node of each held-out match, int64 [matches, 2].
        rng: Draws.
    """
    rare = np.flatnonzero(blend.able & (blend.total > 0) & (blend.total <= RARE))
    found: dict[float, list[NDArray[np.float64]]] = {half: [] for half in HALVES}
    for draw in channel_draws(recent, rare, len(blend.total)):
        for half, values in _goes_with(draw, blend, counts, rng):
            found[half].append(values)
    goes_with = {half: np.concatenate([np.empty(0), *parts]) for half, parts in found.items()}
    links = dict(_links(blend, matches[:: max(-(-len(matches) // QUERIES), 1)]))
    return HalfFigures(goes_with, links, _chosen(goes_with, links, rng))


def _chosen(
    goes_with: Mapping[float, NDArray[np.float64]],
    links: Mapping[float, NDArray[np.float64]],
    rng: np.random.Generator,
) -> float:
    if len(goes_with[0.0]) < ENOUGH:
        return 0.0
    gains = np.stack([goes_with[half] - goes_with[0.0] for half in HALVES], axis=1)
    low, _ = bootstrap_intervals(gains, rng)
    kept = [half for column, half in enumerate(HALVES)
            if low[column] > 0 and (links[half] - links[0.0]).sum() >= 0]  # fmt: skip
    return max(kept, key=lambda half: float(gains[:, HALVES.index(half)].mean()), default=0.0)


def _links(blend: Blend, matches: NDArray[np.int64]) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Reciprocal ranks of matches by cosine, among all catalog items with interactions."""
    candidates = np.flatnonzero(blend.able & (blend.total > 0))
    place = np.searchsorted(candidates, matches[:, 1])
    there = np.append(candidates, -1)[place] == matches[:, 1]
    queries, target = blend.own.embedding[matches[there, 0]], place[there]
    for half in HALVES:
        embedding = blend.at(half).embedding[candidates]
        ranks = [tied_ranks(queries[part] @ embedding.T, target[part])
                 for part in _blocks(len(queries))]  # fmt: skip
        yield half, 1.0 / (1.0 + np.concatenate([np.empty(0), *ranks]))


def _blocks(rows: int, size: int = 256) -> Iterator[slice]:
    for first in range(0, rows, size):
        yield slice(first, first + size)


def _goes_with(
    draw: ChannelDraws, blend: Blend, counts: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Reciprocal ranks of one channel's pairs for each half, among a sample of its items."""
    places = draw.places(rng, min(QUERIES, len(draw.query)))
    seen = np.flatnonzero(counts[:, draw.channel] > 0)
    sample = rng.choice(seen, min(CANDIDATES, len(seen)), replace=False)
    candidates = np.union1d(sample, draw.candidate[places])
    target = np.searchsorted(candidates, draw.candidate[places])
    excluded = np.searchsorted(candidates, draw.query[places])
    same = np.take(candidates, excluded, mode="clip") == draw.query[places]
    contexts = blend.own.context[draw.query[places]]
    for half in HALVES:
        mixed = blend.at(half).take(candidates)
        scores = contexts @ mixed.embedding.T + mixed.bias
        scores[np.flatnonzero(same), excluded[same]] = -np.inf
        yield half, 1.0 / (1.0 + tied_ranks(scores, target))


def blended(
    own: Behaviour,
    predicted: Behaviour,
    total: NDArray[np.int64],
    able: NDArray[np.bool_],
    half: float,
) -> Behaviour:
    """Each node's own place and the predicted one, by how many interactions it has.

    Its own counts n / (n + half): the posterior mean where one interaction tells as much as
    1 / half of what the features do.

    Args:
        own: Where behaviour put each node.
        predicted: Where its features would.
        total: int64 [nodes], interactions.
        able: bool [nodes], which nodes are predicted; the others stay.
        half: Interactions at which both count alike; 0: only nodes without any are predicted.
    """
    share = np.where(total > 0, total / (total + half) if half else 1.0, 0.0)
    share = np.where(able, share, 1.0).astype(np.float32)[:, None]
    mixed = share * own.embedding + (1 - share) * predicted.embedding
    unit = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
    # What is not blended keeps its digits.
    embedding = np.where(share == 1.0, own.embedding, unit).astype(np.float32)
    context = share * own.context + (1 - share) * predicted.context
    bias = share[:, 0] * own.bias + (1 - share[:, 0]) * predicted.bias
    return Behaviour(embedding, context.astype(np.float32), bias.astype(np.float32))
