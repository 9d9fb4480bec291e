"""Nearest across two sides by CSLS, chosen by size: all pairs, or an index of each side."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.progress import Progress, silent
from itememb_core.retrieval.csls import CslsLists, csls_lists, half_mean, reverse_ranks
from itememb_core.retrieval.exact import top_k
from itememb_core.retrieval.inverted import InvertedLists, spread
from itememb_core.retrieval.recall import RECALL_AT, csls_recall, sure_recall, tuned_probes
from itememb_core.settings import LinkPoolSettings

#: How a search was made, by name: its kind, sizes, recall.
SearchFacts = dict[str, str | int | float]

#: An index returns so many times what is wanted, from which CSLS takes the best.
DEPTH = 2

#: Fewest neighbours it returns.
LEAST_DEPTH = 100

#: Fewest lists that are read.
FEWEST = 8

#: Share of queries for which the lists read may hold too few, so that all is compared.
MOST_SHORT = 0.001

#: Queries that are searched at once.
ROWS = 8192


def near_lists(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    settings: LinkPoolSettings,
    progress: Progress = silent,
) -> tuple[CslsLists, SearchFacts]:
    """The candidates of every query by CSLS, and how they were found.

    Args:
        queries: Unit vectors, float32 [n, dim].
        base: Unit vectors, float32 [m, dim].
        settings: Candidates, neighbourhood, size up to which the search is exact, recall.
        progress: Called after each block of each pass.

    Returns:
        The lists, and facts: ``search`` (exact or index), ``recall`` of the exact ten on
        ``recall_sample`` queries; of an index, lists and lists read by side.
    """
    size, neighbors = settings.size, settings.csls_neighbors
    if max(len(queries), len(base)) <= settings.exact_up_to:
        lists = csls_lists(queries, base, size, neighbors, progress)
        return lists, {"search": "exact", "recall": 1.0, "recall_sample": 0}
    sides = Side.of(queries, base, settings), Side.of(base, queries, settings)
    if any(side.probed > side.lists.count // 2 for side in sides):
        lists = csls_lists(queries, base, size, neighbors, progress)
        why = "exact, since an index would have to read most of its lists"
        return lists, {"search": why, "recall": 1.0, "recall_sample": 0}
    lists = _indexed_lists(*sides, size, neighbors, progress)
    sample = spread(len(queries), settings.recall_sample)
    facts: SearchFacts = {
        "search": "index",
        "recall": csls_recall(queries, base, lists, sample),
        "recall_sample": len(sample),
    }
    for name, side in zip(("receipts", "catalog"), sides[::-1], strict=True):
        facts |= {f"lists, {name}": side.lists.count, f"lists read, {name}": side.probed}
    return lists, facts


class Side(NamedTuple):
    """Query vectors, an index of the other side, and how many of its lists are read."""

    queries: NDArray[np.float32]
    lists: InvertedLists
    probed: int

    @classmethod
    def of(
        cls,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        settings: LinkPoolSettings,
    ) -> "Side":
        """Index ``base``; read as many lists as the wanted recall needs."""
        lists = InvertedLists.of(base)
        some = queries[spread(len(queries), settings.recall_sample)]
        wanted = top_k(some, base, RECALL_AT)[1]
        depth = _depth(settings.size, len(base))
        return cls(queries, lists, _probes(lists, some, wanted, (depth, settings.recall)))

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


def _depth(size: int, rows: int) -> int:
    return min(max(DEPTH * size, LEAST_DEPTH), rows)


def _indexed_lists(
    forward: Side, backward: Side, size: int, neighbors: int, progress: Progress
) -> CslsLists:
    """CSLS's best among the nearest by cosine that the indexes return.

    Args:
        forward: Queries, with the index of the base.
        backward: The base, with the index of the queries.
        size: Candidates a query.
        neighbors: k of r.
        progress: Called after each block.
    """
    n, m = len(forward.queries), len(backward.queries)
    row, cosine = backward.search(_depth(max(size, neighbors), n), progress, "csls 1/2")
    half_base = half_mean(cosine[:, :neighbors])
    candidate, similarity = forward.search(_depth(max(size, neighbors), m), progress, "csls 2/2")
    half_queries = half_mean(similarity[:, :neighbors])
    back = _ordered(row, cosine, half_queries, size)[0]
    rows, cosines = _ordered(candidate, similarity, half_base, size)
    own = rows.astype(np.int64)
    csls = 2.0 * (cosines - half_base[own] - half_queries[:, None])
    return CslsLists(
        own, cosines, csls, reverse_ranks(own, back), 2.0 * half_queries, 2.0 * half_base
    )


def _ordered(
    rows: NDArray[np.int32],
    cosine: NDArray[np.float32],
    half: NDArray[np.float32],
    size: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best ``size`` by cosine less r / 2 of each list, best first, ties by row."""
    size = min(size, rows.shape[1])
    best, kept = np.empty((len(rows), size), np.int32), np.empty((len(rows), size), np.float32)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        score = half[rows[part]] - cosine[part]
        place = np.lexsort((rows[part], score), axis=-1)[:, :size]
        best[part] = np.take_along_axis(rows[part], place, axis=1)
        kept[part] = np.take_along_axis(cosine[part], place, axis=1)
    return best, kept


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
