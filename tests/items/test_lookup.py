"""One item looked up."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.items.index import build_index
from itememb_core.lookup import FOUND, LINKS_OF, goes_with, links_of, similar
from itememb_core.schemas import CROSS_DOMAIN_LINKS, LINK_CANDIDATES
from itememb_core.services import CHANNELS
from itememb_core.settings import ItemIndexSettings
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
INDEX = build_index(EMBEDDINGS, VOCABULARY, ItemIndexSettings(), seed=0)


def test_similar_crosses_domains_and_skips_the_untouched():
    found = similar(EMBEDDINGS, VOCABULARY, INDEX, "bread", 3)
    assert found.schema == FOUND
    assert found["neighbor_id"].to_pylist() == ["fmcg_bread", "butter", "fmcg_butter"]
    assert found["rank"].to_pylist() == [1, 2, 3]
    assert found["score"][0].as_py() == pytest.approx(np.cos(np.radians(5)), abs=1e-6)
    only = similar(EMBEDDINGS, VOCABULARY, INDEX, "bread", 3, channel="retail")
    assert only["neighbor_id"].to_pylist() == ["fmcg_bread", "fmcg_butter"]


def test_goes_with_stays_in_the_channel_and_adds_the_bias():
    found = goes_with(EMBEDDINGS, VOCABULARY, "fmcg_bread", 5)
    assert found["neighbor_id"].to_pylist() == ["fmcg_butter"]
    expected = float(CONTEXT[2] @ VALUES[3]) + 0.25
    assert found["score"][0].as_py() == pytest.approx(expected, abs=1e-6)
    across = goes_with(EMBEDDINGS, VOCABULARY, "fmcg_bread", 5, channel="receipts")
    assert across["neighbor_id"].to_pylist() == ["butter", "bread"]


def many(n=300, dim=8):
    """Items in three channels, every tenth without an event, every seventh twice by its sides."""
    rng = np.random.default_rng(0)
    values = unit(rng.normal(size=(n, dim)))
    values[3] = values[2]  # a tie
    names = [f"i{number - (number % 7 == 0):03d}" for number in range(n)]
    sides = ["receipts" if number % 7 == 0 else "all" for number in range(n)]
    counts = np.eye(4, dtype=int)[rng.integers(0, 3, n)] * (np.arange(n) % 10 > 0)[:, None]
    rows = [(names[i], sides[i], "receipt", *map(int, counts[i])) for i in range(n)]
    table = embeddings_table(values, names, sides=sides)
    return table, vocabulary_table(rows), values, np.array(names), counts


@pytest.mark.parametrize("channel", [None, "receipts", "marketplace"])
def test_a_flat_index_and_a_channel_answer_exactly(channel):
    embeddings, vocabulary, values, names, counts = many()
    index = build_index(embeddings, vocabulary, ItemIndexSettings(), seed=0)
    assert index.about["kind"] == "flat"
    column = slice(None) if channel is None else CHANNELS.index(channel)
    seen = counts[:, column].reshape(len(names), -1).sum(axis=1) > 0
    for row in range(1, 60):
        if row % 7 == 0:
            continue  # the look-up takes the other side
        rows = np.flatnonzero(seen & (names != names[row]))
        scores = values[rows] @ values[row]
        best = np.lexsort((rows, -scores))[:10]
        found = similar(embeddings, vocabulary, index, names[row], 10, channel=channel)
        assert found["neighbor_id"].to_pylist() == names[rows[best]].tolist()
        assert np.allclose(found["score"], scores[best], atol=1e-6)


def test_inverted_lists_answer_with_the_recall_they_state():
    embeddings, vocabulary, values, names, counts = many(3_000)
    settings = ItemIndexSettings(exact_up_to=0, recall=0.8, recall_sample=3_000)
    index = build_index(embeddings, vocabulary, settings, seed=0)
    assert index.about["kind"] == "ivf"
    assert 0.8 <= index.about["recall"] < 1
    touched = np.flatnonzero(counts.sum(axis=1))
    hits = []
    for row in touched[touched % 7 > 0][:300]:
        rows = touched[names[touched] != names[row]]
        exact = names[rows[np.argsort(-(values[rows] @ values[row]))[:10]]]
        found = similar(embeddings, vocabulary, index, names[row], 10)
        hits.append(len(set(exact) & set(found["neighbor_id"].to_pylist())) / 10)
    assert np.mean(hits) == pytest.approx(index.about["recall"], abs=0.05)
    assert np.mean(hits) < 1


def test_more_than_there_are_gives_all_and_an_index_of_other_items_is_refused():
    assert len(similar(EMBEDDINGS, VOCABULARY, INDEX, "bread", 100)) == 3
    assert len(similar(EMBEDDINGS, VOCABULARY, INDEX, "fmcg_nobody", 100)) == 4
    fewer = build_index(EMBEDDINGS[:3], VOCABULARY[:3], ItemIndexSettings(), seed=0)
    with pytest.raises(ItemembError, match="item_index: made of other items"):
        similar(EMBEDDINGS, VOCABULARY, fewer, "bread", 3)


def test_unknown_items_and_channels_are_named():
    with pytest.raises(ItemembError, match=r"item fmcg_breed is unknown.*fmcg_bread"):
        similar(EMBEDDINGS, VOCABULARY, INDEX, "fmcg_breed", 3)
    with pytest.raises(ItemembError, match="item zzz is unknown among 5 items"):
        links_of(CANDIDATES, LINKS, VOCABULARY, "zzz")
    with pytest.raises(ItemembError, match="channel shop is unknown"):
        similar(EMBEDDINGS, VOCABULARY, INDEX, "bread", 3, channel="shop")
    with pytest.raises(ItemembError, match="among 0 items"):
        similar(EMBEDDINGS.slice(0, 0), VOCABULARY.slice(0, 0), INDEX, "bread", 3)


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
