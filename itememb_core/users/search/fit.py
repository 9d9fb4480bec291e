"""A sequence model for a lake: what it is trained on is searched for, then it is fitted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.progress import Progress, silent
from itememb_core.settings import SequenceSettings, UserModelSettings
from itememb_core.users.baselines.selection import JUDGES, mean_ndcg, user_ndcg
from itememb_core.users.items import ItemSpace
from itememb_core.users.search.halving import Result, Trials, search
from itememb_core.users.search.plan import Plan, plan_of
from itememb_core.users.search.strategies import STRATEGIES, Strategy, strategy_named
from itememb_core.users.sequence.fit import fit_sequence_model
from itememb_core.users.sequence.model import SequenceModel
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import ValidationSlice, sampled


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        plan: What the budget allows.
        strategy: The winner.
        results: All figures, round by round; none where one strategy alone was there.
    """

    plan: Plan
    strategy: Strategy
    results: list[Result]


def search_strategies(
    packed: PackedHistories,
    items: ItemSpace,
    held: ValidationSlice,
    settings: tuple[UserModelSettings, SequenceSettings],
    *,
    seed: int,
    trials: Trials | None = None,
    progress: Progress = silent,
) -> Search:
    """Find what a sequence model is best trained on, on the validation slice.

    Args:
        packed: All histories; fits see what lies before the slice.
        items: Targets.
        held: The slice; without users nothing is tried, and the first strategy is taken.
        settings: Budget, or a pinned strategy; what strategies leave as it is.
        seed: Of fits, of the sample of users who judge, of intervals.
        trials: Figures of a search that was killed.
        progress: Called after each trial.
    """
    (budget, model), judges = settings, sampled(held, JUDGES, seed)
    named = budget.strategy
    strategies = STRATEGIES if named == "search" else (strategy_named(named),)
    plan = plan_of(budget.budget_minutes, model, packed.events, strategies)
    if not held.users:
        return Search(plan, plan.strategies[0], [])

    def trial(strategy: Strategy, steps: int) -> NDArray[np.float64]:
        own = strategy.applied(model)
        found = fit_sequence_model(packed, items, own, seed=seed, steps=steps, ends=held.ends)
        return user_ndcg(found, packed, judges)

    strategy, results = search(plan, trial, trials or Trials(None, ""), seed, progress)
    return Search(plan, strategy, results)


def fit_before(
    packed: PackedHistories,
    items: ItemSpace,
    held: ValidationSlice,
    settings: SequenceSettings,
    steps: int,
    *,
    seed: int,
    checkpoint: Checkpoint | None = None,
    progress: Progress = silent,
) -> SequenceModel:
    """Fit on what lies before the slice, until the slice's ranking stops improving.

    Args:
        packed: All histories.
        items: Targets.
        held: The slice.
        settings: Of the winner.
        steps: Most steps.
        seed: Of the fit, and of the sample of users who judge.
        checkpoint: Of a fit that was killed.
        progress: Called after each step.
    """
    judges = sampled(held, JUDGES, seed)

    def validation(model: SequenceModel) -> float:
        return mean_ndcg(model, packed, judges)

    return fit_sequence_model(
        packed,
        items,
        settings,
        seed=seed,
        steps=steps,
        ends=held.ends,
        validation=validation if judges.users else None,
        checkpoint=checkpoint,
        progress=progress,
    )


def final_steps(backtest: int, before: int, events: int) -> int:
    """Steps of a fit on more events: as many passes as the backtest's best model had taken."""
    return round(backtest * events / max(before, 1))
