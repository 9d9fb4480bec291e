"""Draws against their weights, marginals against the draws, training data against the tables."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chisquare

from itememb_core.errors import ItemembError
from itememb_core.items.training.data import Bags, Pairs, TrainingData, training_data
from itememb_core.items.training.sampler import (
    BridgeSource,
    WeightedIndex,
    WithinSource,
    block_rng,
    bridge_sources,
)
from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.settings import DomainSettings, ItemModelSettings

DRAWS = 40_000
#: Draws are seeded: a right sampler never falls below this, a wrong one is at 0.
LEAST_P = 1e-4


def bags(*rows: tuple[int, int, int, int]) -> Bags:
    """Rows (channel, user, day, node), sorted as training data sorts them."""
    channel, user, day, node = np.array(sorted(rows), np.int32).T
    return Bags(user, day, channel.astype(np.int8), node)


def test_weighted_draws_follow_the_weights():
    weights = np.array([0.0, 1.0, 2.0, 3.0, 0.0, 4.0])
    found = np.bincount(WeightedIndex(weights).draw(block_rng(0, 0, 0), DRAWS), minlength=6)
    assert found[[0, 4]].sum() == 0
    keep = weights > 0
    assert chisquare(found[keep], DRAWS * weights[keep] / 10).pvalue > LEAST_P


def test_weighted_draws_ascend():
    found = WeightedIndex(np.ones(4)).draw(block_rng(0, 0, 0), DRAWS)
    assert (np.diff(found) >= 0).all()


def test_pairs_are_independent_of_their_position():
    ends = np.arange(4, dtype=np.int32)
    pairs = Pairs(ends, ends + 4, np.zeros(4, np.int8), np.ones(4, np.float32))
    bagged = bags(*((0, 0, 0, node) for node in ends), *((1, 0, 0, node + 4) for node in ends))
    for source in (WithinSource(pairs, 0, 8), BridgeSource(bagged, (0, 1), 30, 8)):
        first = source.draw(block_rng(0, 0, 0), DRAWS)[0]
        ahead = np.bincount(first[:-1] % 4 * 4 + first[1:] % 4, minlength=16)
        assert chisquare(ahead).pvalue > LEAST_P


def test_within_pairs_follow_the_weights_in_both_orders():
    pairs = Pairs(
        np.array([0, 1, 0], np.int32),
        np.array([1, 2, 3], np.int32),
        np.array([1, 1, 0], np.int8),
        np.array([3.0, 1.0, 99.0], np.float32),
    )
    source = WithinSource(pairs, 1, 4)
    a, b = source.draw(block_rng(1, 0, 0), DRAWS)
    found = np.bincount(a * 4 + b, minlength=16).reshape(4, 4)
    cells = [found[0, 1], found[1, 0], found[1, 2], found[2, 1]]
    assert sum(cells) == DRAWS
    assert chisquare(cells, DRAWS * np.array([3, 3, 1, 1]) / 8).pvalue > LEAST_P
    assert source.marginal.a == pytest.approx([3 / 8, 4 / 8, 1 / 8, 0])


def test_bridge_pairs_weigh_one_over_the_root_of_the_sizes():
    # User 0 has items 0 and 1 in channel 0, item 2 in channel 1, within the window; item 3 of
    # channel 1 is 40 days away; user 1 has item 0 and, 15 days on, items 2 and 3.
    entries = bags(
        (0, 0, 100, 0), (0, 0, 101, 1), (1, 0, 110, 2), (1, 0, 141, 3),
        (0, 1, 100, 0), (1, 1, 115, 2), (1, 1, 115, 3),
    )  # fmt: skip
    source = BridgeSource(entries, (0, 1), 30, 4)
    a, b = source.draw(block_rng(2, 0, 0), DRAWS)
    found = np.bincount(a * 4 + b, minlength=16).reshape(4, 4)
    root = 1 / np.sqrt(2)
    # (0, 2) is in both users' bags: 1 / sqrt(2 * 1) + 1 / sqrt(1 * 2).
    expected = {(0, 2): 2 * root, (1, 2): root, (0, 3): root}
    cells = np.array([found[pair] for pair in expected])
    share = np.array(list(expected.values())) / (4 * root)
    assert cells.sum() == DRAWS
    assert chisquare(cells, DRAWS * share).pvalue > LEAST_P
    assert source.total == pytest.approx(4 * root)
    assert source.marginal.a == pytest.approx([3 / 4, 1 / 4, 0, 0], abs=1e-6)
    assert source.marginal.b == pytest.approx([0, 0, 3 / 4, 1 / 4], abs=1e-6)


def test_a_bridge_pair_never_joins_one_node_or_one_channel():
    entries = bags((0, 0, 5, 0), (0, 0, 5, 1), (1, 0, 5, 0), (1, 0, 5, 2))
    source = BridgeSource(entries, (0, 1), 30, 3)
    a, b = source.draw(block_rng(3, 0, 0), 2000)
    assert len(a) == 2000
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == {(0, 2), (1, 0), (1, 2)}


def test_a_user_with_nothing_but_one_direct_match_makes_no_bridge():
    # Item 0 in both channels, twice: every pair would join one node.
    alone = bags((0, 0, 100, 0), (1, 0, 100, 0), (1, 0, 101, 0))
    assert len(BridgeSource(alone, (0, 1), 30, 3)) == 0
    # 200 such users beside one real pair: a draw still gives as many pairs as requested.
    many = [(c, user, 100, 0) for user in range(200) for c in (0, 1)]
    source = BridgeSource(bags(*many, (0, 300, 100, 1), (1, 300, 100, 2)), (0, 1), 30, 3)
    a, b = source.draw(block_rng(0, 0, 0), 1000)
    assert (set(a.tolist()), set(b.tolist())) == ({1}, {2})
    assert len(a) == len(b) == 1000


def test_late_anchors_keep_partners_of_before():
    entries = bags((0, 0, 10, 0), (0, 0, 20, 1), (1, 0, 10, 2), (1, 0, 22, 3))
    a, b = BridgeSource(entries, (0, 1), 30, 4, since=20).draw(block_rng(0, 0, 0), 500)
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == {(1, 2), (1, 3)}


def test_users_do_not_meet():
    entries = bags((0, 0, 364, 0), (1, 1, 0, 1))
    assert bridge_sources(entries, 30, 2) == {}


def test_a_block_is_drawn_again_the_same():
    source = BridgeSource(bags((0, 0, 5, 0), (1, 0, 5, 1), (1, 0, 6, 2)), (0, 1), 30, 3)
    first, again = (source.draw(block_rng(4, 1, 7), 100)[1] for _ in range(2))
    other = source.draw(block_rng(4, 1, 8), 100)[1]
    assert (first == again).all()
    assert (first != other).any()


LAST = date(2017, 2, 20)
SETTINGS = ItemModelSettings(validation_days=7, half_life_days=31.0)


def edge_table(rows: list[tuple], key: str) -> pa.Table:
    kind = pa.string() if key == "month" else pa.date32()
    schema = pa.schema(
        [(key, kind), ("channel", pa.string()), ("item_a", pa.string()), ("item_b", pa.string()),
         ("weight", pa.int64()), ("n", pa.int64())]
    )  # fmt: skip
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)


def bag_table(rows: list[tuple]) -> pa.Table:
    schema = pa.schema(
        [("day", pa.date32()), ("user_id", pa.int64()), ("channel", pa.string()),
         ("item_id", pa.string()), ("n", pa.int64()), ("strength", pa.int32())]
    )  # fmt: skip
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)


MONTHS = [
    ("2017-01", "receipts", "a", "b", 1 << 20, 1),
    ("2017-02", "receipts", "a", "b", 3 << 20, 3),
    ("2017-02", "retail", "fmcg_1", "fmcg_2", 1 << 20, 1),
]
RECENT = [
    (LAST, "receipts", "a", "b", 1 << 20, 1),
    (LAST - timedelta(days=6), "retail", "fmcg_1", "fmcg_2", 1 << 20, 1),
    (LAST - timedelta(days=7), "receipts", "a", "b", 1 << 20, 1),
]
MET = [
    (LAST, 7, "receipts", "fmcg_1", 1, 8),
    (LAST - timedelta(days=7), 7, "retail", "fmcg_1", 1, 8),
    (LAST, 7, "retail", "fmcg_2", 1, 0),
]


def made(recent: list | None = None, months: list = MONTHS, held: tuple = ()) -> TrainingData:
    seen = [("a", "receipts"), ("b", "receipts"), ("fmcg_1", "receipts"), ("fmcg_1", "retail"),
            ("fmcg_2", "retail")]  # fmt: skip
    counts = pa.table({"item_id": [i for i, _ in seen], "channel": [c for _, c in seen],
                       "n": pa.array([1] * 5, pa.int64())})  # fmt: skip
    vocabulary = build_vocabulary(
        counts, pa.array([], pa.string()), pa.array(held, pa.string()), DomainSettings()
    )
    return training_data(
        vocabulary, edge_table(months, "month"), bag_table(MET), settings=SETTINGS,
        last_day=LAST, recent_edges=None if recent is None else edge_table(recent, "day"),
    )  # fmt: skip


def test_weights_halve_with_the_half_life():
    weight = made().pairs.weight
    # The 15th of January lies 36 days before the last day, that of February 5.
    assert weight / 2**20 == pytest.approx([2 ** (-36 / 31), 3 * 2 ** (-5 / 31), 2 ** (-5 / 31)])


def test_validation_days_are_taken_out_exactly():
    data = made(RECENT)
    assert data.pairs.weight / 2**20 == pytest.approx([2 ** (-36 / 31), 2 * 2 ** (-5 / 31)])
    assert data.pairs.channel.tolist() == [0, 0]
    assert sorted(data.validation_pairs.channel.tolist()) == [0, 1]
    assert len(data.training_bags) == 1
    assert len(data.bags) == 2


def test_strength_zero_makes_no_bag_entry_and_a_held_out_match_has_two_nodes():
    whole, apart = made().bags, made(held=("fmcg_1",)).bags
    assert len(whole) == 2
    assert whole.node[0] == whole.node[1]
    assert apart.node[0] != apart.node[1]


@pytest.mark.parametrize(
    ("months", "recent", "words"),
    [
        ([("2017-02", "receipts", "a", "b", -1, 1)], None, "found -1"),
        ([("2017-02", "receipts", "a", "b", None, 1)], None, "found null"),
        ([("2017-02", "receipts", "a", "zz", 1, 1)], None, "'zz'"),
        ([("2017-03", "receipts", "a", "b", 1, 1)], None, "month after"),
        ([("03/2017", "receipts", "a", "b", 1, 1)], None, "YYYY-MM"),
        (MONTHS, [(LAST, "receipts", "a", "b", 9 << 20, 1)], "more weight"),
        (MONTHS, [(LAST, "retail", "a", "b", 1, 1)], "edges lacks"),
    ],
)
def test_bad_edges_are_named(months: list, recent: list | None, words: str):
    with pytest.raises(ItemembError, match=words):
        made(recent, months)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.5])
def test_weights_that_are_no_numbers_are_named(weight: float):
    table = edge_table(MONTHS[:1], "month")
    wrong = table.set_column(4, "weight", pa.array([weight], pa.float64()))
    vocabulary = build_vocabulary(
        pa.table({"item_id": ["a", "b"], "channel": ["receipts"] * 2, "n": [1, 1]}),
        pa.array([], pa.string()), pa.array([], pa.string()), DomainSettings(),
    )  # fmt: skip
    with pytest.raises(ItemembError, match=r"edges\.weight: found"):
        training_data(vocabulary, wrong, bag_table([]), settings=SETTINGS, last_day=LAST)


def test_no_edges_and_no_bags_are_normal():
    vocabulary = build_vocabulary(
        pa.table({"item_id": ["a"], "channel": ["receipts"], "n": [1]}),
        pa.array([], pa.string()), pa.array([], pa.string()), DomainSettings(),
    )  # fmt: skip
    data = training_data(
        vocabulary, edge_table([], "month"), bag_table([]), settings=SETTINGS, last_day=LAST,
        recent_edges=edge_table([], "day"),
    )  # fmt: skip
    assert (len(data.pairs), len(data.bags), data.nodes) == (0, 0, 1)
