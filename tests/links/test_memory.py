"""What a link pool holds, whatever one basket or user has."""

import numpy as np
import pytest

from itememb_core.links import likelihood, profiles
from itememb_core.links.likelihood import PairScores, Side
from itememb_core.links.nodes import LinkNodes
from itememb_core.links.pool import link_pool, open_pool
from itememb_core.settings import LinkPoolSettings
from tests.worlds.links import World
from tests.worlds.peak import STATUS, peak_mib

needs_status = pytest.mark.skipif(not STATUS.exists(), reason="the system has no such file")

#: One user's basket of 100,000 items beside 80 users' 6,400 purchases, in January 2017.
BASKET = """
import numpy as np
from itememb_core.links import profiles
from itememb_core.links.nodes import LinkNodes
from tests.links.test_memory import NODES, purchases
bought = purchases(100_000)
"""
NODES = LinkNodes(np.arange(100_000), np.arange(120))
JANUARY = 17_167


def purchases(basket):
    """80 purchases of each of 80 users on 28 days, and one basket of user 0."""
    rng = np.random.default_rng(0)
    user = np.append(np.repeat(np.arange(80), 80), np.zeros(basket, np.int64))
    day = np.append(JANUARY + rng.integers(0, 28, 6_400), np.full(basket, JANUARY + 9))
    on_receipts = np.append(rng.random(6_400) < 0.5, np.ones(basket, bool))
    place = np.append(rng.integers(0, 120, 6_400), np.arange(basket))
    return profiles.Purchases(user, day, on_receipts, place)


def whole(bought, nodes, days):
    """Residuals with all windows from 1970 on, all items at once."""
    number, result = bought.day // days, []
    windows = int(number.max()) + 1
    for own, side in zip((bought.on_receipts, ~bought.on_receipts), nodes, strict=True):
        share = np.bincount(number[own], minlength=windows) / own.sum()
        flat = bought.place[own] * windows + number[own]
        counts = np.bincount(flat, minlength=len(side) * windows).astype(np.float32)
        rows = counts.reshape(len(side), windows)
        expected = rows.sum(axis=1, keepdims=True) * share.astype(np.float32)
        rows = (rows - expected) / np.sqrt(expected + np.float32(0.5))
        norm = np.sqrt(np.einsum("iw,iw->i", rows, rows))
        result.append(rows / np.maximum(norm, 1e-9)[:, None].astype(np.float32))
    return result


@pytest.mark.parametrize("days", [7, 28])
@pytest.mark.parametrize("cells", [1, 1000, 1 << 22])
def test_correlations_in_time_by_part_are_those_of_the_whole(days, cells, monkeypatch):
    monkeypatch.setattr(profiles, "CELLS", cells)
    bought, nodes = purchases(300), LinkNodes(np.arange(300), np.arange(120))
    found, expected = profiles.by_time(bought, nodes, days), whole(bought, nodes, days)
    for rows, all_rows in zip(found, expected, strict=True):
        held = rows.shape[1]
        assert held < profiles.LANES + 6
        assert (all_rows[:, :-held] == 0).all()
        # To the last digit: the windows left out are whole registers of zeros.
        assert (rows == all_rows[:, -held:]).all()
        dots = [[np.dot(a, b) for b in each[:40]] for each in (rows, all_rows) for a in each[:40]]
        assert dots[:40] == dots[40:]


@needs_status
@pytest.mark.slow
def test_a_basket_of_100_000_lines_has_short_profiles_in_time():
    # What is kept: 100,000 items by 24 windows, 10 MB; with those from 1970 on it was 2.8 GB.
    found = peak_mib(BASKET, "kept = profiles.by_time(bought, NODES, 7)")
    assert 5 < found < 100


def scored(queries, base, columns, per_row, seed=0):
    """Scores of two sides of random counts, each item in ``per_row`` of the columns."""
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    sides = []
    for items in (queries, base):
        counts = rng.poisson(1.5, (items, columns)) * (rng.random((items, columns)) < per_row)
        matrix = csr_matrix(counts.astype(np.float32))
        total = np.asarray(matrix.sum(axis=1), np.float64).ravel()
        share = np.asarray(matrix.sum(axis=0), np.float64).ravel() / max(total.sum(), 1)
        sides.append(Side(matrix, share, total))
    return PairScores(*sides, 1.0)


