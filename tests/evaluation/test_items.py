"""Later baskets, what is drawn from them, and figures that can be checked by hand."""

from datetime import date, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from itememb_core.evaluation.items.baselines import cooccurrence, counted_pairs, ppmi_svd
from itememb_core.evaluation.items.baskets import draw_next_baskets, draw_pairs, holdout_baskets
from itememb_core.evaluation.items.evaluate import ItemEvaluation, draw_queries, item_evaluation
from itememb_core.evaluation.items.goes_with import (
    BLENDS,
    METRICS,
    ChannelTask,
    Space,
    blend_ranks,
    evaluate_pairs,
)
from itememb_core.items.vocabulary import build_vocabulary, node_index
from itememb_core.schemas import EDGES, EVALUATION, USER_ITEMS, item_embeddings
from itememb_core.settings import DomainSettings

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


MIDNIGHT = datetime(2018, 1, 1)


def baskets(*rows: tuple) -> pa.Table:
    """Rows of channel, basket, item and, where they matter, user and hour."""
    full = [(*row, *(7, 0)[len(row) - 3 :]) for row in rows]
    channel, basket, item, user, hour = zip(*full, strict=True) if full else [()] * 5
    return pa.table(
        {
            "channel": pa.array(channel, pa.string()),
            "basket": pa.array(basket, pa.string()),
            "item_id": pa.array(item, pa.string()),
            "user_id": pa.array(user, pa.int64()),
            "at": pa.array([MIDNIGHT + timedelta(hours=h) for h in hour], pa.timestamp("us")),
        }
    )


def histories(*rows: tuple[int, str, str]) -> pa.Table:
    """Rows of user, channel, item."""
    user, channel, item = zip(*rows, strict=True) if rows else [()] * 3
    columns = (user, channel, item, [1] * len(rows), [1] * len(rows))
    return pa.table(dict(zip(USER_ITEMS.names, columns, strict=True)), schema=USER_ITEMS)


CATALOG = pa.table({"item_id": ["fmcg_1", "fmcg_2"], "category": ["tea", None]})


def evaluate(words: pa.Table, later: pa.Table, seed: int = 0, **space) -> ItemEvaluation:
    made = Space(embeddings(words), words, KNOWN, **space)
    history = histories(*((7, "receipts", item) for item in ITEMS[:3]))
    return item_evaluation(made, draw_queries(words, later, seed), history, CATALOG, seed)


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
    columns.append(pa.array(["behaviour"] * rows))
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
    found = evaluate(words, LATER)
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


def test_popularity_hits_for_the_popular_targets_alone(figures: dict):
    # Answers among the 20 or 21 most frequent, the query left out.
    assert figures["channel_popularity", "hit@20", "all"]["value"] == pytest.approx(0.1, abs=0.01)
    assert figures["channel_popularity", "hit@20", "tail"]["value"] < 0.02
    assert figures["counts_smoothed", "hit@20", "all"]["value"] >= 0.5


def test_every_figure_has_its_baselines_and_an_interval(figures: dict):
    slices = {name for method, _, name in figures if method == "goes_with"}
    assert slices == {"all", "receipts", "head", "torso", "tail"}
    for name in slices:
        for metric in METRICS:
            assert ("random", metric, name) in figures
            row = figures["counts", metric, name]
            assert row["low"] <= row["value"] <= row["high"]
    assert figures["random", "mrr", "all"]["low"] is None


