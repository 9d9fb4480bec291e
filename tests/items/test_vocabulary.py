"""The vocabulary: one node an item, two for a held-out match, look-ups by channel."""

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import (
    UNKNOWN,
    build_vocabulary,
    channel_codes,
    item_domains,
    node_counts,
    node_index,
)
from itememb_core.schemas import VOCABULARY
from itememb_core.settings import DomainSettings

DOMAINS = DomainSettings()


def counts(*rows: tuple[str, str, int]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    schema = pa.schema([("item_id", pa.string()), ("channel", pa.string()), ("n", pa.int64())])
    return pa.table([pa.array(c, t.type) for c, t in zip(columns, schema, strict=True)], schema)


def ids(*values: str) -> pa.Array:
    return pa.array(values, pa.string())


SEEN = counts(
    ("x1", "receipts", 5),
    ("fmcg_1", "receipts", 2),
    ("fmcg_1", "retail", 4),
    ("fmcg_1", "retail", 3),
    ("offer_9", "offers", 5),
)


def test_domains_take_the_prefix_and_not_a_part_of_another():
    found = item_domains(ids("fmcg_1", "nfmcg_1", "offer_1", "abc", "f"), DOMAINS)
    assert found.to_pylist() == ["retail", "marketplace", "offers", "receipt", "receipt"]


def test_rows_are_ordered_by_count_then_id_and_untouched_catalog_items_have_nodes():
    table = build_vocabulary(SEEN, ids("fmcg_7", "fmcg_1"), ids(), DOMAINS)
    assert table.schema == VOCABULARY
    assert table["index"].to_pylist() == [0, 1, 2, 3]
    assert table["item_id"].to_pylist() == ["fmcg_1", "offer_9", "x1", "fmcg_7"]
    assert node_counts(table).tolist() == [[2, 7, 0, 0], [0, 0, 0, 5], [5, 0, 0, 0], [0] * 4]


def test_a_held_out_match_is_two_nodes_that_share_no_count():
    table = build_vocabulary(SEEN, ids(), ids("fmcg_1"), DOMAINS)
    own = [r for r in table.to_pylist() if r["item_id"] == "fmcg_1"]
    assert [(r["side"], r["count_receipts"], r["count_retail"]) for r in own] == [
        ("all", 0, 7),
        ("receipts", 2, 0),
    ]
    where = node_index(table, ids("fmcg_1", "fmcg_1", "x1"), ids("receipts", "retail", "receipts"))
    assert where[0] != where[1]
    assert table["side"][int(where[0])].as_py() == "receipts"
    assert table["side"][int(where[1])].as_py() == "all"
    assert table["item_id"][int(where[2])].as_py() == "x1"


def test_a_match_that_is_not_held_out_is_one_node_in_every_channel():
    table = build_vocabulary(SEEN, ids(), ids(), DOMAINS)
    where = node_index(table, ids("fmcg_1", "fmcg_1"), ids("receipts", "retail"))
    assert where[0] == where[1]


def test_a_held_out_id_without_receipts_before_the_cut_has_one_node():
    table = build_vocabulary(counts(("fmcg_1", "retail", 1)), ids(), ids("fmcg_1"), DOMAINS)
    assert table["side"].to_pylist() == ["all"]


def test_look_up_of_unknown_null_and_dictionary_encoded_ids():
    table = build_vocabulary(SEEN, ids(), ids("fmcg_1"), DOMAINS)
    items = pa.array(["nope", None, "fmcg_1", "fmcg_1"], pa.string())
    channels = pa.array(["retail", "retail", "receipts", "retail"])
    plain = node_index(table, items, channels)
    assert plain.dtype == np.int32
    assert plain[:2].tolist() == [UNKNOWN, UNKNOWN]
    encoded = node_index(table, pa.chunked_array([items.dictionary_encode()]), channels)
    assert encoded.tolist() == plain.tolist()
    assert node_index(table, items, "receipts")[3] == plain[2]


def test_nothing_in_gives_an_empty_table_with_the_schema():
    table = build_vocabulary(counts(), ids(), ids(), DOMAINS)
    assert (table.num_rows, table.schema) == (0, VOCABULARY)
    assert node_index(table, ids("x"), ids("retail")).tolist() == [UNKNOWN]


def test_the_order_of_rows_does_not_matter():
    turned = SEEN.take(pa.array([4, 2, 0, 3, 1]))
    same = build_vocabulary(turned, ids("b", "a"), ids("fmcg_1"), DOMAINS)
    assert same.equals(build_vocabulary(SEEN, ids("a", "b"), ids("fmcg_1"), DOMAINS))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("x", "shop", 1)], "'shop'"),
        ([("x", "retail", -1)], "negative"),
        ([(None, "retail", 1)], "null item_id"),
        ([("x", "retail", None)], "null"),
    ],
)
def test_bad_counts_are_named(rows: list, words: str):
    with pytest.raises(ItemembError, match=words):
        build_vocabulary(counts(*rows), ids(), ids(), DOMAINS)


def test_channel_codes_follow_the_list_of_channels():
    assert channel_codes(ids("offers", "receipts")).tolist() == [3, 0]
