"""Ranking metrics and their intervals.

What belongs here: functions of scores and ranks. What does not: models, tables, who is asked.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Resamples of a bootstrap interval, and resamples made at a time.
RESAMPLES: Final = 400
_AT_ONCE: Final = 50


def tied_ranks(
    scores: NDArray[np.float32], answers: NDArray[np.int64], excluded: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Rank of each answer among all candidates, the best 0, ties counted half.

    Args:
        scores: ``[queries, candidates]``; the excluded ones are overwritten.
        answers: Candidate that is right, ``[queries]``.
        excluded: Candidate that takes no part (the query itself), ``[queries]``.

    Returns:
        Candidates above the answer plus half of the others that tie with it, ``[queries]``.
    """
    rows = np.arange(len(scores))
    own = scores[rows, answers][:, None]  # [queries, 1]
    scores[rows, excluded] = -np.inf
    above = (scores > own).sum(axis=1)
    level = (scores == own).sum(axis=1) - 1
    return above + level / 2


def hit_at(ranks: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """1 where the answer is among the best ``k``, else 0, ``[queries]``; ranks count from 0."""
    return (ranks < k).astype(np.float64)


def reciprocal(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / rank counted from 1, ``[queries]``; its mean is the MRR."""
    return 1 / (ranks + 1)


def random_hit_at(candidates: int, k: int) -> float:
    """Chance that a random order puts one answer among the best ``k`` of ``candidates``."""
    return min(1.0, k / candidates)


def random_reciprocal(candidates: int) -> float:
    """Expected reciprocal rank in a random order: the harmonic number over ``candidates``."""
    return float((1 / np.arange(1, candidates + 1)).sum() / candidates)


def bootstrap_intervals(
    values: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % percentile intervals of column means (Efron 1979), queries resampled together.

    Args:
        values: ``[queries, columns]``, at least one query.
        rng: Draws the resamples; columns share them, so methods stay comparable.

    Returns:
        Lower and upper ends, ``[columns]`` each.
    """
    queries = len(values)
    means = []
    for _ in range(RESAMPLES // _AT_ONCE):
        drawn = rng.integers(queries, size=(_AT_ONCE, queries))
        drawn += np.arange(_AT_ONCE)[:, None] * queries
        times = np.bincount(drawn.ravel(), minlength=_AT_ONCE * queries)
        means.append(times.reshape(_AT_ONCE, queries) @ values / queries)  # [at once, columns]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    return low, high
