"""Every cleaning rule with the row in it, and conservation."""

from datetime import date, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itememb_core import raw, schemas, tables
from itememb_core.errors import ItemembError
from itememb_core.services import CHANNELS
from itememb_core.settings import DomainSettings
from itememb_core.tables import clean

DAY = date(2017, 1, 3)
NOON = datetime(2017, 1, 3, 12)
DOMAINS = DomainSettings()
ITEM = {"receipts": "abc", "retail": "fmcg_1", "marketplace": "nfmcg_1", "offers": "offer_1"}
Row = dict[str, Any]


def raw_rows(*changes: Row, channel: str = "retail") -> Any:
    """One good raw row a change, with the change in it; microseconds apart."""
    base: Row = dict.fromkeys(raw.RAW_EVENTS.names)
    rows = []
    for number, change in enumerate(changes):
        good = {
            "timestamp": NOON + timedelta(microseconds=number),
            "user_id": 7,
            "item_id": ITEM[channel],
            "action": "view",
            "id_out_of_range": False,
            "source_file": "a.pq",
            "source_row": number,
            "file_day": DAY,
        }
        rows.append({**base, **good, **change})
    return ibis.memtable(pa.Table.from_pylist(rows, schema=raw.RAW_EVENTS))


def judged(rows: Any, channel: str = "retail") -> list[Row]:
    cleaned = tables.clean_events(rows, channel, DOMAINS)
    result = cleaned.order_by("source_file", "source_row").to_pyarrow()
    assert result.schema.names == [*schemas.EVENTS.names, "day", "reason"]
    return list(result.to_pylist())


def reasons(*changes: Row, channel: str = "retail") -> list[str | None]:
    return [row["reason"] for row in judged(raw_rows(*changes, channel=channel), channel)]


@pytest.mark.parametrize("channel", CHANNELS)
def test_rules_that_every_channel_has(channel: str) -> None:
    rules: list[tuple[Row, str | None]] = [
        ({}, None),
        ({"timestamp": None}, "timestamp_missing"),
        ({"timestamp": NOON + timedelta(days=1)}, "timestamp_outside_day"),
        ({"timestamp": datetime(2017, 1, 2, 23, 59, 59, 999999)}, "timestamp_outside_day"),
        ({"timestamp": datetime(2017, 1, 4)}, "timestamp_outside_day"),
        ({"timestamp": datetime(2017, 1, 3)}, None),
        ({"timestamp": datetime(2017, 1, 3, 23, 59, 59, 999999)}, None),
        ({"user_id": None}, "user_id_missing"),
        ({"user_id": None, "id_out_of_range": True}, "id_out_of_range"),
        ({"item_id": None}, "item_id_missing"),
        ({"item_id": ""}, "item_id_missing"),
        ({"item_id": "  "}, "item_id_missing"),
        ({"price": float("nan")}, "price_not_finite"),
        ({"price": float("-inf")}, "price_not_finite"),
        ({"price": -3.5}, None),
        ({"count": 0.0}, "count_not_positive"),
        ({"count": -1.0}, "count_not_positive"),
        ({"count": float("nan")}, "count_not_positive"),
        ({"count": float("inf")}, "count_not_positive"),
        ({"count": 0.25}, None),
    ]
    expected = [reason for _, reason in rules]
    assert reasons(*(change for change, _ in rules), channel=channel) == expected


@pytest.mark.parametrize(
    ("channel", "good"),
    [
        ("receipts", ["abc", "fmcg_1", "nfmcg_1", "offer_1"]),
        ("retail", ["fmcg_1"]),
        ("marketplace", ["nfmcg_1"]),
        ("offers", ["offer_1"]),
    ],
)
def test_an_id_of_another_domain_is_rejected_but_receipts_carry_any(
    channel: str, good: list[str]
) -> None:
    ids = ["abc", "fmcg_1", "nfmcg_1", "offer_1"]
    found = reasons(*({"item_id": item} for item in ids), channel=channel)
    assert found == [None if item in good else "item_id_other_domain" for item in ids]


