"""Popularity: nine figures, by hand, for units over all channels and in each."""

from datetime import date

import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itememb_core.features.popularity import (
    fit_zipf,
    interaction_counts,
    mean_ranks,
    popularity_features,
)
from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.report.popularity import rank_frequency_plot
from itememb_core.schemas.features import FIGURES
from itememb_core.settings import DomainSettings

FIRST, LAST = date(2017, 1, 1), date(2017, 3, 31)  # 90 days, the last 28 from 4 March
NO_GROUPS = pa.table({"item_id": pa.array([], pa.string()), "group_id": pa.array([], pa.string())})

COUNTS = pa.table(
    {
        "item_id": ["fmcg_a", "fmcg_a", "fmcg_b", "fmcg_c", "till"],
        "channel": ["retail", "receipts", "retail", "retail", "receipts"],
        "n": [6, 2, 4, 4, 2],
        "recent": [3, 0, 4, 0, 1],
        "last": [LAST, date(2017, 2, 1), date(2017, 3, 30), date(2017, 1, 1), date(2017, 3, 21)],
    }
)


def features(held: list[str] | None = None, groups: pa.Table = NO_GROUPS) -> dict[tuple, dict]:
    counts = COUNTS.select(["item_id", "channel", "n"])
    ids, no = pa.array(["fmcg_cold"]), pa.array(held or [], pa.string())
    vocabulary = build_vocabulary(counts, ids, no, DomainSettings())
    table = popularity_features(vocabulary, COUNTS, groups, FIRST, LAST).table
    rows = {(r["channel"], r["item_id"], r["side"]): r for r in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows


def test_counts_of_a_channel_by_hand():
    rows = features()
    a, b, c = (rows["retail", f"fmcg_{name}", "all"] for name in "abc")
    n = np.array([6, 4, 4])
    z = (np.log1p(n) - np.log1p(n).mean()) / np.log1p(n).std()
    slope = np.log(4 / 6) / np.log(2.5)
    assert [a[name] for name in FIGURES] == pytest.approx(
        [np.log(7), 6 / 14, 0, z[0], 0, 8 / 14, 2, np.log(4 / (3 * 28 / 62 + 1)), 0], abs=1e-6
    )
    assert [b[name] for name in FIGURES[:7]] == pytest.approx(
        [np.log(5), 4 / 14, 1.5 / 2, z[1], 0, 0, 2], abs=1e-6
    )
    assert (b["trend"], b["recency"]) == pytest.approx((np.log(5), 1))
    assert (c["trend"], c["recency"]) == pytest.approx((np.log(1 / (4 * 28 / 62 + 1)), 89))
    line = fit_zipf(n, mean_ranks(n))
    assert (line.exponent, line.intercept, line.units) == pytest.approx((-slope, np.log(6), 3))
    assert line.r2 == pytest.approx(1.0)


def test_a_cold_item_has_only_figures_over_all():
    rows = features()
    cold = rows["all", "fmcg_cold", "all"]
    assert (cold["log_count"], cold["share"], cold["zipf_residual"]) == (0, 0, 0)
    assert (cold["rank"], cold["segment"], cold["trend"], cold["recency"]) == (1, 0, 0, 90)
    assert [key for key in rows if key[1] == "fmcg_cold"] == [("all", "fmcg_cold", "all")]


def test_the_sides_of_a_held_out_match_know_nothing_of_each_other():
    rows = features(held=["fmcg_a"])
    assert rows["all", "fmcg_a", "all"]["log_count"] == pytest.approx(np.log(7))
    assert rows["all", "fmcg_a", "receipts"]["log_count"] == pytest.approx(np.log(3))
    assert rows["all", "fmcg_a", "receipts"]["recency"] == 58
    assert features()["all", "fmcg_a", "all"]["log_count"] == pytest.approx(np.log(9))


def test_variants_of_a_model_are_one_unit():
    groups = pa.table(
        {"item_id": ["fmcg_b", "fmcg_c", "fmcg_a", "not there"], "group_id": ["m", "m", None, "m"]}
    )
    rows = features(groups=groups)
    b, c = rows["retail", "fmcg_b", "all"], rows["retail", "fmcg_c", "all"]
    assert [b[name] for name in FIGURES] == [c[name] for name in FIGURES]
    assert (b["log_count"], b["share"]) == pytest.approx((np.log(9), 8 / 14))
    assert b["rank"] == 0


def test_a_group_without_a_name_is_none():
    names = {"item_id": ["fmcg_b", "fmcg_c"], "group_id": ["", ""]}
    rows = features(groups=pa.table(names))
    assert rows["retail", "fmcg_b", "all"] == features()["retail", "fmcg_b", "all"]


def test_head_torso_and_tail():
    n = np.array([70, 9, 6, 6, 5, 3, 1])
    counts = pa.table(
        {
            "item_id": [f"fmcg_{k}" for k in range(7)],
            "channel": ["retail"] * 7,
            "n": n,
            "recent": n,
            "last": [LAST] * 7,
        }
    )
    vocabulary = build_vocabulary(
        counts.select(["item_id", "channel", "n"]),
        pa.array([], pa.string()),
        pa.array([], pa.string()),
        DomainSettings(),
    )
    table = popularity_features(vocabulary, counts, NO_GROUPS, FIRST, LAST).table
    rows = [r for r in table.to_pylist() if r["channel"] == "retail"]
    # Above them lie 0, 70, 79, 79, 91, 96 and 99 of 100.
    assert [r["segment"] for r in rows] == [2, 2, 2, 2, 1, 0, 0]
    assert [round(r["tailness"] * 100) for r in rows] == [30, 21, 9, 9, 4, 1, 0]


def test_interactions_are_counted_by_item_and_channel_with_the_last_28_days():
    rows = pa.table(
        {
            "day": [FIRST, date(2017, 3, 3), date(2017, 3, 4), LAST],
            "user_id": [1, 2, 1, 1],
            "item_id": ["a"] * 4,
            "channel": ["retail", "retail", "retail", "receipts"],
            "n": [1, 2, 4, 8],
        }
    )
    found = interaction_counts(ibis.memtable(rows), LAST).order_by("channel").to_pyarrow()
    assert found.to_pylist() == [
        {"item_id": "a", "channel": "receipts", "n": 8, "recent": 8, "last": LAST},
        {"item_id": "a", "channel": "retail", "n": 7, "recent": 4, "last": date(2017, 3, 4)},
    ]


def test_no_item_at_all():
    none = COUNTS.slice(0, 0)
    vocabulary = build_vocabulary(
        none.select(["item_id", "channel", "n"]),
        pa.array([], pa.string()),
        pa.array([], pa.string()),
        DomainSettings(),
    )
    found = popularity_features(vocabulary, none, NO_GROUPS, FIRST, LAST)
    assert found.table.num_rows == 0
    assert found.zipf["all"].units == 0


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30))
def test_more_interactions_never_rank_lower_and_shares_add_up(n):
    counts = np.array(n)
    rank = mean_ranks(counts)
    assert rank.sum() == pytest.approx(len(n) * (len(n) + 1) / 2)
    assert all(rank[i] < rank[j] for i in range(len(n)) for j in range(len(n)) if n[i] > n[j])
    assert fit_zipf(counts, rank).exponent >= 0


def test_the_plot_is_a_picture_also_of_nothing():
    none = pa.array([], pa.string())
    counts = COUNTS.select(["item_id", "channel", "n"])
    vocabulary = build_vocabulary(counts, none, none, DomainSettings())
    pictures = []
    for rows in (5, 0):
        seen = COUNTS.slice(0, rows), NO_GROUPS, FIRST, LAST
        found = popularity_features(vocabulary.slice(0, rows), *seen)
        pictures.append(rank_frequency_plot(found.table, found.zipf))
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(pictures[0]) > len(pictures[1])
