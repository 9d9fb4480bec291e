"""Thresholds and precision by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.intervals import wilson
from itememb_core.links.scorer.acceptance import (
    LabelledTop1,
    choose_by_expectation,
    choose_threshold,
    precision_at,
)


def labelled(*lists):
    """Lists as (probability, correct, weight)."""
    probability, correct, weight = zip(*lists, strict=True)
    return LabelledTop1(np.array(probability), np.array(correct), np.array(weight, float))


def test_wilson_by_hand():
    low, high = wilson(0.5, 10)  # published: (0.2366, 0.7634)
    assert (float(low), float(high)) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson(1.0, 73)
    assert float(low) > 0.95
    assert float(wilson(1.0, 72)[0]) < 0.95


def test_precision_counts_weights_over_all_accepted():
    each = labelled((0.9, True, 2), (0.8, False, 1), (0.8, True, 1), (0.1, True, 4))
    result = precision_at(each, 0.8)
    assert (result.precision, result.coverage) == (0.75, 0.5)
    low, high = wilson(0.75, 16 / 6)
    assert (result.low, result.high) == (float(low), float(high))
    nothing = precision_at(each, None)
    assert (nothing.precision, nothing.low, nothing.coverage) == (None, None, 0.0)


def test_the_lowest_threshold_that_meets_the_target():
    # 19 right and one more wrong: 19 / 20 = 0.95 is enough; 18 are not.
    right = [(1.0 - i / 100, True, 1) for i in range(19)]
    assert choose_threshold(labelled(*right), 0.95, strict=False).threshold == pytest.approx(0.82)
    assert choose_threshold(labelled(*right[:18]), 0.95, strict=False).threshold is None
    # A wrong one below stops it, until enough right ones follow.
    wrong, more = (0.5, False, 1), [(0.4 - i / 100, True, 1) for i in range(19)]
    assert choose_threshold(labelled(*right, wrong), 0.95, strict=False).threshold == pytest.approx(
        0.82
    )
    both = choose_threshold(labelled(*right, wrong, *more), 0.95, strict=False)
    assert both.threshold == pytest.approx(0.22)
    assert both.precision == pytest.approx(38 / 39)


def test_equal_probabilities_are_accepted_together():
    each = labelled(*[(0.9, True, 1)] * 30, *[(0.9, False, 1)] * 30)
    assert choose_threshold(each, 0.6, strict=False).threshold is None


def test_few_matches_need_the_lower_bound():
    right = [(0.9, True, 1)] * 72
    assert choose_threshold(labelled(*right), 0.95, strict=False).threshold == 0.9
    assert choose_threshold(labelled(*right), 0.95, strict=True).threshold is None
    assert choose_threshold(labelled(*right, right[0]), 0.95, strict=True).threshold == 0.9


@settings(max_examples=60, deadline=None)
@given(
    lists=st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.3, 0.5, 0.7]), st.booleans(), st.sampled_from([0.5, 1.0])
        ),
        max_size=60,
    ),
    strict=st.booleans(),
)
def test_what_is_chosen_meets_the_target_and_a_lower_target_accepts_no_less(lists, strict):
    each = labelled(*lists) if lists else labelled((0.5, False, 1)).take(np.array([], int))
    chosen = choose_threshold(each, 0.8, strict=strict)
    assert chosen.threshold is None or chosen.precision > 0.8
    assert choose_threshold(each, 0.6, strict=strict).coverage >= chosen.coverage


def test_the_mean_probability_of_all_accepted_meets_the_target():
    known = labelled((0.95, True, 1), (0.7, False, 1), (0.5, True, 2))

    def chosen(probability, weight, target):
        return choose_by_expectation(known, np.array(probability), np.array(weight, float), target)

    probability, weight = [0.6, 0.9, 0.8, 0.9], [1, 2, 4, 1]
    # (3 * 0.9 + 4 * 0.8) / 7 = 0.842857; with the last 6.5 / 8 = 0.8125.
    found = chosen(probability, weight, 0.84)
    assert (found.threshold, found.expected) == (0.8, pytest.approx(5.9 / 7))
    assert (found.precision, found.coverage) == (1.0, 0.25)  # of the labelled, one lies above
    found = chosen(probability, weight, 0.81)
    assert (found.threshold, found.expected, found.precision) == (0.6, pytest.approx(0.8125), 0.5)
    assert chosen(probability, weight, 0.85).threshold == 0.9
    # Equal ones are accepted together, though half of them would do.
    assert chosen([0.9, 0.5, 0.5], [1, 1, 1], 0.7).threshold == 0.9
    nothing = precision_at(known, None)
    assert chosen(probability, weight, 0.91) == chosen([], [], 0.5) == nothing
    assert chosen([0.99], [1], 0.95) == nothing  # no labelled list lies that high
