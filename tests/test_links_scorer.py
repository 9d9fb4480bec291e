"""Features, fitting, the accepted links, and what holds when there is too little."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from itememb_core.errors import ItemembError
from itememb_core.links.candidates import cross_domain_links, link_candidates
from itememb_core.links.features import FEATURES, best_other, candidate_features
from itememb_core.links.heldout import fold_of, held_out
from itememb_core.links.lists import PoolLists
from itememb_core.links.logistic import LogisticModel
from itememb_core.links.nodes import Support, support
from itememb_core.links.pool import link_pool
from itememb_core.links.scorer import SCORER_FILE, fit_scorer, load_scorer, out_of_fold_judged
from itememb_core.schemas import CROSS_DOMAIN_LINKS, LINK_CANDIDATES, LINK_HOLDOUT, LINK_POOL
from itememb_core.settings import LinkPoolSettings, LinkScorerSettings
from tests.links_world import World, vocabulary_table

SETTINGS = LinkScorerSettings(target_precision=0.9, no_match_share=0.25)


class Fitted:
    def __init__(self, settings=SETTINGS, **world):
        self.world = World(**world)
        self.pool = link_pool(
            self.world.embeddings, self.world.vocabulary, LinkPoolSettings(size=20)
        )
        self.scorer = fit_scorer(
            self.pool, self.world.vocabulary, self.world.holdout, settings, seed=0
        )
        self.candidates = link_candidates(self.pool, self.world.vocabulary, self.scorer, k=10)
        self.links = cross_domain_links(self.candidates, self.world.vocabulary, self.scorer)

    def learned(self):
        frame = self.links.to_pandas()
        return frame[(frame.method == "learned") & ~frame.receipt_item.str.startswith("fmcg_")]


@pytest.fixture(scope="module")
def fitted():
    return Fitted()


def lists(csls, reverse=None):
    csls = np.array(csls, np.float32)
    n, size = csls.shape
    catalog = np.tile(np.arange(n, n + size, dtype=np.int32), (n, 1))
    catalog[~np.isfinite(csls)] = -1
    reverse = np.ones((n, size), np.int32) if reverse is None else np.array(reverse, np.int32)
    return PoolLists(np.arange(n, dtype=np.int32), catalog, csls / 2, csls, reverse)


def test_features_by_hand():
    counts = Support(np.array([7, 0, 0, 0]), np.array([0, 3, 7, 1]))
    pool = lists([[0.8, 0.5, -np.inf]], [[1, 0, 0]])
    x = dict(zip(FEATURES, candidate_features(pool, counts)[0].T, strict=True))
    assert x["similarity"] == pytest.approx([0.4, 0.25, 0])
    assert x["csls_gap"] == pytest.approx([0.3, -0.3, 0])
    assert x["csls_standout"] == pytest.approx([0.15, -0.15, 0])
    assert x["log_rank"] == pytest.approx([np.log(2), np.log(3), 0])
    assert x["reverse_missing"].tolist() == [0, 1, 0]
    assert x["log_receipts"] == pytest.approx([np.log(8), np.log(8), 0])
    assert x["log_catalog"] == pytest.approx([np.log(4), np.log(8), 0])
    assert x["log_count_gap"] == pytest.approx([np.log(2), 0, 0])
    assert x["gap_by_support"] == pytest.approx([0.3 * np.log(4), -0.3 * np.log(8), 0])


def test_best_other_of_ties_and_of_one():
    assert best_other(np.array([[3, 3, 1]], np.float32)).tolist() == [[3, 3, 3]]
    assert best_other(np.array([[3, -np.inf]], np.float32))[0, 0] == 3
    assert best_other(np.array([[2.0]], np.float32)).tolist() == [[2]]


def test_a_twin_taken_out_leaves_what_a_list_without_it_has():
    counts = Support(np.full(9, 2), np.arange(9))
    whole = lists([[0.9, 0.4, 0.3, 0.1]])
    taken = candidate_features(whole.without(np.array([0])), counts)[0, 1:]
    never = whole.take(slice(None))
    never = PoolLists(never.receipt, *(part[:, 1:] for part in list(vars(never).values())[1:]))
    assert np.array_equal(taken, candidate_features(never, counts)[0])


def test_held_out_twins_are_found_by_place(fitted):
    world = fitted.world
    held = held_out(fitted.pool, world.vocabulary, world.holdout)
    assert (held.matches, held.absent) == (400, 0)
    ids = world.vocabulary["item_id"].to_pylist()
    names = held.ids.to_pylist()
    for row in np.flatnonzero(held.place >= 0)[:20]:
        assert ids[held.lists.catalog[row, held.place[row]]] == names[row]
    assert held.found > 300
    assert held.weight.mean() == pytest.approx(1.0)


def test_matches_stand_for_opaque_items_of_their_support():
    # Matches: 3 of 4 with 50 lines; opaque items: 1 of 4. Weights 1/3 and 3.
    rows = [(f"fmcg_{i}", "all", "retail", 0, 1, 0, 0) for i in range(4)]
    rows += [(f"fmcg_{i}", "receipts", "retail", 50 if i else 1, 0, 0, 0) for i in range(4)]
    rows += [(f"o{i}", "all", "receipt", 1 if i else 50, 0, 0, 0) for i in range(4)]
    pairs = [(f"fmcg_{i}", "fmcg_0", 0.5, 0.5, 1, 1) for i in range(4)]
    columns = zip(LINK_POOL.types, zip(*pairs, strict=True), strict=True)
    pool = pa.Table.from_arrays([pa.array(c, kind) for kind, c in columns], schema=LINK_POOL)
    holdout = pa.table({"item_id": ["fmcg_0", "fmcg_1", "fmcg_2", "fmcg_3", "fmcg_gone"]})
    held = held_out(pool, vocabulary_table(rows), holdout)
    assert held.weight == pytest.approx([3, 1 / 3, 1 / 3, 1 / 3])
    assert held.place.tolist() == [0, -1, -1, -1]
    assert held.absent == 1


def test_folds_depend_on_id_and_seed_alone():
    ids = pa.array([f"i{n}" for n in range(200)])
    folds = fold_of(ids, 5, 0)
    assert set(folds.tolist()) == set(range(5))
    assert np.array_equal(fold_of(ids.take(pa.array([7, 3])), 5, 0), folds[[7, 3]])
    assert not np.array_equal(fold_of(ids, 5, 1), folds)


def test_accepted_links_are_as_right_as_promised(fitted):
    learned = fitted.learned()
    right = (learned.catalog_item == learned.receipt_item.map(fitted.world.truth)).mean()
    assert fitted.scorer.acceptance.precision >= 0.9
    assert len(learned) > 200
    assert right > 0.87
    assert learned.probability.mean() == pytest.approx(right, abs=0.06)


def test_no_match_items_lower_what_is_accepted(fitted):
    none = Fitted(LinkScorerSettings(target_precision=0.9, no_match_share=0.0))
    many = Fitted(LinkScorerSettings(target_precision=0.9, no_match_share=0.7))
    sizes = [len(each.learned()) for each in (none, fitted, many)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_judged_matches_were_not_seen_by_their_model(fitted):
    world, scorer = fitted.world, fitted.scorer
    held = held_out(fitted.pool, world.vocabulary, world.holdout)
    fold = fold_of(held.ids, 5, 0)
    # A planted model that is sure of everything marks exactly the lists judged by it.
    sure = LogisticModel(50.0, (0.0,) * len(FEATURES))
    models = (*scorer.by_fold[:2], sure, *scorer.by_fold[3:])
    judged = out_of_fold_judged(held, support(world.vocabulary), fold, models, 0.25)
    assert np.array_equal(judged.probability == 1.0, np.concatenate([fold, fold]) == 2)
    assert len({scorer.model, *scorer.by_fold}) == 6


def test_candidates_are_ranked_by_probability_then_csls_then_id(fitted):
    table = fitted.candidates
    assert table.schema == LINK_CANDIDATES
    frame = table.to_pandas()
    assert (frame.groupby("receipt_item").size() == 10).all()
    asked = fitted.pool["receipt_item"].unique().to_pylist()
    assert frame.receipt_item.drop_duplicates().to_list() == asked
    expected = frame.assign(order=frame.receipt_item.map({item: i for i, item in enumerate(asked)}))
    expected = expected.sort_values(
        ["order", "probability", "csls", "catalog_item"], ascending=[True, False, False, True]
    )
    assert expected.index.to_list() == frame.index.to_list()
    assert (frame["rank"] == frame.groupby("receipt_item").cumcount() + 1).all()


def test_equal_candidates_stand_in_the_order_of_their_ids():
    rows = [("o", "all", "receipt", 1, 0, 0, 0)]
    rows += [(f"fmcg_{name}", "all", "retail", 0, 1, 0, 0) for name in "cab"]
    pairs = [("o", f"fmcg_{name}", 0.5, 0.5, rank, None) for rank, name in enumerate("cab", 1)]
    columns = zip(LINK_POOL.types, zip(*pairs, strict=True), strict=True)
    pool = pa.Table.from_arrays([pa.array(c, kind) for kind, c in columns], schema=LINK_POOL)
    table = link_candidates(pool, vocabulary_table(rows), None, k=2)
    assert table["catalog_item"].to_pylist() == ["fmcg_a", "fmcg_b"]
    assert table["probability"].null_count == 2


def test_one_link_an_item_and_direct_links_first(fitted):
    frame = fitted.links.to_pandas()
    assert fitted.links.schema == CROSS_DOMAIN_LINKS
    assert not frame.receipt_item.duplicated().any()
    direct = frame[frame.method == "direct"]
    assert direct.receipt_item.to_list() == ["fmcg_direct"]
    assert (direct.catalog_item == direct.receipt_item).all()
    assert direct[["similarity", "probability"]].to_numpy().tolist() == [[1.0, 1.0]]
    learned = frame[frame.method == "learned"]
    assert learned.probability.min() >= fitted.scorer.acceptance.threshold
    first = fitted.candidates.filter(pc.equal(fitted.candidates["rank"], 1))
    accepted = pc.greater_equal(first["probability"], fitted.scorer.acceptance.threshold)
    assert len(learned) == pc.sum(accepted).as_py()


def test_a_scorer_comes_back_from_json_the_same(fitted, tmp_path):
    fitted.scorer.save(tmp_path)
    loaded = load_scorer(tmp_path)
    assert loaded == fitted.scorer
    again = link_candidates(fitted.pool, fitted.world.vocabulary, loaded, k=10)
    assert again.equals(fitted.candidates)
    facts = json.loads((tmp_path / SCORER_FILE).read_text())
    (tmp_path / SCORER_FILE).write_text(json.dumps(facts | {"features": ["other"]}))
    with pytest.raises(ItemembError, match="has features other"):
        load_scorer(tmp_path)
    with pytest.raises(ItemembError, match="missing"):
        load_scorer(tmp_path / "nowhere")


def test_unaligned_spaces_accept_nothing_and_say_why(tmp_path):
    blind = Fitted(signal=False)
    assert blind.scorer.model is None
    assert "not aligned" in (blind.scorer.reason or "")
    assert set(blind.links["method"].to_pylist()) == {"direct"}
    assert blind.candidates["probability"].null_count == blind.candidates.num_rows > 0
    blind.scorer.save(tmp_path)
    assert load_scorer(tmp_path) == blind.scorer


def test_few_matches_lean_to_none_and_say_so():
    few = Fitted(matches=60, opaque=200, alone=60, extra=100)
    assert few.scorer.strict
    assert "fewer than 300" in few.scorer.rule
    assert few.scorer.acceptance.threshold is None or few.scorer.acceptance.low >= 0.9
    if few.scorer.acceptance.threshold is None:
        assert "no threshold passes" in (few.scorer.reason or "")


def test_no_matches_and_no_pool():
    world = World(matches=0, opaque=30, alone=5, extra=10)
    pool = link_pool(world.embeddings, world.vocabulary, LinkPoolSettings(size=20))
    for table in (pool, LINK_POOL.empty_table()):
        scorer = fit_scorer(table, world.vocabulary, LINK_HOLDOUT.empty_table(), SETTINGS, seed=0)
        assert (scorer.model, scorer.matches) == (None, 0)
        assert "no held-out direct match" in (scorer.reason or "")
        candidates = link_candidates(table, world.vocabulary, scorer, 10)
        assert candidates.schema == LINK_CANDIDATES
        assert candidates.num_rows == (10 * 35 if table.num_rows else 0)
        links = cross_domain_links(candidates, world.vocabulary, scorer)
        assert links["method"].to_pylist() == ["direct"]


def test_equal_vectors_make_no_link():
    world = World(matches=320, opaque=50, alone=10, extra=10)
    column = world.embeddings["embedding"].take(pa.array([0] * world.embeddings.num_rows))
    flat = world.embeddings.set_column(3, "embedding", column)
    pool = link_pool(flat, world.vocabulary, LinkPoolSettings(size=20))
    scorer = fit_scorer(pool, world.vocabulary, world.holdout, SETTINGS, seed=0)
    assert scorer.acceptance.threshold is None