def test_the_first_rule_that_applies_is_the_reason() -> None:
    broken = {
        "timestamp": None,
        "id_out_of_range": True,
        "user_id": None,
        "item_id": "",
        "price": float("inf"),
        "count": 0.0,
    }
    fixes: list[Row] = [
        {},
        {"timestamp": NOON},
        {"id_out_of_range": False},
        {"user_id": 1},
        {"item_id": "nfmcg_1"},
        {"item_id": "fmcg_1"},
        {"price": 1.0},
        {"count": 1.0},
    ]
    steps = [{**broken}]
    for fix in fixes[1:]:
        steps.append({**steps[-1], **fix})
    assert reasons(*steps) == [
        "timestamp_missing",
        "id_out_of_range",
        "user_id_missing",
        "item_id_missing",
        "item_id_other_domain",
        "price_not_finite",
        "count_not_positive",
        None,
    ]


def test_equal_events_are_one_but_equal_receipt_lines_stay() -> None:
    same = {"timestamp": NOON}
    assert reasons(same, same, same) == [None, "duplicate_event", "duplicate_event"]
    lines = {**same, "transaction_hash": "t", "count": 1.0, "price": 2.0}
    assert reasons(lines, lines, channel="receipts") == [None, None]


def test_rows_that_differ_anywhere_are_no_duplicates() -> None:
    differing = [
        {},
        {"timestamp": NOON + timedelta(seconds=9)},
        {"user_id": 8},
        {"item_id": "fmcg_2"},
        {"action": "click"},
        {"subdomain": "search"},
        {"os": "ios"},
        {"status": "x"},
    ]
    assert reasons(*({"timestamp": NOON, **change} for change in differing)) == [None] * 8
    spellings = [{"timestamp": NOON, "action": a} for a in ("added-to-cart", "Added_To_Cart ")]
    assert reasons(*spellings) == [None, "duplicate_event"]


def test_which_duplicate_stays_does_not_depend_on_the_order_of_rows() -> None:
    rows = [{"timestamp": NOON, "source_row": row} for row in (2, 0, 1)]
    assert reasons(*rows) == [None, "duplicate_event", "duplicate_event"]


def test_actions_strengths_and_domains() -> None:
    given_actions = {
        "view": ("view", 1),
        "added-to-cart": ("cart", 4),
        "added_to_cart": ("cart", 4),
        "To_Cart": ("cart", 4),
        "clickout": ("clickout", 4),
        "order": ("order", 8),
        "LIKE": ("like", 2),
        "page_view": ("view", 1),
        "remove": ("remove", 0),
        "Teleport": ("teleport", 1),
        "": ("unknown", 1),
        None: ("unknown", 1),
    }
    rows = judged(raw_rows(*({"action": action} for action in given_actions)))
    assert [(row["action"], row["strength"]) for row in rows] == list(given_actions.values())
    assert {(row["reason"], row["channel"], row["domain"]) for row in rows} == {
        (None, "retail", "retail")
    }


def test_receipt_lines_are_purchases_with_the_domain_of_their_id() -> None:
    ids = ["abc", "fmcg_1", "nfmcg_1", "offer_1", "fmcg", None]
    rows = judged(raw_rows(*({"item_id": item} for item in ids), channel="receipts"), "receipts")
    assert [row["domain"] for row in rows] == [
        "receipt",
        "retail",
        "marketplace",
        "offers",
        "receipt",
        None,
    ]
    assert {(row["action"], row["strength"]) for row in rows} == {("purchase", 8)}


def test_the_longer_of_two_nested_prefixes_decides() -> None:
    nested = DomainSettings(retail="x_", marketplace="x_m_", offers="o_")
    ids = tables.from_pandas(pd.DataFrame({"item_id": ["x_1", "x_m_1", "o_1", "y"]}))
    found = ids.mutate(domain=tables.domain_of(ids.item_id, nested)).to_pyarrow()
    assert found["domain"].to_pylist() == ["retail", "marketplace", "offers", "receipt"]


def test_rejected_rows_are_kept_whole() -> None:
    rows = tables.clean_events(raw_rows({"price": np.inf, "os": "ios"}, {}), "retail", DOMAINS)
    (rejected,) = tables.split_rejected(rows).to_pyarrow().to_pylist()
    assert (rejected["price"], rejected["os"], rejected["source_row"]) == (np.inf, "ios", 0)
    kept = tables.split_clean(rows).to_pyarrow()
    assert kept.schema.names == [*schemas.EVENTS.names, "day"]
    assert kept["source_row"].to_pylist() == [1]
    assert tables.REJECTED.names == [*schemas.EVENTS.names, "reason"]


