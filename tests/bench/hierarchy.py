"""How well category trees are embedded: hyperbolic beside Euclidean and random vectors.

``python -m tests.bench.hierarchy [--steps 20000] [--seed 0] [--only trees closures held_out large]
[--edges FILE.parquet]`` prints one row a hierarchy: trees in 15 dimensions (parents found), their
closures of about 1,200 nodes in 5 (mean rank and MAP of Nickel and Kiela 2017; "unrelated": a
node's descendants are left out of its ranks), and pairs held out of closures. ``--edges`` adds a
tree from the columns child and parent. Euclidean vectors are trained by the same steps from a
random start. The trainer's constants were chosen on random recursive trees of 600 nodes, with and
without second parents, on a caterpillar and on WordNet's birds, none of which is here.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from time import process_time

import numpy as np
import pyarrow.parquet as pq

from itememb_core.features.categories.hierarchy import Hierarchy, Node
from itememb_core.features.categories.measures import (
    held_out,
    link_prediction,
    parent_hits,
    reconstruction,
)
from itememb_core.features.categories.poincare import STEPS, FlatEmbedding, fit_flat, fit_poincare

Edges = list[tuple[Node, Node]]
NODES = 1_200


def grown(rng: np.random.Generator, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]):
    """A tree whose every node picks a parent by a weight of (children, levels) of those before."""
    children, levels, edges = np.zeros(NODES), np.zeros(NODES), []
    for node in range(1, NODES):
        chances = weight(children[:node], levels[:node])
        parent = int(rng.choice(node, p=chances / chances.sum()))
        children[parent] += 1
        levels[node] = levels[parent] + 1
        edges.append((node, parent))
    return edges


def even(branches: int) -> Edges:
    return [(i, (i - 1) // branches) for i in range(1, NODES)]


def caterpillar(rng: np.random.Generator, levels: int) -> Edges:
    spine = [(i, i - 1) for i in range(1, levels)]
    return spine + [(i, int(rng.integers(0, levels))) for i in range(levels, NODES)]


def shop(rng: np.random.Generator, sizes: tuple[int, ...]) -> Edges:
    """Departments, categories and so on, each parent as popular as Zipf's law has it."""
    edges, above, first = [], [0], 1
    for size in sizes:
        weights = 1 / np.arange(1, len(above) + 1)
        parents = rng.choice(above, size, p=weights / weights.sum())
        edges += [(first + i, int(parent)) for i, parent in enumerate(parents)]
        above, first = list(range(first, first + size)), first + size
    return edges


def with_second_parents(rng: np.random.Generator, edges: Edges, share: float) -> Edges:
    """Some nodes get another parent among those before them."""
    drawn = rng.choice(np.arange(10, NODES), int(share * NODES), replace=False)
    return edges + [(int(node), int(rng.integers(1, node))) for node in drawn]


def hierarchies(seed: int) -> Iterator[tuple[str, Edges]]:
    rng = np.random.default_rng([seed, 77])
    yield "random recursive", grown(rng, lambda children, levels: 1.0 + 0 * children)
    yield "preferential attachment", grown(rng, lambda children, levels: children + 1)
    wordnet = grown(rng, lambda children, levels: (children + 0.3) * (levels < 12) * (1 + levels))
    yield "WordNet-like, 13 levels", wordnet
    yield "2 children each", even(2)
    yield "4 children each", even(4)
    yield "12 children each", even(12)
    yield "caterpillar of 40 levels", caterpillar(rng, 40)
    yield "caterpillar of 150 levels", caterpillar(rng, 150)
    yield "shop of 4 levels", shop(rng, (15, 150, NODES - 166))
    yield "WordNet-like, 2 % two parents", with_second_parents(rng, wordnet, 0.02)
    yield (
        "recursive, 5 % two parents",
        with_second_parents(rng, grown(rng, lambda children, levels: 1.0 + 0 * children), 0.05),
    )


def drawn(edges: Edges, dim: int, seed: int) -> FlatEmbedding:
    """Random vectors."""
    ids = Hierarchy.of(edges).ids
    return FlatEmbedding(ids, np.random.default_rng(seed).normal(size=(len(ids), dim)))


