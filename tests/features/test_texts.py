"""Texts of receipt items: the most frequent one, beside the catalog's titles."""

import ibis
import pyarrow as pa

from itememb_core.features.content.sources import content_rows, receipt_texts

CATALOG = pa.table({
    "item_id": ["fmcg_b", "fmcg_a"],
    "group_id": ["g", None],
    "title": ["bread", None],
    "embedding": pa.nulls(2, pa.list_(pa.float32())),
    "image_embedding": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
    "text_embedding": pa.nulls(2, pa.list_(pa.float32())),
})  # fmt: skip
LINES = pa.table({
    "item_id": ["till", "till", "till", "fmcg_a", "fmcg_a", "mute", "till"],
    "title": ["BRD 1", "BREAD", "BREAD", "z", "y", " ", None],
})  # fmt: skip


def test_the_most_frequent_text_wins_and_of_equals_the_first():
    found = receipt_texts(ibis.memtable(LINES)).order_by("item_id").to_pyarrow()
    assert found.to_pylist() == [
        {"item_id": "fmcg_a", "title": "y"},
        {"item_id": "till", "title": "BREAD"},
    ]


def test_receipt_texts_come_after_the_catalog_on_a_side_of_their_own():
    rows = content_rows(ibis.memtable(CATALOG), ibis.memtable(LINES)).to_pylist()
    assert [(r["item_id"], r["side"], r["title"], r["image_embedding"]) for r in rows] == [
        ("fmcg_a", "all", None, None),
        ("fmcg_b", "all", "bread", [1.0, 2.0]),
        ("fmcg_a", "receipts", "y", None),
        ("till", "all", "BREAD", None),
    ]


def test_receipts_without_any_text():
    lines = LINES.set_column(1, "title", pa.nulls(LINES.num_rows, pa.string()))
    rows = content_rows(ibis.memtable(CATALOG), ibis.memtable(lines))
    assert rows["item_id"].to_pylist() == ["fmcg_a", "fmcg_b"]
