"""How well vectors tell a hierarchy: parents found, pairs given back, pairs that were held out.

What belongs here: measures of any vectors that have distances. What does not: fitting them.
Ties count against the pair: vectors that are all alike find nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.features.categories.hierarchy import Hierarchy, Ints, Node

Floats = NDArray[np.float64]
#: Distances held at once.
_CELLS: Final = 4_000_000


class Distances(Protocol):
    """Vectors of nodes, of any space."""

    @property
    def ids(self) -> tuple[Node, ...]:
        """Names in order."""

    def between(self, queries: Ints, others: Ints) -> Floats:
        """Distances of nodes by their places in ``ids``, ``[queries, others]``."""


class ParentHits(NamedTuple):
    """Parents found, over all given pairs.

    Attributes:
        hit_at_1: Share of pairs whose parent is nearer to the child than every other node, the
            child's own children and its other given parents left out.
        hit_at_1_of_all: The same with the child's own children among the others.
        mean_rank: Mean rank of the parent as in ``hit_at_1``, the best 1.
        pairs: How many.
    """

    hit_at_1: float
    hit_at_1_of_all: float
    mean_rank: float
    pairs: int


class Ranking(NamedTuple):
    """Measures of Nickel and Kiela 2017.

    Attributes:
        mean_rank: Mean over pairs (u, v) of the rank of v among it and the nodes that u has no
            pair to, by distance from u, the best 1.
        map: Mean over the u that have a pair of the average precision of their v among all nodes.
    """

    mean_rank: float
    map: float


class HeldOut(NamedTuple):
    """A hierarchy's closure in two parts.

    Attributes:
        train: Pairs to fit, (node, ancestor).
        test: Pairs that were left out.
    """

    train: list[tuple[Node, Node]]
    test: list[tuple[Node, Node]]


def parent_hits(vectors: Distances, edges: Iterable[tuple[Node, Node]]) -> ParentHits:
    """Whether each node's nearest is its parent.

    Args:
        vectors: Of at least the nodes of the pairs; only those are ranked.
        edges: (child, parent) pairs of a tree or of a graph, no closure.

    Raises:
        ItemembError: A node has no vector.
    """
    graph = Hierarchy.of(edges)
    ranks, of_all = [], []
    for rows, distance in _blocks(vectors, graph):
        of_row, pair = graph.rows(rows)
        parents = graph.parent[pair]
        own = distance[of_row, parents]
        distance[of_row, parents] = np.inf
        of_all.append(_nearer(distance, of_row, own))
        below, child = graph.reversed.rows(rows)
        distance[below, graph.reversed.parent[child]] = np.inf
        ranks.append(_nearer(distance, of_row, own))
    if not ranks:
        return ParentHits(1.0, 1.0, 1.0, 0)
    rank, rank_of_all = np.concatenate(ranks) + 1, np.concatenate(of_all) + 1
    return ParentHits(
        hit_at_1=float((rank == 1).mean()),
        hit_at_1_of_all=float((rank_of_all == 1).mean()),
        mean_rank=float(rank.mean()),
        pairs=len(rank),
    )


def reconstruction(
    vectors: Distances, edges: Iterable[tuple[Node, Node]], *, unrelated: bool = False
) -> Ranking:
    """Mean rank and MAP of pairs that were fitted, as Nickel and Kiela 2017 measure them.

    Args:
        vectors: Of at least the nodes of the pairs; only those are ranked.
        edges: (node, ancestor) pairs.
        unrelated: Whether nodes that have a pair to u are left out of what its v are ranked
            among. Theirs are ranked among these too, which is harder.

    Raises:
        ItemembError: A node has no vector.
    """
    graph = Hierarchy.of(edges)
    return ranking(vectors, graph, graph, unrelated)


def link_prediction(vectors: Distances, held: HeldOut, *, unrelated: bool = False) -> Ranking:
    """Mean rank and MAP of held-out pairs; what was fitted of a node is left out of its ranks.

    Args:
        vectors: Fitted on ``held.train``.
        held: See :func:`held_out`.
        unrelated: As in :func:`reconstruction`.

    Raises:
        ItemembError: A node has no vector.
    """
    known = Hierarchy.of([*held.train, *held.test])
    place = {node: i for i, node in enumerate(known.ids)}
    child, parent = (np.array([place[p[i]] for p in held.test], np.int64) for i in (0, 1))
    return ranking(vectors, known, Hierarchy.at(known.ids, child, parent), unrelated)


def held_out(edges: Iterable[tuple[Node, Node]], share: float = 0.1, seed: int = 0) -> HeldOut:
    """Leave out the pair to the parent of a share of the leaves, and fit the rest of the closure.

    A tree's own pairs can not be told apart once one is gone: its leaf has no other. So the
    closure is taken, and a leaf keeps its pairs to the ancestors beyond. Leaves whose parent has
    no parent are never drawn.

    Args:
        edges: (child, parent) pairs, or (node, ancestor) pairs.
        share: Of the leaves that can be drawn, above 0 and below 1; at least one is.
        seed: Of the draw.

    Raises:
        ItemembError: The share is no such number, there is a cycle, or no leaf can be drawn.
    """
    if not 0 < share < 1:
        raise ItemembError(f"held_out: share is {share}, expected a number above 0 and below 1")
    graph = Hierarchy.of(edges)
    leaf = np.bincount(graph.parent, minlength=len(graph.ids)) == 0
    drawable = np.flatnonzero(leaf & (graph.levels > 1))
    if not len(drawable):
        raise ItemembError("held_out: no leaf is two levels deep, expected at least one")
    count = max(1, round(share * len(drawable)))
    drawn = np.random.default_rng(seed).choice(drawable, count, replace=False)
    closed = graph.closure()
    out = np.isin(closed.child, drawn) & (closed.parent == graph.main_parent[closed.child])
    pairs = closed.pairs
    train, test = ([pairs[i] for i in np.flatnonzero(each).tolist()] for each in (~out, out))
    return HeldOut(train, test)


def ranking(vectors: Distances, known: Hierarchy, asked: Hierarchy, unrelated: bool) -> Ranking:
    """Ranks of asked pairs among the nodes that a query has no known pair to.

    Args:
        vectors: Of at least the nodes of the pairs.
        known: All pairs.
        asked: Those that are ranked, of the same nodes.
        unrelated: As in :func:`reconstruction`.
    """
    above, precision = [np.empty(0)], [np.empty(0)]
    for rows, distance in _blocks(vectors, asked):
        of_row, pair = asked.rows(rows)
        own = distance[of_row, asked.parent[pair]]
        known_row, known_pair = known.rows(rows)
        distance[known_row, known.parent[known_pair]] = np.inf
        if unrelated:
            below, child = known.reversed.rows(rows)
            distance[below, known.reversed.parent[child]] = np.inf
        order = np.lexsort((own, of_row))
        nearer = _nearer(distance, of_row[order], own[order])
        counts = np.bincount(of_row, minlength=len(rows))
        # of_row ascends: of each query, its own pairs from the nearest on count 1, 2, ...
        place = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        sums = np.bincount(of_row, place / (place + nearer), minlength=len(rows))
        above.append(nearer)
        precision.append(sums / counts)
    ranks, average = np.concatenate(above) + 1, np.concatenate(precision)
    if not len(ranks):
        return Ranking(1.0, 1.0)
    return Ranking(float(ranks.mean()), float(average.mean()))


def _blocks(vectors: Distances, graph: Hierarchy) -> Iterator[tuple[Ints, Floats]]:
    """Nodes that have pairs, and their distances to all of the graph; to themselves infinite."""
    place = {node: i for i, node in enumerate(vectors.ids)}
    missing = [node for node in graph.ids if node not in place]
    if missing:
        raise ItemembError(f"category vectors: none of {missing[0]!r}, expected one of each node")
    at = np.array([place[node] for node in graph.ids], np.int64)
    queries = np.unique(graph.child)
    step = max(1, _CELLS // len(at))
    for low in range(0, len(queries), step):
        rows = queries[low : low + step]
        distance = vectors.between(at[rows], at)
        distance[np.arange(len(rows)), rows] = np.inf
        yield rows, distance


def _nearer(distance: Floats, of_row: Ints, own: Floats) -> Floats:
    """How many of a row are as near as a value or nearer, ``[values]``."""
    of_values = zip(of_row.tolist(), own.tolist(), strict=True)
    return np.array([np.count_nonzero(distance[row] <= value) for row, value in of_values], float)
