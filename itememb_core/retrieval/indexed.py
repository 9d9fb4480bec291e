"""The nearest of many vectors by an index whose recall is measured, or exactly where they are few.

What does not belong here: hubs and two sides (``csls_lists``), the stored index (``items``).
"""

import sys
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import top_k
from itememb_core.retrieval.inverted import InvertedLists, spread
from itememb_core.retrieval.recall import RECALL_AT, recall, sure_recall, tuned_probes

#: How a search was made, by name: its kind, sizes, recall.
SearchFacts = dict[str, str | int | float]

#: An index returns so many times what is wanted, of which the best by exact scores are taken.
DEPTH = 2

#: Fewest neighbours it returns.
LEAST_DEPTH = 100

#: Fewest lists that are read.
FEWEST = 8

#: Share of queries for which the lists read may hold too few, so that all is compared.
MOST_SHORT = 0.001

#: Queries that are searched at once.
ROWS = 8192


class Aim(NamedTuple):
    """When an index is used and how good it must be.

    Attributes:
        exact_up_to: Most vectors of a side that are compared one by one.
        recall: Share of the exact ten that must be found.
        sample: Queries on which that is measured.
    """

    exact_up_to: int
    recall: float
    sample: int


#: All are compared, however many they are.
EXACT: Final = Aim(sys.maxsize, 1.0, 0)


def nearest(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    aim: Aim,
    progress: Progress = silent,
    what: str = "nearest neighbours",
) -> tuple[NDArray[np.int64], NDArray[np.float32], SearchFacts]:
    """The ``k`` rows of ``base`` with the largest cosine to each query, and how they were found.

    Args:
        queries: Unit vectors, float32 [n, dim].
        base: Unit vectors, float32 [m, dim].
        k: Rows wanted; min(k, m) are given.
        aim: Size up to which the search is exact, recall beyond it.
        progress: Called after each block.
        what: Its first argument.

    Returns:
        Rows int64 [n, min(k, m)], cosines of that shape, best first, ties by row, and facts:
        ``search`` (exact or index), ``recall`` of the exact ten on ``recall_sample`` queries, of an
        index ``lists`` and ``lists read``.
    """
    k = min(k, len(base))
    side = Side.of(queries, base, k, aim) if len(base) > aim.exact_up_to else None
    if side is None or side.reads_most:
        rows, cosines = top_k(queries, base, k, progress=progress, what=what)
        return rows, cosines, {"search": "exact", "recall": 1.0, "recall_sample": 0}
    found, cosines = side.search(depth(k, len(base)), progress, what)
    sample = spread(len(queries), aim.sample)
    wanted = top_k(queries[sample], base, min(RECALL_AT, k))[1]
    facts: SearchFacts = {
        "search": "index",
        "recall": recall(cosines[sample], wanted),
        "recall_sample": len(sample),
        "lists": side.lists.count,
        "lists read": side.probed,
    }
    return found[:, :k].astype(np.int64), cosines[:, :k], facts


def depth(k: int, rows: int) -> int:
    """How many rows an index returns where ``k`` are wanted."""
    return min(max(DEPTH * k, LEAST_DEPTH), rows)


class Side(NamedTuple):
    """Query vectors, an index of the other side, and how many of its lists are read."""

    queries: NDArray[np.float32]
    lists: InvertedLists
    probed: int

    @classmethod
    def of(
        cls, queries: NDArray[np.float32], base: NDArray[np.float32], k: int, aim: Aim
    ) -> "Side":
        """Index ``base``; read as many lists as the wanted recall in ``depth`` rows needs."""
        lists = InvertedLists.of(base)
        some = queries[spread(len(queries), aim.sample)]
        wanted = top_k(some, base, RECALL_AT)[1]
        return cls(queries, lists, _probes(lists, some, wanted, (depth(k, len(base)), aim.recall)))

    @property
    def reads_most(self) -> bool:
        """Whether half of the lists are read, so that comparing all is as good."""
        return self.probed > self.lists.count // 2

    def search(
        self, k: int, progress: Progress, what: str
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows int32 [n, k] and their cosines, best first.

        Where the lists that were read hold fewer than k, all rows are compared.
        """
        n = len(self.queries)
        rows, cosines = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        for start in range(0, n, ROWS):
            part = slice(start, min(start + ROWS, n))
            queries = np.ascontiguousarray(self.queries[part])
            row, found = self.lists.search(queries, k, self.probed)
            short = np.flatnonzero(row[:, -1] < 0)
            row[short], found[short] = top_k(queries[short], self.lists.values, k)
            rows[part], cosines[part] = row, found
            progress(what, part.stop, n)
        return rows, cosines


def _probes(
    lists: InvertedLists,
    queries: NDArray[np.float32],
    wanted: NDArray[np.float32],
    aim: tuple[int, float],
) -> int:
    """How many lists are read so that the recall is reached.

    Args:
        lists: Of the base.
        queries: The sample.
        wanted: Cosines of its exact ten.
        aim: Neighbours returned, recall of the exact ten among them.
    """
    depth, target = aim

    def measure(probes: int) -> float:
        rows, found = lists.search(queries, depth, probes)
        short = (rows[:, -1] < 0).mean()
        return sure_recall(found, wanted) if short <= MOST_SHORT else -np.inf

    return tuned_probes(measure, target, lists.count, first=FEWEST, growth=1.5)[0]
