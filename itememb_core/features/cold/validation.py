"""Which prediction a lake's own warm items bear out, by channel."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import tied_ranks
from itememb_core.features.cold.methods import KNOWN_POPULARITY, PLAIN, PREDICTED_POPULARITY
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.cold.training import channel_draws
from itememb_core.intervals import bootstrap_intervals
from itememb_core.items.training.data import Pairs

#: Queries of a channel at most, and fewest from which anything is concluded.
QUERIES, ENOUGH = 2_000, 100


class Query(NamedTuple):
    """Pairs of one channel whose candidate was hidden from the network.

    Attributes:
        channel: Position in ``CHANNELS``.
        candidates: int64 [candidates], hidden nodes with an interaction in the channel.
        query: int64 [queries], nodes.
        target: int64 [queries], places among the candidates.
    """

    channel: int
    candidates: NDArray[np.int64]
    query: NDArray[np.int64]
    target: NDArray[np.int64]


class ColdFigures(NamedTuple):
    """How well hidden items were found, in one channel.

    Attributes:
        channel: Position in ``CHANNELS``.
        at: Length of the list in which the target is a hit: a tenth of the candidates, at most 100.
        candidates: Hidden items that were ranked.
        hits: bool [queries] by method.
    """

    channel: int
    at: int
    candidates: int
    hits: Mapping[str, NDArray[np.bool_]]

    @property
    def chance(self) -> float:
        """Share that a random order would find."""
        return self.at / self.candidates

    def best(self, inside: NDArray[np.bool_] | None = None) -> str:
        """The prediction with the most hits; of equal ones the plainest.

        Args:
            inside: Which queries count, bool [queries]; None: all.
        """
        rows = slice(None) if inside is None else inside
        return max(PLAIN, key=lambda name: float(self.hits[name][rows].mean()))

    def helps(self, rng: np.random.Generator) -> bool:
        """Whether the best prediction is above chance: the lower end of its 95 % interval.

        It is the best on one half of the queries and judged on the other: the best of several is
        above chance more often than each of them.
        """
        size = len(self.hits[PLAIN[0]])
        if size < ENOUGH:
            return False
        chosen_on = np.zeros(size, bool)
        chosen_on[rng.permutation(size)[: size // 2]] = True
        hits = self.hits[self.best(chosen_on)][~chosen_on]
        low, _ = bootstrap_intervals(hits.astype(np.float64)[:, None], rng)
        return bool(low[0] > self.chance)


def hidden_nodes(
    warm: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A share of the warm nodes, drawn evenly, ascending."""
    size = int(len(warm) * share)
    return np.sort(rng.choice(warm, size, replace=False)) if size else warm[:0]


def queries(
    recent: Pairs,
    pairs: Pairs,
    hidden: NDArray[np.int64],
    counts: NDArray[np.int64],
    rng: np.random.Generator,
) -> list[Query]:
    """Draw pairs of each channel from a warm item to a hidden one, by weight.

    A query's vector knows the pairs that it was trained on: a channel with ``ENOUGH`` pairs of the
    validation days is asked for those, any other for pairs of training.

    Args:
        recent: Of the validation days.
        pairs: Of training.
        hidden: Nodes that the network did not see.
        counts: int64 [nodes, channels].
        rng: Draws.
    """
    found: dict[int, Query] = {}
    trained, unseen = (_drawn(each, hidden, counts, rng) for each in (pairs, recent))
    for each in trained:
        found[each.channel] = each
    for each in unseen:
        if len(each.query) >= ENOUGH or each.channel not in found:
            found[each.channel] = each
    return [found[channel] for channel in sorted(found)]


def _drawn(
    pairs: Pairs, hidden: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator
) -> list[Query]:
    """Queries of some pairs, by channel."""
    found = []
    for draw in channel_draws(pairs, hidden, len(counts), banned=hidden):
        candidates = hidden[counts[hidden, draw.channel] > 0]
        if len(candidates) < 2:
            continue
        places = draw.places(rng, min(QUERIES, len(draw.query)))
        target = np.searchsorted(candidates, draw.candidate[places])
        there = np.take(candidates, target, mode="clip") == draw.candidate[places]
        found.append(Query(draw.channel, candidates, draw.query[places][there], target[there]))
    return [each for each in found if len(each.query)]


def popularity_apart(own: Behaviour, predicted: Behaviour) -> dict[str, Behaviour]:
    """Either place with the other's bias, by name."""
    return {
        KNOWN_POPULARITY: predicted._replace(bias=own.bias),
        PREDICTED_POPULARITY: own._replace(bias=predicted.bias),
    }


def cold_figures(
    asked: list[Query],
    contexts: NDArray[np.float32],
    hidden: NDArray[np.int64],
    methods: Mapping[str, Behaviour],
) -> list[ColdFigures]:
    """Rank the hidden items of each channel for each query.

    Args:
        asked: By channel.
        contexts: float32 [nodes, dim], of the queries.
        hidden: The hidden nodes, int64 [hidden], ascending.
        methods: Where each method puts them, by name.
    """
    found = []
    for each in asked:
        at = max(1, min(100, len(each.candidates) // 10))
        hits = {}
        for name, behaviour in methods.items():
            own = behaviour.take(np.searchsorted(hidden, each.candidates))
            scores = contexts[each.query] @ own.embedding.T + own.bias
            hits[name] = tied_ranks(scores, each.target) < at
        found.append(ColdFigures(each.channel, at, len(each.candidates), hits))
    return found
