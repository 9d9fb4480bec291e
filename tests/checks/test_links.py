"""Checks of links on figures written by hand."""

import pyarrow as pa
import pytest

from itememb_core.schemas import EVALUATION
from itememb_dagster.checks.gates import spaces_are_aligned


def figures(chance: float, found: float, low: float, matches: float = 500.0) -> pa.Table:
    rows = [
        {"method": "held_out", "metric": "matches", "slice": "all", "value": matches},
        {"method": "random", "metric": "hit@10", "slice": "all", "value": chance},
        {"method": "csls", "metric": "hit@10", "slice": "all", "value": found, "low": low},
    ]
    return pa.Table.from_pylist(rows, EVALUATION)


@pytest.mark.parametrize(
    ("chance", "found", "low", "passes"),
    [
        (0.0002, 0.38, 0.36, True),
        (0.0002, 0.0004, 0.0001, False),  # what vectors without a bridge give
        (0.0002, 0.0015, 0.0010, False),  # above chance, and of no use
        (0.12, 0.94, 0.74, True),  # so few candidates that ten times chance is more than all
        (0.12, 0.20, 0.05, False),
    ],
)
def test_spaces_are_aligned_where_true_matches_are_near_beyond_chance(chance, found, low, passes):
    verdict = spaces_are_aligned.evaluate(figures(chance, found, low))
    assert verdict.passed is passes
    assert verdict.warn
    assert ("not aligned" in verdict.why) is not passes


def test_without_a_match_there_is_nothing_to_measure_alignment_on():
    verdict = spaces_are_aligned.evaluate(figures(0.1, 0.0, 0.0, matches=0.0))
    assert verdict.passed
    assert "no held-out match" in verdict.why
