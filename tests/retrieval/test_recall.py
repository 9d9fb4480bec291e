"""Recall by hand, and how far a search is widened."""

import numpy as np
import pytest

from itememb_core.retrieval.recall import recall, shares_found, sure_recall, tuned_probes

WANTED = np.array([[0.9, 0.8], [0.5, 0.4]], np.float32)


def test_recall_counts_scores_that_reach_the_last_of_the_exact_best():
    # Of three returned: both places and one more; one place (equal vectors count as found).
    found = np.array([[0.9, 0.8, 0.8], [0.4, 0.3, 0.2]], np.float32)
    assert shares_found(found, WANTED).tolist() == [1.0, 0.5]
    assert recall(found, WANTED) == 0.75
    assert sure_recall(found, WANTED) == pytest.approx(0.75 - 0.25 / np.sqrt(2))
    assert recall(WANTED, WANTED) == sure_recall(WANTED, WANTED) == 1.0


@pytest.mark.parametrize(
    ("target", "lists", "first", "growth", "read"),
    [
        (0.1, 100, 8, 1.5, [8]),
        (0.3, 100, 8, 1.5, [8, 12, 18, 27, 40]),
        (2.0, 30, 8, 1.5, [8, 12, 18, 27, 30]),
        (0.5, 100, 1, 2.0, [1, 2, 4, 8, 16, 32, 64]),
        (2.0, 3, 8, 1.5, [3]),
    ],
)
def test_lists_are_added_until_the_target_is_reached(target, lists, first, growth, read):
    tried = []

    def measure(probes):
        tried.append(probes)
        return probes / 100 + 0.02

    found = tuned_probes(measure, target, lists, first=first, growth=growth)
    assert tried == read
    assert found == (read[-1], pytest.approx(read[-1] / 100 + 0.02))