def test_the_same_seed_gives_the_same_table():
    words = vocabulary()
    first, again, other = (evaluate(words, LATER, s).table for s in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_no_holdout_leaves_the_probes_and_a_reason():
    nothing = evaluate(vocabulary(), baskets())
    assert nothing.table.schema == EVALUATION
    assert set(nothing.table["metric"].to_pylist()) == {"other_domain_share", "n"}
    assert "no baskets" in nothing.reason
    alone = evaluate(vocabulary(), baskets(("receipts", "b", "i001")))
    assert "next basket" in alone.table["slice"].to_pylist()
    assert "all" not in alone.table["slice"].to_pylist()
    assert "no holdout basket" in alone.reason


def test_a_blend_has_what_vectors_know_and_vectors_what_counts_know(figures: dict):
    for metric in ("hit@20", "hit@100"):
        assert figures["blend", metric, "all"]["value"] == 1.0
    assert figures["ppmi_svd", "hit@20", "all"]["value"] >= 0.5


def test_vectors_without_the_bridge_are_evaluated_where_they_are_given():
    words = vocabulary()
    found = evaluate(words, LATER, without_bridge=embeddings(words)).table.to_pylist()
    by_method = {
        r["method"]: r["value"] for r in found if (r["metric"], r["slice"]) == ("mrr", "all")
    }
    assert by_method["without_bridge"] == by_method["goes_with"] == 1.0


def test_a_blend_finds_what_either_counts_or_vectors_know():
    words = vocabulary()
    place = {item: i for i, item in enumerate(words["item_id"].to_pylist())}
    # The model knows all targets of even queries and ranks those of odd ones below 20 others.
    node = np.array([place[item] for item in ITEMS])
    queries, targets = node[0:80], node[100:180]
    rows = words.num_rows
    context = np.zeros((rows, rows), np.float32)
    context[queries[::2], targets[::2]] = 5
    for k in range(1, 80, 2):
        context[queries[k], node[180:200]] = 5
    fixed = [
        pa.FixedSizeListArray.from_arrays(pa.array(m.astype(np.float32).ravel()), rows)
        for m in (np.eye(rows), context)
    ]
    columns = [words[n].combine_chunks() for n in ("item_id", "side", "domain")]
    columns.append(pa.array(["behaviour"] * rows))
    table = pa.Table.from_arrays(
        [*columns, *fixed, pa.array(np.zeros(rows, np.float32))], schema=item_embeddings(rows)
    )
    # Counts know the targets of odd queries, 100 times together.
    known = edges(
        *(("receipts", *sorted((ITEMS[k], ITEMS[100 + k])), 100) for k in range(1, 80, 2))
    )
    (found,) = evaluate_pairs(Space(table, words, known), {"receipts": (queries, targets)}, 0)
    hits = found.values["blend", "hit@20"]
    assert hits[::2].mean() == 1.0
    assert hits[1::2].mean() == 1.0
    assert found.values["goes_with", "hit@20"][1::2].mean() == 0.0


def test_a_blend_is_smoothed_counts_times_a_power_of_the_models_lift():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, 30)
    counted = np.triu(rng.integers(0, 3, (30, 30)), 1)
    counted += counted.T
    scores = rng.standard_normal((20, 30)).astype(np.float32)
    every = np.arange(30)
    task = ChannelTask("receipts", every[:20], every, every, counts, rng.permutation(30)[:20])
    together = csr_array(counted[:20])
    found = blend_ranks(task, together, lambda rows: scores[rows], every[:20], BLENDS)
    q = counts / counts.sum()
    for (weight, power), ranks in found.items():
        dense = np.log(counted[:20] + weight * q) + power * (scores - np.log(q))
        for row, target in enumerate(task.targets):
            if target != row:
                others = np.delete(dense[row], row)
                assert ranks[row] == (others > dense[row, target]).sum()


def test_baseline_vectors_put_items_of_one_block_together():
    words = vocabulary()
    blocks = [ITEMS[k : k + 5] for k in range(0, 200, 5)]
    known = edges(
        *(("receipts", a, b, 4) for block in blocks for a in block for b in block if a < b)
    )
    everyone = np.arange(words.num_rows)
    rows = ppmi_svd(counted_pairs(words, known).of("receipts"), everyone, 64, 0)
    place = {item: i for i, item in enumerate(words["item_id"].to_pylist())}
    one, two, other = (rows[place[i]] for i in ("i000", "i001", "i005"))
    assert one @ two > 0.9
    assert abs(one @ other) < 0.1
    assert not rows[place["fmcg_1"]].any()


