"""Each baseline's scores on a few events, by hand."""

from itertools import count

import numpy as np
import pytest

from itememb_core.users.baselines import (
    ChannelPopularity,
    DecayedFrequency,
    ItemKnn,
    LastItemCoOccurrence,
    MarkovChain,
    MeanOfVectors,
    OwnMostFrequent,
    Popularity,
    TifuKnn,
    UpCf,
)
from itememb_core.users.baselines.events import (
    basket_numbers,
    distinct_latest,
    history_events,
    own_events,
)
from tests.worlds.users import items_of, pack

IDS = ["fmcg_a", "fmcg_b", "fmcg_c", "fmcg_d"]
ROWS = [
    (1, 0, "fmcg_b"),
    (1, 0, "fmcg_c"),
    (1, 48, "fmcg_a"),
    (1, 96, "fmcg_c"),
    (2, 0, "fmcg_c"),
    (2, 1, "fmcg_d"),
    (2, 48, "fmcg_c"),
]
# Baskets: {a}, {a, b}, {b}; {c}; {a, c}.
BASKETS = [
    (1, 0, "fmcg_a"),
    (1, 24, "fmcg_a"),
    (1, 24, "fmcg_b"),
    (1, 24, "fmcg_b"),
    (1, 48, "fmcg_b"),
    (2, 0, "fmcg_c"),
    (3, 0, "fmcg_a"),
    (3, 0, "fmcg_c"),
]


@pytest.fixture
def scores(tmp_path):
    folders = count()

    def of(baseline, rows=ROWS, ids=IDS):
        items = items_of(ids)
        packed = pack(tmp_path / str(next(folders)), rows, items)
        (shard,) = packed.shards()
        users = np.arange(len(shard.user_ids))
        return baseline.fit(packed, items).scores(shard, users, shard.start[1:])

    return of


def order(rows):
    return [np.argsort(-row, kind="stable").tolist() for row in rows]


def test_own_most_frequent(scores):
    # User 1: c twice, then a and b once, a later. User 2: c twice, d once, then popularity.
    assert order(scores(OwnMostFrequent())) == [[2, 0, 1, 3], [2, 3, 0, 1]]


def test_decayed_frequency(scores):
    rows = [(1, 0, "fmcg_a"), (1, 24, "fmcg_a"), (1, 8 * 24, "fmcg_b"), (2, 0, "fmcg_c")]
    found = scores(DecayedFrequency(half_life_days=7.0), rows)
    assert found[0, :2] == pytest.approx([2 ** (-8 / 7) + 0.5, 1.0])
    assert found[0, 2:].tolist() == pytest.approx([1 / 3 - 1, -1])
    assert found[1, 2] == 1.0


def test_popularity(scores):
    assert scores(Popularity()) == pytest.approx(np.array([[1, 1, 4, 1]] * 2) / 5)


def test_channel_popularity(scores):
    rows = [
        (1, 0, "fmcg_a", "retail"),
        (1, 1, "fmcg_b", "retail"),
        (1, 2, "nfmcg_c", "marketplace"),
        (2, 0, "nfmcg_c", "marketplace"),
    ]
    found = scores(ChannelPopularity(), rows, ["fmcg_a", "fmcg_b", "nfmcg_c"])
    assert found == pytest.approx(np.array([[1 / 3, 1 / 3, 1 / 3], [0, 0, 1]]), abs=1e-6)


def test_co_occurrence(scores):
    # The last of both is c: with b on one day, with d on another; itself does not count.
    found = scores(LastItemCoOccurrence())
    assert found == pytest.approx(np.array([[0.2, 1.2, 0.8, 1.2]] * 2))


def test_markov_chain(scores):
    # After c came a (user 1) and d (user 2), once each.
    assert scores(MarkovChain()) == pytest.approx(np.array([[1.2, 0.2, 0.8, 1.2]] * 2))


