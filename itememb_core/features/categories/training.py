"""Steps that draw each node to its given parents, away from all others or from drawn ones.

The loss of a pair (u, v) is -log of exp(-d(u, v) / t) over the same sum of v and of nodes that u
has no pair to (Nickel and Kiela 2017, with all nodes for the drawn ones where they are few); its
mean over pairs falls by Riemannian Adam (Bécigneul and Ganea 2019) with one second moment a node.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from itememb_core.features.categories.hierarchy import Hierarchy, Ints
from itememb_core.features.categories.space import Floats, Space
from itememb_core.progress import Progress

#: Up to so many nodes all are negatives; above, as many as ``DRAWN`` are drawn for each batch.
MOST_NODES: Final = 4_000
DRAWN: Final = 1_500
#: Queries of a batch.
BATCH: Final = 32
#: Temperature of the distances, at the first step and at the last.
TEMPERATURES: Final = (1.0, 0.1)
#: Largest step, in distance, and what part of the steps it is reached in and held until.
RATE: Final = 0.1
WARM: Final = 0.05
HELD: Final = 0.5
LAST_RATE: Final = 0.01
_FIRST_MOMENT: Final = 0.9
_SECOND_MOMENT: Final = 0.99
_EVERY: Final = 500
_LEAST: Final = 1e-300


class Batch(NamedTuple):
    """Queries and who is held against them.

    Attributes:
        queries: Nodes, each once, ``[queries]``.
        others: Nodes in order, ``[others]``; the queries are among them.
        wanted: 1 where the query has a pair to the other, else 0, ``[queries, others]``.
        against: 1 where it has none and is another node, else 0, ``[queries, others]``.
    """

    queries: Ints
    others: Ints
    wanted: Floats
    against: Floats


def batch_of(graph: Hierarchy, queries: Ints, drawn: Ints) -> Batch:
    """Hold queries against drawn nodes, themselves and all that they have pairs to."""
    of_row, pair = graph.rows(queries)
    others = np.unique(np.concatenate([drawn, queries, graph.parent[pair]]))
    wanted = np.zeros((len(queries), len(others)))
    wanted[of_row, np.searchsorted(others, graph.parent[pair])] = 1
    against = 1 - wanted
    against[np.arange(len(queries)), np.searchsorted(others, queries)] = 0
    return Batch(queries, others, wanted, against)


def loss_gradient(
    space: Space, points: Floats, batch: Batch, temperature: float
) -> tuple[float, Floats]:
    """Mean loss of a batch's pairs, and its gradient by the points of ``batch.others``.

    Returns:
        The loss, and ``[others, dim]``.
    """
    x, y = points[batch.queries], points[batch.others]
    near = space.near(x, y)
    # A row's nearest negative is subtracted: exp of far ones underflows at a low temperature.
    least = np.where(batch.against > 0, near.distance, np.inf).min(axis=1, keepdims=True)
    scores = (np.where(np.isfinite(least), least, 0.0) - near.distance) / temperature
    held = np.exp(np.minimum(scores, 0.0)) * batch.against
    row, column = np.nonzero(batch.wanted)
    score, negatives = scores[row, column], held.sum(axis=1)[row]
    total = np.logaddexp(score, np.log(np.maximum(negatives, _LEAST)))
    share = np.exp(score - total)
    weight = 1 / (len(row) * temperature)
    # by the distances: of a pair (1 - share), of a negative minus its part of the rest
    by_distance = held * (-weight * np.bincount(row, np.exp(-total), len(x)))[:, None]
    by_distance[row, column] = weight * (1 - share)
    by_distance *= near.pull
    squared = by_distance * near.square
    gradient = (by_distance.sum(0) + squared.sum(0) * near.by_other)[:, None] * y
    gradient -= by_distance.T @ x
    own = np.searchsorted(batch.others, batch.queries)
    gradient[own] += (by_distance.sum(1) + squared.sum(1) * near.by_query)[:, None] * x
    gradient[own] -= by_distance @ y
    return float((total - score).mean()), gradient


@dataclass
class Adam:
    """Moments of each point's gradient, moved only where the point is in the batch.

    The first moment stays as it is while its point moves: the frame of unit vectors along the
    coordinates turns little over one step.
    """

    points: Floats
    first: Floats = field(init=False)
    second: Floats = field(init=False)
    times: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.first = np.zeros_like(self.points)
        self.second = np.zeros(len(self.points))
        self.times = np.zeros(len(self.points), np.int64)

    def step(self, space: Space, nodes: Ints, gradient: Floats, rate: float) -> None:
        """Move some points against their gradient ``[nodes, dim]``, each at most about ``rate``."""
        points = self.points[nodes]
        direction = space.direction(points, gradient)
        first = _FIRST_MOMENT * self.first[nodes] + (1 - _FIRST_MOMENT) * direction
        squares = (direction**2).sum(axis=1)
        second = _SECOND_MOMENT * self.second[nodes] + (1 - _SECOND_MOMENT) * squares
        times = self.times[nodes] + 1
        size = np.sqrt(second / (1 - _SECOND_MOMENT**times)) * (1 - _FIRST_MOMENT**times)
        by = first * (-rate / (size + 1e-12))[:, None]
        self.points[nodes] = space.moved(points, by)
        self.first[nodes], self.second[nodes], self.times[nodes] = first, second, times


def trained(
    graph: Hierarchy, start: Floats, space: Space, steps: int, seed: int, progress: Progress
) -> tuple[Floats, float]:
    """Points after steps from a start ``[nodes, dim]``, and the mean loss of the last ones.

    Args:
        graph: Pairs; at least one.
        start: Points of the space, not changed.
        space: Where distances and steps are taken.
        steps: How many batches.
        seed: Of the order of batches and of drawn negatives.
        progress: Called every 500 steps.
    """
    rng = np.random.default_rng(seed)
    adam = Adam(start.copy())
    nodes, queries = len(start), np.unique(graph.child)
    every, waiting = np.arange(nodes), np.empty(0, np.int64)
    losses: deque[float] = deque(maxlen=_EVERY)
    for done in range(steps):
        if not len(waiting):
            waiting = rng.permutation(queries)
        own, waiting = np.sort(waiting[:BATCH]), waiting[BATCH:]
        drawn = every if nodes <= MOST_NODES else rng.integers(0, nodes, DRAWN)
        batch = batch_of(graph, own, drawn)
        past = done / steps
        first, last = TEMPERATURES
        temperature = first * (last / first) ** min(1.0, past * 1.2)
        loss, gradient = loss_gradient(space, adam.points, batch, temperature)
        adam.step(space, batch.others, gradient, rate_at(past))
        losses.append(loss)
        if (done + 1) % _EVERY == 0 or done + 1 == steps:
            progress("category vectors", done + 1, steps)
    return adam.points, float(np.mean(losses)) if losses else float("nan")


def rate_at(past: float) -> float:
    """The rate after a part of the steps: a rise, then level, then an even fall."""
    if past < WARM:
        return RATE * (past / WARM * 0.9 + 0.1)
    return RATE * min(1.0, max(LAST_RATE, (1 - past) / (1 - HELD)))
