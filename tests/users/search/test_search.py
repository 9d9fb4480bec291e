"""Plans by hand and by their laws, halving on planted figures, resuming, the winner."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.report.strategies import strategies_plot
from itememb_core.settings import SequenceSettings, UserModelSettings
from itememb_core.users.search.halving import Trials, search
from itememb_core.users.search.plan import EVENTS_A_SECOND, LEAST_STEPS, Plan, Rung, plan_of, rate
from itememb_core.users.search.strategies import STRATEGIES, Strategy, strategy_named
from itememb_core.users.search.table import chosen, strategies_table

DEFAULT = SequenceSettings()
MANY = 10**9
THREE = tuple(Strategy(name, {}, "") for name in "abcd")


def events(plan: Plan) -> float:
    """Steps of all fits."""
    return sum(rung.strategies * rung.steps for rung in plan.rungs) + plan.fit_steps


def test_every_strategy_makes_valid_settings_and_is_found_by_its_name():
    for each in STRATEGIES:
        made = each.applied(DEFAULT)
        assert {n: getattr(made, n) for n in each.changes} == dict(each.changes)
        assert strategy_named(each.name) is each
    assert len({each.name for each in STRATEGIES}) == len(STRATEGIES)


def test_a_plan_by_hand():
    same = tuple(Strategy(name, {}, "") for name in "abcd")
    # 4,096 events a step at 25,000 a second: 6.1 steps a second. Of 240 s 96 are the search's.
    # Four strategies: 2 rounds of 48 s, 12 s each in the first: 73 steps, too few.
    plan = plan_of(4.0, DEFAULT, MANY, same)
    assert [each.name for each in plan.strategies] == ["a", "b"]
    assert plan.rungs == (Rung(2, 292),)
    assert plan.fit_steps == 878
    more = plan_of(40.0, DEFAULT, MANY, same)
    assert more.rungs == (Rung(4, 732), Rung(2, 1464))
    assert plan_of(10 / 60, DEFAULT, MANY, same) == Plan(same[:1], (), 0, 4096 / 25_000)
    assert plan_of(1.0, DEFAULT, MANY, same[:1]).fit_steps == 366
    assert plan_of(1.0, DEFAULT, 5_000, same[:1]).fit_steps == 366
    # Two batches a pass, and at most 200 passes.
    assert plan_of(4.0, DEFAULT, 5_000, same) == Plan(same[:2], (Rung(2, 292),), 400, 4096 / 25_000)


@given(st.floats(0.1, 1000), st.integers(1, len(STRATEGIES)))
def test_a_plan_keeps_its_budget_and_its_least(minutes, number):
    plan = plan_of(minutes, DEFAULT, MANY, STRATEGIES[:number])
    slowest = min(rate(each.applied(DEFAULT)) for each in plan.strategies)
    assert plan.seconds == pytest.approx(events(plan) * DEFAULT.batch_events / slowest)
    assert plan.seconds <= 60 * minutes * (1 + 1e-9)
    assert all(rung.steps >= LEAST_STEPS for rung in plan.rungs)
    assert [r.strategies for r in plan.rungs] == [
        len(plan.strategies) >> n for n in range(len(plan.rungs))
    ]
    assert plan.fit_steps == 0 or plan.fit_steps >= LEAST_STEPS


def test_larger_models_are_slower():
    assert rate(DEFAULT) == EVENTS_A_SECOND["transformer"]
    assert rate(SequenceSettings(dim=128)) == EVENTS_A_SECOND["transformer"] / 2
    assert rate(SequenceSettings(encoder="gru")) == EVENTS_A_SECOND["gru"]


def planted(values):
    """A trial whose figures are the strategy's, better with steps."""
    seen = []

    def trial(strategy, steps):
        seen.append((strategy.name, steps))
        return np.full(20, values[strategy.name] * steps) + np.linspace(0, 0.01, 20)

    return trial, seen


