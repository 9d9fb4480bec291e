"""Bootstrap intervals of means over queries."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Resamples of a bootstrap interval, and resamples made at a time.
RESAMPLES: Final = 400
_AT_ONCE: Final = 50


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
