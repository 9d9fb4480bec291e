"""Settings are chosen by the validation slice and by nothing after its ends."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from itememb_core.users.baselines import BASELINES, DecayedFrequency, choose, choose_all
from itememb_core.users.baselines.selection import mean_ndcg
from itememb_core.users.validation import validation_slice
from tests.worlds.users import habits, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")

ID = ["fmcg_a", "fmcg_b", "fmcg_c"]
# Last comes what was bought last: a short memory is right.
LATEST = [(user, 24 * day, ID[item]) for user in range(9)
          for day, item in ((0, 0), (1, 0), (2, 0), (90, 1), (91, 1))]  # fmt: skip
# Last comes what was bought most often: a long one is.
OFTEN = [(user, 24 * day, ID[item]) for user in range(9)
         for day, item in ((0, 0), (1, 0), (2, 0), (90, 1), (91, 0))]  # fmt: skip


@pytest.mark.parametrize(("rows", "days"), [(LATEST, {7.0, 28.0}), (OFTEN, {112.0, 448.0})])
def test_the_half_life_is_that_of_the_lake(tmp_path, rows, days):
    items = items_of(ID)
    packed = pack(tmp_path, rows, items)
    found = choose(DecayedFrequency(), packed, items, validation_slice(packed, 7))
    assert found.baseline.half_life_days in days
    assert found.ndcg == 1.0


@dataclass(frozen=True)
class _Planted:
    """The item is first whose number is the sum of its settings."""

    one: int = 0
    two: int = 0

    name: ClassVar[str] = "planted"
    ladder: ClassVar = {"one": (0, 1), "two": (0, 1, 2)}
    scoring: ClassVar = frozenset()

    def fit(self, packed, items, ends=None):
        assert ends is not None
        return self

    def scores(self, shard, users, end):
        scores = np.tile(np.float32([0, -1, -2]), (len(users), 1))
        scores[:, (self.one + self.two) % 3] = 1
        return scores


def test_one_setting_after_the_other_the_first_of_equals(tmp_path):
    items = items_of(ID)
    rows = [(1, 0, "fmcg_a"), (1, 9, "fmcg_c"), (2, 0, "fmcg_a"), (2, 9, "fmcg_c")]
    packed = pack(tmp_path, rows, items)
    found = choose(_Planted(), packed, items, validation_slice(packed, 7))
    # With one = 0: a, c follows; with one = 1: b, c still third.
    assert found.baseline == _Planted(0, 2)
    assert found.ndcg == 1.0


def test_ndcg_by_hand(tmp_path):
    items = items_of(ID)
    rows = [(1, 0, "fmcg_a"), (1, 9, "fmcg_c"), (2, 0, "fmcg_a"), (2, 9, "fmcg_a")]
    packed = pack(tmp_path, rows, items)
    value = mean_ndcg(_Planted(), packed, validation_slice(packed, 7))
    assert value == pytest.approx((0.5 + 1) / 2)  # third, first


def test_nothing_to_choose_by_leaves_the_first_settings(tmp_path):
    items = items_of(ID)
    packed = pack(tmp_path, [(1, 0, "fmcg_a")], items)
    found = choose_all(BASELINES, packed, items, 7, seed=0)
    assert [each.baseline for each in found.values()] == list(BASELINES)
    assert all(each.ndcg is None for each in found.values())


def test_all_are_chosen_the_same_each_time(tmp_path):
    ids, rows = habits(users=20, weeks=8)
    items = items_of(ids)
    packed = pack(tmp_path, rows, items)
    first, second = (choose_all(BASELINES, packed, items, 7, seed=1) for _ in range(2))
    assert first == second
    assert list(first) == [each.name for each in BASELINES]


@pytest.mark.parametrize("baseline", [each for each in BASELINES if each.scoring])
def test_a_fit_is_used_again_for_settings_that_it_does_not_read(baseline, tmp_path):
    ids, rows = habits(users=10, weeks=5)
    items = items_of(ids)
    packed = pack(tmp_path, rows, items)
    (shard,) = packed.shards()
    users, end = np.arange(10), shard.start[1:]
    fitted = baseline.fit(packed, items)
    for name in baseline.scoring:
        other = replace(baseline, **{name: baseline.ladder[name][0]})
        again = replace(fitted, settings=other).scores(shard, users, end)
        assert np.array_equal(again, other.fit(packed, items).scores(shard, users, end))
