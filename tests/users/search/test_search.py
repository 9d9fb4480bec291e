"""Plans by hand and by their laws, halving on planted figures, resuming, the winner."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.search.halving import Trials, search
from itememb_core.users.search.plan import EVENTS_A_SECOND, LEAST_STEPS, Plan, Rung, plan_of, rate
from itememb_core.users.search.strategies import STRATEGIES, Strategy, strategy_named

DEFAULT = SequenceSettings()
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
    plan = plan_of(4.0, DEFAULT, same)
    assert [each.name for each in plan.strategies] == ["a", "b"]
    assert plan.rungs == (Rung(2, 292),)
    assert plan.fit_steps == 878
    more = plan_of(40.0, DEFAULT, same)
    assert more.rungs == (Rung(4, 732), Rung(2, 1464))
    assert plan_of(10 / 60, DEFAULT, same) == Plan(same[:1], (), 0, 10.0)
    assert plan_of(1.0, DEFAULT, same[:1]).fit_steps == 366


@given(st.floats(0.1, 1000), st.integers(1, len(STRATEGIES)))
def test_a_plan_keeps_its_budget_and_its_least(minutes, number):
    plan = plan_of(minutes, DEFAULT, STRATEGIES[:number])
    slowest = min(rate(each.applied(DEFAULT)) for each in STRATEGIES[:number])
    assert events(plan) * DEFAULT.batch_events / slowest <= 60 * minutes * (1 + 1e-9)
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
