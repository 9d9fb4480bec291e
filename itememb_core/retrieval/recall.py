"""Recall of approximate search, and how many inverted lists a search must read to reach it."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.retrieval.csls import CslsLists
from itememb_core.retrieval.exact import top_k

#: Neighbours over which recall is measured.
RECALL_AT: Final = 10

#: Scores of equal vectors differ by rounding.
_ROUNDING: Final = 1e-6


def shares_found(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Recall of each query: the share of its exact best that its scores reach, [n].

    By score and not by row, since equal vectors are interchangeable.

    Args:
        found: Scores that a search returned, [n, returned].
        wanted: Scores of the exact best, best first, [n, k].
    """
    return _reached(found, wanted) / wanted.shape[1]


def recall(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Mean of :func:`shares_found`, without their rounding."""
    return float(_reached(found, wanted).sum() / wanted.size)


def _reached(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many places of each query's exact best are filled as well, [n]."""
    good = (found >= wanted[:, -1:] - _ROUNDING).sum(axis=1)
    return good.clip(max=wanted.shape[1])


def sure_recall(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """A standard error below :func:`recall`, so that other queries than the sample find as much."""
    shares = shares_found(found, wanted)
    return float(shares.mean() - shares.std() / np.sqrt(len(shares)))


def csls_recall(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    lists: CslsLists,
    sample: NDArray[np.int64],
) -> float:
    """Recall of the exact ``RECALL_AT`` by CSLS in the lists of some queries.

    The exact ones are by the lists' own r, whose error has no part in it.
    """
    wanted = top_k(queries[sample], base, RECALL_AT, penalty=lists.mean_base / 2.0)[1]
    found = lists.similarity[sample] - lists.mean_base[lists.candidate[sample]] / 2.0
    return recall(found, wanted)


def tuned_probes(
    measure: Callable[[int], float], target: float, lists: int, *, first: int, growth: float
) -> tuple[int, float]:
    """Read more lists until what is measured reaches the target.

    Args:
        measure: Recall with so many lists read.
        target: Recall wanted.
        lists: How many there are.
        first: How many are read first, at most all.
        growth: By which the number grows each time.

    Returns:
        The lists to read, all of them where the target is out of reach, and what they measure.
    """
    probes = min(first, lists)
    while (reached := measure(probes)) < target and probes < lists:
        probes = min(int(probes * growth), lists)
    return probes, reached
