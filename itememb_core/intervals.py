"""Intervals of means, shares and ratios.

Beside the packages, since both links (the threshold) and evaluation need them. SciPy has two of
them, but not as they are needed: ``binomtest`` takes whole numbers of trials, and weighted lists
have effective ones (16 / 6); ``bootstrap`` gathers every resample of every column, where counts of
how often a query was drawn make all columns one matrix product.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Normal quantile of a two-sided 95 % interval.
Z95: Final = 1.959963984540054

#: Resamples of a bootstrap interval, and resamples made at a time.
RESAMPLES: Final = 400
_AT_ONCE: Final = 50

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def wilson(share: ArrayLike, n: ArrayLike) -> Ends:
    """95 % intervals of shares seen in ``n`` > 0 trials (which may be effective numbers).

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", JASA 22 (1927).
    """
    p, trials = np.asarray(share, np.float64), np.asarray(n, np.float64)
    z2 = Z95**2 / trials
    center = (p + z2 / 2) / (1 + z2)
    half = Z95 * np.sqrt((p * (1 - p) + z2 / 4) / trials) / (1 + z2)
    # At shares of 0 and 1 an end is the share itself, save for rounding.
    return np.minimum(center - half, p).clip(min=0.0), np.maximum(center + half, p).clip(max=1.0)


def share_interval(hits: NDArray[np.bool_] | NDArray[np.float64]) -> tuple[float, float, float]:
    """A share with its 95 % interval by :func:`wilson`, of at least one trial."""
    share = float(hits.mean())
    low, high = wilson(share, len(hits))
    return share, float(low), float(high)


def normal_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of values from 0 to 1 with its 95 % interval by the normal approximation."""
    mean, error = float(values.mean()), float(values.std() / np.sqrt(len(values)))
    return mean, max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)


def bootstrap_intervals(values: NDArray[np.float64], rng: np.random.Generator) -> Ends:
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


def multinomial_intervals(values: NDArray[np.float64], seed: int, resamples: int = 300) -> Ends:
    """As :func:`bootstrap_intervals`, counts drawn at once as a multinomial.

    Kept apart because the same seed draws other resamples, and intervals of lakes that are there
    would move.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples) / n  # [resamples, users]
    low, high = np.percentile(weights @ values, [2.5, 97.5], axis=0)
    return low, high


def ratio_interval(
    parts: NDArray[np.float64], wholes: NDArray[np.float64], seed: int, *, level: float
) -> tuple[float, float, float]:
    """Sum of parts over sum of wholes, with its percentile interval over resampled units.

    Args:
        parts: Of each unit, ``[units]``.
        wholes: Of each unit, ``[units]``, 0 or more, not all 0.
        seed: Of the 1,000 resamples; those whose wholes sum to 0 are left out.
        level: Two-sided chance of the true ratio outside the interval.
    """
    n, rng = len(wholes), np.random.default_rng(seed)
    ratios = []
    for _ in range(1000):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        total = float(times @ wholes)
        if total:
            ratios.append(float(times @ parts) / total)
    low, high = np.quantile(ratios, (level / 2, 1 - level / 2))
    return float(parts.sum() / wholes.sum()), float(low), float(high)
