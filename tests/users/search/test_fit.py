"""A search on histories, the winner's fit, and what is done where there is nothing to choose by."""

import numpy as np
import pytest

from itememb_core.settings import SequenceSettings, UserModelSettings
from itememb_core.users.search.fit import final_steps, fit_before, search_strategies
from itememb_core.users.search.halving import Trials
from itememb_core.users.search.plan import LEAST_STEPS
from itememb_core.users.validation import validation_slice
from tests.worlds.users import habits, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = SequenceSettings(dim=8, blocks=1, window=12, negatives=16, batch_events=128,
                         warmup_steps=5, learning_rate=0.01)  # fmt: skip
#: Of two strategies, 100 steps each, at the stated rate.
BUDGET = UserModelSettings(budget_minutes=0.012)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    ids, rows = habits()
    items = items_of(ids)
    packed = pack(tmp_path_factory.mktemp("search"), rows, items)
    return packed, items, validation_slice(packed, 7)


def test_a_search_tries_two_and_a_killed_one_goes_on(world, tmp_path):
    packed, items, held = world
    found = search_strategies(packed, items, held, (BUDGET, SMALL), seed=0)
    assert [each.strategy for each in found.results] == ["next_event", "horizon"]
    assert found.results[0].steps >= LEAST_STEPS
    best = max(found.results, key=lambda each: each.ndcg)
    assert found.strategy.name == best.strategy
    assert found.plan.seconds <= 60 * BUDGET.budget_minutes
    path = tmp_path / "trials"
    search_strategies(packed, items, held, (BUDGET, SMALL), seed=0, trials=Trials(path, "x"))
    seen = []

    def stop(what, done, total):
        seen.append(done)

    again = search_strategies(
        packed, items, held, (BUDGET, SMALL), seed=0, trials=Trials(path, "x"), progress=stop
    )
    assert (again, seen) == (found, [1, 2])


def test_a_pinned_strategy_is_not_tried(world):
    packed, items, held = world
    pinned = BUDGET.model_copy(update={"strategy": "next_basket_gru"})
    found = search_strategies(packed, items, held, (pinned, SMALL), seed=0)
    assert (found.strategy.name, found.results) == ("next_basket_gru", [])
    assert found.plan.fit_steps >= LEAST_STEPS


def test_a_budget_of_no_fit_says_so(world):
    packed, items, held = world
    tiny = BUDGET.model_copy(update={"budget_minutes": 1e-6})
    found = search_strategies(packed, items, held, (tiny, SMALL), seed=0)
    assert (found.plan.fit_steps, found.results) == (0, [])
    model = fit_before(packed, items, held, SMALL, 0, seed=0)
    assert not model.learned
    assert "budget_minutes is too small" in model.reason


def test_nobody_to_judge_takes_the_first(tmp_path):
    items = items_of(["fmcg_a", "x"])
    packed = pack(tmp_path, [(1, 0, "fmcg_a")], items)
    held = validation_slice(packed, 7)
    found = search_strategies(packed, items, held, (BUDGET, SMALL), seed=0)
    assert (found.strategy.name, found.results) == ("next_event", [])


def test_the_fit_keeps_what_ranks_the_slice_best_and_sees_nothing_of_it(world):
    packed, items, held = world
    model = fit_before(packed, items, held, SMALL, 60, seed=0)
    history = model.history.to_pandas()
    assert model.steps == history.step[history.validation.idxmax()]
    assert history.validation.max() > history.validation[0]
    assert model.events == sum(int((each.limit - packed.shard(name).start[:-1]).sum())
                               for name, each in held.shards.items()) < packed.events  # fmt: skip
    again = fit_before(packed, items, held, SMALL, 60, seed=0)
    assert np.array_equal(model.item_matrix(), again.item_matrix())


def test_a_final_fit_takes_as_many_passes():
    assert final_steps(100, 1000, 1500) == 150
    assert final_steps(0, 0, 1500) == 0