def test_the_next_basket_is_the_first_of_a_user_in_a_channel():
    words = vocabulary()
    rows = baskets(
        ("receipts", "b1", "i005", 1, 9), ("receipts", "b2", "i006", 1, 3),
        ("receipts", "b2", "i007", 1, 4), ("receipts", "b3", "i008", 2, 1),
        ("retail", "b4", "fmcg_1", 1, 5), ("receipts", "b0", "new", 1, 0),
    )  # fmt: skip
    found = draw_next_baskets(words, rows, np.random.default_rng(0))
    ids = words["item_id"].to_pylist()
    found = {
        channel: [(int(b.user[r]), ids[n]) for r, n in zip(b.row, b.node, strict=True)]
        for channel, b in found.items()
    }
    assert found["receipts"] == [(1, "i006"), (1, "i007"), (2, "i008")]
    assert found["retail"] == [(1, "fmcg_1")]


def test_next_baskets_by_hand():
    words = vocabulary()
    # User 1 bought i100 twice and i101 once, and buys i100 and i150 next; user 2 has no history.
    later = baskets(
        ("receipts", "b1", "i100", 1, 1), ("receipts", "b1", "i150", 1, 1),
        ("receipts", "b2", "i000", 2, 1),
    )  # fmt: skip
    history = histories(*((1, "receipts", i) for i in ("i100", "i100", "i101")))
    space = Space(embeddings(words), words, KNOWN)
    made = item_evaluation(space, draw_queries(words, later, 0), history, CATALOG, 0)
    found = {
        (r["method"], r["metric"]): r["value"]
        for r in made.table.to_pylist()
        if r["slice"] == "next basket, receipts"
    }
    assert found["users", "n"] == 1
    # i100 is found by its own vector; i150 ties with all that was never bought, far behind.
    for method in ("history_mean", "own_most_frequent"):
        assert found[method, "recall@20"] == 0.5
    assert found["channel_popularity", "recall@100"] == 0.0
    # i100's context points at its partner i101 alone.
    assert found["history_goes_with", "recall@20"] == 0.5
    assert found["random", "recall@20"] == pytest.approx(20 / 201)


def test_next_baskets_of_users_without_a_history_are_no_figures():
    words = vocabulary()
    later = baskets(("receipts", "b1", "i100", 2), ("receipts", "b1", "i150", 2))
    space = Space(embeddings(words), words, KNOWN)
    for history in (histories(), histories((1, "receipts", "i100"))):
        made = item_evaluation(space, draw_queries(words, later, 0), history, CATALOG, 0)
        assert made.queries == 1
        assert not any("next basket" in name for name in made.table["slice"].to_pylist())


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
    query, target = draw_pairs(words, rows, np.random.default_rng(0))["receipts"]
    assert (query != target).all()
    assert 0.4 < (query < target).mean() < 0.6
    turned = rows.take(pa.array(np.random.default_rng(1).permutation(rows.num_rows)))
    again = draw_pairs(words, turned, np.random.default_rng(0))["receipts"]
    assert (again[0] == query).all()


def test_a_held_out_match_is_a_query_by_its_receipts_side():
    words = vocabulary(("fmcg_1",))
    rows = baskets(("receipts", "b", "fmcg_1"), ("receipts", "b", "i001"))
    query, target = draw_pairs(words, rows, np.random.default_rng(0))["receipts"]
    side = int(node_index(words, pa.array(["fmcg_1"]), "receipts")[0])
    assert side in {int(query[0]), int(target[0])}
    assert words["side"][side].as_py() == "receipts"


def test_counts_sum_over_months_and_both_directions_for_queries_alone():
    words = vocabulary()
    table = edges(
        ("receipts", "i001", "i002", 3), ("receipts", "i001", "i002", 2),
        ("retail", "i001", "i002", 50), ("receipts", "i002", "i003", 7),
        ("receipts", "gone", "i001", 9),
    )  # fmt: skip
    one, two, three = node_index(words, pa.array(["i001", "i002", "i003"]), "receipts").tolist()
    pairs, place = counted_pairs(words, table).of("receipts"), np.arange(words.num_rows)
    found = cooccurrence(pairs, np.array([two, three, two]), place)
    assert found.shape == (3, words.num_rows)
    for row in (0, 2):
        assert (found[row, one], found[row, three], found[[row]].sum()) == (5, 7, 12)
    assert (found[1, two], found[[1]].sum()) == (7, 7)
    place[one] = -1  # no candidate
    assert cooccurrence(pairs, np.array([two]), place).sum() == 7


