"""The validation slice: whole last days, each user's last event, and what may be seen before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.users import validation
from itememb_core.users.shards import pack_histories
from itememb_core.users.validation import sampled, validation_slice
from tests.worlds.users import habits, histories, items_of, pack

IDS = ["fmcg_a", "fmcg_b", "fmcg_c", "x"]
# Hours; the last event is on day 9, so that the last two days begin at hour 8 * 24 = 192.
ROWS = [
    (1, 0, "fmcg_a"),
    (1, 191, "fmcg_b"),
    (1, 192, "fmcg_b"),
    (1, 200, "x"),
    (1, 230, "fmcg_c"),
    (2, 10, "x"),
    (2, 195, "fmcg_a"),
    (3, 193, "fmcg_a"),  # nothing before the slice
    (4, 5, "fmcg_a"),
    (4, 210, "x"),  # no target in it
    (5, 0, "fmcg_a"),
    (5, 40, "fmcg_b"),
    (5, 40, "fmcg_c"),
    (5, 50, "x"),
]


def only(held):
    (each,) = held.shards.values()
    return each


def test_last_days_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "ENOUGH_USERS", 2)
    held = validation_slice(pack(tmp_path, ROWS, items_of(IDS)), 2)
    each = only(held)
    assert held.by_days
    assert each.users.tolist() == [0, 1]
    assert each.limit.tolist() == [2, 6, 7, 9, 14]  # user 3 has nothing to be fitted on
    assert each.end.tolist() == [2, 6]
    assert [own.target.tolist() for own in each.truth()] == [[1, 2], [0]]
    assert [own.next().tolist() for own in each.truth()] == [[1], [0]]
    hours = np.diff(next(each.truth()).seconds) / 3600
    assert hours.tolist() == [38]


def test_few_users_have_their_last_event_instead(tmp_path):
    held = validation_slice(pack(tmp_path, ROWS, items_of(IDS)), 2)
    each = only(held)
    assert not held.by_days
    assert each.users.tolist() == [0, 1, 4]  # users 3 and 4 have nothing before their last target
    assert each.limit.tolist() == [4, 6, 7, 8, 11]
    assert [own.all().tolist() for own in each.truth()] == [[2], [0], [1, 2]]


def test_no_days_mean_the_last_event(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "ENOUGH_USERS", 0)
    assert not validation_slice(pack(tmp_path, ROWS, items_of(IDS)), 0).by_days


def test_nothing_at_all(tmp_path):
    packed = pack_histories([histories([])], items_of(IDS), tmp_path)
    held = validation_slice(packed, 7)
    assert (held.users, dict(held.ends)) == (0, {})


def test_a_sample_keeps_limits_and_whole_users(tmp_path):
    ids, rows = habits(users=30)
    whole = validation_slice(pack(tmp_path, rows, items_of(ids)), 7)
    some = sampled(whole, 10, seed=3)
    assert (whole.users, some.users) == (30, 10)
    assert np.array_equal(only(some).limit, only(whole).limit)
    truth = dict(zip(only(whole).users.tolist(), only(whole).truth(), strict=True))
    for user, own in zip(only(some).users.tolist(), only(some).truth(), strict=True):
        assert np.array_equal(own.target, truth[user].target)
        assert np.array_equal(own.seconds, truth[user].seconds)
    assert sampled(whole, 30, seed=3) is whole


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("packed")


@settings(max_examples=30, deadline=None)
@given(
    hours=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 400)), min_size=1, max_size=30),
    days=st.integers(0, 10),
    enough=st.integers(0, 3),
)
def test_all_targets_of_judged_users_are_before_or_in_the_slice(folders, hours, days, enough):
    rows = [(user, hour, IDS[hour % 4]) for user, hour in sorted(hours)]
    packed = pack(folders(), rows, items_of(IDS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "ENOUGH_USERS", enough)
        each = only(validation_slice(packed, days))
    (shard,) = packed.shards()
    for user, own in zip(each.users.tolist(), each.truth(), strict=True):
        start, end, stop = shard.start[user], each.limit[user], shard.start[user + 1]
        assert start < end < stop
        assert len(own.target) == shard.owned[stop] - shard.owned[end] > 0
        assert own.seconds.min() >= shard.seconds[end] > shard.seconds[end - 1]
