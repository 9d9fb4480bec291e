"""Candidates, lists and orders of rankings: by hand, by planted worlds, and what all promise."""

from dataclasses import replace

import numpy as np
import pytest

from itememb_core.errors import ItemembError
from itememb_core.users.baselines import DecayedFrequency, MarkovChain, Popularity, TifuKnn
from itememb_core.users.baselines.selection import mean_ndcg
from itememb_core.users.ranking.candidates import OWN, blocks, feature_names
from itememb_core.users.ranking.choice import choose_ranker, intervals
from itememb_core.users.ranking.lists import Lists, make_lists
from itememb_core.users.ranking.parts import Parts, item_facts
from itememb_core.users.ranking.ranker import Alone, Ranker, fit_order
from itememb_core.users.validation import validation_slice
from tests.worlds.users import habits, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTS = (DecayedFrequency(), TifuKnn(neighbours=5), MarkovChain(), Popularity())
NAMES = ("logits", *(each.name for each in COUNTS))
KINDS = (*NAMES, "linear", "boosted")


class Planted:
    """Logits of which only those of the world's own favourites are large."""

    def scores(self, shard, users, end):
        return np.tile(np.linspace(0, 1, 30, dtype=np.float32), (len(users), 1))


def parts_of(packed, items, ends=None):
    counts = {each.name: each.fit(packed, items, ends) for each in COUNTS}
    return Parts({"logits": Planted()}, counts, item_facts(packed, ends))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    ids, rows = habits(users=120)
    items = items_of(ids)
    packed = pack(tmp_path_factory.mktemp("ranking"), rows, items)
    held = validation_slice(packed, 7)
    lists = make_lists(parts_of(packed, items, held.ends), packed, held, seed=0)
    return packed, items, held, lists


def by_hand(relevant, scores, start, counts, target=None):
    """Lists of so many candidates, with one feature."""
    n = len(relevant)
    return Lists(
        user=np.arange(len(counts)), start=np.array(start),
        target=np.arange(n) if target is None else np.array(target),
        relevant=np.array(relevant, bool), relevant_count=np.array(counts),
        weight=np.ones(n, np.float32), features=np.zeros((n, 1), np.float32), names=("x",),
    ).ndcg(np.array(scores))  # fmt: skip


def test_ndcg_of_a_list_by_hand():
    # Relevant at places 1 and 3 of three, and a third that is no candidate.
    found = by_hand([1, 0, 1, 0, 1], [3, 2, 1, 9, 8], [0, 3, 5], [3, 1])
    best = 1 + 1 / np.log2(3) + 0.5
    assert found == pytest.approx(np.array([[1.5 / best] * 2, [1 / np.log2(3)] * 2]))
    # Of equal scores the lower target comes first, wherever it stands in the list.
    tied = by_hand([1, 0], [1, 1], [0, 2], [1], target=[5, 4])
    assert tied == pytest.approx(np.array([[1 / np.log2(3)] * 2]))


def test_item_facts_by_hand(tmp_path):
    items = items_of(["fmcg_a", "fmcg_b"])
    # On days 0 and 40: a three times by user 1 (once late), b once by user 2, late.
    rows = [(1, 0, "fmcg_a"), (1, 24, "fmcg_a"), (1, 960, "fmcg_a"), (2, 960, "fmcg_b")]
    facts = item_facts(pack(tmp_path, rows, items))
    assert facts.share == pytest.approx([4 / 6, 2 / 6])
    recent = np.log([0.5, 0.5])
    assert facts.facts == pytest.approx(np.array([
        [2 / 8, np.log(0.5), *recent], [0.0, np.log(0.5), *recent],
    ]))  # fmt: skip