@pytest.mark.parametrize("entries", [1, 7, 100])
def test_ratios_by_part_are_those_of_the_whole(entries, monkeypatch):
    users, rows = scored(40, 50, 12, 0.2), slice(5, 33)
    shared = users.shared(rows)
    whole = users.ratios(shared, rows)
    dense = shared.toarray()
    monkeypatch.setattr(likelihood, "ENTRIES", entries)
    assert (users.ratios(shared, rows) == whole).all()
    # Of any pairs in any order, those that share nothing among them.
    query, base = np.random.default_rng(1).integers(0, (28, 50), (300, 2)).T
    found = users.at(shared, rows, query, base)
    assert (found == dense[query, base] + users._rest(rows, query, base)).all()
    assert 0 < (dense[query, base] == 0).sum() < 300


PAIRS = """
import numpy as np
from itememb_core.links.likelihood import PairScores, Side
from scipy.sparse import csr_matrix
import scipy.special
sides = []
for items in (100, 80_000):  # of one user, all of them
    ones = csr_matrix(np.ones((items, 1), np.float32))
    sides.append(Side(ones, np.ones(1), np.ones(items)))
users = PairScores(*sides, 1.0)
rows = slice(0, 100)
shared = users.shared(rows)
query, base = np.repeat(np.arange(100), 40), np.tile(np.arange(40), 100)
"""


@needs_status
@pytest.mark.slow
def test_ratios_of_eight_million_pairs_take_little_more_than_they_are():
    ratios = peak_mib(PAIRS, "kept = users.ratios(shared, rows)")
    assert 30 < ratios < 150  # 8 M float32
    assert peak_mib(PAIRS, "kept = users.at(shared, rows, query, base)") < 50


def sides_by_hand():
    """Three columns: of 2, 3 and 1 receipt items, of 1, 1 and 2 catalog items."""
    from scipy.sparse import csr_matrix

    receipts = csr_matrix(np.array([[1, 4, 0], [2, 1, 0], [0, 1, 3]], np.float32))
    catalog = csr_matrix(np.array([[1, 0, 1], [0, 2, 1]], np.float32))
    return (
        Side(receipts, np.array([0.25, 0.5, 0.25]), np.array([5.0, 3.0, 4.0])),
        Side(catalog, np.array([0.2, 0.4, 0.4]), np.array([2.0, 3.0])),
    )


def test_a_user_over_the_cap_is_not_compared_by_and_counted():
    receipts, catalog = sides_by_hand()
    same = profiles.without_wide(receipts, catalog, 3)
    assert (same.queries, same.base, same.columns_cut, same.entries_cut) == (
        receipts, catalog, 0, 0,
    )  # fmt: skip
    found = profiles.without_wide(receipts, catalog, 2)
    assert (found.columns_cut, found.entries_cut) == (1, 4)
    assert found.queries.counts.toarray().tolist() == [[1, 0], [2, 0], [0, 3]]
    assert found.base.counts.toarray().tolist() == [[1, 1], [0, 1]]
    # Shares are of all events, and totals count all of an item's.
    assert found.queries.share.tolist() == [0.25, 0.25]
    assert found.queries.totals.tolist() == [5, 3, 4]
    # The catalog's side is capped, too.
    assert profiles.without_wide(receipts, catalog, 1).columns_cut == 3


def test_the_pool_says_what_its_cap_cut():
    world = World(matches=40, opaque=40, alone=10, extra=20)
    settings = LinkPoolSettings(size=5, by_users=8)
    assert not [name for name in open_pool(world.data(), settings).about if "capped" in name]
    whole = link_pool(world.data(), settings)
    none = LinkPoolSettings(size=5, by_users=8, user_cap=1)
    about = open_pool(world.data(), none).about
    assert about["users capped, users_llr"] > 10
    assert about["items cut, users_llr"] > 2 * about["users capped, users_llr"]
    capped = link_pool(world.data(), none)
    # Without users there are the candidates by vectors alone.
    assert capped["rank_csls"].null_count < whole["rank_csls"].null_count
    assert 5 * 90 <= capped.num_rows < whole.num_rows
