"""Category trees as numbers: nodes, (child, parent) pairs, levels, cycles, closures.

What belongs here: what holds of any directed graph without cycles. What does not: vectors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError

#: A node's name.
Node = str | int
Ints = NDArray[np.int64]
#: Names of a cycle that a message holds.
LONGEST: Final = 12


@dataclass(frozen=True)
class Hierarchy:
    """Distinct pairs of distinct nodes, ordered by child, then parent.

    Attributes:
        ids: Names in order, each once.
        child: Place in ``ids`` of each pair's child, ``[pairs]``.
        parent: Place of its parent, or of an ancestor where the pairs are a closure, ``[pairs]``.
    """

    ids: tuple[Node, ...]
    child: Ints
    parent: Ints

    @classmethod
    def of(cls, edges: Iterable[tuple[Node, Node]]) -> "Hierarchy":
        """Take (child, parent) pairs; a repeated one counts once, a self pair names its node.

        Raises:
            ItemembError: There is no pair, one is no pair, or a name is no string or integer, or
                names are of both kinds.
        """
        pairs = [_pair(pair, number) for number, pair in enumerate(edges)]
        ids = _ids(pairs)
        place = {node: i for i, node in enumerate(ids)}
        flat = np.fromiter((place[node] for pair in pairs for node in pair), np.int64)
        return cls.at(ids, flat[::2], flat[1::2])

    @classmethod
    def at(cls, ids: Sequence[Node], child: Ints, parent: Ints) -> "Hierarchy":
        """Take pairs of places in ``ids``, in any order, repeated or of a node with itself."""
        of_two = child != parent
        keys = np.unique(child[of_two] * len(ids) + parent[of_two])
        return cls(tuple(ids), keys // len(ids), keys % len(ids))

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """The pairs by name."""
        found = zip(self.child.tolist(), self.parent.tolist(), strict=True)
        return [(self.ids[child], self.ids[parent]) for child, parent in found]

    @cached_property
    def starts(self) -> Ints:
        """Where each child's pairs start, and the end of the last, ``[nodes + 1]``."""
        return np.searchsorted(self.child, np.arange(len(self.ids) + 1))

    @cached_property
    def levels(self) -> Ints:
        """Pairs on the longest way from a node without parents, ``[nodes]``.

        Raises:
            ItemembError: There is a cycle; the message names one.
        """
        down = self.reversed
        waiting = np.diff(self.starts)  # parents without a level yet
        levels = np.full(len(self.ids), -1, np.int64)
        level, last = 0, np.flatnonzero(waiting == 0)
        while len(last):
            levels[last] = level
            below, found = np.unique(down.parent[down.rows(last)[1]], return_counts=True)
            waiting[below] -= found
            level, last = level + 1, below[waiting[below] == 0]
        if (levels < 0).any():
            raise ItemembError(f"category edges: {self._cycle(levels)}, expected no cycle")
        return levels

    @cached_property
    def reversed(self) -> "Hierarchy":
        """The same pairs with the parent in the child's place."""
        return Hierarchy.at(self.ids, self.parent, self.child)

    @cached_property
    def main_parent(self) -> Ints:
        """The parent of the deepest level, of equals the first; -1 where none, ``[nodes]``.

        Of a tree's closure these are the tree's own parents.
        """
        best = np.full(len(self.ids), -1, np.int64)
        order = np.lexsort((-self.parent, self.levels[self.parent], self.child))
        best[self.child[order]] = self.parent[order]  # the last written of a child stays
        return best

    def rows(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Pairs of some children.

        Returns:
            For each pair the place in ``nodes``, and the pair's place, ``[found]`` each.
        """
        counts = self.starts[nodes + 1] - self.starts[nodes]
        of_row = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
        return of_row, self.starts[nodes][of_row] + within

    def closure(self) -> "Hierarchy":
        """Every node with every ancestor of it.

        Raises:
            ItemembError: There is a cycle.
        """
        above: list[Ints] = [np.empty(0, np.int64)] * len(self.ids)
        for node in np.argsort(self.levels, kind="stable").tolist():
            own = self.parent[self.starts[node] : self.starts[node + 1]]
            above[node] = np.unique(np.concatenate([own, *(above[p] for p in own.tolist())]))
        child = np.repeat(np.arange(len(above)), [len(each) for each in above])
        return Hierarchy.at(self.ids, child, np.concatenate(above))

    def _cycle(self, levels: Ints) -> str:
        """A cycle among nodes without a level, each of which has a parent without one."""
        node = int(np.flatnonzero(levels < 0)[0])
        way: dict[int, int] = {}  # nodes in the order they were met
        while node not in way:
            way[node] = len(way)
            own = self.parent[self.starts[node] : self.starts[node + 1]]
            node = int(own[levels[own] < 0][0])
        names = [str(self.ids[each]) for each in (*list(way)[way[node] :], node)]
        return f"a cycle of {len(names) - 1}: " + " -> ".join(
            [*names[:LONGEST], "..."] if len(names) > LONGEST else names
        )


def _pair(pair: tuple[Node, Node], number: int) -> tuple[Node, Node]:
    """The pair, if it is one."""
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise ItemembError(
            f"category edges: number {number} is {pair!r}, expected (child, parent) pairs"
        )
    return pair


def _ids(pairs: list[tuple[Node, Node]]) -> list[Node]:
    """Names in order."""
    names = {node for pair in pairs for node in pair}
    if not names:
        raise ItemembError("category edges: none given, expected (child, parent) pairs")
    strings = sorted(node for node in names if isinstance(node, str))
    numbers = sorted(int(node) for node in names if isinstance(node, int | np.integer))
    if len(strings) == len(names):
        return list(strings)
    if len(numbers) == len(names):
        return list(numbers)
    raise ItemembError("category edges: names of several kinds, expected all strings or integers")