def test_mean_of_vectors(scores):
    items = items_of(IDS)
    found = scores(MeanOfVectors())
    expected = items.vectors[[1, 2, 0, 2]].sum(axis=0) @ items.vectors.T
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_item_knn(scores):
    # a: users 1 and 3; b: user 1; c: users 2 and 3. a-b 1 / (sqrt 2 + 1), a-c 1 / (2 + 1).
    found = scores(ItemKnn(shrinkage=1.0, latest=10), BASKETS)
    ab, ac = 1 / (np.sqrt(2) + 1), 1 / 3
    assert found[0, :3] == pytest.approx([ab, ab, ac])
    assert found[1, 0] == pytest.approx(ac)
    assert found[2, :3] == pytest.approx([ac, ab, ac])
    assert found[0, 3] == -1  # nobody has it
    latest = scores(ItemKnn(shrinkage=1.0, latest=1), [*BASKETS[:-1], (3, 1, "fmcg_c")])
    assert latest[2, :2] == pytest.approx([ac, 1 * (3 / 4) - 1])  # of c alone: a; b by popularity


def test_item_knn_keeps_the_nearest(scores):
    found = scores(ItemKnn(shrinkage=1.0, neighbours=1, latest=10), BASKETS)
    assert found[2, :3] == pytest.approx([1 / 3, 1 / (np.sqrt(2) + 1), 2 / 4 - 1])  # of a: b only


def test_tifu_knn(scores):
    # Groups of two from the end: {a, b}, {b} weigh 1/2 * 1/2 and 1 * 1/2, {a} 1 * 1/4, over two.
    settings = TifuKnn(group=2, within=0.5, between=0.25, neighbours=1, own_share=0.5)
    found = scores(settings, BASKETS)
    # The nearest of 1 is 2: squared distances 1.203 and 1.703; of 2 it is 3 (1), not 1 (1.203).
    assert found[0, :3] == pytest.approx([0.125, 0.1875, 0.5])
    assert found[1, :3] == pytest.approx([0.5, 3 / 4 - 1, 1.0])
    assert found[2, :3] == pytest.approx([0.5, 3 / 4 - 1, 1.0])
    alone = scores(TifuKnn(own_share=1.0), BASKETS[5:6], IDS)
    assert alone[0, 2] == 1.0


def test_up_cf(scores):
    # w(1, 3) is 1 / sqrt(2 * 2), w(1, 2) 0, w(2, 3) 1 / sqrt 2.
    found = scores(UpCf(baskets=0, locality=1), BASKETS)
    assert found[0, :3] == pytest.approx([2 / 3 + 0.5, 2 / 3, 0.5])
    assert found[1, :3] == pytest.approx([2**-0.5, 3 / 4 - 1, 1 + 2**-0.5])
    latest = scores(UpCf(baskets=1, locality=2, asymmetry=1.0), BASKETS)
    # Of user 1 the last basket {b}; w(1, 3) is (1 / 2) ** 2, w(3, 1) the same, w(3, 2) too.
    assert latest[0, :3] == pytest.approx([0.25, 1, 0.25])
    assert latest[2, :3] == pytest.approx([1, 0.25, 1.25])


def test_events_baskets_and_latest(tmp_path):
    packed = pack(tmp_path, BASKETS, items_of(IDS))
    (shard,) = packed.shards()
    events = own_events(shard, np.array([0, 2]), np.array([4, 8]), 4)
    assert events.row.tolist() == [0, 0, 0, 0, 1, 1]
    assert events.target.tolist() == [0, 0, 1, 1, 0, 2]
    assert basket_numbers(events).tolist() == [0, 1, 1, 1, 2, 2]
    row, target = distinct_latest(events, 1)
    assert (row.tolist(), target.tolist()) == ([0, 1], [1, 2])
    row, target = distinct_latest(events, 5)
    assert (row.tolist(), target.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 2])


def test_a_sample_of_users_is_the_same_each_time(tmp_path):
    rows = [(user, user, "fmcg_a") for user in range(50)]
    packed = pack(tmp_path, rows, items_of(IDS))
    drawn = [[*history_events(packed, None, most=7, seed=seed)] for seed in (1, 1, 2)]
    ids = [one[0][1].tolist() for one in drawn]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 7
    assert drawn[0][0][0].row.tolist() == list(range(7))
