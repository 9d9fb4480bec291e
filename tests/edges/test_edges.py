"""Edges by day: hand-computed baskets, sessions' pairs and caps, and the reference, exactly."""

import random
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet
import pytest

from itememb_core import edges, schemas
from itememb_core.settings import CopurchaseSettings, CoviewSettings
from tests.worlds import reference
from tests.worlds.edge_rows import (
    DAILY_EDGES,
    DAILY_USER_ITEMS,
    GAP,
    START,
    at,
    connect,
    event,
    events_table,
    rows_of,
    table_of,
)

SIZE = 2**20
RELATIONS = ("copurchase", "coview", "user_items")
SMALL_CAPS = {"basket": CopurchaseSettings(basket_cap=3), "session": CoviewSettings(session_cap=3)}


@pytest.fixture(scope="module")
def con():
    return connect(threads=2)


def coview(table, first=START, last=START + timedelta(days=9), setting=None):
    return rows_of(edges.coview_edges(table, setting or CoviewSettings(), first, last))


def lines(*items, basket="x", day=0, **kwargs):
    return [event(at(9, day), i, channel="receipts", basket=basket, **kwargs) for i in items]


def test_basket_by_hand(con):
    receipts = events_table(con, lines("b", "a", "c", "a") + lines("b", "a", basket="y"))
    expected = [
        (START, "receipts", "a", "b", SIZE // 3 + SIZE // 2, 2),
        (START, "receipts", "a", "c", SIZE // 3, 1),
        (START, "receipts", "b", "c", SIZE // 3, 1),
    ]
    assert rows_of(edges.copurchase_edges(receipts, CopurchaseSettings())) == expected


def test_baskets_differ_by_user_day_and_hash_and_lines_without_hash_are_one(con):
    rows = lines("a", user=1) + lines("b", user=2) + lines("c", day=1) + lines("d", basket="y")
    rows += lines("e", basket=None) + lines("f", basket="") + lines("g", basket=None, day=1)
    pairs = rows_of(edges.copurchase_edges(events_table(con, rows), CopurchaseSettings()))
    assert pairs == [(START, "receipts", "e", "f", SIZE // 2, 1)]


def test_basket_cap_keeps_most_lines_then_item_id_and_is_counted(con):
    rows = (
        lines("d", "d", "a", "b", "c") + lines("a", basket="y") + lines("a", "b", "c", "d", day=1)
    )
    receipts, cap = events_table(con, rows), SMALL_CAPS["basket"]
    pairs = rows_of(edges.copurchase_edges(receipts, cap))
    names = [(row[2], row[3]) for row in pairs if row[0] == START]
    assert names == [("a", "b"), ("a", "d"), ("b", "d")]
    assert {row[4] for row in pairs} == {SIZE // 3}
    stats = rows_of(edges.copurchase_stats(receipts, cap))
    assert stats == [(START, 2, 1, 1), (START + timedelta(days=1), 1, 1, 1)]


def test_session_by_hand_strongest_action_smaller_of_two_and_zero_makes_no_pair(con):
    rows = [
        event(at(9), "b", strength=1),
        event(at(9.1), "b", strength=8),
        event(at(9.2), "a", strength=4),
        event(at(9.3), "z", strength=0),
        event(at(9.4), "a", channel="offers", strength=2),
    ]
    assert coview(events_table(con, rows)) == [(START, "retail", "a", "b", 4 * (SIZE // 2), 1)]


def test_a_strength_zero_event_extends_a_session(con):
    rows = [event(at(9), "a"), event(at(9.4), "z", strength=0), event(at(9.8), "b")]
    assert coview(events_table(con, rows)) == [(START, "retail", "a", "b", SIZE // 2, 1)]
    assert coview(events_table(con, [rows[0], rows[2]])) == []


def test_session_cap_keeps_strength_then_first_seen_then_item_id_and_is_counted(con):
    rows = [event(at(9), "e"), event(at(9), "d"), event(at(8.9), "f"), event(at(9.1), "a")]
    rows += [event(at(9.2), "b", strength=2), event(at(9.3), "z", strength=0)]
    table, cap = events_table(con, rows), SMALL_CAPS["session"]
    names = [(row[2], row[3]) for row in coview(table, setting=cap)]
    assert names == [("b", "d"), ("b", "f"), ("d", "f")]
    stats = rows_of(edges.coview_stats(table, cap, START, START))
    assert stats == [(START, "retail", 1, 1, 2)]


def test_an_edge_that_closes_after_midnight_belongs_to_the_next_day(con):
    rows = [event(at(23.8), "a"), event(at(23.9), "b")]
    table, late = events_table(con, rows), START + timedelta(days=1)
    edge = [(late, "retail", "a", "b", SIZE // 2, 1)]
    assert coview(table, START, START) == []
    assert coview(table, late, late) == edge
    assert coview(table, START, late) == edge


def test_user_items_count_rows_and_keep_strength_zero(con):
    rows = [event(at(1), "a", strength=0), event(at(2), "a", strength=4), event(at(3), "a")]
    rows += [event(at(1), "z", strength=0), event(at(5, 1), "a", channel="offers")]
    table = edges.user_items(events_table(con, rows))
    assert rows_of(table) == [
        (START, 1, "retail", "a", 3, 4),
        (START, 1, "retail", "z", 1, 0),
        (START + timedelta(days=1), 1, "offers", "a", 1, 1),
    ]


def test_months_sum_days_of_both_kinds(con):
    days = [date(2017, 1, 30), date(2017, 1, 31), date(2017, 2, 1)]
    bought = [(day, "receipts", "a", "b", 10**18, 1) for day in days]
    viewed = [(day, "retail", "a", "b", 5, 2) for day in days]
    daily = [
        table_of(con, "bought", bought, DAILY_EDGES),
        table_of(con, "viewed", viewed, DAILY_EDGES),
    ]
    assert rows_of(edges.edges_by_month(*daily)) == [
        ("2017-01", "receipts", "a", "b", 2 * 10**18, 2),
        ("2017-01", "retail", "a", "b", 10, 4),
        ("2017-02", "receipts", "a", "b", 10**18, 1),
        ("2017-02", "retail", "a", "b", 5, 2),
    ]


def every_table(table, days):
    """Each relation of the package by name, over the closing days ``days``."""
    receipts = table.filter(table.channel == "receipts")
    catalog = table.filter(table.channel != "receipts")
    cap = SMALL_CAPS["session"]
    return {
        "copurchase": edges.copurchase_edges(receipts, SMALL_CAPS["basket"]),
        "coview": edges.coview_edges(catalog, cap, days[0], days[-1]),
        "user_items": edges.user_items(table),
    }


def test_ranks_order_a_days_rows_as_channels_and_ids_do(con):
    rng = random.Random(5)
    rows = [
        event(at(rng.uniform(9, 9.4), rng.randrange(2)), f"i{rng.randrange(12)}", user,
              channel=rng.choice(("receipts", "retail", "marketplace", "offers")))
        for user in range(60) for _ in range(12)
    ]  # fmt: skip
    table, last = events_table(con, rows), START + timedelta(days=1)
    receipts = table.filter(table.channel == "receipts")
    catalog = table.filter(table.channel != "receipts")
    for ranked in (
        edges.copurchase_edges(receipts, CopurchaseSettings(), ranks=True),
        edges.coview_edges(catalog, CoviewSettings(), START, last, ranks=True),
    ):
        found = ranked.order_by("day", "rank_a", "rank_b").to_pyarrow()
        plain = found.drop_columns(["rank_a", "rank_b"])
        assert plain.num_rows > 50
        assert plain == plain.sort_by([(name, "ascending") for name in plain.column_names[:4]])


@pytest.mark.parametrize("rows", [[], [event(at(9), "a")], lines("a")])
def test_nothing_to_do_gives_the_full_schema(con, rows):
    tables = every_table(events_table(con, rows), [START])
    assert tables["copurchase"].to_pyarrow().schema.equals(DAILY_EDGES)
    assert tables["coview"].to_pyarrow().schema.equals(DAILY_EDGES)
    assert tables["user_items"].to_pyarrow().schema.equals(DAILY_USER_ITEMS)
    months = edges.edges_by_month(tables["copurchase"], tables["coview"]).to_pyarrow()
    assert months.schema.equals(pa.schema([("month", pa.string()), *schemas.EDGES]))
    assert months.num_rows == 0


def test_sums_are_real_64_bit_integers_where_duckdb_writes_files(con, tmp_path):
    tables = every_table(events_table(con, lines("a", "b") + lines("a", "b", day=1)), [START])
    months = edges.edges_by_month(tables["copurchase"], tables["coview"])
    for expression in (tables["copurchase"], months):
        con.to_parquet(expression, tmp_path / "edges.parquet")
        written = pa.parquet.read_schema(tmp_path / "edges.parquet")
        assert [written.field(name).type for name in ("weight", "n")] == [pa.int64(), pa.int64()]


def test_rows_do_not_depend_on_threads_or_on_the_order_of_rows():
    rng = random.Random(3)
    items = [f"i{n}" for n in range(40)]
    events = [
        event(at(rng.uniform(0, 24), rng.randrange(4)), rng.choice(items), rng.randrange(60),
              rng.choice(("receipts", "retail", "marketplace")), rng.choice((0, 1, 2, 8)), row=row)
        for row in range(6000)
    ]  # fmt: skip
    days = [START + timedelta(days=n) for n in range(5)]
    runs = []
    for threads in (1, 2):
        rng.shuffle(events)
        tables = every_table(events_table(connect(threads), events), days)
        runs.append({name: rows_of(found) for name, found in tables.items()})
    assert runs[0] == runs[1]
    assert runs[0]["coview"] == reference.coview(events, cap=3, gap=GAP)