def row(name: str, *figures: float | int | str) -> None:
    cells = [f"{each:.4f}" if isinstance(each, float) else str(each) for each in figures]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def head(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def fitted(edges: Edges, dim: int, given: argparse.Namespace):
    """Hyperbolic, Euclidean and random vectors, and the first one's seconds of one core."""
    began = process_time()
    ball = fit_poincare(edges, dim, steps=given.steps, seed=given.seed)
    seconds = round(process_time() - began)
    flat = fit_flat(edges, dim, steps=given.flat_steps, seed=given.seed)
    return ball, flat, drawn(edges, dim, given.seed), seconds


def trees(every: dict[str, Edges], given: argparse.Namespace) -> None:
    head("tree, 15-d", "nodes", "levels", "hit@1", "with children", "mean rank", "steps", "s",
         "Euclidean hit@1", "random hit@1")  # fmt: skip
    for name, edges in every.items():
        graph = Hierarchy.of(edges)
        ball, flat, random, seconds = fitted(edges, 15, given)
        found = parent_hits(ball, edges)
        row(name, len(graph.ids), int(graph.levels.max()) + 1, found.hit_at_1,
            found.hit_at_1_of_all, found.mean_rank, ball.facts["steps"], seconds,
            *(parent_hits(each, edges).hit_at_1 for each in (flat, random)))  # fmt: skip


def closures(every: dict[str, Edges], given: argparse.Namespace) -> None:
    head("closure, 5-d", "pairs", "MAP", "mean rank", "MAP, unrelated", "of the layout", "s",
         "Euclidean MAP", "random MAP")  # fmt: skip
    for name, edges in every.items():
        closed = Hierarchy.of(edges).closure().pairs
        ball, flat, random, seconds = fitted(closed, 5, given)
        found = reconstruction(ball, closed)
        row(name, len(closed), found.map, found.mean_rank,
            reconstruction(ball, closed, unrelated=True).map, ball.facts["layout_map"], seconds,
            *(reconstruction(each, closed).map for each in (flat, random)))  # fmt: skip


def held_outs(every: dict[str, Edges], given: argparse.Namespace) -> None:
    head("10 % of leaves held out, 15-d", "pairs", "MAP", "mean rank", "s", "Euclidean MAP",
         "mean rank", "random MAP", "mean rank")  # fmt: skip
    for name, edges in every.items():
        held = held_out(edges, 0.1, given.seed)
        *vectors, seconds = fitted(held.train, 15, given)
        (rank, found), *others = (link_prediction(each, held) for each in vectors)
        flat = [figure for each in others for figure in (each.map, each.mean_rank)]
        row(name, len(held.test), found, rank, seconds, *flat)


def large(given: argparse.Namespace) -> None:
    """20,000 nodes: a tree, and a graph with second parents that needs training."""
    head("20,000 nodes, 15-d", "hit@1", "steps", "s", "peak GB")
    import resource

    rng = np.random.default_rng(given.seed)
    edges: Edges = [(i, int(rng.integers(0, i))) for i in range(1, 20_000)]
    second = [(int(i), int(rng.integers(1, i))) for i in rng.integers(10, 20_000, 400)]
    for name, pairs in (("tree", edges), ("2 % two parents", edges + second)):
        began = process_time()
        ball = fit_poincare(pairs, 15, steps=given.steps, seed=given.seed)
        seconds = round(process_time() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        row(name, parent_hits(ball, pairs).hit_at_1, ball.facts["steps"], seconds, peak)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hierarchy")
    parts = ("trees", "closures", "held_out", "large")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--flat-steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edges", help="Parquet with columns child and parent: only this tree")
    given = parser.parse_args(arguments)
    if given.edges:
        table = pq.read_table(given.edges, columns=["child", "parent"])
        pairs = zip(table["child"].to_pylist(), table["parent"].to_pylist(), strict=True)
        every = {given.edges.rsplit("/", 1)[-1]: list(pairs)}
    else:
        every = dict(hierarchies(given.seed))
    if "trees" in given.only:
        trees(every, given)
    if "closures" in given.only:
        closures(every, given)
    if "held_out" in given.only:
        held_outs(every, given)
    if "large" in given.only and not given.edges:
        large(given)


if __name__ == "__main__":
    main(sys.argv[1:])
