"""Ranking metrics by hand, intervals against a known spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from itememb_core.evaluation.ranking import (
    hit_at,
    random_hit_at,
    random_reciprocal,
    ranks_among,
    reciprocal,
    sparse_ranks,
    tied_ranks,
)
from itememb_core.intervals import bootstrap_intervals


def rank(scores: list[float], target: int, query: int) -> float:
    rows = np.array([scores], np.float32)
    return float(tied_ranks(rows, np.array([target]), np.array([query]))[0])


def test_ranks_by_hand():
    # The query (place 0) scores best and takes no part; one is above, two others tie.
    assert rank([9, 5, 3, 3, 3, 1], target=2, query=0) == 2.0
    assert rank([9, 5, 3, 3, 3, 1], target=1, query=0) == 0.0
    assert rank([3, 3], target=1, query=0) == 0.0
    assert rank([0, 0, 0, 0, 0], target=1, query=4) == 1.5


def test_ranks_by_one_score_of_all_are_those_of_dense_scores():
    scores = np.array([7, 1, 3, 3, 9, 3])
    targets = np.arange(len(scores))
    dense = tied_ranks(np.tile(scores, (len(scores), 1)), targets)
    assert ranks_among(np.sort(scores), scores).tolist() == dense.tolist() == [1, 5, 3, 3, 0, 3]


def test_hits_and_reciprocals_by_hand():
    ranks = np.array([0.0, 1.0, 1.5, 2.0, 19.5])
    assert hit_at(ranks, 2).tolist() == [1, 1, 1, 0, 0]
    assert reciprocal(ranks[:2]).tolist() == [1.0, 0.5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=3, max_size=12))
def test_ranks_of_all_candidates_average_to_the_middle(scores: list[int]):
    others = range(1, len(scores))
    found = [rank([float(s) for s in scores], target, 0) for target in others]
    assert np.mean(found) == pytest.approx((len(scores) - 2) / 2)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=6),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=5, max_size=5),
    st.integers(0, 4),
    st.integers(1, 4),
    st.booleans(),
)
def test_sparse_ranks_are_those_of_dense_scores(
    counts: list[list[int]], prior: list[float], target: int, step: int, all_take_part: bool
):
    dense, share = np.array(counts, np.float32), np.array(prior)
    targets = np.full(len(dense), target)
    excluded = None if all_take_part else (targets + step) % 5
    found = sparse_ranks(csr_array(dense), share, targets, excluded)
    wanted = tied_ranks((dense + share).astype(np.float32), targets, excluded)
    assert found.tolist() == wanted.tolist()


def test_the_random_order_by_hand():
    assert random_hit_at(80, 20) == 0.25
    assert random_hit_at(5, 20) == 1.0
    assert random_reciprocal(3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_intervals_have_the_width_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    values = np.stack([rng.random(400) < 0.3, np.ones(400)], axis=1).astype(float)
    low, high = bootstrap_intervals(values, np.random.default_rng(1))
    mean = values[:, 0].mean()
    half = 1.96 * np.sqrt(mean * (1 - mean) / 400)
    assert low[0] == pytest.approx(mean - half, abs=0.012)
    assert high[0] == pytest.approx(mean + half, abs=0.012)
    assert (low[1], high[1]) == (1.0, 1.0)
