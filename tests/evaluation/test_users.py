"""Ranking metrics by hand, baselines by hand, and the table."""

import numpy as np
import pytest
import torch

from itememb_core.evaluation.ranking import METRICS, first_ranks, ranking_metrics
from itememb_core.evaluation.user_baselines import baseline_scores, statistics
from itememb_core.evaluation.users import (
    SLICES,
    Interactions,
    ground_truth,
    user_evaluation,
)
from itememb_core.intervals import multinomial_intervals
from itememb_core.schemas import EVALUATION
from itememb_core.users.scoring import own_items
from tests.worlds.users import fitted, habits, histories, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")


def test_metrics_by_hand():
    top = np.array([[4, 7, 1, -1], [5, 6, 7, 8]])
    truth = [np.array([1, 4, 9]), np.array([3])]
    first = np.array([0.0, 49.0])
    values = ranking_metrics(top, truth, first)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    ndcg = (1 + 1 / np.log2(4)) / ideal
    assert values[0] == pytest.approx([ndcg, ndcg, 2 / 3, 2 / 3, 1])
    assert values[1] == pytest.approx([0, 0, 0, 0, 0.02])


def test_cutoffs_part_the_list():
    top = np.arange(100)[None]
    values = ranking_metrics(top, [np.array([0, 50])], np.array([0.0]))[0]
    ideal = 1 + 1 / np.log2(3)
    expected = [1 / ideal, (1 + 1 / np.log2(52)) / ideal, 0.5, 1, 1]
    assert values == pytest.approx(expected)


def test_first_rank_with_ties():
    scores = torch.tensor([[3.0, 5.0, 3.0, 3.0, -torch.inf]])
    assert first_ranks(scores, [np.array([2, 4])]).tolist() == [2]
    assert first_ranks(scores, [np.array([0, 2])]).tolist() == [1]


def test_bootstrap_holds_the_mean():
    values = np.random.default_rng(0).normal(5, 1, (400, 2))
    low, high = multinomial_intervals(values, 0)
    assert ((low < values.mean(axis=0)) & (values.mean(axis=0) < high)).all()
    assert high - low == pytest.approx(np.full(2, 4 / 20), rel=0.2)  # 2 * 1.96 / sqrt(400)


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


@pytest.fixture
def plain(tmp_path):
    items = items_of(IDS, counts=[5, 2, 3, 1])
    packed = pack(tmp_path, ROWS, items)
    (shard,) = packed.shards()
    users = np.array([0, 1])
    own = own_items(shard, users, shard.start[1:], packed.item_stats)
    return baseline_scores(statistics(packed, items), shard, users, own, items)


def order(scores):
    return [np.argsort(-row, kind="stable").tolist() for row in scores]


def test_own_most_frequent_by_hand(plain):
    # User 1: c twice, then a and b once, a later. User 2: c twice, d once, then popularity.
    assert order(plain["own_most_frequent"]) == [[2, 0, 1, 3], [2, 3, 0, 1]]


def test_popularity_by_hand(plain):
    assert order(plain["popularity"]) == [[0, 2, 1, 3]] * 2


def test_co_occurrence_by_hand(plain):
    # The last of both is c: with b on one day, with d on another; itself does not count.
    assert order(plain["last_item_co_occurrence"]) == [[1, 3, 0, 2]] * 2
    assert plain["last_item_co_occurrence"][0] == pytest.approx(
        [5 / 6, 1 + 2 / 6, 3 / 6, 1 + 1 / 6]
    )


def test_markov_chain_by_hand(plain):
    # After c came a (user 1) and d (user 2), once each.
    assert order(plain["markov_chain"]) == [[0, 3, 2, 1]] * 2


def test_ground_truth_leaves_opaque_and_unknown_items_out():
    items = items_of(["fmcg_a", "fmcg_b", "x"], counts=[2, 0, 5])
    rows = [(1, 0, "fmcg_a"), (1, 1, "x"), (1, 2, "fmcg_b"), (1, 3, "fmcg_new")]
    truth = ground_truth(histories(rows), items)
    assert (truth.user.tolist(), truth.target.tolist(), truth.unknown) == ([1], [0], 2)


def test_the_next_targets_are_all_of_the_first_time():
    items = items_of(["fmcg_a", "fmcg_b", "fmcg_c"], counts=[1, 1, 1])
    rows = [(1, 5, "fmcg_b"), (1, 5, "fmcg_a"), (1, 5, "fmcg_b"), (1, 9, "fmcg_c")]
    truth = ground_truth(histories(rows), items)
    own = Interactions(truth.target, truth.time)
    assert (own.next().tolist(), own.all().tolist()) == ([0, 1], [0, 1, 2])


def test_the_table_and_that_habits_are_found(tmp_path):
    ids, rows = habits(weeks=14)
    before = [row for row in rows if row[1] < 168 * 10]
    after = histories([row for row in rows if row[1] >= 168 * 10])
    model, packed, items = fitted(tmp_path, rows=before, ids=ids)
    result = user_evaluation(model, packed, items, after, seed=0)
    assert result.table.schema == EVALUATION
    assert result.users == 40
    table = result.table.to_pandas().set_index(["method", "metric", "slice"]).value
    for metric in METRICS:
        for name in SLICES:
            assert 0 <= table["two_towers", metric, name] <= 1
    good, plain = table["two_towers"], table["popularity"]
    assert good["ndcg@10", "all_repeats"] > 1.2 * plain["ndcg@10", "all_repeats"]
    assert (
        good["ndcg@10", "all_repeats"] > 0.9 * table["own_most_frequent"]["ndcg@10", "all_repeats"]
    )
    again = user_evaluation(model, packed, items, after, seed=0)
    assert again.table.equals(result.table)


def test_nothing_to_evaluate(tmp_path):
    ids, rows = habits(users=3)
    model, packed, items = fitted(tmp_path, rows=rows, ids=ids)
    empty = user_evaluation(model, packed, items, histories([]), seed=0)
    assert (empty.table.schema, empty.table.num_rows) == (EVALUATION, 0)
    assert "known target" in empty.reason
    strangers = user_evaluation(model, packed, items, histories([(99, 1, "fmcg_01")]), seed=0)
    assert (strangers.table.num_rows, strangers.users) == (0, 0)
