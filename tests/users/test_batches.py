"""Windows, targets ahead, negatives and the order of batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.users.features import DAY
from itememb_core.users.shards import pack_shard
from itememb_core.users.training.batches import (
    _negatives,
    future,
    limits,
    make_batch,
    sampler,
    uniform_hash,
    validation_users,
    windows,
)
from itememb_core.users.training.stream import batch_stream, epoch_batches
from tests.worlds.users import SMALL, habits, histories, items_of, pack

IDS = ["fmcg_a", "fmcg_b", "fmcg_c", "fmcg_d", "x"]


def test_windows_by_hand():
    assert windows(5, 8, 10, 8).tolist() == [[5, 8, 5]]
    assert windows(0, 10, 4, 3).tolist() == [[0, 4, 0], [3, 7, 4], [6, 10, 7]]


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 9), n=st.integers(1, 60), size=st.integers(1, 20), data=st.data())
def test_each_event_predicts_once_and_sees_its_past(start, n, size, data):
    stride = data.draw(st.integers(1, size))
    rows = windows(start, start + n, size, stride)
    predicts = [event for begin, end, first in rows for event in range(first, end)]
    assert predicts == list(range(start, start + n))
    for begin, end, first in rows.tolist():
        assert end - begin == min(size, end - start)
        assert begin <= first < end


# A user at hours 0, 0, 30, 30 and 100, the third item opaque; another with one event.
ROWS = [
    (1, 0, "fmcg_a"),
    (1, 0, "fmcg_b"),
    (1, 30, "x"),
    (1, 30, "fmcg_c"),
    (1, 100, "fmcg_d"),
    (2, 50, "fmcg_a"),
]


def ranges(horizon_days, limit=None):
    shard = pack_shard(histories(ROWS), items_of(IDS))
    limit = shard.start[1:] if limit is None else np.array(limit)
    ahead = future(shard, limit, horizon_days)
    return [shard.own[a:b].tolist() for a, b in zip(ahead.low, ahead.high, strict=True)]


def test_targets_ahead_by_hand():
    # Of two events at one time only the later predicts; targets are events 0, 1, 3, 4, 5.
    assert ranges(2) == [[], [3], [], [], [], []]
    assert ranges(10) == [[], [3, 4], [], [4], [], []]
    assert ranges(0) == [[], [3], [], [4], [], []]
    assert ranges(10, limit=[4, 6]) == [[], [3], [], [], [], []]


def drawing(tmp_path, rows, ids, **changes):
    packed = pack(tmp_path, rows, items_of(ids))
    validate = changes.pop("validate", False)
    options = SMALL.model_copy(update=changes)
    return packed, sampler(packed, options, 0, validate=validate)


def test_validation_ends_before_the_last_time_with_a_target(tmp_path):
    packed, sampling = drawing(tmp_path, ROWS, IDS, validate=True, validation_share=0.999)
    (shard,) = packed.shards()
    assert validation_users(shard, sampling).tolist() == [0]  # the other has one event alone
    assert limits(shard, sampling).tolist() == [4, 6]


def test_targets_are_after_their_position_and_own_draws_before_it(tmp_path):
    ids, rows = habits(users=10)
    packed, sampling = drawing(tmp_path, rows, ids)
    (shard,) = packed.shards()
    ahead = future(shard, shard.start[1:], sampling.settings.horizon_days)
    table = windows(0, int(shard.start[1]), 10, 8)
    batch = make_batch(shard, table, ahead, sampling, np.random.default_rng(0))
    items = batch["items"]
    begin = table[batch["position"] // 10, 0]
    events = begin + batch["position"] % 10
    previous = [
        set((shard.pair_key[shard.pair[: e + 1]] % 30)[shard.pair[: e + 1] >= 0]) for e in events
    ]
    for row, event in enumerate(events):
        later = shard.own[shard.seconds[shard.own] > shard.seconds[event]]
        later = later[later < shard.start[1]]
        future_items = set(shard.pair_key[shard.pair[later]] % 30)
        assert set(items[batch["target"][row]]) <= future_items
        assert set(items[batch["own"][row]]) <= previous[row]
        new = set(items[batch["negative"]]) - previous[row]
        assert set(items[batch["negative"][batch["negative_new"][row]]]) == new
        repeated = [target in previous[row] for target in items[batch["target"][row]]]
        assert (batch["target_repeated"][row] == repeated).all()


def test_an_item_bought_twice_is_a_target_once(tmp_path):
    # After event 0 come b, b, c: draws of the second b weigh nothing, of b and c the same.
    rows = [(1, 24 * day, f"fmcg_{item}") for day, item in enumerate("abbc")]
    packed, sampling = drawing(tmp_path, rows, IDS, targets=3000, user_power=0.0)
    (shard,) = packed.shards()
    ahead = future(shard, shard.start[1:], 28)
    batch = make_batch(shard, np.array([[0, 1, 0]]), ahead, sampling, np.random.default_rng(0))
    drawn, weight = batch["items"][batch["target"][0]], batch["target_weight"][0]
    assert set(weight) == {0, 1}
    assert [weight[drawn == item].sum() for item in (1, 2)] == pytest.approx([1000, 1000], rel=0.1)


def test_weights_of_users_by_hand():
    shard = pack_shard(histories(ROWS), items_of(IDS))
    ahead = future(shard, shard.start[1:], 10, user_power=0.5)  # user 1 predicts at two events
    assert ahead.weight == pytest.approx([2**-0.5] * 5 + [1])


def test_own_draws_sum_to_the_whole_on_average(tmp_path):
    # One user bought a three times, b once: the weights of a and b must each be 1 on average.
    rows = [
        (1, 24 * day, item) for day, item in enumerate(["fmcg_a", "fmcg_a", "fmcg_b", "fmcg_a"])
    ]
    packed, sampling = drawing(tmp_path, [*rows, (1, 200, "fmcg_c")], IDS, own_negatives=4000)
    (shard,) = packed.shards()
    ahead = future(shard, shard.start[1:], 28)
    batch = make_batch(shard, np.array([[0, 5, 3]]), ahead, sampling, np.random.default_rng(1))
    own = batch["items"][batch["own"][0]]
    weight = np.exp(batch["own_log_weight"][0])
    assert [weight[own == item].sum() for item in (0, 1)] == pytest.approx([1, 1], rel=0.1)


def test_shared_draws_sum_to_the_whole_on_average(tmp_path):
    ids, rows = habits()
    _, sampling = drawing(tmp_path, rows, ids, negatives=50_000)
    items, log_weight = _negatives(sampling, np.random.default_rng(0))
    assert len(items) == sampling.targets
    assert np.exp(log_weight) == pytest.approx(np.ones(len(items)), abs=0.15)


def test_opaque_history_has_no_own_draws(tmp_path):
    packed, sampling = drawing(tmp_path, [(1, 0, "x"), (1, 50, "fmcg_a")], IDS)
    (batch,) = epoch_batches(packed, sampling, 1)
    assert np.isneginf(batch["own_log_weight"]).all()
    assert batch["items"][batch["target"]].tolist() == [[0, 0]]
    assert batch["target_weight"].tolist() == [[1, 1]]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(tmp_path, workers):
    ids, rows = habits()
    packed, sampling = drawing(tmp_path, rows, ids, workers=workers)
    alone = list(epoch_batches(packed, sampling, 3))
    streamed = list(batch_stream(packed, sampling, 3))
    assert len(alone) == len(streamed) > 3
    for a, b in zip(alone, streamed, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name].numpy()) for name in a)
        assert all(a[name].dtype == b[name].numpy().dtype for name in a)


def test_uniform_hash():
    values = uniform_hash(np.arange(-5000, 5000), 7)
    assert values.min() >= 0
    assert values.max() < 1
    assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(np.full(10, 1000), rel=0.15)
    assert uniform_hash(np.array([3]), 7)[0] == values[5003]
    assert DAY == 24 * 3600


def test_a_window_predicts_from_so_many_events_drawn_anew(tmp_path):
    rows = [(user, hour, f"fmcg_{hour}") for user, n in ((1, 9), (2, 3)) for hour in range(n)]
    packed, drawn = drawing(tmp_path, rows, [f"fmcg_{i}" for i in range(9)], positions=4)
    (shard,) = packed.shards()
    table = np.array([[0, 9, 0], [9, 12, 9]])
    ahead = future(shard, limits(shard, drawn), drawn.settings.horizon_days)
    seen = set()
    for seed in range(30):
        place = make_batch(shard, table, ahead, drawn, np.random.default_rng(seed))["position"]
        assert place.tolist() == sorted(set(place.tolist()))
        assert (place < 9).sum() == 4
        assert place[place >= 9].tolist() == [9, 10]  # the last of three has nothing ahead
        seen |= set(place.tolist())
    assert seen == {*range(8), 9, 10}
