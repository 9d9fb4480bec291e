"""Cross-domain similarity local scaling (CSLS): nearest across two sides, hubs discounted.

Source: Conneau, Lample, Ranzato, Denoyer, Jegou, "Word translation without parallel data",
ICLR 2018, section 2.3: csls(x, y) = 2 cos(x, y) - r(x) - r(y), where r is the mean cosine to the
k nearest on the other side.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import as_tensor, best_columns, score_blocks, top_k

#: Queries whose candidates' own lists are read at once.
ROWS = 1024


class CslsLists(NamedTuple):
    """The candidates of every query, best first.

    Attributes:
        candidate: int64 [n, size], rows of the other side.
        similarity: float32 [n, size], cosine.
        csls: float32 [n, size].
        reverse: int32 [n, size], rank of the query in the candidate's own list, from 1; 0 where
            that list of the same length does not hold it.
        mean_query: float32 [n], r of the formula.
        mean_base: float32 [m].
    """

    candidate: NDArray[np.int64]
    similarity: NDArray[np.float32]
    csls: NDArray[np.float32]
    reverse: NDArray[np.int32]
    mean_query: NDArray[np.float32]
    mean_base: NDArray[np.float32]


def csls_lists(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    size: int,
    neighbors: int,
    progress: Progress = silent,
) -> CslsLists:
    """The ``size`` rows of ``base`` with the largest CSLS to each query, exactly.

    For one query, r(query) is the same for all rows: ranking by cos - r(row) / 2 is ranking by
    CSLS, an inner product with a penalty.

    Args:
        queries: Unit vectors, float32 [n, dim].
        base: Unit vectors, float32 [m, dim].
        size: Candidates a query; min(size, m) are given.
        neighbors: k of the formula; all of a side that has fewer.
        progress: Called after each block of three passes.
    """
    if not len(queries) or not len(base):
        shape = (len(queries), 0)
        none = np.empty(shape, np.float32)
        means = np.zeros(len(queries), np.float32), np.zeros(len(base), np.float32)
        return CslsLists(np.empty(shape, np.int64), none, none, np.empty(shape, np.int32), *means)
    _, near = top_k(base, queries, neighbors, progress=progress, what="csls 1/3")
    half_base = half_mean(near)  # [m]
    candidate, score, half_queries = _penalised(
        queries, base, half_base, (size, neighbors), progress
    )
    back, _ = top_k(base, queries, size, penalty=half_queries, progress=progress, what="csls 3/3")
    similarity = score + half_base[candidate]  # [n, size]
    csls = (score - half_queries[:, None]) * np.float32(2.0)
    reverse = reverse_ranks(candidate, back)
    return CslsLists(candidate, similarity, csls, reverse, 2.0 * half_queries, 2.0 * half_base)


def _penalised(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    half_base: NDArray[np.float32],
    sizes: tuple[int, int],
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Best rows by cos - r(row) / 2, those scores, and r(query) / 2, from one product.

    ``sizes``: candidates wanted, neighbours of r. Shapes [n, size], [n, size], [n].
    """
    n, m = len(queries), len(base)
    size, neighbors = (min(each, m) for each in sizes)
    candidate, score = np.empty((n, size), np.int64), np.empty((n, size), np.float32)
    half_queries = np.empty(n, np.float32)
    taken = as_tensor(half_base)
    for part, scores in score_blocks(queries, base):
        half_queries[part] = half_mean(best_columns(scores, neighbors)[1])
        scores[:, :m] -= taken
        candidate[part], score[part] = best_columns(scores, size)
        progress("csls 2/3", part.stop, n)
    return candidate, score, half_queries


def half_mean(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the mean cosine to the nearest, float32 [n], of cosines [n, neighbors]."""
    return (near.mean(axis=1, dtype=np.float64) / 2.0).astype(np.float32)


def reverse_ranks(candidate: NDArray[np.int64], back: NDArray[np.integer]) -> NDArray[np.int32]:
    """Rank of query i in ``back[candidate[i, j]]``, int32 [n, size]; 0 where it is not there.

    Args:
        candidate: Rows of the other side, [n, size].
        back: The list of each of those rows as a query, best first, [m, depth].
    """
    ranks = np.zeros(candidate.shape, np.int32)
    for start in range(0, len(candidate), ROWS):
        part = slice(start, min(start + ROWS, len(candidate)))
        own = np.arange(part.start, part.stop)[:, None, None]
        hit = back[candidate[part]] == own  # [rows, size, depth]
        ranks[part] = np.where(hit.any(axis=2), hit.argmax(axis=2) + 1, 0)
    return ranks
