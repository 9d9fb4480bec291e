"""Features, fitting, the accepted links, and what holds when there is too little."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from itememb_core.errors import ItemembError
from itememb_core.links.candidates import cross_domain_links, link_candidates
from itememb_core.links.labels import fold_of, held_out, is_top1
from itememb_core.links.lists import COMPARED, PoolLists
from itememb_core.links.nodes import Support, support
from itememb_core.links.pool import link_pool
from itememb_core.links.scorer.acceptance import Acceptance
from itememb_core.links.scorer.calibration import Calibration, fit_calibration
from itememb_core.links.scorer.comparisons import FEATURES, best_other, candidate_features
from itememb_core.links.scorer.fit import fit_scorer, out_of_fold_top1
from itememb_core.links.scorer.model import SCORER_FILE, LinkScorer
from itememb_core.links.scorer.population import example_weights, no_match_shares, set_population
from itememb_core.parts import InOrder, Threads
from itememb_core.schemas import CROSS_DOMAIN_LINKS, LINK_CANDIDATES, LINK_HOLDOUT, LINK_POOL
from itememb_core.settings import LinkPoolSettings, LinkScorerSettings
from tests.worlds.links import World, pool_table, vocabulary_table
from tests.worlds.pickled import Pickled

SETTINGS = LinkScorerSettings(target_precision=0.9, no_match_share=0.25, rounds=30)


class Fitted:
    def __init__(self, settings=SETTINGS, bought=True, **world):
        self.world = World(**world)
        self.pool = link_pool(self.world.data(bought), LinkPoolSettings(size=20, by_users=10))
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


def lists(users_llr, **compared):
    users_llr = np.array(users_llr, np.float32)
    n, size = users_llr.shape
    catalog = np.tile(np.arange(n, n + size, dtype=np.int32), (n, 1))
    catalog[np.isnan(users_llr)] = -1
    columns = dict.fromkeys(COMPARED, np.full((n, size), np.nan, np.float32))
    columns |= {name: np.array(values, np.float32) for name, values in compared.items()}
    return PoolLists(np.arange(n, dtype=np.int32), catalog, columns | {"users_llr": users_llr})


def test_features_by_hand():
    counts = Support(np.array([7, 0, 0, 0]), np.array([0, 3, 7, 0]))
    pool = lists(
        [[3.0, 1.0, np.nan]],
        csls=[[0.5, 0.8, np.nan]],
        price_gap=[[-0.1, 0.2, np.nan]],
        rank_reverse=[[1, np.nan, np.nan]],
        brand=[[1, np.nan, np.nan]],
    )
    x = dict(zip(FEATURES, candidate_features(pool, counts)[0].T, strict=True))
    assert all(np.isnan(values[2]) for values in x.values())
    total = np.log(np.exp(3) + np.exp(1) + 1)  # and no match, 0
    expected = {
        "users_llr": [3, 1],
        "users_llr_gap": [2, -2],
        "users_llr_rank": [0, np.log(2)],
        "users_llr_log_softmax": [3 - total, 1 - total],
        "users_llr_logsumexp": [total, total],
        "csls_gap": [-0.3, 0.3],
        "csls_rank": [np.log(2), 0],
        "price_distance": [0.1, 0.2],
        "rank_reverse": [np.log(2), np.nan],
        "brand": [1, np.nan],
        "log_receipts": [0, 0],
        "log_catalog": [np.log(0.3), np.log(0.7)],
        "log_count_gap": [-np.log(0.3), -np.log(0.7)],
        "months_llr_gap": [np.nan, np.nan],
    }
    for name, values in expected.items():
        assert x[name][:2] == pytest.approx(values, abs=1e-6, nan_ok=True), name


def test_best_other_of_ties_and_of_one():
    assert best_other(np.array([[3, 3, 1]], np.float32)).tolist() == [[3, 3, 3]]
    assert best_other(np.array([[3, -np.inf]], np.float32))[0, 0] == 3
    assert best_other(np.array([[2.0]], np.float32)).tolist() == [[2]]


def test_equal_candidates_share_their_rank():
    counts = Support(np.full(9, 2), np.arange(9))
    x = candidate_features(lists([[1.0, 3.0, 3.0, 2.0]]), counts)[0]
    ranks = np.expm1(x[:, FEATURES.index("users_llr_rank")])
    assert ranks == pytest.approx([3, 0, 0, 2])


def test_a_true_match_that_ties_for_top1_is_not_found():
    scores = np.array([[0.9, 0.9, 0.1], [0.2, 0.9, 0.1], [0.3, 0.2, 0.1], [0.3, 0.2, 0.1]])
    assert is_top1(scores, np.array([0, 1, -1, 1])).tolist() == [False, True, False, False]
    assert not is_top1(np.empty((2, 0)), np.array([-1, -1])).any()


def test_a_removed_match_leaves_the_features_of_a_list_that_never_had_it():
    counts = Support(np.full(9, 2), np.arange(9))
    rng = np.random.default_rng(0)
    others = {name: rng.random(size=(1, 4)) for name in COMPARED if name != "users_llr"}
    whole = lists([[9.0, 4.0, 3.0, -1.0]], **others)
    taken = candidate_features(whole.without(np.array([0])), counts)[0, 1:]
    compared = {name: values[:, 1:] for name, values in whole.compared.items()}
    never = PoolLists(whole.receipt, whole.catalog[:, 1:], compared)
    assert np.array_equal(taken, candidate_features(never, counts)[0], equal_nan=True)


def test_no_feature_is_of_csls_itself():
    # r(x) of a receipt item is made with its true match: of CSLS only differences may be seen.
    counts = Support(np.full(9, 2), np.arange(9))
    csls = np.array([[0.4, 0.1, 0.3]])
    one, other = (lists([[1.0, 2.0, 3.0]], csls=csls + shift) for shift in (0.0, 0.25))
    same = [candidate_features(each, counts) for each in (one, other)]
    assert np.allclose(same[0], same[1], atol=1e-6, equal_nan=True)


def test_held_out_matches_are_found_by_place(fitted):
    world = fitted.world
    held = held_out(fitted.pool, world.vocabulary, world.holdout)
    assert (held.matches, held.absent) == (400, 0)
    ids = world.vocabulary["item_id"].to_pylist()
    names = held.ids.to_pylist()
    for row in np.flatnonzero(held.place >= 0)[:20]:
        assert ids[held.lists.catalog[row, held.place[row]]] == names[row]
    assert held.found > 300


def population_case():
    """Matches: 3 of 4 with 50 lines; opaque items: 1 of 4. One true match is a candidate."""
    rows = [(f"fmcg_{i}", "all", "retail", 0, 0 if i == 3 else 1, 0, 0) for i in range(4)]
    rows += [(f"fmcg_{i}", "receipts", "retail", 50 if i else 1, 0, 0, 0) for i in range(4)]
    rows += [(f"o{i}", "all", "receipt", 1 if i else 50, 0, 0, 0) for i in range(4)]
    vocabulary = vocabulary_table(rows)
    pairs = [
        {"receipt_item": f"fmcg_{i}", "catalog_item": "fmcg_0", "users_llr": 1.0} for i in range(4)
    ]
    holdout = pa.table({"item_id": ["fmcg_0", "fmcg_1", "fmcg_2", "fmcg_3", "fmcg_gone"]})
    return vocabulary, held_out(pool_table(*pairs), vocabulary, holdout)


def test_matches_stand_for_opaque_items_of_their_support():
    vocabulary, held = population_case()
    assert held.place.tolist() == [0, -1, -1, -1]
    assert held.absent == 1
    assert held.seen.tolist() == [True, True, True, False]
    population = set_population(vocabulary, 0.25)
    assert (population.items, population.share) == ((3, 0, 0, 1, 0), 0.25)
    with_match, without = example_weights(held, support(vocabulary), population)
    # 3 items of one line: 2.25 with a match, one list; 0.75 without, one copy. 1 of 50 lines: 0.75
    # over the two lists whose match is a candidate, 0.25 over three copies. Mean 1 of 8 examples.
    expected = np.array([2.25, 0.375, 0.375, 0.0, 0.75, 0.25 / 3, 0.25 / 3, 0.25 / 3]) * 2
    assert np.concatenate([with_match, without]) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.15, 0.7])
def test_the_share_without_a_match_is_estimated_from_the_scores(share):
    rng = np.random.default_rng(3)
    band = np.full(2000, 2)
    matched, unmatched = rng.normal(2, 1.5, 2000), rng.normal(-1, 1, 2000)
    none = rng.random(2000) < share
    opaque = np.where(none, rng.normal(-1, 1, 2000), rng.normal(2, 1.5, 2000))
    found = no_match_shares(opaque, band, (matched, band), (unmatched, band))
    assert found[2] == pytest.approx(share, abs=0.05)
    assert found[0] == 0.5  # no item there: the prior
    alike = no_match_shares(opaque, band, (matched, band), (matched, band))
    assert alike[2] == pytest.approx(0.5, abs=0.02)


def test_calibration_gives_the_shares_that_are_right():
    rng = np.random.default_rng(4)
    logit, receipts = rng.normal(0, 3, 6000), rng.integers(1, 60, 6000)
    true = 1 / (1 + np.exp(-(0.5 * logit - 1 + 0.3 * np.log(receipts))))
    right = rng.random(6000) < true
    curve = fit_calibration(logit, receipts, right, np.ones(6000))
    assert curve.probability(logit, receipts) == pytest.approx(true, abs=0.04)
    # A weight of two is the list twice.
    twice = np.concatenate([np.arange(6000), np.arange(3000)])
    weighted = fit_calibration(logit, receipts, right, np.where(np.arange(6000) < 3000, 2.0, 1.0))
    copied = fit_calibration(logit[twice], receipts[twice], right[twice], np.ones(9000))
    assert weighted.slope == pytest.approx(copied.slope, rel=1e-4)
    # A better score is never less likely, even where the examples are so.
    wrong = fit_calibration(-logit, receipts, right, np.ones(6000))
    assert wrong.slope > 0


def test_few_matches_hardly_move_the_curve_from_what_is_known_before():
    logit = np.array([-4.0, -2.0, 0.0, 2.0, 4.0, 6.0])
    receipts, right = np.full(6, 5), np.array([False, False, False, True, True, True])
    few = fit_calibration(logit, receipts, right, np.ones(6))
    assert (few.slope, few.support) == pytest.approx((0.7, 0.4), abs=0.02)
    # Where all is as likely as not, what is left is the priors' means and the intercept.
    even = fit_calibration(np.zeros(2), np.ones(2, int), np.array([True, False]), np.ones(2))
    assert (even.intercept, even.slope, even.support) == pytest.approx((0.0, 0.7, 0.4), abs=1e-5)
    many = fit_calibration(
        np.tile(logit, 900), np.full(5400, 5), np.tile(right, 900), np.ones(5400)
    )
    assert many.slope > 1.0


def test_folds_depend_on_id_and_seed_alone():
    ids = pa.array([f"i{n}" for n in range(200)])
    folds = fold_of(ids, 5, 0)
    assert set(folds.tolist()) == set(range(5))
    assert np.array_equal(fold_of(ids.take(pa.array([7, 3])), 5, 0), folds[[7, 3]])
    assert not np.array_equal(fold_of(ids, 5, 1), folds)


def test_accepted_links_are_as_right_as_promised(fitted):
    learned = fitted.learned()
    right = (learned.catalog_item == learned.receipt_item.map(fitted.world.truth)).mean()
    assert fitted.scorer.acceptance.expected >= 0.9
    assert fitted.scorer.acceptance.precision == pytest.approx(0.9, abs=0.03)
    assert len(learned) > 200
    assert right > 0.87
    assert learned.probability.mean() == pytest.approx(right, abs=0.06)


def test_no_match_items_lower_what_is_accepted(fitted):
    many = Fitted(SETTINGS.model_copy(update={"no_match_share": 0.7}))
    assert len(fitted.learned()) > len(many.learned()) > 0


def test_out_of_fold_matches_were_not_seen_by_their_model(fitted):
    world, scorer = fitted.world, fitted.scorer
    held = held_out(fitted.pool, world.vocabulary, world.holdout)
    fold = fold_of(held.ids, 5, 0)
    # A planted curve that is sure of everything marks exactly the lists scored by it.
    sure = replace(scorer.by_fold[2], calibration=Calibration(50.0, 1e-3, 0.0))
    models = (*scorer.by_fold[:2], sure, *scorer.by_fold[3:])
    counts = support(world.vocabulary)
    labelled = out_of_fold_top1(held, counts, fold, models, scorer.population)
    assert np.array_equal(labelled.probability == 1.0, np.concatenate([fold, fold]) == 2)
    assert len({each.trees.text for each in (scorer.model, *scorer.by_fold)}) == 6


def test_the_same_seed_gives_the_same_bytes(fitted):
    again = fit_scorer(fitted.pool, fitted.world.vocabulary, fitted.world.holdout, SETTINGS, seed=0)
    assert again == fitted.scorer


def test_candidates_are_ranked_by_probability_then_csls_then_id(fitted):
    table = fitted.candidates
    assert table.schema == LINK_CANDIDATES
    frame = table.to_pandas()
    assert (frame.groupby("receipt_item").size() == 10).all()
    queries = fitted.pool["receipt_item"].unique().to_pylist()
    assert frame.receipt_item.drop_duplicates().to_list() == queries
    order = {item: i for i, item in enumerate(queries)}
    expected = frame.assign(order=frame.receipt_item.map(order))
    expected = expected.sort_values(
        ["order", "probability", "csls", "catalog_item"], ascending=[True, False, False, True]
    )
    assert expected.index.to_list() == frame.index.to_list()
    assert (frame["rank"] == frame.groupby("receipt_item").cumcount() + 1).all()


def test_ties_are_ordered_by_id():
    rows = [("o", "all", "receipt", 1, 0, 0, 0)]
    rows += [(f"fmcg_{name}", "all", "retail", 0, 1, 0, 0) for name in "cab"]
    pool = pool_table(
        *({"receipt_item": "o", "catalog_item": f"fmcg_{name}", "csls": 0.5} for name in "cab")
    )
    table = link_candidates(pool, vocabulary_table(rows), None, k=2)
    assert table["catalog_item"].to_pylist() == ["fmcg_a", "fmcg_b"]
    assert table["probability"].null_count == 2


@pytest.mark.parametrize(
    "parts", [InOrder(), Threads(2), Pickled()], ids=["in order", "threads", "another process"]
)
def test_whoever_takes_the_parts_pool_and_candidates_are_the_same(fitted, monkeypatch, parts):
    world = fitted.world
    told = []
    pool = link_pool(
        world.data(),
        LinkPoolSettings(size=20, by_users=10, pairs_at_once=500),
        progress=lambda what, done, of: told.append(what),
        parts=parts,
    )
    assert told.count("link_pool: evidence") > 3
    assert pool.equals(fitted.pool)
    monkeypatch.setattr("itememb_core.links.scorer.model.CHUNK", 100)
    made = link_candidates(pool, world.vocabulary, fitted.scorer, k=10, parts=parts)
    assert made.equals(fitted.candidates)


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


def test_a_scorer_comes_back_from_plain_text_the_same(fitted, tmp_path):
    fitted.scorer.save(tmp_path)
    loaded = LinkScorer.load(tmp_path)
    assert loaded == fitted.scorer
    again = link_candidates(fitted.pool, fitted.world.vocabulary, loaded, k=10)
    assert again.equals(fitted.candidates)
    assert (tmp_path / "model.txt").read_text().startswith("tree\n")


def test_a_damaged_scorer_is_an_error_that_names_the_file(fitted, tmp_path):
    fitted.scorer.save(tmp_path)
    text = (tmp_path / "model.txt").read_text()
    (tmp_path / "model.txt").write_text(text.replace("users_llr_log_softmax", "other"))
    with pytest.raises(ItemembError, match=r"model.txt has features .*other"):
        LinkScorer.load(tmp_path)
    (tmp_path / "model.txt").write_text("not a model")
    with pytest.raises(ItemembError, match="not LightGBM's text"):
        LinkScorer.load(tmp_path)
    (tmp_path / "fold_3.txt").unlink()
    (tmp_path / "model.txt").write_text(text)
    with pytest.raises(ItemembError, match=r"fold_3\.txt is missing"):
        LinkScorer.load(tmp_path)
    facts = json.loads((tmp_path / SCORER_FILE).read_text())
    (tmp_path / SCORER_FILE).write_text(json.dumps(facts | {"features": ["other"]}))
    with pytest.raises(ItemembError, match="has features other"):
        LinkScorer.load(tmp_path)


def test_unaligned_spaces_accept_nothing_and_give_the_reason(tmp_path):
    blind = Fitted(signal=False, bought=False)
    assert blind.scorer.model is None
    assert "not aligned" in (blind.scorer.reason or "")
    assert set(blind.links["method"].to_pylist()) == {"direct"}
    assert blind.candidates["probability"].null_count == blind.candidates.num_rows > 0
    blind.scorer.save(tmp_path)
    assert LinkScorer.load(tmp_path) == blind.scorer


def test_few_matches_lean_to_none_and_the_rule_says_so():
    few = Fitted(matches=60, opaque=200, alone=60, extra=100)
    assert few.scorer.strict
    assert "fewer than 300" in few.scorer.rule
    assert few.scorer.acceptance.threshold is None or few.scorer.acceptance.low >= 0.9
    if few.scorer.acceptance.threshold is None:
        assert "no threshold passes" in (few.scorer.reason or "")


def test_one_to_one_keeps_the_most_probable_of_a_catalog_item(fitted):
    first = fitted.candidates.to_pandas().query("rank == 1").head(5).reset_index(drop=True)
    first["catalog_item"] = ["fmcg_1", "fmcg_2", "fmcg_1", "fmcg_1", "fmcg_2"]
    first["probability"] = [0.95, 0.97, 0.99, 0.99, 0.96]
    first["csls"] = np.array([0.9, 0.5, 0.2, 0.3, 0.9], np.float32)
    table = pa.Table.from_pandas(first, schema=LINK_CANDIDATES, preserve_index=False)
    accepting = replace(fitted.scorer, acceptance=Acceptance(0.955, 1.0, 0.9, 1.0, 0.5))

    def learned(scorer):
        links = cross_domain_links(table, fitted.world.vocabulary, scorer).to_pandas()
        return links[links.method == "learned"].receipt_item.to_list()

    items = first.receipt_item.to_list()
    assert learned(accepting) == items[1:]
    # The tie of fmcg_1 is broken by CSLS; order is that of the candidates.
    assert learned(replace(accepting, one_to_one=True)) == [items[1], items[3]]
    none = replace(accepting, one_to_one=True, acceptance=Acceptance(1.0, None, None, None, 0.0))
    assert learned(none) == []


def test_no_matches_and_no_pool():
    world = World(matches=0, opaque=30, alone=5, extra=10)
    pool = link_pool(world.data(bought=False), LinkPoolSettings(size=20))
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
    place = world.embeddings.column_names.index("embedding")
    flat = world.embeddings.set_column(place, "embedding", column)
    pool = link_pool(replace(world.data(bought=False), embeddings=flat), LinkPoolSettings(size=20))
    scorer = fit_scorer(pool, world.vocabulary, world.holdout, SETTINGS, seed=0)
    assert scorer.acceptance.threshold is None
