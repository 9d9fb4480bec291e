"""``target_strategies``: all figures of a search, and what the model is fitted by."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.errors import ItemembError
from itememb_core.schemas import TARGET_STRATEGIES
from itememb_core.settings import SequenceSettings
from itememb_core.users.search.halving import Result
from itememb_core.users.search.plan import Plan
from itememb_core.users.search.strategies import STRATEGIES, Strategy

#: What strategies are judged by.
METRIC: Final = "mean of ndcg@10 and ndcg@100"


def strategies_table(
    plan: Plan, winner: Strategy, results: list[Result], settings: SequenceSettings
) -> pa.Table:
    """All figures round by round, then a row of the winner's fit.

    Args:
        plan: Of the search.
        winner: The strategy that is used.
        results: Figures.
        settings: What strategies change.

    Returns:
        ``schemas.TARGET_STRATEGIES``.
    """
    rows = [*_tried(plan, results, settings),
            {**_about(winner, settings), "round": len(plan.rungs), "steps": plan.fit_steps,
             "seconds": plan.fit_steps * plan.step_seconds, "chosen": True}]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TARGET_STRATEGIES)


def chosen(table: pa.Table) -> tuple[str | None, int]:
    """Name of the chosen strategy, and the most steps of its fit; None: there is none.

    Raises:
        ItemembError: More than one is chosen, or what is chosen is unknown.
    """
    rows = table.filter(pc.field("chosen")).to_pylist()
    if not rows:
        return None, 0
    names = [row["strategy"] for row in rows]
    if len(names) > 1 or names[0] not in {each.name for each in STRATEGIES}:
        raise ItemembError(
            f"target_strategies: chosen is {', '.join(names)}, expected one known strategy"
        )
    return names[0], rows[0]["steps"]


def _tried(
    plan: Plan, results: list[Result], settings: SequenceSettings
) -> Iterator[dict[str, object]]:
    strategies = {each.name: each for each in plan.strategies}
    for each in results:
        yield {
            **_about(strategies[each.strategy], settings), "round": each.rung,
            "steps": each.steps, "metric": METRIC, "value": each.ndcg, "low": each.low,
            "high": each.high, "seconds": each.steps * plan.step_seconds, "chosen": False,
        }  # fmt: skip


def _about(strategy: Strategy, settings: SequenceSettings) -> dict[str, object]:
    own = strategy.applied(settings)
    shares = {"by popularity": own.popularity_share, "of the batch": own.in_batch_share}
    drawn = ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share)
    return {"strategy": strategy.name, "encoder": own.encoder, "target": own.target,
            "loss": own.loss, "negatives": f"{own.negatives}, {drawn or 'even'}"}  # fmt: skip
