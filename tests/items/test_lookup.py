"""One item looked up."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.lookup import FOUND, LINKS_OF, links_of, similar
from itememb_core.schemas import CROSS_DOMAIN_LINKS, LINK_CANDIDATES
from tests.worlds.links import embeddings_table, unit, vocabulary_table

ROWS = [
    ("bread", "all", "receipt", 5, 0, 0, 0),
    ("butter", "all", "receipt", 5, 0, 0, 0),
    ("fmcg_bread", "all", "retail", 0, 3, 0, 0),
    ("fmcg_butter", "all", "retail", 0, 3, 0, 0),
    ("fmcg_nobody", "all", "retail", 0, 0, 0, 0),
]
ANGLES = np.radians([0, 80, 5, 85, 0])
VALUES = unit(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1))
#: What goes with an item points the other way: bread goes with butter.
CONTEXT = 2 * VALUES[:, ::-1]
BIAS = [0.0, 0.5, 0.0, 0.25, 9.0]
VOCABULARY = vocabulary_table(ROWS)
EMBEDDINGS = embeddings_table(
    VALUES,
    [row[0] for row in ROWS],
    domains=[row[2] for row in ROWS],
    context=CONTEXT,
    bias=BIAS,
)


def test_similar_crosses_domains_and_skips_the_untouched():
    found = similar(EMBEDDINGS, VOCABULARY, "bread", 3)
    assert found.schema == FOUND
    assert found["neighbor_id"].to_pylist() == ["fmcg_bread", "butter", "fmcg_butter"]
    assert found["rank"].to_pylist() == [1, 2, 3]
    assert found["score"][0].as_py() == pytest.approx(np.cos(np.radians(5)), abs=1e-6)
    only = similar(EMBEDDINGS, VOCABULARY, "bread", 3, channel="retail")
    assert only["neighbor_id"].to_pylist() == ["fmcg_bread", "fmcg_butter"]


def test_goes_with_stays_in_the_channel_and_adds_the_bias():
    found = similar(EMBEDDINGS, VOCABULARY, "fmcg_bread", 5, goes_with=True)
    assert found["neighbor_id"].to_pylist() == ["fmcg_butter"]
    expected = float(CONTEXT[2] @ VALUES[3]) + 0.25
    assert found["score"][0].as_py() == pytest.approx(expected, abs=1e-6)
    across = similar(EMBEDDINGS, VOCABULARY, "fmcg_bread", 5, goes_with=True, channel="receipts")
    assert across["neighbor_id"].to_pylist() == ["butter", "bread"]


def test_unknown_items_and_channels_are_named():
    with pytest.raises(ItemembError, match=r"item fmcg_breed is unknown.*fmcg_bread"):
        similar(EMBEDDINGS, VOCABULARY, "fmcg_breed", 3)
    with pytest.raises(ItemembError, match="item zzz is unknown among 5 items"):
        links_of(CANDIDATES, LINKS, VOCABULARY, "zzz")
    with pytest.raises(ItemembError, match="channel shop is unknown"):
        similar(EMBEDDINGS, VOCABULARY, "bread", 3, channel="shop")
    with pytest.raises(ItemembError, match="among 0 items"):
        similar(EMBEDDINGS.slice(0, 0), VOCABULARY.slice(0, 0), "bread", 3)


def of(schema, *rows):
    """Rows as tuples; the last columns, when left out, are null."""
    names = [dict(zip(schema.names, row, strict=False)) for row in rows]
    return pa.Table.from_pylist(names, schema=schema)


CANDIDATES = of(
    LINK_CANDIDATES,
    ("bread", "fmcg_butter", "retail", 2, 0.1, 0.1, 0.2),
    ("bread", "fmcg_bread", "retail", 1, 0.9, 0.8, 0.7),
    ("butter", "fmcg_butter", "retail", 1, 0.9, 0.8, 0.6),
)
LINKS = of(
    CROSS_DOMAIN_LINKS,
    ("fmcg_butter", "fmcg_butter", "retail", 1.0, 1.0, "direct"),
    ("bread", "fmcg_bread", "retail", 0.9, 0.7, "learned"),
)


def rows(item):
    found = links_of(CANDIDATES, LINKS, VOCABULARY, item)
    assert found.schema == LINKS_OF
    return [
        (r["receipt_item"], r["catalog_item"], r["rank"], r["method"]) for r in found.to_pylist()
    ]


def test_links_of_a_receipt_item_are_its_candidates_in_order():
    assert rows("bread") == [
        ("bread", "fmcg_bread", 1, "learned"),
        ("bread", "fmcg_butter", 2, None),
    ]


def test_links_of_a_catalog_item_are_who_asks_for_it_and_its_direct_link():
    assert rows("fmcg_butter") == [
        ("fmcg_butter", "fmcg_butter", None, "direct"),
        ("butter", "fmcg_butter", 1, None),
        ("bread", "fmcg_butter", 2, None),
    ]


def test_a_known_item_without_links_has_none():
    assert rows("fmcg_nobody") == []
