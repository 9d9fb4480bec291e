"""Bridge edges: bags by window, the best partners, one node; hand-computed and the reference."""

import functools
import random
from datetime import date, timedelta

import ibis
import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.edges import bridge_edges, drop_one_node
from itememb_core.services import CHANNELS
from itememb_core.settings import BridgeSettings
from tests.worlds import reference
from tests.worlds.edge_rows import DAILY_USER_ITEMS, connect, table_of

SIZE = 2**20
#: The first day of a window of 30 days: 17160 = 572 * 30 days from the Unix epoch.
FIRST = date(1970, 1, 1) + timedelta(days=17160)


@pytest.fixture(scope="module")
def con():
    return connect(threads=2)


def bought(channel, *items, user=1, day=0, strength=1):
    return [(FIRST + timedelta(days=day), user, channel, item, 1, strength) for item in items]


@functools.cache
def query(window_days, partners):
    """SQL over the table ``user_items``: compiling takes longer than running it."""
    table = ibis.table(ibis.Schema.from_pyarrow(DAILY_USER_ITEMS), name="user_items")
    made = bridge_edges(table, BridgeSettings(partners=partners), window_days)
    return str(ibis.to_sql(made, dialect="duckdb"))


def bridge(con, rows, window_days=30, partners=200):
    table_of(con, "user_items", rows, DAILY_USER_ITEMS)
    return sorted(con.con.sql(query(window_days, partners)).fetchall())


def test_a_bag_counts_one_over_the_root_of_its_size_a_side(con):
    rows = bought("retail", "x", "y") + bought("receipts", "b", "a", "c") + bought("retail", "x")
    weight = int(SIZE / 6**0.5)
    assert bridge(con, rows) == [
        ("receipts", a, "retail", b, weight, 1) for a in "abc" for b in "xy"
    ]


def test_windows_count_from_the_epoch_and_users_are_summed(con):
    rows = bought("receipts", "a") + bought("retail", "x", day=29)
    assert bridge(con, rows) == [("receipts", "a", "retail", "x", SIZE, 1)]
    assert bridge(con, bought("receipts", "a", day=-1) + rows[1:]) == []
    again = bought("receipts", "a", day=30) + bought("retail", "x", "y", day=31)
    other = bought("receipts", "a", user=2) + bought("retail", "x", user=2)
    weights = {row[3]: row[4:] for row in bridge(con, rows + again + other)}
    assert weights == {"x": (2 * SIZE + int(SIZE / 2**0.5), 3), "y": (int(SIZE / 2**0.5), 1)}
    assert bridge(con, rows, window_days=29) == []


def test_strength_zero_is_in_no_bag(con):
    rows = (
        bought("receipts", "a", "z", strength=0) + bought("receipts", "a") + bought("retail", "x")
    )
    assert bridge(con, rows) == [("receipts", "a", "retail", "x", SIZE, 1)]


def test_every_pair_of_channels_is_joined_in_order_and_none_with_itself(con):
    rows = [row for c in reversed(CHANNELS) for row in bought(c, f"{c[:2]}1", f"{c[:2]}2")]
    pairs = {(row[0], row[2]) for row in bridge(con, rows)}
    assert pairs == {(a, b) for i, a in enumerate(CHANNELS) for b in CHANNELS[i + 1 :]}


def test_a_row_stays_if_either_end_keeps_it_and_ties_go_by_item_id(con):
    # p and q meet four partners equally; r meets d alone, so that row stays for r's sake.
    rows = bought("receipts", "p") + bought("retail", "d", "c", "b", "a")
    rows += bought("receipts", "p", user=2) + bought("retail", "d", user=2)
    kept = [(row[1], row[3]) for row in bridge(con, rows, partners=2)]
    assert kept == [("p", "a"), ("p", "b"), ("p", "c"), ("p", "d")]
    rows += [row for u, q in enumerate("stu", 3) for row in bought("receipts", q, user=u)]
    rows += [row for u in (3, 4, 5) for row in bought("retail", "a", "b", "c", user=u)]
    kept = [(row[1], row[3]) for row in bridge(con, rows, partners=2)]
    assert ("p", "d") in kept
    assert ("p", "a") in kept
    assert ("p", "b") not in kept
    assert ("p", "c") not in kept
    assert [pair for pair in kept if pair[0] == "u"] == [("u", "a"), ("u", "b")]


