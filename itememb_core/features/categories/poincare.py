"""Vectors of category trees in the Poincaré ball: fitting, distances, tangent vectors, files."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypedDict, cast

import numpy as np

from itememb_core.errors import ItemembError
from itememb_core.features.categories.hierarchy import Hierarchy, Ints, Node
from itememb_core.features.categories.measures import ranking
from itememb_core.features.categories.space import (
    CURVATURE,
    Ball,
    Flat,
    Floats,
    distance,
    log_at_origin,
)
from itememb_core.features.categories.start import laid_out, nested
from itememb_core.features.categories.training import trained
from itememb_core.model_files import existing, read_json
from itememb_core.progress import Progress, silent

VECTORS: Final = "category_vectors.safetensors"
FACTS: Final = "categories.json"
#: Longest edges and radii of the layouts that are tried, until one gives every pair back. The
#: first stays where 1 - |x| is 1e-5, which float32 and other libraries' clamps still tell from 0.
LAYOUTS: Final = ((3.0, 12.0), (3.0, 19.0), (6.0, 19.0), (9.0, 19.0))
#: Longest edge and radius of a layout that is trained to put parents nearest: nodes near the
#: origin move more easily, to be near a second parent.
SHORT: Final = (0.3, 3.0)
#: Steps of a fit whose layout is not perfect as it is.
STEPS: Final = 20_000


class PoincareFacts(TypedDict):
    """What is stored beside the vectors.

    ``layout_map``: MAP of the given pairs before training; ``map``: of the vectors; ``steps``: 0
    where the layout was kept; ``loss``: mean of the last steps, None where there were none.
    """

    curvature: float
    dim: int
    pairs: int
    seed: int
    steps: int
    layout_map: float
    map: float
    loss: float | None


@dataclass(frozen=True)
class PoincareEmbedding:
    """A vector of each node of a hierarchy.

    Attributes:
        ids: Names in order, each once.
        vectors: Points inside the unit ball, float64 ``[nodes, dim]``.
        facts: How they were fitted.
    """

    ids: tuple[Node, ...]
    vectors: Floats
    facts: PoincareFacts

    def distance(self, a: Node | Sequence[Node], b: Node | Sequence[Node]) -> Floats:
        """Poincaré distances, float64: of two names ``[]``, else ``[names]``.

        Args:
            a: Names, or one that is held against each of ``b``.
            b: As many names, or one.

        Raises:
            ItemembError: A name is unknown, or there are not as many of one as of the other.
        """
        one, other = self._points(a), self._points(b)
        if one.ndim == other.ndim == 2 and len(one) != len(other):
            raise ItemembError(f"category_vectors: {len(one)} names against {len(other)}, "
                               "expected as many, or one")  # fmt: skip
        return distance(one, other)

    def between(self, queries: Ints, others: Ints) -> Floats:
        """Distances of nodes by their places in ``ids``, ``[queries, others]``."""
        return Ball().near(self.vectors[queries], self.vectors[others]).distance

    def tangent(self) -> Floats:
        """Vectors of the tangent space at the origin, float64 ``[nodes, dim]``.

        A vector is as long as its node is far from the origin; see
        :func:`itememb_core.features.categories.space.log_at_origin` for the formula's source.
        """
        return log_at_origin(self.vectors)

    def save(self, folder: Path) -> None:
        """Write safetensors and JSON into an existing folder."""
        from safetensors.numpy import save_file

        save_file({"vectors": np.ascontiguousarray(self.vectors)}, folder / VECTORS)
        facts = {"ids": list(self.ids), **self.facts}
        text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / FACTS).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PoincareEmbedding":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: If a file is missing or damaged, or the two disagree.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = existing(folder / VECTORS, "category_vectors")
        try:
            vectors = load_file(path)["vectors"]
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise ItemembError(f"category_vectors: {path} cannot be read ({error})") from error
        facts = read_json(folder / FACTS, "category_vectors")
        ids = facts.pop("ids", None)
        found = (len(ids) if isinstance(ids, list) else None, facts.get("dim"))
        if vectors.shape != found:
            raise ItemembError(
                f"category_vectors: {path} has vectors {list(vectors.shape)}, "
                f"expected {list(found)} ({FACTS})"
            )
        return cls(tuple(cast("list[Node]", ids)), vectors, cast(PoincareFacts, facts))

    @cached_property
    def _places(self) -> dict[Node, int]:
        return {node: i for i, node in enumerate(self.ids)}

    def _points(self, names: Node | Sequence[Node]) -> Floats:
        one = isinstance(names, str | int | np.integer)
        every = cast("Sequence[Node]", [names] if one else names)
        try:
            rows = [self._places[node] for node in every]
        except KeyError as error:
            raise ItemembError(
                f"category_vectors: no node {error.args[0]!r}, expected one of {len(self.ids)}"
            ) from error
        return self.vectors[rows[0] if one else rows]


@dataclass(frozen=True)
class FlatEmbedding:
    """Vectors of Euclidean space, to be measured beside the hyperbolic ones."""

    ids: tuple[Node, ...]
    vectors: Floats

    def between(self, queries: Ints, others: Ints) -> Floats:
        """Distances of nodes by their places in ``ids``, ``[queries, others]``."""
        return Flat().near(self.vectors[queries], self.vectors[others]).distance


def fit_poincare(
    edges: Iterable[tuple[Node, Node]],
    dim: int = 15,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> PoincareEmbedding:
    """Give each node of a hierarchy a point of the Poincaré ball.

    The tree of main parents is first laid out around the origin, so that parents are nearest or, of
    a closure, all ancestors (:mod:`itememb_core.features.categories.start`). Where that gives every
    pair back, as it does of trees, it is the result. Else it is trained, and what gives them back
    better is kept. The same pairs and seed give the same bytes on one machine with
    as many threads.

    Args:
        edges: (child, parent) pairs of a tree or of any graph without cycles, or of the closure of
            one. A repeated pair counts once; a pair of a node with itself only names it.
        dim: Dimensions, at least 2.
        steps: Of training; 0 keeps the layout.
        seed: Of directions, batches and, above ``training.MOST_NODES`` nodes, drawn negatives.
        progress: Called every 500 steps.

    Raises:
        ItemembError: There is no pair, a cycle (one is named), names of several kinds, or
            ``dim`` or ``steps`` is too small.
    """
    graph = _checked(edges, dim, steps)
    before, vectors = _layout(graph, dim, seed)
    facts = PoincareFacts(curvature=CURVATURE, dim=dim, pairs=len(graph.child), seed=seed,
                          steps=0, layout_map=before, map=before, loss=None)  # fmt: skip
    if before < 1 and steps:
        start = vectors if _closed(graph) else laid_out(graph, dim, seed, *SHORT)
        found, loss = trained(graph, start, Ball(), steps, seed, progress or silent)
        after = _map(graph, found)
        if after > before:
            vectors = found
            facts = {**facts, "steps": steps, "map": after, "loss": loss}
    return PoincareEmbedding(graph.ids, vectors, facts)


def fit_flat(
    edges: Iterable[tuple[Node, Node]],
    dim: int = 15,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> FlatEmbedding:
    """Train points of Euclidean space as :func:`fit_poincare` trains, from a random start.

    The baseline of flat distance; arguments and errors are those of :func:`fit_poincare`.
    """
    graph = _checked(edges, dim, steps)
    start = np.random.default_rng(seed).normal(size=(len(graph.ids), dim))
    if len(graph.child):
        start, _loss = trained(graph, start, Flat(), steps, seed, progress or silent)
    return FlatEmbedding(graph.ids, start)


def _checked(edges: Iterable[tuple[Node, Node]], dim: int, steps: int) -> Hierarchy:
    """The pairs of a fit, without a cycle."""
    for name, value, least in (("dim", dim, 2), ("steps", steps, 0)):
        if value < least:
            raise ItemembError(f"fit_poincare: {name} is {value}, expected at least {least}")
    graph = Hierarchy.of(edges)
    _ = graph.levels  # raises at a cycle
    return graph


def _layout(graph: Hierarchy, dim: int, seed: int) -> tuple[float, Floats]:
    """The first perfect layout, or else the best, after its MAP."""
    best = (-1.0, np.empty((0, dim)))
    for points in _layouts(graph, dim, seed):
        found = _map(graph, points)
        if found > best[0]:
            best = found, points
        if found == 1:
            break
    return best


def _layouts(graph: Hierarchy, dim: int, seed: int) -> Iterator[Floats]:
    """Layouts for parents, then, where there is room for it, the one for all ancestors."""
    for longest, radius in LAYOUTS:
        yield laid_out(graph, dim, seed, longest, radius)
    points = nested(graph, dim, seed) if dim > 2 else None
    if points is not None:
        yield points


def _closed(graph: Hierarchy) -> bool:
    """Whether every ancestor of a node is given with it."""
    return len(graph.closure().child) == len(graph.child)


def _map(graph: Hierarchy, vectors: Floats) -> float:
    """MAP of the pairs that were given."""
    measured = PoincareEmbedding(graph.ids, vectors, cast(PoincareFacts, {}))
    return ranking(measured, graph, graph, unrelated=False).map
