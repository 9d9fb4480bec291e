"""Words, n-grams and abbreviations of texts, and texts as blocking and comparisons of a pool."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.links.nodes import link_nodes
from itememb_core.links.pool import link_pool
from itememb_core.links.text.abbreviations import as_letters, likeness
from itememb_core.links.text.evidence import COMPARISONS, LETTER, PairWords, text_evidence
from itememb_core.links.text.ngrams import Ngrams, nearest_titles
from itememb_core.links.text.words import CHARS, LETTERS, WORDS, skeleton, texts_on_nodes, words_of
from itememb_core.schemas import CATALOG
from itememb_core.settings import LinkPoolSettings
from tests.worlds.links import World, vocabulary_table

ROWS = [  # item, side, domain, receipts, retail, marketplace, offers
    ("o1", "all", "receipt", 3, 0, 0, 0),
    ("o2", "all", "receipt", 1, 0, 0, 0),
    ("fmcg_held", "all", "retail", 0, 4, 0, 0),
    ("fmcg_held", "receipts", "retail", 5, 0, 0, 0),
    ("fmcg_b", "all", "retail", 0, 4, 0, 0),
    ("fmcg_c", "all", "retail", 0, 4, 0, 0),
]
VOCABULARY = vocabulary_table(ROWS)
NODES = link_nodes(VOCABULARY, LinkPoolSettings())  # receipts: o1, o2, held; catalog: held, b, c


def titles(**by_item):
    return pa.table(
        {
            "item_id": pa.array(list(by_item), pa.string()),
            "title": pa.array(list(by_item.values()), pa.large_string()),
        }
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Crème Brûlée 1,5L", ["creme", "brulee", "1.5", "l"]),
        ("MLK 2% 500ml/ORG", ["mlk", "2", "500", "ml", "org"]),
        ("Ёлка МОЛОКО", ["елка", "молоко"]),
        ("牛乳 500", ["牛乳", "500"]),
        ("🥛🍌", []),
        (" \t\n", []),
        ("", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_skeletons_keep_the_first_letter_and_numbers():
    words = ["milk", "apple", "aaa", "1.5", "яблоко", "牛乳"]
    assert [skeleton(word) for word in words] == ["mlk", "appl", "a", "1.5", "яблк", "牛乳"]


@given(st.text(max_size=300))
def test_any_text_has_few_short_words(text):
    words = words_of(text)
    assert len(words) <= WORDS
    assert all(1 <= len(word) <= LETTERS for word in words)
    assert all(skeleton(word)[0] == word[0] for word in words)


def fits(short, long, cut=False):
    pair = np.zeros(1, np.int64)
    found = likeness(as_letters([short]), as_letters([long]), pair, pair, np.array([cut]))
    return pytest.approx(float(found[0]), abs=1e-6)


@pytest.mark.parametrize(
    ("short", "long", "cut", "expected"),
    [
        ("mlk", "milk", False, 1),  # vowels are free
        ("milk", "milk", False, 1),
        ("mlk", "mollusk", False, 1 - 2 / 5),  # two consonants of five are left out
        ("mlx", "milk", False, 1 - 1 / 3),  # a slip
        ("malk", "milk", False, 1 - 1 / 4),  # a vowel too many replaces one
        ("brc", "broccoli", False, 1 - 2 / 5),
        ("brc", "broccoli", True, 1),  # cut: the rest costs nothing
        ("brx", "broccoli", True, 1 - 1 / 3),
        ("ilk", "milk", False, 0),  # another first letter
        ("mrt", "milk", False, 0),  # more wrong than right
        ("16", "16", False, 1),
        ("1", "16", False, 0),
        ("1", "16", True, 1),
        ("19", "16", True, 0),
        ("m", "16", True, 0),
    ],
)
def test_likeness_by_hand(short, long, cut, expected):
    assert expected == fits(short, long, cut)


LATIN = st.text("abcdeilmnorst", min_size=1, max_size=LETTERS)


@given(LATIN, st.data())
def test_what_is_left_without_some_vowels_fits_fully(word, data):
    kept = [data.draw(st.booleans()) for _ in word]
    short = "".join(
        letter
        for place, letter in enumerate(word)
        if place == 0 or kept[place] or letter not in "aeiou"
    )
    assert fits(short, word) == 1
    assert fits(word[: data.draw(st.integers(1, len(word)))], word, cut=True) == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(LATIN, min_size=1, max_size=9), st.lists(LATIN, min_size=1, max_size=9))
def test_words_are_compared_the_same_alone_and_together(left, right):
    pairs = [(i, j) for i in range(len(left)) for j in range(len(right))]
    rows, columns = (np.array(each) for each in zip(*pairs, strict=True))
    cut = rows % 2 == 0
    found = likeness(as_letters(left), as_letters(right), rows, columns, cut)
    assert ((found == 0) | (found >= 0.5)).all()
    for (i, j), end, value in zip(pairs, cut, found, strict=True):
        assert fits(left[i], right[j], bool(end)) == value


def test_shares_that_are_explained_by_hand():
    texts = [["mlk", "wht", "16"], ["bnn", "xyz"]]
    words = PairWords(texts, [["milk", "white", "16"], ["banana", "milk"]])
    text, missed, title, numbers = words.explained(np.array([0, 0, 1]), np.array([0, 1, 1]))
    # Letters: 3 + 3 + 2 of 8; of the second title only mlk. Numbers: that title has none.
    assert text == pytest.approx([1, 3 / 8, 3 / 6])
    assert missed == pytest.approx([0, 5, 3])
    assert numbers == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    rare, common = np.log(3 / 2) + 1, 1.0  # banana in one of two titles, milk in both
    assert title == pytest.approx([1, common / (rare + common), rare / (rare + common)])


def test_cosines_are_of_idf_weighted_ngrams():
    space = Ngrams.of(["ab", "zz"], ["ab", "ab cd"])
    # N-grams of " ab ": " a", "ab", "b ", " ab", "ab ", " ab "; each in both titles, idf 1. Those
    # of " cd " are in one: idf log(3/2) + 1.
    rare = (np.log(3 / 2) + 1) ** 2
    cosine = space.cosines(np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert cosine == pytest.approx([1, 6 / np.sqrt(6 * (6 + 6 * rare)), 0], abs=1e-6)


def test_nearest_titles_until_there_are_enough_items():
    names = ["milk white", "white milk", "milk", "banana"]
    space = Ngrams.of(["milk white", "qqq"], names)
    items = np.array([2, 1, 5, 1])
    near = nearest_titles(space, items, most=3)
    # Both orders tie: rank 3, and they are three items. The next begins at the third: left out.
    assert near.title.tolist() == [0, 1]
    assert near.rank.tolist() == [3, 3]
    assert near.ends.tolist() == [0, 2, 2]
    near = nearest_titles(space, items, most=4)
    assert (near.title.tolist(), near.rank.tolist()) == ([0, 1, 2], [3, 3, 8])


def test_common_ngrams_are_left_out_where_there_are_too_many(monkeypatch):
    names = ["milk a", "milk b", "milk c", "zoo"]
    space = Ngrams.of(["milk b"], names)
    whole = nearest_titles(space, np.ones(4, int), most=4)
    assert sorted(whole.title.tolist()) == [0, 1, 2]
    monkeypatch.setattr("itememb_core.links.text.ngrams.POSTINGS", 3)
    assert nearest_titles(space, np.ones(4, int), most=4).title.tolist() == [1]


def test_a_text_is_of_the_node_of_its_side():
    texts = titles(fmcg_held="HLD", o1="MLK", o2="🥛", gone="X")
    found = texts_on_nodes(texts, "receipts", VOCABULARY, NODES.receipts)
    assert [found.words[code] if code >= 0 else None for code in found.code] == [
        ["mlk"], None, ["hld"]
    ]  # fmt: skip
    catalog = titles(fmcg_held="Held", fmcg_b="held", o1="Milk")
    found = texts_on_nodes(catalog, "retail", VOCABULARY, NODES.catalog)
    assert found.words == [["held"]]  # that of o1 is of no candidate
    assert found.code.tolist() == [0, 0, -1]


def test_equal_ids_without_equal_texts_compare_as_nothing():
    texts, catalog = titles(fmcg_held="MLK"), titles(fmcg_held="Zebra", fmcg_b="Milk")
    text = text_evidence(texts, catalog, VOCABULARY, NODES, 5)
    own = text.compare(np.array([2, 2, 2, 0]), np.array([0, 1, 2, 1]))
    assert own["text_skeleton"] == pytest.approx([0, 1, np.nan, np.nan], nan_ok=True)
    assert own["text_explained"] == pytest.approx([0, 1, np.nan, np.nan], nan_ok=True)
    # Nor is the title read for the text, or the text for the title.
    for left, right in ((texts, titles(o1="Milk")), (titles(fmcg_b="MLK"), catalog)):
        assert text_evidence(left, right, VOCABULARY, NODES, 5) is None


def worlds_pool(texts=None, catalog=None, **settings):
    world = World(matches=30, opaque=30, alone=10, extra=20)
    data = world.data()
    if texts is not None:
        empty = dict.fromkeys(CATALOG.names)
        rows = [empty | row for row in catalog.to_pylist()]
        table = pa.Table.from_pylist(rows, schema=CATALOG)
        data = replace(data, facts=data.facts._replace(texts=texts), catalog=table)
    return world, link_pool(data, LinkPoolSettings(size=3, by_users=4, **settings))


def named(world, catalog):
    """A text and a title of every item: those of a true match fit."""
    receipts = {opaque: f"Prdct {match[-2:]}" for opaque, match in world.truth.items()}
    receipts |= {item: f"Prdct {item[-2:]}" for item in world.holdout["item_id"].to_pylist()}
    listed = {item: f"Product {item[-2:]}" for item in receipts if item.startswith("fmcg_")}
    listed |= {match: f"Product {match[-2:]}" for match in world.truth.values()}
    return titles(**(listed if catalog else receipts))


def test_without_texts_the_pool_is_what_it_was():
    world, pool = worlds_pool()
    assert all(
        pool[name].null_count == pool.num_rows
        for name in ("rank_text", "text_users_lead", *COMPARISONS)
    )
    for texts, catalog in (
        (named(world, False), titles()),
        (titles(), named(world, True)),
        (titles(**dict.fromkeys(world.truth, "🥛")), named(world, True)),
    ):
        assert worlds_pool(texts, catalog)[1].equals(pool)


def test_texts_find_candidates_and_are_compared_in_every_pair():
    world, plain = worlds_pool()
    texts, catalog = named(world, False), named(world, True)
    _, pool = worlds_pool(texts, catalog, by_text=2)
    own = pool.to_pandas()
    truth = world.truth | {item: item for item in world.holdout["item_id"].to_pylist()}
    right = own[own.catalog_item == own.receipt_item.map(truth)]
    assert len(right) == 60
    assert (right.rank_text.dropna() == 1).all()
    assert right.rank_text.notna().sum() > 50  # of some, users know better ones
    assert right.text_explained.tolist() == pytest.approx([1.0] * 60)
    lists = own[own.rank_text.notna()].groupby("receipt_item").size()
    assert (lists.max(), len(lists)) == (2, 60)
    keys = ["receipt_item", "catalog_item"]
    both = plain.to_pandas().merge(own, on=keys, suffixes=("", "_texts"))
    assert len(both) == plain.num_rows  # what others found stays
    known = both.receipt_item.isin(truth) & both.catalog_item.isin(catalog["item_id"].to_pylist())
    assert (both.text_cosine_texts.notna() == known).all()
    _, compared = worlds_pool(texts, catalog, by_text=0)
    assert compared.num_rows == plain.num_rows
    assert compared["text_cosine"].null_count < compared.num_rows


def test_the_lead_with_texts_is_over_receipt_items_that_the_text_fits():
    world, _ = worlds_pool()
    _, pool = worlds_pool(named(world, False), named(world, True))
    own = pool.to_pandas()
    own["both"] = own.users_llr - LETTER * own.text_missed.fillna(0)
    assert own.text_users_lead.isna().equals(own.text_missed.isna())
    for _, rows in own.groupby("catalog_item"):
        for row in rows[rows.text_missed.notna()].itertuples():
            others = rows.both[rows.receipt_item != row.receipt_item]
            best = max(others.max(), 0.0) if len(others) else 0.0
            assert row.text_users_lead == pytest.approx(row.both - best, abs=1e-3)


def test_users_tell_apart_what_the_text_cannot():
    world, _ = worlds_pool()
    listed = [row[0] for row in world.rows if row[1] == "all" and row[0].startswith("fmcg_")]
    texts = titles(**dict.fromkeys([*world.truth, *world.holdout["item_id"].to_pylist()], "PRDCT"))
    _, pool = worlds_pool(texts, titles(**dict.fromkeys(listed, "Product")), by_text=3)
    own = pool.to_pandas()
    own = own[own.receipt_item.isin(texts["item_id"].to_pylist())]
    by_text = own[own.rank_text.notna()]
    assert by_text.rank_text.nunique() == 1  # all tie
    best = own.groupby("receipt_item").users_llr.nlargest(3).groupby("receipt_item").min()
    assert (by_text.groupby("receipt_item").users_llr.min() == best).all()


def test_long_and_strange_texts_are_cut_and_compared():
    strange = ["x" * 1_000_000, "a b " * 250_000, "🥛" * 9, "ﷺ" * 100_000, "\0", "́" * 99, "牛" * 9]
    found = [words_of(text) for text in strange]
    assert [bool(words) for words in found] == [True, True, False, True, False, False, True]
    texts, catalog = titles(o1=strange[0], o2=strange[1]), titles(fmcg_b=strange[0])
    text = text_evidence(texts, catalog, VOCABULARY, NODES, 5)
    assert text.compare(np.array([0]), np.array([1]))["text_cosine"] == pytest.approx([1])
    assert sum(map(len, words_of("ab" * CHARS))) <= CHARS
