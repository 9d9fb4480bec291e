"""Ranking metrics, and the one rule for ties.

A rank counts from 0 and is the mean over all orders of what a method scores alike: candidates above
plus half of the others that tie. A method whose list has an order of its own (the lists of users,
where the more frequent of two equal items goes first; a list of the link pool) leaves nothing tied:
its ranks are the places in that list.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from torch import Tensor

#: Lengths at which users' lists are cut, and the columns of :func:`ranking_metrics`.
CUTOFFS: Final = (10, 100)
METRICS: Final = ("ndcg@10", "ndcg@100", "recall@10", "recall@100", "mrr")


def tied_ranks(
    scores: NDArray[np.floating],
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


def ranks_among(
    ordered: NDArray[np.floating] | NDArray[np.integer],
    own: NDArray[np.floating] | NDArray[np.integer],
) -> NDArray[np.float64]:
    """Rank of targets by one score of all candidates, as :func:`tied_ranks`, ``[targets]``.

    Args:
        ordered: Scores of the candidates, ascending, those of the targets among them.
        own: Scores of the targets, ``[targets]``.
    """
    above, level = _above_and_level(ordered, own)
    return above + level / 2


def _above_and_level(
    ordered: NDArray[np.floating] | NDArray[np.integer],
    own: NDArray[np.floating] | NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many candidates score more than each target, and how many others the same."""
    high = np.searchsorted(ordered, own, "right")
    above = (len(ordered) - high).astype(np.float64)
    level = high - np.searchsorted(ordered, own, "left") - 1
    return above, level.astype(np.float64)


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
    own = _at(counts, rows, targets) + prior[targets]  # [queries]
    above, level = _above_and_level(np.sort(prior), own)
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
    if not len(rows):  # of none, some versions of SciPy give a sparse array
        return np.empty(0)
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


def ranking_metrics(
    top: NDArray[np.int64], truth: list[NDArray[np.int64]], first: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``METRICS`` of each user, float64 ``[users, METRICS]``.

    NDCG@k is the sum of 1 / log2(rank + 1) over the hits among the first k, divided by what
    min(k, relevant items) hits in the first places would give (Järvelin and Kekäläinen 2002).

    Args:
        top: Best items of each user, best first, -1 where none ``[users, listed]``.
        truth: Distinct relevant items of each user, at least one.
        first: Rank of the best-ranked of them ``[users]``.
    """
    size = max(top.shape[1], CUTOFFS[-1])
    gains = 1.0 / np.log2(np.arange(2, size + 2))  # [size]
    ideal = np.cumsum(gains)
    hits = np.stack([np.isin(row, own) for row, own in zip(top, truth, strict=True)])
    n = np.array([len(each) for each in truth])
    ndcg, recall = [], []
    for k in CUTOFFS:
        found = hits[:, :k]
        ndcg.append((found * gains[: found.shape[1]]).sum(axis=1) / ideal[np.minimum(n, k) - 1])
        recall.append(found.sum(axis=1) / n)
    return np.stack([*ndcg, *recall, reciprocal(first)], axis=1)


def first_ranks(
    scores: "Tensor", truth: list[NDArray[np.int64]], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Rank of the best-scored relevant item in the list of all, ties by column ``[users]``.

    Args:
        scores: ``[rows, candidates]``.
        truth: Distinct relevant items of each user, at least one.
        rows: Row of each user ``[users]``; None: all rows in order.
    """
    ranks = np.empty(len(truth))
    everyone = range(len(truth)) if rows is None else rows.tolist()
    # Row by row: counting a row of booleans is many times faster than summing a matrix's.
    for place, (row, own) in enumerate(zip(everyone, truth, strict=True)):
        mine = scores[row].numpy()
        values = mine[own]
        best = values.max()
        before = mine[: own[values == best].min()]
        ranks[place] = np.count_nonzero(mine > best) + np.count_nonzero(before == best)
    return ranks
