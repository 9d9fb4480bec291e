"""Later baskets, pairs drawn from them, and figures that can be checked by hand."""

from datetime import date

import ibis
import numpy as np
import pyarrow as pa
import pytest

from itememb_core.evaluation.baselines import cooccurrence
from itememb_core.evaluation.items import (
    METRICS,
    draw_pairs,
    holdout_baskets,
    item_evaluation,
)
from itememb_core.schemas import EDGES, EVALUATION, item_embeddings
from itememb_core.settings import DomainSettings
from itememb_core.vocabulary import build_vocabulary, node_index

ITEMS = [f"i{k:03d}" for k in range(200)]
NO_IDS = pa.array([], pa.string())


def vocabulary(holdout: tuple = ()) -> pa.Table:
    counts = pa.table(
        {
            "item_id": [*ITEMS, "fmcg_1", "fmcg_1", "fmcg_2"],
            "channel": ["receipts"] * 201 + ["retail"] * 2,
            "n": [400 - k for k in range(200)] + [5, 5, 5],
        }
    )
    return build_vocabulary(counts, NO_IDS, pa.array(holdout, pa.string()), DomainSettings())


def baskets(*rows: tuple[str, str, str]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    names = ("channel", "basket", "item_id")
    return pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})


def edges(*rows: tuple[str, str, str, int]) -> pa.Table:
    columns = {name: [] for name in EDGES.names}
    for channel, a, b, n in rows:
        for name, value in zip(EDGES.names, (channel, a, b, n, n), strict=True):
            columns[name].append(value)
    return pa.table(columns, schema=EDGES)


def partner(k: int) -> int:
    """Items go together two by two: 0 with 1, 2 with 3, ..."""
    return k ^ 1


def embeddings(words: pa.Table) -> pa.Table:
    """Context of an item points at its partner; likeness points at itself only."""
    rows = words.num_rows
    unit = np.eye(rows, dtype=np.float32)
    context = np.zeros((rows, rows), np.float32)
    place = {item: i for i, item in enumerate(words["item_id"].to_pylist())}
    for k, item in enumerate(ITEMS):
        context[place[item], place[ITEMS[partner(k)]]] = 1
    fixed = [pa.FixedSizeListArray.from_arrays(pa.array(m.ravel()), rows) for m in (unit, context)]
    columns = [words[n].combine_chunks() for n in ("item_id", "side", "domain")]
    return pa.Table.from_arrays(
        [*columns, *fixed, pa.array(np.zeros(rows, np.float32))], schema=item_embeddings(rows)
    )


LATER = baskets(
    *(("receipts", f"b{k:03d}", ITEMS[i]) for k in range(0, 200, 2) for i in (k, k + 1))
)
#: Counts know the partners of the first half alone.
KNOWN = edges(*(("receipts", ITEMS[k], ITEMS[k + 1], 3) for k in range(0, 100, 2)))


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, str, str], dict]:
    words = vocabulary()
    found = item_evaluation(embeddings(words), words, KNOWN, LATER, seed=0)
    assert found.reason is None
    assert found.queries == 100
    assert found.table.schema == EVALUATION
    return {(r["method"], r["metric"], r["slice"]): r for r in found.table.to_pylist()}


def test_methods_that_know_the_partner_hit_and_others_do_not(figures: dict):
    def value(method: str, name: str = "all") -> float:
        return figures[method, "hit@20", name]["value"]

    assert value("goes_with") == 1.0
    assert value("cosine") == 0.0  # orthogonal to all: level with 199 others, in the middle
    # The first half's partners are counted; the others tie with all that were not.
    assert value("counts") == 0.5
    # 200 seen items and fmcg_1, less the query.
    assert figures["random", "hit@100", "all"]["value"] == pytest.approx(100 / 200)
    assert figures["queries", "n", "receipts"]["value"] == 100


def test_popularity_hits_for_the_popular_answers_alone(figures: dict):
    # Answers among the 20 or 21 most frequent, the query left out.
    assert figures["channel_popularity", "hit@20", "all"]["value"] == pytest.approx(0.1, abs=0.01)
    assert figures["channel_popularity", "hit@20", "tail"]["value"] < 0.02
    assert figures["counts_smoothed", "hit@20", "all"]["value"] >= 0.5


def test_every_figure_has_its_baselines_and_an_interval(figures: dict):
    slices = {name for _, _, name in figures}
    assert slices == {"all", "receipts", "head", "torso", "tail"}
    for name in slices:
        for metric in METRICS:
            assert ("random", metric, name) in figures
            row = figures["counts", metric, name]
            assert row["low"] <= row["value"] <= row["high"]
    assert figures["random", "mrr", "all"]["low"] is None


