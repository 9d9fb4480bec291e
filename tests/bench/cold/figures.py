"""Figures of ranks by method: means, the share of the warm ones, and paired differences.

What belongs here: nothing of what was ranked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import hit_at, random_hit_at, random_reciprocal, reciprocal
from itememb_core.intervals import bootstrap_intervals, ratio_interval

#: What the cold figures are shares of, and what they must be above.
WARM, COLD = "warm", "features"
#: Fewer candidates than this, and the best tenth of them is a cutoff, too.
FEW = 1000

Values = NDArray[np.float64]


def metrics(candidates: int) -> dict[str, Callable[[Values], Values]]:
    """Metrics of ranks among so many candidates, by name."""
    found: dict[str, Callable[[Values], Values]] = {
        "hit@20": lambda ranks: hit_at(ranks, 20),
        "hit@100": lambda ranks: hit_at(ranks, 100),
        "mrr": reciprocal,
    }
    if candidates < FEW:
        found["hit@tenth"] = lambda ranks: hit_at(ranks, max(candidates // 10, 1))
    return found


def chance(candidates: int) -> dict[str, float]:
    """The same of a random order."""
    tenth = {"hit@tenth": random_hit_at(candidates, max(candidates // 10, 1))}
    return {
        "hit@20": random_hit_at(candidates, 20),
        "hit@100": random_hit_at(candidates, 100),
        "mrr": random_reciprocal(candidates),
        **(tenth if candidates < FEW else {}),
    }


def figures(
    ranks: Mapping[str, Values],
    candidates: int,
    seed: int,
    units: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Compare methods on the same targets.

    Args:
        ranks: Rank of each target by method, ``[targets]``; ``WARM`` and ``COLD`` may lack.
        candidates: How many were ranked.
        seed: Of the resamples.
        units: Unit (a user) that each target belongs to, 0, 1, ..., whose mean counts once and
            which is resampled as a whole; None: each target is one.

    Returns:
        ``candidates``; ``means`` by method and metric; ``share`` of the warm mean that the cold
        one is, with its 95 % interval, and ``over``, cold minus each method, with its own.
    """
    values = {
        (method, name): _by_unit(of(found), units)
        for method, found in ranks.items()
        for name, of in metrics(candidates).items()
    }
    means: dict[str, dict[str, float]] = {method: {} for method in ranks}
    for (method, name), each in values.items():
        means[method][name] = float(each.mean())
    return {
        "candidates": candidates,
        "means": {**means, "chance": chance(candidates)},
        "share": _shares(values, means, seed),
        "over": _over(values, ranks, seed),
    }


def _by_unit(values: Values, units: NDArray[np.int64] | None) -> Values:
    if units is None:
        return values
    return np.bincount(units, values) / np.bincount(units)


def _shares(
    values: Mapping[tuple[str, str], Values], means: Mapping[str, dict[str, float]], seed: int
) -> dict[str, list[float]]:
    if WARM not in means or COLD not in means:
        return {}
    return {
        name: list(ratio_interval(values[COLD, name], values[WARM, name], seed, level=0.05))
        for name, mean in means[WARM].items()
        if mean > 0
    }


def _over(
    values: Mapping[tuple[str, str], Values], methods: Mapping[str, Values], seed: int
) -> dict[str, dict[str, list[float]]]:
    """Cold minus each other method, queries resampled together."""
    if COLD not in methods:
        return {}
    names = [name for method, name in values if method == COLD]
    found: dict[str, dict[str, list[float]]] = {}
    for method in methods:
        if method == COLD:
            continue
        gaps = np.stack([values[COLD, n] - values[method, n] for n in names], axis=1)
        low, high = bootstrap_intervals(gaps, np.random.default_rng(seed))
        rows = zip(gaps.mean(axis=0), low, high, strict=True)
        found[method] = {n: [float(v) for v in row] for n, row in zip(names, rows, strict=True)}
    return found
