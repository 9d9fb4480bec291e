"""Ranking metrics."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def tied_ranks(
    scores: NDArray[np.float32],
    targets: NDArray[np.int64],
    excluded: NDArray[np.int64] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Rank of each target among all candidates, the best 0, ties counted half.

    Args:
        scores: ``[queries, candidates]``; the excluded ones are overwritten.
        targets: Relevant candidate, ``[targets]``.
        excluded: Candidate that is left out (the query itself), ``[queries]``; None: none is.
        rows: Query of each target, ``[targets]``; None: each query has one, in order.

    Returns:
        Candidates above the target plus half of the others that tie with it, ``[targets]``.
    """
    places = np.arange(len(scores))
    rows = places if rows is None else rows
    own = scores[rows, targets]
    if excluded is not None:
        scores[places, excluded] = -np.inf
    # Row by row: counting a row of booleans is many times faster than summing a matrix's.
    of_targets = list(zip(rows.tolist(), own, strict=True))
    above = np.array([np.count_nonzero(scores[row] > mine) for row, mine in of_targets], float)
    level = np.array([np.count_nonzero(scores[row] == mine) for row, mine in of_targets], float)
    return above + (level - 1) / 2


def sparse_ranks(
    counts: "csr_array",
    prior: NDArray[np.float64],
    targets: NDArray[np.int64],
    excluded: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Rank of each target by ``counts + prior``, as :func:`tied_ranks`, without dense scores.

    All candidates are ranked by the prior alone, which is one sorted array; only those that a
    query has a count for are then moved.

    Args:
        counts: ``[queries, candidates]``, no repeated entries.
        prior: Score of each candidate, the same for all queries, ``[candidates]``.
        targets: Relevant candidate, ``[queries]``.
        excluded: Candidate that is left out, ``[queries]``; None: none is.
    """
    rows = np.arange(counts.shape[0])
    ordered = np.sort(prior)
    own = _at(counts, rows, targets) + prior[targets]  # [queries]
    high = np.searchsorted(ordered, own, "right")
    above = (len(prior) - high).astype(np.float64)
    level = high - np.searchsorted(ordered, own, "left") - 1.0
    of_entry = np.repeat(rows, np.diff(counts.indptr))  # [entries]
    before, bar = prior[counts.indices], own[of_entry]
    after = counts.data + before

    def gained(compare: np.ufunc) -> NDArray[np.float64]:
        moved = compare(after, bar).astype(np.float64) - compare(before, bar)
        return np.bincount(of_entry, moved, len(rows)).astype(np.float64)

    above += gained(np.greater)
    level += gained(np.equal)
    if excluded is not None:
        out = _at(counts, rows, excluded) + prior[excluded]
        above -= out > own
        level -= out == own
    return above + level / 2


def _at(
    counts: "csr_array", rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray(counts[rows, columns], np.float64).ravel()


def hit_at(ranks: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """1 where the target is among the best ``k``, else 0, ``[queries]``; ranks count from 0."""
    return (ranks < k).astype(np.float64)


def reciprocal(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / rank counted from 1, ``[queries]``; its mean is the MRR."""
    return 1 / (ranks + 1)


def random_hit_at(candidates: int, k: int) -> float:
    """Chance that a random order puts one target among the best ``k`` of ``candidates``."""
    return min(1.0, k / candidates)


def random_reciprocal(candidates: int) -> float:
    """Expected reciprocal rank in a random order: the harmonic number over ``candidates``."""
    return float((1 / np.arange(1, candidates + 1)).sum() / candidates)
