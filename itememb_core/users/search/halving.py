"""Successive halving: strategies are fitted for longer and longer, half of them each time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itememb_core.intervals import multinomial_intervals
from itememb_core.progress import Progress, silent
from itememb_core.users.search.plan import Plan
from itememb_core.users.search.strategies import Strategy

#: Fits a strategy for so many steps; what each validation user's ranking is worth ``[users]``.
Trial = Callable[[Strategy, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Result:
    """One strategy's figures in one round.

    Attributes:
        strategy: Its name.
        rung: Round, from 0.
        steps: Of the fit.
        ndcg: Mean of NDCG@10 and NDCG@100 over validation users.
        low: Lower end of the 95 % interval of its distance to the round's best, by users.
        high: Upper end.
        kept: Whether it is in the next round, or won.
    """

    strategy: str
    rung: int
    steps: int
    ndcg: float
    low: float
    high: float
    kept: bool


class Trials:
    """Figures of trials that were made, kept in a file, so that a killed search goes on."""

    def __init__(self, path: Path | None, identity: str) -> None:
        """``identity``: what they depend on; others' are not read. No path: nothing is kept."""
        self._path, self._identity = path, identity
        self._made: dict[str, list[float]] = {}
        if path is not None and path.is_file():
            try:
                found = json.loads(path.read_text())
            except ValueError:
                found = {}  # cut short by the kill: the trials are made again
            if isinstance(found, dict) and found.get("identity") == identity:
                self._made = found["made"]

    def value(self, name: str, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """What was found for a trial, or is now."""
        if name not in self._made:
            self._made[name] = make().tolist()
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                text = json.dumps({"identity": self._identity, "made": self._made})
                self._path.write_text(text)
        return np.asarray(self._made[name])


def search(
    plan: Plan, trial: Trial, trials: Trials, seed: int, progress: Progress = silent
) -> tuple[Strategy, list[Result]]:
    """Fit and judge as planned; the winner and all figures, round by round.

    Args:
        plan: What is tried.
        trial: Fits and judges.
        trials: What was found before.
        seed: Of the bootstrap over users, which tells apart and decides nothing.
        progress: Called after each trial.
    """
    left, results, done = list(plan.strategies), [], 0
    total = sum(rung.strategies for rung in plan.rungs)
    for number, rung in enumerate(plan.rungs):
        found: dict[str, NDArray[np.float64]] = {}
        for each in left:
            name = f"{each.name} {rung.steps}"
            found[each.name] = trials.value(name, partial(trial, each, rung.steps))
            done += 1
            progress("target strategies", done, total)
        order = sorted(left, key=lambda each: -found[each.name].mean())  # stable: the first of ties
        left = order[: max(len(order) // 2, 1)]
        kept = {each.name for each in left}
        results += _figures(found, order[0].name, number, rung.steps, kept, seed)
    return left[0], results


def _figures(
    found: Mapping[str, NDArray[np.float64]],
    best: str,
    rung: int,
    steps: int,
    kept: set[str],
    seed: int,
) -> list[Result]:
    names = list(found)
    differences = np.stack([found[name] - found[best] for name in names], axis=1)
    low, high = multinomial_intervals(differences, seed)
    return [
        Result(name, rung, steps, float(found[name].mean()), float(low[n]), float(high[n]),
               name in kept)
        for n, name in enumerate(names)
    ]  # fmt: skip
