"""Ranking metrics by hand, baselines by hand, and the table."""

import numpy as np
import pytest
import torch

from itememb_core.evaluation.ranking import METRICS, first_ranks, ranking_metrics
from itememb_core.evaluation.users import (
    HISTORIES,
    SLICED,
    SLICES,
    Interactions,
    ground_truth,
    user_evaluation,
)
from itememb_core.intervals import multinomial_intervals
from itememb_core.schemas import EVALUATION
from itememb_core.users.ranking.fit import SEQUENCE
from tests.worlds.users import fitted, habits, histories, items_of

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
    two = torch.cat([scores.flip(1), scores])
    assert first_ranks(two, [np.array([3])], np.array([1])).tolist() == [3]


def test_bootstrap_holds_the_mean():
    values = np.random.default_rng(0).normal(5, 1, (400, 2))
    low, high = multinomial_intervals(values, 0)
    assert ((low < values.mean(axis=0)) & (values.mean(axis=0) < high)).all()
    assert high - low == pytest.approx(np.full(2, 4 / 20), rel=0.2)  # 2 * 1.96 / sqrt(400)


def test_ground_truth_leaves_opaque_and_unknown_items_out():
    items = items_of(["fmcg_a", "fmcg_b", "x"], counts=[2, 0, 5])
    rows = [(1, 0, "fmcg_a"), (1, 1, "x"), (1, 2, "fmcg_b"), (1, 3, "fmcg_new")]
    truth = ground_truth(histories(rows), items)
    assert (truth.user.tolist(), truth.target.tolist(), truth.unknown) == ([1], [0], 2)


def test_the_next_targets_are_all_of_the_first_time():
    items = items_of(["fmcg_a", "fmcg_b", "fmcg_c"], counts=[1, 1, 1])
    rows = [(1, 5, "fmcg_b"), (1, 5, "fmcg_a"), (1, 5, "fmcg_b"), (1, 9, "fmcg_c")]
    truth = ground_truth(histories(rows), items)
    own = Interactions(truth.target, truth.time, truth.channel)
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
            assert 0 <= table["user_model", metric, name] <= 1
            # Nothing was chosen, so that the towers' own order is what ships.
            assert table["user_model", metric, name] == table["two_towers", metric, name]
    good, plain = table["two_towers"], table["popularity"]
    assert good["ndcg@10", "all_repeats"] > 1.2 * plain["ndcg@10", "all_repeats"]
    assert (
        good["ndcg@10", "all_repeats"] > 0.9 * table["own_most_frequent"]["ndcg@10", "all_repeats"]
    )
    for method in set(SLICED) - {SEQUENCE}:  # 20 own events each
        for name in SLICES:
            values = [table.get((method, "ndcg@10", f"{name}_{part}")) for part in HISTORIES]
            assert values == [None, table[method, "ndcg@10", name], None]
        assert table[method, "mrr", "all_new_retail"] == table[method, "mrr", "all_new"]
    assert set(result.chosen) == {"decayed_frequency", "tifu_knn", "up_cf", "item_knn"}
    assert "own_share" in result.chosen["tifu_knn"]
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


def test_slices_by_channel_and_history(tmp_path):
    ids = [f"fmcg_{i}" for i in range(6)] + ["nfmcg_0"]
    rows = [(1, hour, f"fmcg_{hour % 6}") for hour in range(10)] + [
        (2, 0, "nfmcg_0", "marketplace")
    ]
    model, packed, items = fitted(tmp_path, rows=rows, ids=ids)
    later = [
        (1, 500, "fmcg_1"),
        (1, 501, "nfmcg_0", "marketplace"),
        (2, 500, "nfmcg_0", "marketplace"),
    ]
    table = user_evaluation(model, packed, items, histories(later), seed=0).table.to_pandas()
    value = table.set_index(["method", "metric", "slice"]).value
    found = value["own_most_frequent"]["recall@10"]
    # Own items are in any list of ten of seven; of each slice the relevant ones alone count.
    assert found["all_repeats_marketplace"] == found["all_repeats_retail"] == 1
    first = value["own_most_frequent"]["mrr"]
    assert first["all_repeats_history_1_9"] == 1  # user 2
    # User 1: fmcg_3 and fmcg_2 were bought as often as fmcg_1, but later.
    assert first["all_repeats_history_10_99"] == first["all_repeats_retail"] == 1 / 3
    assert first["all_repeats_marketplace"] == (1 + 1 / 7) / 2
    assert "all_repeats_offers" not in first
    assert "all_new_retail" not in first
    assert first["all_new_marketplace"] == 1