def test_halving_keeps_the_better_half_and_the_first_of_equals():
    plan = Plan(THREE, (Rung(4, 10), Rung(2, 20)), 100, 60.0)
    trial, seen = planted({"a": 1, "b": 3, "c": 2, "d": 3})
    winner, results = search(plan, trial, Trials(None, ""), 0)
    assert winner.name == "b"
    assert seen == [("a", 10), ("b", 10), ("c", 10), ("d", 10), ("b", 20), ("d", 20)]
    kept = {(each.strategy, each.rung): each.kept for each in results}
    assert kept == {
        ("a", 0): False, ("b", 0): True, ("c", 0): False, ("d", 0): True,
        ("b", 1): True, ("d", 1): False,
    }  # fmt: skip
    first = next(each for each in results if each.strategy == "a")
    assert first.ndcg == pytest.approx(10.005)
    assert (first.low, first.high) == (pytest.approx(-20), pytest.approx(-20))


def test_one_strategy_is_not_tried():
    trial, seen = planted({"a": 1})
    winner, results = search(Plan(THREE[:1], (), 50, 60.0), trial, Trials(None, ""), 0)
    assert (winner.name, results, seen) == ("a", [], [])


def test_a_killed_search_goes_on_where_it_was(tmp_path):
    plan = Plan(THREE, (Rung(4, 10), Rung(2, 20)), 100, 60.0)
    values = {"a": 1, "b": 3, "c": 2, "d": 4}
    trial, _ = planted(values)
    whole = search(plan, trial, Trials(None, ""), 0)

    def killed(strategy, steps):
        if (strategy.name, steps) == ("b", 20):
            raise KeyboardInterrupt
        return trial(strategy, steps)

    path = tmp_path / "deep" / "trials.json"
    with pytest.raises(KeyboardInterrupt):
        search(plan, killed, Trials(path, "x"), 0)
    again, seen = planted(values)
    assert search(plan, again, Trials(path, "x"), 0) == whole
    assert seen == [("b", 20)]
    other, seen = planted(values)
    search(plan, other, Trials(path, "another lake"), 0)
    assert len(seen) == 6
    path.write_text(path.read_text()[:20])
    cut, seen = planted(values)
    assert search(plan, cut, Trials(path, "another lake"), 0) == whole
    assert len(seen) == 6


def test_the_table_names_what_is_fitted_and_is_read_back():
    plan = Plan(STRATEGIES[:2], (Rung(2, 10),), 30, 0.5)
    trial, _ = planted({STRATEGIES[0].name: 1, STRATEGIES[1].name: 2})
    winner, results = search(plan, trial, Trials(None, ""), 0)
    table = strategies_table(plan, winner, results, DEFAULT)
    rows = table.to_pylist()
    assert [(r["strategy"], r["round"], r["steps"], r["chosen"]) for r in rows] == [
        ("next_event", 0, 10, False), ("horizon", 0, 10, False), ("horizon", 1, 30, True),
    ]  # fmt: skip
    assert [r["seconds"] for r in rows] == [5.0, 5.0, 15.0]
    assert (rows[2]["target"], rows[2]["negatives"], rows[2]["value"]) == (
        "horizon", "1000, even", None,
    )  # fmt: skip
    assert rows[0]["value"] < rows[1]["value"]
    assert chosen(table) == (winner.name, 30)
    assert strategies_plot(table).startswith(b"\x89PNG")
    alone = strategies_table(Plan(STRATEGIES[:1], (), 7, 0.5), STRATEGIES[0], [], DEFAULT)
    assert chosen(alone) == (STRATEGIES[0].name, 7)
    assert chosen(table.slice(0, 2)) == (None, 0)
    assert strategies_plot(alone).startswith(b"\x89PNG")
    unknown = strategies_table(Plan(THREE[:1], (), 7, 0.5), THREE[0], [], DEFAULT)
    for wrong in (unknown, pa.concat_tables([alone, alone])):
        with pytest.raises(ItemembError, match="target_strategies: chosen is"):
            chosen(wrong)


def test_settings_name_every_strategy():
    for each in STRATEGIES:
        assert UserModelSettings(strategy=each.name).strategy == each.name
    with pytest.raises(ValueError, match="strategy"):
        UserModelSettings(strategy="another")
