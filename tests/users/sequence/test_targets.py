"""Columns, and which events predict what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.users.sequence.columns import (
    blocks,
    gap_codes,
    join,
    shard_columns,
    times_differ,
)
from itememb_core.users.sequence.targets import draw_targets, targets_ahead
from itememb_core.users.shards import pack_histories, pack_shard
from tests.worlds.users import histories, items_of

IDS = ["fmcg_a", "fmcg_b", "fmcg_c", "x"]

#: (user, hours, item); two at hour 24 are one set.
ROWS = [
    (1, 0, "fmcg_a"), (1, 24, "fmcg_b"), (1, 24, "fmcg_c"), (1, 24, "x"), (1, 72, "fmcg_a"),
    (2, 0, "fmcg_b"), (2, 24 * 40, "fmcg_a"),
]  # fmt: skip


@pytest.fixture
def columns():
    items = items_of(IDS)
    return shard_columns(pack_shard(histories(ROWS), items), items.target_of)


def predicted(ahead):
    """Target numbers ahead of each event."""
    bounds = zip(ahead.low, ahead.high, strict=True)
    return [sorted(ahead.items[low:high].tolist()) for low, high in bounds]


A, B, C = 0, 1, 2


def test_the_next_event_is_the_next_on_a_target(columns):
    ahead = targets_ahead(columns, "next_event")
    assert predicted(ahead) == [[B], [C], [A], [A], [], [A], []]


def test_the_next_basket_is_all_of_the_next_time_from_the_last_of_a_time(columns):
    ahead = targets_ahead(columns, "next_basket")
    assert predicted(ahead) == [[B, C], [], [], [A], [], [A], []]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (1.0, [[B, C], [], [], [], [], [], []]),
        (3.0, [[A, B, C], [], [], [A], [], [], []]),
        (40.0, [[A, B, C], [], [], [A], [], [A], []]),
    ],
)
def test_the_horizon_is_counted_in_days(columns, days, expected):
    assert predicted(targets_ahead(columns, "horizon", days)) == expected


def test_an_end_hides_what_follows():
    items = items_of(IDS)
    shard = pack_shard(histories(ROWS), items)
    whole = shard_columns(shard, items.target_of)
    part = shard_columns(shard, items.target_of, np.array([4, 7]))
    assert (whole.events, part.events) == (7, 6)
    assert part.own[part.own_start[0] : part.own_start[1]].tolist() == [A, B, C]
    assert predicted(targets_ahead(part, "next_event"))[:4] == [[B], [C], [], []]
    none = shard_columns(shard, items.target_of, np.array([0, 5]))
    assert none.events == 0
    assert predicted(targets_ahead(none, "next_basket")) == []
    with pytest.raises(ItemembError, match="3 ends, expected 2"):
        shard_columns(shard, items.target_of, np.array([1, 2, 3]))


def test_shards_joined_are_the_users_of_both(tmp_path):
    items = items_of(IDS)
    tables = [histories(ROWS[:5]), histories(ROWS[5:])]
    packed = pack_histories(tables, items, tmp_path)
    (block,) = blocks(packed, items.target_of)
    whole = shard_columns(pack_shard(histories(ROWS), items), items.target_of)
    for name in vars(whole):
        assert np.array_equal(getattr(block, name), getattr(whole, name)), name
    (cut,) = blocks(packed, items.target_of, {packed.names[0]: np.array([1])})
    assert cut.start.tolist() == [0, 1, 3]
    assert join([whole]) is whole


def test_gap_codes_by_hand():
    seconds = np.array([5.0, 5.0, 6.0, 9.0, 5.0, 5.0 + 2**40])
    # 0 s is log2(1) = 0, 1 s is log2(2) = 1, 3 s is log2(4) = 2, then another user.
    assert gap_codes(seconds, np.array([0, 4, 6])).tolist() == [0, 1, 2, 3, 0, 31]


def test_times_differ_only_where_a_user_has_two():
    items = items_of(IDS)

    def differ(rows):
        return times_differ(shard_columns(pack_shard(histories(rows), items), items.target_of))

    assert differ(ROWS)
    assert not differ([(1, 0, "fmcg_a"), (1, 0, "fmcg_b"), (2, 9, "fmcg_b")])
    assert not differ([(1, 0, "fmcg_a")])


def test_all_ahead_are_drawn_where_they_are_few(columns):
    ahead = targets_ahead(columns, "horizon", 40.0)
    events = np.flatnonzero(ahead.high > ahead.low)
    target, weight = draw_targets(ahead, events, 5, np.random.default_rng(0))
    assert target.shape == (3, 3)
    assert sorted(target[0].tolist()) == [A, B, C]
    assert weight.tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    target, weight = draw_targets(ahead, events, 2, np.random.default_rng(0))
    assert weight.tolist() == [[1, 1], [1, 0], [1, 0]]


@hypothesis_settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["next_event", "next_basket", "horizon"]))
def test_a_target_lies_ahead_of_its_event_in_the_same_history(seed, kind):
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(hour), IDS[rng.integers(4)])
        for user in range(3)
        for hour in np.sort(rng.integers(0, 50, rng.integers(1, 8)))
    ]
    items = items_of(IDS)
    found = shard_columns(pack_shard(histories(rows), items), items.target_of)
    ahead = targets_ahead(found, kind, 1.0)
    direct = np.flatnonzero(found.target >= 0)
    users = np.repeat(np.arange(found.users), np.diff(found.start))
    for event in range(found.events):
        for later in direct[ahead.low[event] : ahead.high[event]]:
            assert users[later] == users[event]
            assert later > event
            if kind != "next_event":
                assert found.seconds[later] > found.seconds[event]
            if kind == "horizon":
                assert found.seconds[later] <= found.seconds[event] + 86400
