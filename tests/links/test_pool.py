"""Queries and candidates, CSLS, and the pool as lists."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.links.lists import pool_lists
from itememb_core.links.nodes import link_nodes, no_links_reason
from itememb_core.links.pool import LinkData, link_pool, open_pool
from itememb_core.retrieval.csls import csls_lists
from itememb_core.retrieval.csls_lists import near_lists
from itememb_core.retrieval.recall import csls_recall
from itememb_core.schemas import LINK_POOL
from itememb_core.settings import LinkPoolSettings
from tests.worlds.links import (
    World,
    embeddings_table,
    no_catalog,
    no_facts,
    pool_table,
    unit,
    user_items_table,
    vocabulary_table,
)

ROWS = [  # item, side, domain, receipts, retail, marketplace, offers
    ("o1", "all", "receipt", 3, 0, 0, 0),
    ("o2", "all", "receipt", 0, 0, 0, 0),
    ("fmcg_held", "all", "retail", 0, 4, 0, 0),
    ("fmcg_held", "receipts", "retail", 5, 0, 0, 0),
    ("fmcg_direct", "all", "retail", 2, 4, 0, 0),
    ("nfmcg_a", "all", "marketplace", 0, 0, 1, 0),
    ("nfmcg_nobody", "all", "marketplace", 0, 0, 0, 0),
    ("offer_a", "all", "offers", 0, 0, 0, 9),
]


def names(rows):
    return [ROWS[row][0] for row in rows]


def test_queries_and_candidates():
    vocabulary = vocabulary_table(ROWS)
    nodes = link_nodes(vocabulary, LinkPoolSettings())
    assert names(nodes.receipts) == ["o1", "fmcg_held"]
    assert nodes.receipts.tolist() == [0, 3]
    assert names(nodes.catalog) == ["fmcg_held", "nfmcg_a"]
    wide = link_nodes(vocabulary, LinkPoolSettings(offers=True, direct_candidates=True))
    assert names(wide.catalog) == ["fmcg_held", "fmcg_direct", "nfmcg_a", "offer_a"]


def test_why_there_are_no_links():
    settings = LinkPoolSettings()
    assert no_links_reason(vocabulary_table(ROWS), settings) is None
    assert "no opaque item" in (no_links_reason(vocabulary_table(ROWS[4:]), settings) or "")
    assert "no catalog item" in (no_links_reason(vocabulary_table(ROWS[:2]), settings) or "")


def test_csls_by_hand():
    # Two queries at 0 and 90 degrees, three rows at 0, 60 and 90 degrees; neighbourhood of one.
    def at(*degrees):
        angle = np.radians(degrees)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    lists = csls_lists(at(0, 90), at(0, 60, 90), size=3, neighbors=1)
    # r of both queries is 1; r of the rows is 1, cos 30 and 1.
    middle = np.cos(np.radians(30))
    assert lists.candidate.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert lists.similarity == pytest.approx(np.array([[1, 0.5, 0], [1, middle, 0]]), abs=1e-6)
    expected = [[0, 1 - 1 - middle, -2], [0, 2 * middle - 1 - middle, -2]]
    assert lists.csls == pytest.approx(np.array(expected), abs=1e-6)
    assert lists.reverse.tolist() == [[1, 2, 2], [1, 1, 2]]


def brute_csls(queries, base, k):
    cosine = (queries @ base.T).astype(np.float64)
    near = -np.sort(-cosine, axis=1)[:, :k].mean(axis=1)
    near_base = -np.sort(-cosine.T, axis=1)[:, :k].mean(axis=1)
    return 2 * cosine - near[:, None] - near_base[None], cosine


def test_csls_lists_are_what_all_pairs_give():
    rng = np.random.default_rng(3)
    queries, base = unit(rng.normal(size=(70, 6))), unit(rng.normal(size=(90, 6)))
    csls, cosine = brute_csls(queries, base, 4)
    lists = csls_lists(queries, base, size=12, neighbors=4)
    order = np.argsort(-csls, axis=1)[:, :12]
    assert np.array_equal(lists.candidate, order)
    assert np.allclose(lists.csls, np.take_along_axis(csls, order, 1), atol=1e-5)
    assert np.allclose(lists.similarity, np.take_along_axis(cosine, order, 1), atol=1e-5)
    rank = np.argsort(np.argsort(-csls, axis=0), axis=0) + 1  # of each query for each row
    rank = np.take_along_axis(rank, order, 1)
    assert np.array_equal(lists.reverse, np.where(rank <= 12, rank, 0))
    assert 0 < (lists.reverse == 0).mean() < 1


def crowd(rng, groups, rows, dim=16, apart=0.5):
    """Unit vectors around common centres."""
    return unit(groups[rng.integers(0, len(groups), rows)] + apart * rng.normal(size=(rows, dim)))


def test_an_index_finds_what_comparing_all_finds():
    rng = np.random.default_rng(5)
    groups = rng.normal(size=(40, 16))
    queries, base = crowd(rng, groups, 1500), crowd(rng, groups, 1200)
    settings = LinkPoolSettings(size=20, exact_up_to=0, recall_sample=300)
    lists, about = near_lists(queries, base, settings)
    exact = csls_lists(queries, base, 20, settings.csls_neighbors)
    assert about["search"] == "index"
    assert about["lists, receipts"] > about["lists read, receipts"]
    pairs = zip(lists.candidate, exact.candidate[:, :10], strict=True)
    same = [len(np.intersect1d(a, b)) for a, b in pairs]
    assert about["recall"] >= 0.99
    assert np.mean(same) / 10 == pytest.approx(about["recall"], abs=0.02)
    # Values are the formula's whatever found them, and candidates are in their order.
    cosine = np.einsum("nd,nkd->nk", queries, base[lists.candidate])
    assert lists.similarity == pytest.approx(cosine, abs=1e-5)
    hubs = lists.mean_query[:, None] + lists.mean_base[lists.candidate]
    assert lists.csls == pytest.approx(2 * cosine - hubs, abs=1e-5)
    assert (np.diff(lists.csls, axis=1) <= 1e-6).all()
    assert np.abs(lists.mean_query - exact.mean_query).mean() < 1e-3
    agree = lists.candidate[:, 0] == exact.candidate[:, 0]
    assert (lists.reverse[agree, 0] == exact.reverse[agree, 0]).mean() > 0.95
    again, _ = near_lists(queries, base, settings)
    assert np.array_equal(again.candidate, lists.candidate)


def test_a_bad_index_is_seen_by_its_recall():
    rng = np.random.default_rng(6)
    queries, base = unit(rng.normal(size=(200, 8))), unit(rng.normal(size=(300, 8)))
    lists = csls_lists(queries, base, 20, 10)
    every = np.arange(200)
    assert csls_recall(queries, base, lists, every) == 1.0
    worse = lists._replace(candidate=lists.candidate[:, 5:], similarity=lists.similarity[:, 5:])
    assert csls_recall(queries, base, worse, every) == pytest.approx(0.5)


def test_what_no_index_can_part_is_compared_exactly():
    rng = np.random.default_rng(8)
    queries, base = unit(rng.normal(size=(300, 64))), unit(rng.normal(size=(400, 64)))
    lists, about = near_lists(queries, base, LinkPoolSettings(size=20, exact_up_to=0, recall=1.0))
    assert "most of its lists" in about["search"]
    assert np.array_equal(lists.candidate, csls_lists(queries, base, 20, 10).candidate)


def test_equal_vectors_alone_are_compared_whatever_lists_they_lie_in():
    queries, base = unit(np.ones((60, 6))), unit(np.ones((50, 6)))
    lists, about = near_lists(queries, base, LinkPoolSettings(size=20, exact_up_to=0))
    assert about["recall"] == 1.0
    assert all(len(set(row)) == 20 for row in lists.candidate.tolist())


@pytest.mark.parametrize("dim", [6, 16])
def test_equal_vectors_and_any_dimension_are_indexed(dim):
    distinct = unit(np.random.default_rng(9).normal(size=(40, dim)))
    queries, base = distinct.repeat(30, axis=0), distinct.repeat(25, axis=0)
    settings = LinkPoolSettings(size=20, exact_up_to=0)
    lists, about = near_lists(queries, base, settings)
    assert about["search"] == "index"
    assert lists.candidate.shape == (1200, 20)
    own = np.repeat(np.arange(40), 30)[:, None]
    assert (lists.candidate // 25 == own).all()
    assert all(len(set(row)) == 20 for row in lists.candidate.tolist())
    assert about["recall"] == 1.0


def test_memory_settings_change_no_pair():
    world = World(matches=40, opaque=40, alone=10, extra=20)
    whole = link_pool(world.data(), LinkPoolSettings(size=5, by_users=8))
    few = link_pool(world.data(), LinkPoolSettings(size=5, by_users=8, pairs_at_once=300))
    assert open_parts(world, 300) > 10 * open_parts(world, 20_000_000)
    assert few.drop_columns(["users_llr_lead"]).equals(whole.drop_columns(["users_llr_lead"]))
    assert np.allclose(few["users_llr_lead"], whole["users_llr_lead"], atol=1e-4)


def open_parts(world, pairs_at_once):
    settings = LinkPoolSettings(size=5, by_users=8, pairs_at_once=pairs_at_once)
    return len(list(open_pool(world.data(), settings).parts))


def test_the_pool_finds_true_matches_and_no_id_helps():
    world = World(matches=60, opaque=80, alone=20, extra=40, noise=0.2)
    pool = link_pool(world.data(bought=False), LinkPoolSettings(size=15))
    assert pool.schema == LINK_POOL
    assert pool.num_rows == (60 + 80 + 20) * 15
    first = pool.filter(pa.compute.equal(pool["rank_csls"], 1)).to_pandas()
    truth = world.truth | {item: item for item in world.holdout["item_id"].to_pylist()}
    known = first[first.receipt_item.isin(truth)]
    assert (known.catalog_item == known.receipt_item.map(truth)).mean() > 0.95
    # The same ids on vectors without a common signal: only chance is left.
    blind = World(matches=60, opaque=80, alone=20, extra=40, noise=0.2, signal=False)
    pool = link_pool(blind.data(), LinkPoolSettings(size=15, by_users=10))
    own = pool.filter(pa.compute.equal(pool["receipt_item"], pool["catalog_item"]))
    assert own.num_rows < 60 * 0.25
    candidates = set(pool["catalog_item"].to_pylist())
    assert not candidates & {"fmcg_direct", "fmcg_nobody"}


def test_users_find_what_vectors_do_not():
    world = World(matches=60, opaque=80, alone=20, extra=40, noise=3.0)
    settings = LinkPoolSettings(size=3, by_users=5)
    pool = link_pool(world.data(), settings).to_pandas()
    truth = world.truth | {item: item for item in world.holdout["item_id"].to_pylist()}
    right = pool[pool.catalog_item == pool.receipt_item.map(truth)]
    assert (right.rank_csls <= 3).sum() < 60
    assert (right.rank_users == 1).sum() > 70
    # Each list is the union: at most five by users, three by CSLS, no pair twice.
    assert not pool.duplicated(["receipt_item", "catalog_item"]).any()
    for rank, most in (("rank_users", 5), ("rank_csls", 3)):
        ranks = pool[pool[rank].notna()].sort_values(["receipt_item", rank]).groupby("receipt_item")
        assert (ranks[rank].max() == ranks.size()).all()
        assert ranks.size().max() == most
    assert pool[["rank_users", "rank_csls"]].notna().any(axis=1).all()
    # Ranks by users are in the order of the ratio, which every pair has.
    listed = pool[pool.rank_users.notna()].sort_values(["receipt_item", "rank_users"])
    assert (listed.groupby("receipt_item").users_llr.diff().dropna() <= 0).all()
    ratios = ["users_llr", "months_llr", "weeks_llr"]
    assert pool[[*ratios, "similarity", "csls"]].notna().all(axis=None)


def test_csls_of_a_pair_is_the_same_whichever_list_found_it():
    world = World(matches=40, opaque=40, alone=10, extra=20)
    both = link_pool(world.data(), LinkPoolSettings(size=5, by_users=60)).to_pandas()
    alone = link_pool(world.data(bought=False), LinkPoolSettings(size=110)).to_pandas()
    keys = ["receipt_item", "catalog_item"]
    joined = both.merge(alone, on=keys, suffixes=("", "_alone"))
    assert len(joined) == len(both)
    assert joined.csls.to_numpy() == pytest.approx(joined.csls_alone.to_numpy(), abs=1e-5)


def test_the_lead_is_over_the_best_other_receipt_item_of_the_pool():
    world = World(matches=40, opaque=40, alone=10, extra=20)
    pool = link_pool(world.data(), LinkPoolSettings(size=5, by_users=8)).to_pandas()
    for _, own in pool.groupby("catalog_item"):
        for row in own.itertuples():
            others = own.users_llr[own.receipt_item != row.receipt_item]
            best = max(others.max(), 0.0) if len(others) else 0.0
            assert row.users_llr_lead == pytest.approx(row.users_llr - best, abs=1e-3)


def test_an_empty_side_gives_the_empty_pool():
    rows = ROWS[:2]
    embeddings = embeddings_table(unit(np.ones((2, 4))), ["o1", "o2"])
    data = LinkData(
        embeddings, vocabulary_table(rows), user_items_table([]), no_facts(), no_catalog()
    )
    pool = link_pool(data, LinkPoolSettings())
    assert (pool.schema, pool.num_rows) == (LINK_POOL, 0)
    lists = pool_lists(pool, vocabulary_table(rows))
    assert lists.catalog.shape == (0, 0)


def test_lists_pad_the_shorter_ones():
    pool = pool_table(
        {"receipt_item": "o1", "catalog_item": "fmcg_held", "csls": 0.3},
        {"receipt_item": "o1", "catalog_item": "nfmcg_a", "csls": 0.1, "rank_reverse": 4},
        {"receipt_item": "fmcg_held", "catalog_item": "nfmcg_a", "csls": 0.2, "rank_reverse": 1},
    )
    lists = pool_lists(pool, vocabulary_table(ROWS))
    assert lists.receipt.tolist() == [0, 3]  # the held-out match is a query by its receipts side
    assert lists.catalog.tolist() == [[2, 5], [5, -1]]
    assert np.array_equal(
        lists.compared["rank_reverse"], [[np.nan, 4], [1, np.nan]], equal_nan=True
    )
    assert lists.score("csls")[1, 1] == -np.inf
    without = lists.without(np.array([1, -1]))
    assert without.valid.tolist() == [[True, False], [True, False]]
    assert np.isnan(without.compared["csls"][0, 1])
    assert lists.valid.tolist() == [[True, True], [True, False]]


def test_a_pool_of_another_vocabulary_or_order_is_an_error():
    vocabulary = vocabulary_table(ROWS)
    one, other = ({"receipt_item": item, "catalog_item": "nfmcg_a"} for item in ("o1", "fmcg_held"))
    with pytest.raises(ItemembError, match="catalog_item gone"):
        pool_lists(pool_table(one | {"catalog_item": "gone"}), vocabulary)
    with pytest.raises(ItemembError, match="not together"):
        pool_lists(pool_table(one, other, one | {"catalog_item": "fmcg_held"}), vocabulary)
