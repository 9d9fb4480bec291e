"""Profiles from bags, correlations in time, first and last days, prices and brands."""

import ibis
import numpy as np
import pyarrow as pa
import pytest

from itememb_core.links import profiles
from itememb_core.links.evidence import ReceiptFacts, compare, item_facts, receipt_facts
from itememb_core.links.nodes import link_nodes
from itememb_core.schemas import CATALOG
from itememb_core.settings import LinkPoolSettings
from tests.worlds.links import no_facts, user_items_table, vocabulary_table

ROWS = [  # item, side, domain, receipts, retail, marketplace, offers
    ("o1", "all", "receipt", 3, 0, 0, 0),
    ("fmcg_held", "all", "retail", 0, 4, 0, 0),
    ("fmcg_held", "receipts", "retail", 5, 0, 0, 0),
    ("fmcg_direct", "all", "retail", 2, 4, 0, 0),
    ("nfmcg_a", "all", "marketplace", 0, 0, 1, 0),
]
VOCABULARY = vocabulary_table(ROWS)
NODES = link_nodes(VOCABULARY, LinkPoolSettings())  # receipts: o1, fmcg_held; catalog: held, a
BOUGHT = [
    (0, 7, "receipts", "o1"),
    (31, 7, "receipts", "o1"),
    (1, 7, "retail", "fmcg_held"),
    (2, 7, "receipts", "fmcg_held"),
    (3, 8, "receipts", "fmcg_direct"),
    (4, 8, "retail", "fmcg_direct"),
    (40, 9, "marketplace", "nfmcg_a"),
    (5, 7, "offers", "offer_x"),
]


def bought(rows=BOUGHT):
    return profiles.purchases(user_items_table(rows), VOCABULARY, NODES)


def test_profiles_count_days_of_each_side_apart():
    receipts, catalog = profiles.sides(bought(), NODES, None)
    # Users 7 and 8 shop on both sides, 9 on one: no column. The held-out match is two profiles.
    assert receipts.counts.toarray().tolist() == [[2, 0], [1, 0]]
    assert catalog.counts.toarray().tolist() == [[1, 0], [0, 0]]
    # Shares count what takes no part (the direct match) and totals what no column shows.
    assert receipts.share == pytest.approx([3 / 4, 1 / 4])
    assert catalog.share == pytest.approx([1 / 3, 1 / 3])
    assert (receipts.totals.tolist(), catalog.totals.tolist()) == ([2, 1], [1, 1])


def test_windows_part_a_users_days():
    receipts, catalog = profiles.sides(bought(), NODES, 30)
    # Windows 0 of users 7 and 8 are on both sides; the purchase on day 31 is alone.
    assert receipts.counts.toarray().tolist() == [[1, 0], [1, 0]]
    assert receipts.totals.tolist() == [2, 1]
    assert catalog.counts.toarray().tolist() == [[1, 0], [0, 0]]


def test_what_has_strength_0_does_not_count():
    table = user_items_table(BOUGHT)
    none = table.set_column(5, "strength", pa.array([0] * len(BOUGHT), pa.int32()))
    found = profiles.purchases(none, VOCABULARY, NODES)
    assert len(found.user) == 0
    receipts, catalog = profiles.sides(found, NODES, 7)
    assert (receipts.counts.shape, catalog.counts.shape) == ((2, 0), (2, 0))
    assert all(rows.shape == (2, 1) for rows in profiles.by_time(found, NODES, 7))
    assert np.isnan(profiles.first_and_last(found, NODES)[0]).all()


def test_correlations_are_of_what_time_does_not_explain():
    receipts, catalog = profiles.by_time(bought(), NODES, 30)
    # Receipts: 3 of 4 in window 0. o1 has one in each: residuals 1 - 1.5 and 1 - 0.5.
    expected = np.array([-0.5 / np.sqrt(2.0), 0.5 / np.sqrt(1.0)])
    assert receipts[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert np.linalg.norm(catalog, axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_first_and_last_day():
    receipts, catalog = profiles.first_and_last(bought(), NODES)
    assert receipts.tolist() == [[0, 31], [2, 2]]
    assert catalog.tolist() == [[1, 1], [40, 40]]


def lines(rows):
    """Receipt lines (item, price, brand)."""
    item, price, brand = zip(*rows, strict=True)
    table = pa.table(
        {
            "item_id": pa.array(item),
            "price": pa.array(price, pa.float64()),
            "brand_id": pa.array(brand, pa.int64()),
        }
    )
    return receipt_facts(ibis.memtable(table))


def catalog(*rows):
    table = CATALOG.empty_table().to_pylist()
    empty = dict.fromkeys(CATALOG.names)
    table = [empty | {"item_id": i, "price": p, "brand_id": b} for i, p, b in rows]
    return pa.Table.from_pylist(table, schema=CATALOG)


def test_prices_and_brands_of_receipt_lines():
    facts = lines([("o1", p, b) for p, b in ((1.0, 5), (2.0, 6), (3.0, 6), (None, None))])
    assert facts.prices.to_pylist() == [
        {"item_id": "o1", "low": pytest.approx(1.2), "middle": 2.0, "high": pytest.approx(2.8)}
    ]
    assert facts.brands.to_pylist() == [
        {"item_id": "o1", "brand_id": 5, "n": 1},
        {"item_id": "o1", "brand_id": 6, "n": 2},
    ]


def test_pairs_compare_prices_and_brands():
    facts = lines([("o1", 2.0, 6), ("o1", 2.0, 5), ("fmcg_held", 8.0, None)])
    # Two brands with one line each: the smaller id.
    known = item_facts(
        facts, catalog(("fmcg_held", 4.0, 5), ("nfmcg_a", 1.0, 6)), VOCABULARY, NODES
    )
    found = compare(known, np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert found["price_gap"] == pytest.approx(np.log([0.5, 2.0, 2.0]), abs=1e-6)
    assert found["brand"][:2].tolist() == [1.0, -1.0]
    assert np.isnan(found["brand"][2])


def test_transformed_prices_are_taken_as_they_are():
    facts = lines([("o1", -2.0, None)])
    known = item_facts(facts, catalog(("fmcg_held", 1.0, None)), VOCABULARY, NODES)
    assert compare(known, np.array([0]), np.array([0]))["price_gap"].tolist() == [-3.0]


def test_no_price_no_brand_no_catalog_row_is_not_known():
    free = lines([("o1", 0.0, None)])
    for facts, table in ((no_facts(), catalog()), (free, catalog(("fmcg_held", 0.0, None)))):
        known = item_facts(facts, table, VOCABULARY, NODES)
        found = compare(known, np.array([0]), np.array([0]))
        assert all(np.isnan(values).all() for values in found.values())
        assert isinstance(facts, ReceiptFacts)
