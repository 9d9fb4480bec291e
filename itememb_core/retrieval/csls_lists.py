"""Nearest across two sides by CSLS, chosen by size: all pairs, or an index of each side."""

import numpy as np
from numpy.typing import NDArray

from itememb_core.progress import Progress, silent
from itememb_core.retrieval.csls import CslsLists, csls_lists, half_mean, reverse_ranks
from itememb_core.retrieval.indexed import Aim, SearchFacts, Side, depth
from itememb_core.retrieval.inverted import spread
from itememb_core.retrieval.recall import csls_recall
from itememb_core.settings import LinkPoolSettings

#: Rows that are ordered at once.
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
    aim = Aim(settings.exact_up_to, settings.recall, settings.recall_sample)
    sides = Side.of(queries, base, size, aim), Side.of(base, queries, size, aim)
    if any(side.reads_most for side in sides):
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
    row, cosine = backward.search(depth(max(size, neighbors), n), progress, "csls 1/2")
    half_base = half_mean(cosine[:, :neighbors])
    candidate, similarity = forward.search(depth(max(size, neighbors), m), progress, "csls 2/2")
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
