"""The bench of cold items: what it hides and how it ranks, against figures made by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from itememb_core.items.vocabulary import build_vocabulary, node_counts, node_index
from itememb_core.settings import DomainSettings
from tests.bench.cold.figures import figures
from tests.bench.cold.goes_with import Pairs, draw_pairs, evaluate_channel
from tests.bench.cold.hide import draw_hidden, hide, lake_ids
from tests.bench.cold.ozon_world import OzonWorld, write_ozon
from tests.bench.cold.stand_ins import category_weights, neighbour_weights
from tests.worlds.layouts import write_ozon_world
from tests.worlds.tiny import write_tiny_world


def rows_of(raw: Path) -> dict[str, pa.Table]:
    files = [p for p in raw.rglob("*") if p.suffix in (".pq", ".parquet")]
    return {p.relative_to(raw).as_posix(): pq.ParquetFile(p).read() for p in files}


def without(table: pa.Table, column: str, hidden: set[str]) -> list[dict]:
    return [row for row in table.to_pylist() if str(row[column]) not in hidden]


@pytest.mark.parametrize("layout", ["tecd", "ozon"])
def test_every_row_of_hidden_items_goes_and_nothing_else(tmp_path, layout):
    raw = tmp_path / "raw"
    if layout == "tecd":
        raw = write_tiny_world(raw, days=6).raw
    else:
        write_ozon_world(raw, days=6, users=40)
    drawn = draw_hidden(raw, seed=1, share=0.3)
    removed, rows = hide(raw, tmp_path / "less", drawn)
    hidden, before, after = set(drawn.to_pylist()), rows_of(raw), rows_of(tmp_path / "less")
    assert before.keys() == after.keys()
    lost = 0
    for name, table in before.items():
        column = "approximate_item_id" if "receipts" in name else "item_id"
        events = any(part in name for part in ("receipts/", "events/", "tracker/", "orders/"))
        kept = without(table, column, hidden) if events else table.to_pylist()
        assert after[name].to_pylist() == kept, name
        lost += table.num_rows - len(kept)
    assert removed == lost > 0
    assert rows > lost


def test_a_share_of_the_listed_items_with_interactions_is_drawn_by_the_seed(tmp_path):
    raw = write_tiny_world(tmp_path / "raw", days=6).raw
    tables = rows_of(raw)
    listed = {
        i for n, t in tables.items() if n.endswith("items.pq") for i in t["item_id"].to_pylist()
    }
    seen = {
        i
        for name, table in tables.items()
        for column in {"approximate_item_id", "item_id"} & set(table.column_names)
        if "events/" in name or "receipts/" in name
        for i in table[column].to_pylist()
    }
    drawn = draw_hidden(raw, seed=1).to_pylist()
    assert set(drawn) <= listed & seen
    assert len(set(drawn)) == len(drawn) == round(0.1 * len(listed & seen))
    assert drawn == draw_hidden(raw, seed=1).to_pylist() != draw_hidden(raw, seed=2).to_pylist()


def test_ids_of_the_ozon_layout_get_the_prefix_of_the_lake(tmp_path):
    (tmp_path / "tracker").mkdir()
    assert lake_ids(tmp_path, pa.array(["7"])).to_pylist() == ["nfmcg_7"]
    assert lake_ids(tmp_path / "other", pa.array(["fmcg_7"])).to_pylist() == ["fmcg_7"]


PATHS = [
    ("retail", "a", "b"),
    ("retail", "a", "c"),
    ("retail", "d"),
    ("offers",),
    ("retail", "a", "b"),
]


def test_a_category_stands_in_by_its_deepest_level_with_warm_items():
    cold = np.array([4, 2, 3])
    weights = category_weights(PATHS, cold, np.array([0, 1])).toarray()
    assert weights[0].tolist() == [1, 0, 0, 0, 0]  # its own category
    assert weights[1].tolist() == [0.5, 0.5, 0, 0, 0]  # its domain
    assert weights[2].tolist() == [0.5, 0.5, 0, 0, 0]  # anything


def test_the_nearest_warm_items_of_the_domain_stand_in():
    angles = np.deg2rad(np.arange(30) * 3)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows[29] = 0
    domains = np.array(["retail"] * 30, object)
    domains[4] = domains[5] = "offers"
    warm, cold = np.arange(2, 29), np.array([0, 29, 5])
    weights = neighbour_weights(rows, domains, cold, np.setdiff1d(warm, [5])).toarray()
    nearest = np.r_[2, 3, 6:24]  # 20 of the same domain
    assert np.flatnonzero(weights[0]).tolist() == nearest.tolist()
    assert weights[0, nearest] == pytest.approx(np.full(20, 0.05))
    assert np.flatnonzero(weights[1]).tolist() == [2, 3, *range(6, 29)]  # nothing is known of it
    assert np.flatnonzero(weights[2]).tolist() == [4]  # the only warm one of its domain


def lake_of(counts: dict[str, int], unit: np.ndarray) -> SimpleNamespace:
    """What is read of a lake: items in alphabetical order, retail counts, contexts as vectors."""
    ids = pa.array(sorted(counts))
    table = pa.table({"item_id": ids, "channel": ["retail"] * len(ids),
                      "n": [counts[i] for i in sorted(counts)]})  # fmt: skip
    vocabulary = build_vocabulary(table, ids, pa.array([], pa.string()), DomainSettings())
    order = pc.index_in(vocabulary["item_id"], value_set=ids).to_numpy()
    unit = unit[order].astype(np.float32)
    return SimpleNamespace(
        vocabulary=vocabulary, counts=node_counts(vocabulary), unit=unit, context=unit,
        bias=np.zeros(len(unit), np.float32),
        nodes=lambda some, channel: node_index(vocabulary, some, channel).astype(np.int64),
    )  # fmt: skip


def test_a_warm_item_of_a_basket_is_the_query_and_a_hidden_one_the_target():
    names = [f"fmcg_{n}" for n in "abcde"]
    hidden = pa.array(["fmcg_d", "fmcg_e"])
    warm = lake_of(dict.fromkeys(names, 2), np.eye(5))
    cold = lake_of({n: 2 * (n not in hidden.to_pylist()) for n in names}, np.eye(5))
    rows = [("1", "a"), ("1", "d"), ("2", "a"), ("2", "b"), ("3", "e"), ("4", "b"), ("4", "e")]
    baskets = pa.table(
        {
            "channel": ["retail"] * len(rows),
            "basket": [basket for basket, _ in rows],
            "item_id": [f"fmcg_{item}" for _, item in rows],
        }
    )
    pairs = draw_pairs(warm, cold, baskets, hidden, seed=0)
    found = set(zip(*(ids.to_pylist() for ids in pairs["retail"]), strict=True))
    assert found == {("fmcg_a", "fmcg_d"), ("fmcg_b", "fmcg_e")}


def test_ranks_among_hidden_items_and_among_all():
    names = [f"fmcg_{n}" for n in "abcd"]
    hidden = pa.array(["fmcg_c", "fmcg_d"])
    #  What the query a scores: itself 1, b 0.8, c 0.6, d 0; without c and d they are turned round.
    seen = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    warm = lake_of(dict.fromkeys(names, 2), seen)
    cold = lake_of({n: 2 * (n not in hidden.to_pylist()) for n in names}, seen[[0, 1, 3, 2]])
    pairs = Pairs(pa.array(["fmcg_a"]), pa.array(["fmcg_c"]))
    weights = {"category_means": np.array([[0.0, 1, 0, 0], [1.0, 0, 0, 0]], np.float32)}
    found = evaluate_channel((warm, cold), weights, "retail", pairs, hidden, seed=0)
    mrr = {a: {m: v["mrr"] for m, v in found[a]["means"].items()} for a in ("cold", "all")}
    assert mrr["cold"] == {"warm": 1.0, "features": 0.5, "category_means": 0.5, "chance": 0.75}
    # d is a's twin there and b ties with c: one above, half of one level.
    assert mrr["all"]["warm"] == 0.5
    assert mrr["all"]["features"] == pytest.approx(1 / 3)
    assert mrr["all"]["category_means"] == pytest.approx(1 / 2.5)


def test_figures_by_hand():
    ranks = {"warm": np.array([0.0, 30, 150, 99]), "features": np.array([19.0, 20, 150, 100])}
    found = figures(ranks, 500, seed=0)
    assert found["means"]["warm"]["hit@100"] == 0.75
    assert found["means"]["features"]["hit@100"] == 0.5
    assert found["means"]["features"]["hit@20"] == 0.25
    assert found["means"]["features"]["hit@tenth"] == 0.5
    assert found["means"]["chance"]["hit@100"] == 0.2
    assert found["share"]["hit@100"][0] == pytest.approx(2 / 3)
    gap, low, high = found["over"]["warm"]["hit@100"]
    assert (gap, high) == (-0.25, 0.0)
    assert low < gap
    assert "hit@tenth" not in figures(ranks, 1000, seed=0)["means"]["warm"]


def test_a_user_counts_once_however_many_targets_there_are():
    ranks = {"warm": np.array([0.0, 200, 200, 0])}
    found = figures(ranks, 1000, 0, units=np.array([0, 0, 0, 1]))
    assert found["means"]["warm"]["hit@100"] == pytest.approx((1 / 3 + 1) / 2)


def test_the_ozon_shaped_world_is_seeded_and_whole(tmp_path):
    world = OzonWorld(items=400, users=50, days=8, sessions=600, intents=20)
    rows = [write_ozon(tmp_path / name, world) for name in ("a", "b")]
    one, two = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert (
        rows[0]
        == rows[1]
        == one["tracker/part-0.parquet"].num_rows + one["orders/part-0.parquet"].num_rows
    )
    assert {name: t.equals(two[name]) for name, t in one.items()} == dict.fromkeys(one, True)
    items = pa.concat_tables([one["items/part-0.parquet"], one["items/part-1.parquet"]])
    assert items.num_rows == 400
    assert set(items["catalogid"].to_pylist()) <= set(
        one["categories.parquet"]["catalogid"].to_pylist()
    )
    assert {len(v) for v in items["fclip_embed"].to_pylist()} == {512}