def test_what_comes_after_the_ends_is_not_counted(tmp_path):
    items = items_of(["fmcg_a", "fmcg_b"])
    early = [(1, 0, "fmcg_a"), (1, 1, "fmcg_b"), (2, 3, "fmcg_b")]
    packed = pack(tmp_path / "all", [*early[:2], (1, 900, "fmcg_a"), *early[2:]], items)
    cut = item_facts(packed, {packed.names[0]: np.array([2, 4])})
    alone = item_facts(pack(tmp_path / "early", early, items))
    assert np.array_equal(cut.facts, alone.facts)
    assert np.array_equal(cut.share, alone.share)


def test_features_of_candidates(world):
    packed, items, _, _ = world
    (shard,) = packed.shards()
    parts = parts_of(packed, items)
    ((part, block),) = blocks(parts, shard, np.array([3, 7]), shard.start[[4, 8]])
    assert part == slice(0, 2)
    inside = block.best(depth=2)
    assert inside.sum(axis=1).min() >= 2
    found = block.candidates(inside)
    names = feature_names(parts.names)
    assert found.features.shape == (inside.sum(), len(names))
    column = dict(zip(names, found.features.T, strict=True))
    size = {user: len(set(shard.pair_key[shard.pair_key // 30 == user])) for user in (3, 7)}
    for row, user in enumerate((3, 7)):
        mine = found.row == row
        own = shard.find_pairs(np.full(mine.sum(), user), found.target[mine], 30) >= 0
        assert np.array_equal(column["own"][mine], own)
        assert own.sum() <= size[user]
        assert (found.features[mine][:, [names.index(n) for n in OWN]][~own] == 0).all()
        for name, scores in block.scores.items():
            order = np.argsort(-scores[row, found.target[mine]], kind="stable")
            assert np.expm1(column[f"rank_{name}"][mine][order]) == pytest.approx(
                np.arange(mine.sum()), rel=1e-5
            )
        assert np.expm1(column["user_baskets"][mine]) == pytest.approx(12)
        assert np.expm1(column["user_events"][mine]) == pytest.approx(24)


def test_shares_of_a_part_sum_to_one(world):
    packed, items, _, _ = world
    (shard,) = packed.shards()
    parts, users = parts_of(packed, items), np.arange(5)
    row, target = np.divmod(np.arange(5 * 30), 30)
    for name, scores in parts.scores(shard, users, shard.start[users + 1]):
        shares = np.exp(parts.log_shares(name, scores, row, target)).reshape(5, 30)
        assert shares.sum(axis=1) == pytest.approx(1, rel=1e-5), name


def test_lists_hold_what_users_took(world):
    packed, _, held, lists = world
    (each,) = held.shards.values()
    (shard,) = packed.shards()
    assert len(lists) == len(each.users) > 100
    for row, (user, truth) in enumerate(zip(each.users, each.truth(), strict=True)):
        mine = lists.row == row
        assert lists.user[row] == shard.user_ids[user]
        assert lists.relevant_count[row] == len(truth.all())
        assert set(lists.target[mine & lists.relevant]) == set(truth.all())  # 30 targets: all
    assert (lists.weight == 1).all()


def test_drawn_targets_stand_for_those_that_were_not(tmp_path, monkeypatch):
    monkeypatch.setattr("itememb_core.users.ranking.lists.DEPTH", 3)
    monkeypatch.setattr("itememb_core.users.ranking.lists.OTHERS", 6)
    ids, rows = habits(users=20)
    items = items_of(ids)
    packed = pack(tmp_path, rows, items)
    held = validation_slice(packed, 7)
    lists = make_lists(parts_of(packed, items, held.ends), packed, held, seed=0)
    stands_for = np.bincount(lists.row, lists.weight)
    assert stands_for == pytest.approx(30)


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_ranks_all_targets_and_its_candidates_first(kind, world):
    packed, items, _, lists = world
    (shard,) = packed.shards()
    users = np.array([2, 5, 9])
    order = fit_order(kind, lists, NAMES, 0)
    ranker = Ranker(NAMES, "decayed_frequency", order)
    parts = parts_of(packed, items)
    ((_, scores),) = ranker.scores(parts, shard, users, shard.start[users + 1], depth=4)
    assert scores.shape == (3, 30)
    assert np.isfinite(scores).all()
    candidates = (scores > 0).sum(axis=1)
    assert (candidates >= 4).all()
    assert (candidates < 30).all()
    ((_, new),) = ranker.scores(
        parts, shard, users, shard.start[users + 1], depth=4, without_own=True
    )
    own = np.stack([shard.find_pairs(np.full(30, user), np.arange(30), 30) >= 0 for user in users])
    assert np.array_equal(np.isneginf(new), own)
    assert ((new > 0).sum(axis=1) >= np.minimum(4, (~own).sum(axis=1))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_written_and_read_does_the_same(kind, world, tmp_path):
    packed, items, _, lists = world
    (shard,) = packed.shards()
    ranker = Ranker(NAMES, "popularity", fit_order(kind, lists, NAMES, 0))
    ranker.save(tmp_path)
    again = Ranker.load(tmp_path)
    assert (again.parts, again.first) == (ranker.parts, ranker.first)
    users = np.arange(20)
    found = [next(each.scores(parts_of(packed, items), shard, users, shard.start[1:21]))[1]
             for each in (ranker, again)]  # fmt: skip
    assert np.array_equal(*found)


def test_trees_of_other_features_are_an_error(world):
    packed, items, _, lists = world
    (shard,) = packed.shards()
    ranker = Ranker(NAMES, "popularity", fit_order("boosted", lists, NAMES, 0))
    whole = parts_of(packed, items)
    fewer = replace(whole, amounts={n: p for n, p in whole.amounts.items() if n != "tifu_knn"})
    with pytest.raises(ItemembError, match="log_tifu_knn"):
        next(ranker.scores(fewer, shard, np.array([0]), shard.start[1:2]))


def test_the_choice_is_the_best_out_of_fold_and_never_below_a_part(world):
    packed, items, held, lists = world
    choice = choose_ranker(lists, NAMES, 0)
    value = {each.kind: each.value for each in choice.tried}
    assert list(value) == list(KINDS)
    assert value[choice.kind] == max(value.values())
    assert choice.ranker.first == max(NAMES, key=value.__getitem__)
    # A part alone is judged as it is on whole rankings.
    fitted = parts_of(packed, items, held.ends).amounts["decayed_frequency"]
    assert value["decayed_frequency"] == pytest.approx(mean_ndcg(fitted, packed, held))
    found = intervals(choice, 0)
    assert set(found) == set(KINDS) - {choice.kind}
    low, high = found["popularity"]
    assert low < value["popularity"] - value[choice.kind] < high < 0


def test_learned_orders_find_what_no_part_knows(world):
    """Of each user's own items those are right that popularity has last: no part says so."""
    _, _, _, lists = world
    rare = lists.columns("rank_popularity")[:, 0]
    own = lists.columns("own")[:, 0] > 0
    relevant = np.zeros(len(own), bool)
    for row in range(len(lists)):
        mine = np.flatnonzero((lists.row == row) & own)
        relevant[mine[np.argmax(rare[mine])]] = True
    planted = replace(lists, relevant=relevant, relevant_count=np.ones(len(lists), np.int64))
    choice = choose_ranker(planted, NAMES, 0)
    value = {each.kind: each.value for each in choice.tried}
    assert choice.kind in ("linear", "boosted")
    assert value["linear"] > 0.9 > max(value[name] for name in NAMES)


def test_few_users_fit_nothing(world):
    _, _, _, lists = world
    few = lists.take(np.arange(len(lists)) < 49)
    choice = choose_ranker(few, NAMES, 0)
    assert [each.kind for each in choice.tried] == list(NAMES)
    assert isinstance(choice.ranker.order, Alone)
    assert choice.ranker.parts == (choice.kind,)
    none = choose_ranker(lists.take(np.zeros(len(lists), bool)), NAMES, 0)
    assert none.kind == NAMES[0]
    assert intervals(none, 0) == {}