def test_a_dataframe_of_the_needed_columns_is_enough() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": [NOON, NOON],
            "user_id": [1, 1],
            "item_id": ["fmcg_1", "offer_1"],
            "file_day": pd.to_datetime([DAY, DAY]),
            "source_file": ["a.pq", "a.pq"],
            "source_row": [0, 1],
        }
    )
    rows = judged(tables.from_pandas(frame))
    assert [row["reason"] for row in rows] == [None, "item_id_other_domain"]
    assert rows[0]["day"] == DAY
    with pytest.raises(ItemembError, match="expected also source_row"):
        tables.clean_events(tables.from_pandas(frame.drop(columns="source_row")), "retail", DOMAINS)


def test_no_rows_give_empty_tables_with_the_full_schema() -> None:
    empty = ibis.memtable(raw.RAW_EVENTS.empty_table())
    for channel in CHANNELS:
        cleaned = ibis.memtable(tables.clean_events(empty, channel, DOMAINS).to_pyarrow())
        kept = tables.split_clean(cleaned).drop("day").to_pyarrow()
        assert kept.schema == schemas.EVENTS
        assert tables.day_counts(cleaned).to_pyarrow().num_rows == 0


def counts_of(*changes: Row) -> pa.Table:
    return tables.day_counts(
        tables.clean_events(raw_rows(*changes), "retail", DOMAINS)
    ).to_pyarrow()


def test_day_counts_count_each_file_and_reason() -> None:
    counts = counts_of({}, {}, {"user_id": None}, {"source_file": "b.pq", "item_id": ""})
    assert sorted(map(str, counts.to_pylist())) == sorted(
        str({"day": DAY, "source_file": file, "reason": reason, "n": n})
        for file, reason, n in [
            ("a.pq", None, 2),
            ("a.pq", "user_id_missing", 1),
            ("b.pq", "item_id_missing", 1),
        ]
    )


def test_a_file_all_outside_its_day_is_an_error_that_names_the_epoch() -> None:
    far = {"timestamp": NOON - timedelta(days=400)}
    bad = tables.epoch_errors(
        counts_of(far, {**far, "user_id": None}, {"timestamp": None}), date(2016, 1, 1)
    )
    assert list(bad) == [DAY]
    assert "a.pq: all 2 timestamps are outside 2017-01-03" in str(bad[DAY])
    assert "epoch 2016-01-01" in str(bad[DAY])
    assert tables.epoch_errors(counts_of(far, far, {}), DAY) == {}
    assert tables.epoch_errors(counts_of({"timestamp": None}), DAY) == {}
    assert tables.epoch_errors(counts_of(far, {"source_file": "b.pq"}), DAY).keys() == {DAY}


messy_rows = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.sampled_from([None, NOON, NOON + timedelta(days=1)]),
            "user_id": st.sampled_from([None, 1, 2]),
            "item_id": st.sampled_from([None, "", "fmcg_1", "nfmcg_1", "abc"]),
            "action": st.sampled_from([None, "view", "to_cart", "cart"]),
            "price": st.sampled_from([None, 1.0, float("nan"), float("inf")]),
            "count": st.sampled_from([None, 1.0, 0.0, -1.0]),
            "id_out_of_range": st.booleans(),
        }
    ),
    max_size=60,
)


#: A row for each reason, and a good one.
ONE_OF_EACH = [
    {"timestamp": None}, {"timestamp": NOON + timedelta(days=1)}, {"id_out_of_range": True},
    {"user_id": None}, {"item_id": ""}, {"item_id": "nfmcg_1"}, {"price": float("inf")},
    {"count": 0.0}, {"timestamp": NOON}, {"timestamp": NOON},
]  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(rows=messy_rows, channel=st.sampled_from(CHANNELS))
@example(rows=ONE_OF_EACH, channel="retail")
def test_every_raw_row_comes_out_once(rows: list[Row], channel: str) -> None:
    judged_rows = tables.clean_events(raw_rows(*rows, channel=channel), channel, DOMAINS)
    cleaned = ibis.memtable(judged_rows.to_pyarrow())
    kept = tables.split_clean(cleaned).to_pyarrow()["source_row"].to_pylist()
    rejected = tables.split_rejected(cleaned).to_pyarrow()
    assert sorted(kept + rejected["source_row"].to_pylist()) == list(range(len(rows)))
    assert set(rejected["reason"].to_pylist()) <= set(clean.REASONS)
    total = sum(tables.day_counts(cleaned).to_pyarrow()["n"].to_pylist())
    assert total == len(rows)
    if rows is ONE_OF_EACH:
        assert set(rejected["reason"].to_pylist()) == set(clean.REASONS)
