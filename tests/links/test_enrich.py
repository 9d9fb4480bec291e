"""Receipt lines with their links, the shares that gain, and reasons in words."""

from datetime import date, datetime

import ibis
import pyarrow as pa
import pytest

from itememb_core.links.enrich import enriched_receipts, gains
from itememb_core.links.reasons import reasons
from itememb_core.schemas import CATALOG, CROSS_DOMAIN_LINKS, ENRICHED_RECEIPTS, EVENTS

DAYS = pa.schema([("day", pa.date32()), *EVENTS])


def table(schema, *rows):
    empty = dict.fromkeys(schema.names)
    return ibis.memtable(pa.Table.from_pylist([empty | row for row in rows], schema=schema))


def line(number, item, *, day=1, price=2.0, count=1.0, brand=None):
    return {
        "day": date(2017, 1, day),
        "timestamp": datetime(2017, 1, day),
        "item_id": item,
        "price": price,
        "count": count,
        "brand_id": brand,
        "source_file": "f",
        "source_row": number,
    }


def made(*lines):
    link = {"catalog_domain": "retail", "probability": 0.9, "method": "learned"}
    links = table(
        CROSS_DOMAIN_LINKS,
        link | {"receipt_item": "o1", "catalog_item": "fmcg_1"},
        link | {"receipt_item": "o2", "catalog_item": "fmcg_gone"},
    )
    catalog = table(
        CATALOG,
        {"item_id": "fmcg_1", "category": "tea", "subcategory": "green", "brand_id": 7},
        {"item_id": "fmcg_2", "category": "milk"},
    )
    return enriched_receipts(table(DAYS, *lines), links, catalog)


LINES = (
    line(1, "o1", price=2.0, count=3.0),
    line(2, "o1", price=1.0, brand=5),
    line(3, "o1", price=1.0, brand=5),  # two equal lines are two lines
    line(4, "o2", price=4.0),
    line(5, "o3", day=31, price=None),
)


def test_every_line_gets_what_the_catalog_knows():
    found = made(*LINES).order_by("source_row").to_pyarrow()
    assert found.column_names == ["month", *ENRICHED_RECEIPTS.names]
    rows = found.to_pylist()
    assert [r["source_row"] for r in rows] == [1, 2, 3, 4, 5]
    assert [r["catalog_item"] for r in rows] == ["fmcg_1"] * 3 + ["fmcg_gone", None]
    assert [r["category"] for r in rows] == ["tea"] * 3 + [None, None]
    assert [(r["brand_id"], r["brand"]) for r in rows] == [
        (None, 7), (5, 5), (5, 5), (None, None), (None, None),
    ]  # fmt: skip
    assert [r["link_probability"] for r in rows] == [0.9] * 4 + [None]
    assert {r["month"] for r in rows} == {"2017-01"}


def test_shares_of_lines_and_spend_by_hand():
    found = gains(made(*LINES)).to_pyarrow().to_pylist()[0]
    assert found == {
        "lines": 5, "spend": 12_000, "least_price": 1.0,
        "lines_linked": 4, "spend_linked": 12_000,
        "lines_category": 3, "spend_category": 8_000,
        "lines_brand": 1, "spend_brand": 6_000,
    }  # fmt: skip
    nothing = gains(made()).to_pyarrow().to_pylist()[0]
    assert (nothing["lines"], nothing["spend_brand"], nothing["least_price"]) == (0, 0, None)


PAIR = {
    "users_llr": 41.2, "users_llr_lead": 12.0, "price_gap": 0.01, "brand": 1.0,
    "weekly_correlation": 0.5, "similarity": 0.61,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({}, ["the same users buy both (log-likelihood ratio +41.2), no receipt item fits it",
              "same price", "same brand", "in the same weeks (+0.50)", "cosine 0.61"]),
        ({"users_llr_lead": -3.0}, ["another receipt item fits better (-3.0)"]),
        ({"users_llr": -2.0}, ["its users do not buy both (-2.0)"]),
        ({"price_gap": -0.2, "brand": -1.0}, ["price near (-0.20)", "another brand"]),
        ({"price_gap": 0.9, "weekly_correlation": -0.3},
         ["price apart (+0.90)", "in other weeks (-0.30)"]),
    ],
)  # fmt: skip
def test_reasons_are_the_evidence_in_words(change, parts):
    words = reasons(PAIR | change)
    assert all(part in words for part in parts)


def test_unknown_evidence_is_left_out_of_the_reasons():
    assert reasons(dict.fromkeys(PAIR)) == ""
    assert reasons(dict.fromkeys(PAIR) | {"similarity": 0.5}) == "cosine 0.50"
