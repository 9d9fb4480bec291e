"""Inverted lists: every row is in one, all of them hold all, few of them hold the nearest."""

import numpy as np
import pytest

from itememb_core.retrieval.exact import top_k
from itememb_core.retrieval.inverted import PER_LIST, InvertedLists, spread
from tests.worlds.links import unit


def crowd(rows, seed, dim=12):
    """Unit vectors around thirty directions."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(30, dim))
    return unit(centres[rng.integers(0, 30, rows)] + 0.4 * rng.normal(size=(rows, dim)))


def test_all_lists_hold_all_rows_in_the_order_of_their_cosines():
    base, queries = crowd(400, 1), crowd(50, 2)
    lists = InvertedLists.of(base)
    assert lists.count == pytest.approx(len(base) / PER_LIST, rel=0.3)
    rows, cosines = lists.search(queries, len(base), lists.count)
    expected, scores = top_k(queries, base, len(base))
    assert np.array_equal(rows, expected)
    assert cosines == pytest.approx(scores, abs=1e-6)


def test_few_lists_hold_the_nearest_and_say_what_they_lack():
    base, queries = crowd(3000, 3), crowd(200, 4)
    lists = InvertedLists.of(base)
    assert lists.count > 50
    wanted = top_k(queries, base, 10)[0]
    rows, cosines = lists.search(queries, 40, 30)
    found = [len(np.intersect1d(*pair)) for pair in zip(rows, wanted, strict=True)]
    assert np.mean(found) > 9.5
    assert cosines == pytest.approx(np.einsum("nd,nkd->nk", queries, base[rows]), abs=1e-6)
    rows, cosines = lists.search(queries, 500, 2)
    lacking = rows < 0
    assert 0.5 < lacking.mean() < 1
    assert (np.diff(lacking.astype(int), axis=1) >= 0).all()  # at the end
    assert np.isneginf(cosines[lacking]).all()
    assert np.isfinite(cosines[~lacking]).all()


@pytest.mark.parametrize("rows", [2, 15, 40])
def test_any_number_of_rows(rows):
    base = crowd(rows, 5)
    found = InvertedLists.of(base).search(base, 2, 1)[0]
    assert found[:, 0].tolist() == list(range(rows))


def test_spread_reaches_both_ends():
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 10).tolist() == [0, 1, 2]
