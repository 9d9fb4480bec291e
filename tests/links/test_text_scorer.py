"""Features of texts, and their use where held-out matches say that they help."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.evaluation.links import link_evaluation
from itememb_core.links.candidates import link_candidates
from itememb_core.links.labels import HeldOut
from itememb_core.links.lists import COMPARED, PoolLists
from itememb_core.links.nodes import Support
from itememb_core.links.pool import link_pool
from itememb_core.links.scorer.comparisons import (
    FEATURES,
    TEXT_TAKEN,
    WITH_TEXT,
    candidate_features,
)
from itememb_core.links.scorer.fit import fit_scorer
from itememb_core.links.scorer.model import NEVER, LinkScorer, logits
from itememb_core.links.scorer.text_use import found_without_text, text_use
from itememb_core.links.text.evidence import LETTER
from itememb_core.schemas import CATALOG
from itememb_core.settings import LinkPoolSettings, LinkScorerSettings
from tests.worlds.links import World

SETTINGS = LinkScorerSettings(target_precision=0.9, no_match_share=0.25, rounds=20, folds=3)
POOL = LinkPoolSettings(size=6, by_users=40, by_text=6)
COUNTS = Support(np.full(9, 2), np.arange(9))


def lists(**compared):
    n, size = np.shape(compared["users_llr"])
    catalog = np.tile(np.arange(n, n + size, dtype=np.int32), (n, 1))
    catalog[np.isnan(np.array(compared["users_llr"], float))] = -1
    columns = dict.fromkeys(COMPARED, np.full((n, size), np.nan, np.float32))
    columns |= {name: np.array(values, np.float32) for name, values in compared.items()}
    return PoolLists(np.arange(n, dtype=np.int32), catalog, columns)


def features(pool):
    return dict(zip(WITH_TEXT, candidate_features(pool, COUNTS, WITH_TEXT)[0].T, strict=True))


NAN = float("nan")
FIT = [[0.9, 0.6, 0.6, NAN, NAN]]  # the fourth has no title, the fifth is padding


def test_features_of_texts_by_hand():
    fit = dict.fromkeys(("text_skeleton", "text_explained", "title_explained"), FIT)
    missed = [[0.0, 1.0, 2.0, NAN, NAN]]
    x = features(lists(users_llr=[[1.0, 3.0, 2.0, 5.0, NAN]], text_missed=missed, **fit))
    assert all(np.isnan(values[4]) for values in x.values())
    both = np.array([1, 3 - LETTER, 2 - 2 * LETTER, 5 - LETTER])  # no title: the mean
    expected = {
        "text_fit": [0.9, 0.6, 0.6, NAN],
        "text_fit_gap": [0.3, -0.3, -0.3, NAN],
        "text_fit_rank": np.log1p([0, 1, 1, 3]),
        "text_users": both,
        "text_users_gap": [*(both[:3] - both[3]), both[3] - both[0]],
        "text_users_rank": np.log1p([1, 2, 3, 0]),
        "text_users_log_softmax": both - np.log(np.exp(both).sum() + 1),
    }
    for name, values in expected.items():
        assert x[name][:4] == pytest.approx(values, abs=1e-5, nan_ok=True), name


def test_features_of_texts_do_not_know_how_lists_are_padded():
    fit = dict.fromkeys(("text_skeleton", "text_explained", "title_explained"), FIT)
    whole = lists(users_llr=[[1.0, 3.0, 2.0, 5.0, NAN]], **fit)
    short = PoolLists(
        whole.receipt, whole.catalog[:, :4], {k: v[:, :4] for k, v in whole.compared.items()}
    )
    found = candidate_features(whole, COUNTS, WITH_TEXT)[:, :4]
    assert np.array_equal(found, candidate_features(short, COUNTS, WITH_TEXT), equal_nan=True)


def test_without_texts_what_only_the_text_found_is_no_candidate():
    users = [[1.0, 3.0, 2.0]]
    whole = lists(users_llr=users, rank_text=[[1, 2, NAN]], rank_csls=[[NAN, 1, NAN]])
    assert whole.without_text().valid.tolist() == [[False, True, True]]
    x = candidate_features(whole, COUNTS)
    assert np.isnan(x[0, 0]).all()
    assert x[0, 2, FEATURES.index("users_llr_gap")] == -1
    none = lists(users_llr=users)
    assert none.without_text() is none
    held = HeldOut(pa.array(["a"]), whole, np.zeros(1, np.int32), np.zeros(1, int), None, 0)
    assert found_without_text(held) == 0
    assert found_without_text(held._replace(place=np.ones(1, int))) == 1


def use(place, scores, without, n=40):
    """Matches alike, each with candidates 1 to 3 and a text."""
    texts = dict.fromkeys(["users_llr", "text_cosine"], np.ones((n, 3)))
    held = HeldOut(
        pa.array(["a"] * n), lists(**texts), None, np.full(n, place), np.ones(n, bool), 0
    )
    return text_use(held, np.tile(scores, (n, 1)), np.tile(without, (n, 1)), 0)


def test_log_loss_and_top1_by_hand():
    found = use(0, [2.0, 1.0, 0.0], [0.0, 1.0, NEVER])
    assert (found.matches, found.top1, found.top1_without) == (40, 1.0, 0.0)
    own = np.exp(2) / (np.exp(2) + np.exp(1) + 2)
    other = 1 / (1 + np.exp(1) + 1)
    # No list lacks its match: one of 42 by Laplace, spread over the candidates of all lists.
    candidates = 3
    mixed = [-np.log(41 / 42 * p + 1 / 42 / candidates) for p in (own, other)]
    assert (found.log_loss, found.log_loss_without) == pytest.approx(mixed)
    assert found.used
    gain = mixed[0] - mixed[1]
    assert (found.log_loss_gain_low, found.log_loss_gain_high) == pytest.approx((gain, gain))


def test_texts_are_used_where_they_help_and_hurt_nothing():
    assert not use(0, [2.0, 1.0, 0.0], [2.0, 1.0, 0.0]).used
    assert use(0, [3.0, 1.0, 0.0], [2.0, 1.0, 0.0]).used  # log loss alone
    assert not use(0, [0.0, 1.0, 0.0], [2.0, 1.0, 0.0]).used
    # A match that only texts find counts against the scorer without them.
    lacking = use(0, [2.0, 1.0, 0.0], [NEVER, 1.0, 0.0])
    assert lacking.used
    assert lacking.log_loss_without == pytest.approx(-np.log(41 / 42 / 3))


def texts_of(world, chance):
    """Receipt texts, and titles of the whole catalog: the true match's fits, or any does.

    Four catalog items share a title.
    """
    truth = world.truth | {item: item for item in world.holdout["item_id"].to_pylist()}
    listed = sorted({row[0] for row in world.rows if row[0].startswith("fmcg_")})
    rng = np.random.default_rng(5)
    number = rng.permutation(len(listed)) // 4
    named = dict(zip(listed, map(_word, number), strict=True))
    printed = dict(zip(listed, map(_word, rng.permutation(number)), strict=True))
    texts = {item: f"x{(printed if chance else named)[match]}" for item, match in truth.items()}
    empty = dict.fromkeys(CATALOG.names)
    rows = [empty | {"item_id": item, "title": f"Xa{word}o"} for item, word in named.items()]
    return (
        pa.table({"item_id": list(texts), "title": list(texts.values())}),
        pa.Table.from_pylist(rows, schema=CATALOG),
    )


def _word(number):
    return "".join("bcdfghjklm"[int(digit)] for digit in f"{number:03d}")


class Made:
    def __init__(self, chance=False, texts=True):
        self.world = World(matches=150, opaque=150, alone=20, extra=60, noise=1.2)
        data = self.world.data()
        if texts:
            table, catalog = texts_of(self.world, chance)
            data = replace(data, facts=data.facts._replace(texts=table), catalog=catalog)
        self.pool = link_pool(data, POOL)
        self.scorer = fit_scorer(
            self.pool, self.world.vocabulary, self.world.holdout, SETTINGS, seed=0
        )

    def top1(self):
        frame = link_candidates(self.pool, self.world.vocabulary, self.scorer, 1).to_pandas()
        frame = frame[frame.receipt_item.isin(self.world.truth)]
        return (frame.catalog_item == frame.receipt_item.map(self.world.truth)).mean()


@pytest.fixture(scope="module")
def made():
    return {name: Made(**how) for name, how in {
        "good": {}, "bad": {"chance": True}, "none": {"texts": False}
    }.items()}  # fmt: skip


def test_texts_that_help_are_used_and_others_are_not(made):
    good, bad, none = (made[name] for name in ("good", "bad", "none"))
    assert (good.scorer.features, good.scorer.text.used) == (WITH_TEXT, True)
    assert good.scorer.text.top1_gain_low > 0
    assert (bad.scorer.features, bad.scorer.text.used) == (FEATURES, False)
    assert (none.scorer.features, none.scorer.text) == (FEATURES, None)
    assert good.top1() > none.top1() + 0.1
    assert set(good.scorer.importances) == set(WITH_TEXT)


def test_texts_that_are_not_used_leave_the_models_as_they_were(made):
    # Only users_llr_lead knows of the further pairs of the pool.
    bad, none = made["bad"], made["none"]
    same = bad.pool.filter(pa.compute.is_valid(bad.pool["rank_csls"])).num_rows
    assert same == none.pool.filter(pa.compute.is_valid(none.pool["rank_csls"])).num_rows
    assert bad.top1() == pytest.approx(none.top1(), abs=0.05)
    frame = link_candidates(bad.pool, bad.world.vocabulary, bad.scorer, 1).to_pandas()
    keys = ["receipt_item", "catalog_item"]
    first = frame.merge(bad.pool.to_pandas(), on=keys)
    assert first[["rank_csls", "rank_users"]].notna().any(axis=1).all()


def test_a_scorer_with_texts_comes_back_the_same(made, tmp_path):
    scorer = made["good"].scorer
    scorer.save(tmp_path)
    assert LinkScorer.load(tmp_path) == scorer
    text = (tmp_path / "model.txt").read_text()
    (tmp_path / "model.txt").write_text(text.replace("text_users_gap", "other"))
    with pytest.raises(ItemembError, match=r"model.txt has features .*other"):
        LinkScorer.load(tmp_path)


@pytest.mark.parametrize("name", ["good", "bad"])
def test_on_and_off_stand_in_the_evaluation(made, name):
    one = made[name]
    world, use = one.world, one.scorer.text
    table = link_evaluation(
        one.pool, one.scorer, world.holdout, world.vocabulary,
        embeddings=world.embeddings, settings=POOL,
    ).table.to_pylist()  # fmt: skip
    found = {(r["method"], r["metric"]): r["value"] for r in table if r["slice"] == "with_text"}
    assert found["scorer_with_text", "used"] == use.used
    assert found["scorer_with_text", "hit@1"] == use.top1
    assert found["scorer_without_text", "hit@1"] == use.top1_without
    assert found["scorer_with_text", "log_loss_gain"] == use.log_loss - use.log_loss_without
    shown = {r["value"] for r in table if (r["method"], r["metric"]) == ("scorer", "hit@1")
             and r["slice"] == "all"}  # fmt: skip
    assert shown == {use.top1 if use.used else use.top1_without}


def test_logits_of_a_model_without_texts_never_choose_what_only_the_text_found(made):
    one = made["bad"]
    whole = lists(users_llr=[[1.0, 3.0]], rank_text=[[1, 2]], rank_csls=[[NAN, 1]])
    found = logits(whole, COUNTS, one.scorer.model.trees)
    assert found[0, 0] == NEVER < found[0, 1]


def test_texts_names_are_in_the_pool():
    assert set(TEXT_TAKEN) < set(COMPARED)