def test_the_same_seed_gives_the_same_table():
    words = vocabulary()
    first, again, other = (
        item_evaluation(embeddings(words), words, KNOWN, LATER, seed=s).table for s in (0, 0, 1)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_no_holdout_is_an_empty_table_with_a_reason():
    words = vocabulary()
    nothing = item_evaluation(embeddings(words), words, KNOWN, baskets(), seed=0)
    assert (nothing.table.num_rows, nothing.table.schema) == (0, EVALUATION)
    assert "no baskets" in nothing.reason
    alone = item_evaluation(
        embeddings(words), words, KNOWN, baskets(("receipts", "b", "i001")), seed=0
    )
    assert alone.table.num_rows == 0
    assert "no later basket" in alone.reason


def test_pairs_hold_only_items_seen_in_the_channel():
    words = vocabulary()
    rows = baskets(
        ("receipts", "b1", "i001"), ("receipts", "b1", "new"), ("receipts", "b1", "fmcg_2"),
        ("receipts", "b2", "i001"), ("receipts", "b2", "i002"), ("receipts", "b2", "fmcg_2"),
        ("retail", "b1", "fmcg_1"), ("retail", "b1", "fmcg_2"), ("retail", "b3", "fmcg_1"),
    )  # fmt: skip
    pairs = draw_pairs(words, rows, np.random.default_rng(0))
    node = dict(zip(words["item_id"].to_pylist(), words["index"].to_pylist(), strict=True))
    found = {
        name: [set(p) for p in zip(*(e.tolist() for e in ends), strict=True)]
        for name, ends in pairs.items()
    }
    assert found == {
        "receipts": [{node["i001"], node["i002"]}],
        "retail": [{node["fmcg_1"], node["fmcg_2"]}],
    }


def test_directions_are_drawn_evenly_and_whatever_the_order_of_rows():
    words = vocabulary()
    rows = baskets(*(("receipts", f"b{k}", i) for k in range(400) for i in ("i001", "i002")))
    query, answer = draw_pairs(words, rows, np.random.default_rng(0))["receipts"]
    assert (query != answer).all()
    assert 0.4 < (query < answer).mean() < 0.6
    turned = rows.take(pa.array(np.random.default_rng(1).permutation(rows.num_rows)))
    again = draw_pairs(words, turned, np.random.default_rng(0))["receipts"]
    assert (again[0] == query).all()


def test_a_held_out_match_is_asked_by_its_receipts_side():
    words = vocabulary(("fmcg_1",))
    rows = baskets(("receipts", "b", "fmcg_1"), ("receipts", "b", "i001"))
    query, answer = draw_pairs(words, rows, np.random.default_rng(0))["receipts"]
    side = int(node_index(words, pa.array(["fmcg_1"]), "receipts")[0])
    assert side in {int(query[0]), int(answer[0])}
    assert words["side"][side].as_py() == "receipts"


def test_counts_sum_over_months_and_both_directions_for_queries_alone():
    words = vocabulary()
    table = edges(
        ("receipts", "i001", "i002", 3), ("receipts", "i001", "i002", 2),
        ("retail", "i001", "i002", 50), ("receipts", "i002", "i003", 7),
        ("receipts", "gone", "i001", 9),
    )  # fmt: skip
    one, two, three = node_index(words, pa.array(["i001", "i002", "i003"]), "receipts").tolist()
    found = cooccurrence(words, table, "receipts", np.array([two]))
    assert (found[two, one], found[two, three], found.sum()) == (5, 7, 12)


def test_later_baskets_by_hand():
    day, other = date(2018, 1, 1), date(2018, 1, 2)

    def events(*rows: tuple) -> ibis.Table:
        names = ("day", "user_id", "channel", "transaction_hash", "item_id", "strength")
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        return ibis.memtable(pa.table({
            "day": pa.array(columns["day"], pa.date32()),
            "user_id": pa.array(columns["user_id"], pa.int64()),
            **{n: pa.array(columns[n], pa.string())
               for n in ("channel", "transaction_hash", "item_id")},
            "strength": pa.array(columns["strength"], pa.int32()),
        }))  # fmt: skip

    receipts = events(
        (day, 1, "receipts", "t1", "a", 8), (day, 1, "receipts", "t1", "a", 8),
        (day, 1, "receipts", "t1", "b", 8), (other, 1, "receipts", "t1", "c", 8),
        (day, 2, "receipts", "t1", "d", 8), (day, 1, "receipts", None, "e", 8),
    )  # fmt: skip
    catalog = events(
        (day, 1, "retail", None, "fmcg_1", 8), (day, 1, "retail", None, "fmcg_2", 1),
        (day, 1, "retail", None, "fmcg_3", 0), (day, 1, "offers", None, "offer_1", 8),
    )  # fmt: skip
    rows = ibis.duckdb.connect().to_pyarrow(holdout_baskets(receipts, catalog)).to_pylist()
    groups: dict = {}
    for row in rows:
        groups.setdefault((row["channel"], row["basket"]), []).append(row["item_id"])
    found = sorted((channel, sorted(items)) for (channel, _), items in groups.items())
    assert found == [
        ("offers", ["offer_1"]),
        ("receipts", ["a", "b"]),
        ("receipts", ["c"]),
        ("receipts", ["d"]),
        ("receipts", ["e"]),
        ("retail", ["fmcg_1", "fmcg_2"]),
    ]
