"""Trees laid into the ball without training: so that parents are nearest, or all ancestors are.

Parents nearest: Sarkar 2011 does it in the plane, Sala et al. 2018 in more dimensions: a node is
moved to the origin, its children are placed on a sphere around it, in directions apart from each
other and from the way to its parent, and all is moved back.

All ancestors nearest: each node gets a cap of the ball's edge, the caps of children are disjoint,
inside their parent's and without its centre. The point at cos(angle) in the direction of a cap's
centre is as far from the cap's rim as the origin is (from |x - u|² = 1 - |x|² of u on the edge), so
the geodesic plane over the rim parts what is nearer to the point from what is nearer to the
origin. A node is on its own side of its own plane, hence of all its ancestors', and on the
origin's side of every other node's: its ancestors are nearer to it than the origin, all else is
farther.
"""

from typing import Final

import numpy as np

from itememb_core.features.categories.hierarchy import Hierarchy, Ints
from itememb_core.features.categories.space import MAX_RADIUS, Floats, added, inside

#: The deepest edges are longer by this part than the first: a parent is nearer than any child.
GROWTH: Final = 0.5
#: Largest angle of a cap, and what part of the room that there is caps take.
WIDEST: Final = 1.4
SLACK: Final = 0.95
#: Directions that are pushed apart; more of them are random.
MOST_SPREAD: Final = 1_000
_ROUNDS: Final = 80


def laid_out(graph: Hierarchy, dim: int, seed: int, longest: float, radius: float) -> Floats:
    """Points of all nodes, the tree of main parents around the origin, ``[nodes, dim]``.

    Several nodes without a parent are treated as the children of one at the origin.

    Args:
        graph: Pairs without a cycle.
        dim: Dimensions, at least 2.
        seed: Of the directions.
        longest: The longest edge at the top.
        radius: Most distance of the deepest level from the origin.
    """
    below = _children(graph.main_parent)
    lengths = edge_lengths(int(graph.levels.max()) + 1, longest, radius)
    rng = np.random.default_rng(seed)
    apart: dict[int, Floats] = {}
    points = np.zeros((len(graph.ids), dim))
    roots = below[-1]
    if len(roots) > 1:
        points[roots] = np.tanh(lengths[0] / 2) * _apart(apart, len(roots), dim, rng)
    lengths = lengths[1:] if len(roots) > 1 else lengths
    for node in np.argsort(graph.levels, kind="stable").tolist():
        children = below.get(node)
        if children is None:
            continue
        parent = graph.main_parent[node]
        if parent < 0 and len(roots) == 1:
            ways = _apart(apart, len(children), dim, rng)
        else:
            back = -points[node] if parent < 0 else added(-points[node], points[parent])
            ways = _turned(_apart(apart, len(children) + 1, dim, rng), back)
        around = np.tanh(lengths[graph.levels[node]] / 2) * ways
        points[children] = inside(added(points[node], around))
    return points


def nested(graph: Hierarchy, dim: int, seed: int) -> Floats | None:
    """Points of all nodes whose ancestors are nearer than all else, ``[nodes, dim]``.

    It holds for trees; a second parent is not regarded. None where caps would be too small for
    ``MAX_RADIUS``, as those of more than 20 levels of two children are. Several nodes without a
    parent are treated as the children of one at the origin.

    Args:
        graph: Pairs without a cycle, of a tree's closure or of the tree.
        dim: Dimensions, at least 3.
        seed: Of the directions.
    """
    below = _children(graph.main_parent)
    rng = np.random.default_rng(seed)
    apart: dict[int, Floats] = {}
    centres, angles = np.zeros((len(graph.ids), dim)), np.full(len(graph.ids), np.pi / 2)
    roots = below[-1]
    first = roots if len(roots) > 1 else below.get(int(roots[0]), roots[:0])
    if len(first):
        centres[first] = spread(len(first), dim, rng)
        angles[first] = SLACK * min(WIDEST, np.arcsin(_half_chord(centres[first])))
    for node in np.argsort(graph.levels, kind="stable").tolist():
        children = below.get(node)
        if children is None or not centres[node].any():
            continue
        ways = _apart(apart, len(children), dim - 1, rng)
        half = _half_chord(ways)
        away = angles[node] / (1 + half)
        width = min(angles[node] - away, np.arcsin(np.sin(away) * half))
        around = _turned(np.eye(dim), centres[node]).T @ ways.T
        centres[children] = np.cos(away) * centres[node] + np.sin(away) * around.T
        angles[children] = SLACK * width
    if angles.min() < 2 * np.exp(-MAX_RADIUS / 2):
        return None
    return np.cos(angles)[:, None] * centres


def _half_chord(ways: Floats) -> float:
    """The sine of half the least angle between any two directions."""
    from scipy.spatial import cKDTree

    if len(ways) == 1:
        return 1.0
    return float(cKDTree(ways).query(ways, k=2)[0][:, 1].min()) / 2


def edge_lengths(levels: int, longest: float, radius: float) -> Floats:
    """Lengths of edges by the parent's level, which grow downwards, ``[levels]``.

    Args:
        levels: How many, at least 1.
        longest: The first one's length, unless ``radius`` makes it less.
        radius: Most that all may sum to.
    """
    grown = 1 + GROWTH * np.arange(levels) / levels
    return grown * min(longest, radius / float(grown.sum()))


def spread(count: int, dim: int, rng: np.random.Generator) -> Floats:
    """Unit vectors far apart, ``[count, dim]``: random ones that push their nearest away."""
    ways = _unit(rng.normal(size=(count, dim)))
    if count == 1 or count > MOST_SPREAD:
        return ways
    for done in range(_ROUNDS):
        cosines = ways @ ways.T
        np.fill_diagonal(cosines, -np.inf)
        push = -np.exp((8 + done / 2) * (cosines - cosines.max())) @ ways
        push -= (push * ways).sum(axis=1, keepdims=True) * ways  # along the sphere
        largest = float(np.linalg.norm(push, axis=1).max())
        ways = _unit(ways + push * (0.2 * (1 - done / _ROUNDS) / (largest + 1e-12)))
    return ways


def _apart(known: dict[int, Floats], count: int, dim: int, rng: np.random.Generator) -> Floats:
    """Directions by their number, each found once."""
    if count not in known:
        known[count] = spread(count, dim, rng)
    return known[count]


def _turned(ways: Floats, first: Floats) -> Floats:
    """All directions but the first, mirrored so that the first points along a vector."""
    normal = ways[0] - first / np.linalg.norm(first)
    square = float(normal @ normal)
    rest = ways[1:]
    if square < 1e-24:
        return rest
    return rest - np.outer(rest @ normal, 2 / square * normal)


def _children(parents: Ints) -> dict[int, Ints]:
    """Nodes by their parent, -1 for those without."""
    order = np.argsort(parents, kind="stable")
    of_each, starts = np.unique(parents[order], return_index=True)
    parts = np.split(order, starts[1:])
    return dict(zip(of_each.tolist(), parts, strict=True))


def _unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