def test_partners_are_counted_by_the_other_channel(con):
    rows = bought("receipts", "p") + bought("retail", "a") + bought("marketplace", "b")
    rows += bought("receipts", "p", user=2) + bought("retail", "c", user=2)
    rows += bought("receipts", "q", user=2)
    kept = [(row[1], row[3]) for row in bridge(con, rows, partners=1) if row[0] == "receipts"]
    assert ("p", "a") in kept
    assert ("p", "b") in kept


def test_ranks_order_the_rows_as_channels_and_ids_do():
    rows = [row for c in reversed(CHANNELS) for row in bought(c, "я", f"{c[0]}_1", "b", "a")]
    con = connect(threads=2)
    table_of(con, "user_items", rows, DAILY_USER_ITEMS)
    made = bridge_edges(con.table("user_items"), BridgeSettings(), 30, ranks=True).to_pandas()
    assert len(made) == 6 * 16
    by_rank = made.sort_values(["rank_channels", "rank_a", "rank_b"]).index
    by_name = made.sort_values(["channel_a", "channel_b", "item_a", "item_b"]).index
    assert by_rank.tolist() == by_name.tolist()


@pytest.mark.parametrize("partners", [1, 3, 200])
@pytest.mark.parametrize("seed", range(2))
def test_the_reference_agrees_on_random_bags(con, partners, seed):
    rng = random.Random(seed)
    rows = {
        (user, channel, f"{rng.choice(('x', 'я', 'fmcg_'))}{int(rng.paretovariate(0.7)) % 40}",
         rng.randrange(70)): rng.choice((0, 1, 4))
        for user in range(8) for channel in CHANNELS for _ in range(30)
    }  # fmt: skip
    items = [
        (FIRST + timedelta(days=day), user, channel, item, 1, strength)
        for (user, channel, item, day), strength in rows.items()
    ]
    expected = reference.bridge(items, window_days=30, partners=partners)
    rng.shuffle(items)
    made = bridge(con, items, partners=partners)
    assert made == expected
    assert made == bridge(connect(threads=1), items[::-1], partners=partners)
    assert partners == 200 or len(made) < len(reference.bridge(items, 30, 200))


def test_nothing_to_join_gives_the_full_schema(con):
    for rows in ([], bought("retail", "a", "b")):
        table = table_of(con, "user_items", rows, DAILY_USER_ITEMS)
        made = bridge_edges(table, BridgeSettings(), 30).to_pyarrow()
        assert made.schema.equals(schemas.BRIDGE_EDGES)
        assert made.num_rows == 0


def edge(channel_a, item_a, channel_b, item_b):
    return (channel_a, item_a, channel_b, item_b, 1, 1)


def test_the_reader_drops_rows_of_one_node_and_keeps_held_out_matches():
    rows = [
        edge("receipts", "fmcg_1", "retail", "fmcg_1"),
        edge("receipts", "fmcg_2", "retail", "fmcg_2"),
        edge("receipts", "fmcg_2", "retail", "fmcg_1"),
        edge("retail", "fmcg_2", "offers", "fmcg_2"),
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = pa.table(columns, schema=schemas.BRIDGE_EDGES)
    kept = drop_one_node(table, held_out={"fmcg_2"})
    assert kept.to_pylist() == table.slice(1, 2).to_pylist()
    assert drop_one_node(table, held_out=set()).to_pylist() == table.slice(2, 1).to_pylist()
    empty = schemas.BRIDGE_EDGES.empty_table()
    assert drop_one_node(empty, {"a"}).equals(empty)