FIRST = date(2018, 1, 2)
#: Before the cut, on it, and the day after.
BEFORE, ON, AFTER = (FIRST + timedelta(days=k) for k in (-1, 0, 1))


def events(*rows: tuple) -> ibis.Table:
    """Rows of day, minute of the day, user, channel, transaction, item, strength."""
    day, minute, user, channel, transaction, item, strength = zip(*rows, strict=True)
    at = [datetime.combine(d, datetime.min.time()) + timedelta(minutes=m)
          for d, m in zip(day, minute, strict=True)]  # fmt: skip
    return ibis.memtable(
        pa.table(
            {
                "day": pa.array(day, pa.date32()),
                "timestamp": pa.array(at, pa.timestamp("us")),
                "user_id": pa.array(user, pa.int64()),
                "channel": pa.array(channel, pa.string()),
                "transaction_hash": pa.array(transaction, pa.string()),
                "item_id": pa.array(item, pa.string()),
                "strength": pa.array(strength, pa.int32()),
                "source_file": pa.array(["f"] * len(rows), pa.string()),
                "source_row": pa.array(range(len(rows)), pa.int64()),
            }
        )
    )


def groups(receipts: ibis.Table, catalog: ibis.Table) -> list[tuple[str, list[str]]]:
    table = ibis.duckdb.connect().to_pyarrow(holdout_baskets(receipts, catalog, FIRST, 30))
    found: dict = {}
    for row in table.to_pylist():
        found.setdefault((row["channel"], row["user_id"], row["basket"]), []).append(row["item_id"])
    return sorted((channel, sorted(items)) for (channel, _, _), items in found.items())


def test_baskets_are_of_a_user_transaction_and_day_after_the_cut():
    receipts = events(
        (ON, 0, 1, "receipts", "t1", "a", 8), (ON, 5, 1, "receipts", "t1", "a", 8),
        (ON, 900, 1, "receipts", "t1", "b", 8), (AFTER, 0, 1, "receipts", "t1", "c", 8),
        (ON, 0, 2, "receipts", "t1", "d", 8), (ON, 0, 1, "receipts", None, "e", 8),
        (BEFORE, 0, 1, "receipts", "t1", "z", 8),
    )  # fmt: skip
    none = events((BEFORE, 0, 1, "retail", None, "fmcg_9", 8))
    assert groups(receipts, none) == [
        ("receipts", ["a", "b"]), ("receipts", ["c"]), ("receipts", ["d"]), ("receipts", ["e"]),
    ]  # fmt: skip


def test_sessions_are_those_of_co_view_edges():
    none = events((BEFORE, 0, 1, "receipts", "t", "z", 8))
    catalog = events(
        # A gap of 31 minutes ends a session; an item of strength 0 bridges one but takes no part.
        (ON, 600, 1, "retail", None, "fmcg_1", 8), (ON, 630, 1, "retail", None, "fmcg_0", 0),
        (ON, 650, 1, "retail", None, "fmcg_2", 1), (ON, 682, 1, "retail", None, "fmcg_3", 1),
        (ON, 610, 1, "offers", None, "offer_1", 8), (ON, 610, 2, "retail", None, "fmcg_4", 8),
        # Over midnight, and over the cut: what was before it was seen.
        (ON, 1430, 3, "retail", None, "fmcg_5", 1), (AFTER, 5, 3, "retail", None, "fmcg_6", 1),
        (BEFORE, 1430, 4, "retail", None, "fmcg_7", 1), (ON, 5, 4, "retail", None, "fmcg_8", 1),
        (ON, 8, 4, "retail", None, "fmcg_9", 1),
    )  # fmt: skip
    assert groups(none, catalog) == [
        ("offers", ["offer_1"]),
        ("retail", ["fmcg_1", "fmcg_2"]),
        ("retail", ["fmcg_3"]),
        ("retail", ["fmcg_4"]),
        ("retail", ["fmcg_5", "fmcg_6"]),
        ("retail", ["fmcg_8", "fmcg_9"]),
    ]
