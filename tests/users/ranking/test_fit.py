"""The ranking of a fitted model: chosen before the ends, stored with it, listed and evaluated."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.evaluation.users import user_evaluation
from itememb_core.report.ranking import ranking_plot
from itememb_core.settings import RecommendationsSettings, SequenceSettings
from itememb_core.users.model import StoredUserModel
from itememb_core.users.ranking.choice import intervals
from itememb_core.users.ranking.fit import ALONE, COUNTS, SEQUENCE, TOWERS, fit_ranking, parts_of
from itememb_core.users.ranking.lists import make_lists
from itememb_core.users.ranking.parts import Parts, item_facts
from itememb_core.users.ranking.ranker import Ranker, fit_order
from itememb_core.users.recommendations import recommendations
from itememb_core.users.scoring import TowerScores
from itememb_core.users.sequence.fit import fit_sequence_model
from itememb_core.users.shards import pack_histories
from itememb_core.users.training.fit import fit_user_model
from itememb_core.users.validation import validation_slice
from tests.worlds.users import SMALL, habits, histories, items_of, pack

pytestmark = pytest.mark.usefixtures("one_thread")

SEQUENCES = SequenceSettings(dim=8, blocks=1, window=12, negatives=16, batch_events=128,
                             target="next_basket", warmup_steps=5, learning_rate=0.01)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Model with its ranking, ranking, histories, items, rows after the cut."""
    ids, rows = habits(users=80, weeks=12)
    items, cut = items_of(ids), 168 * 10
    folder = tmp_path_factory.mktemp("fit")
    early = [row for row in rows if row[1] < cut]
    packed = pack(folder / "all", early, items)
    held = validation_slice(packed, 7)
    before = pack_histories([histories(early)], items, folder / "before", ends=held.ends)
    model = fit_user_model(before, items, SMALL, seed=0)
    own = TowerScores.of(model.towers, SMALL, packed.item_stats)
    sequence = fit_sequence_model(packed, items, SEQUENCES, seed=0, steps=60, ends=held.ends)
    networks = {TOWERS: own, SEQUENCE: sequence}
    ranking = fit_ranking(networks, packed, items, held, 0)
    model = replace(model, sequence=sequence, strategy="next_basket")
    return model.ranked_by(ranking), ranking, packed, items, [r for r in rows if r[1] >= cut]


def test_packed_up_to_the_ends_it_is_as_if_nothing_came_after(tmp_path):
    ids, rows = habits(users=6, weeks=4)
    rows = [row for row in rows if row[0] != 3] + [(3, 168 * 3, ids[0])]
    items = items_of(ids)
    packed = pack(tmp_path / "all", rows, items)
    ends = validation_slice(packed, 7).ends
    (limit,) = ends.values()
    (shard,) = packed.shards()
    kept = limit - shard.start[:-1]
    assert 0 in kept  # user 3 has nothing before the last week
    seen, short = dict.fromkeys(shard.user_ids.tolist(), 0), []
    for row in rows:
        if seen[row[0]] < kept[shard.user_ids.tolist().index(row[0])]:
            short.append(row)
        seen[row[0]] += 1
    shuffled = histories(rows).take(np.random.default_rng(0).permutation(len(rows)))
    cut = pack_histories([shuffled], items, tmp_path / "cut", ends=ends)
    alone = pack(tmp_path / "alone", short, items)
    assert (cut.events, cut.users) == (alone.events, alone.users)
    assert np.array_equal(cut.item_stats, alone.item_stats)
    for one, other in zip(cut.shards(), alone.shards(), strict=True):
        for name in ("user_ids", "start", "seconds", "pair_key", "occurrence", "decayed"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_the_ranking_is_never_below_its_parts_on_validation(made):
    _, ranking, *_ = made
    value = {each.kind: each.value for each in ranking.choice.tried}
    assert set(value) >= {TOWERS, SEQUENCE, *(each.name for each in COUNTS)}
    assert value[ranking.choice.kind] == max(value.values())
    assert set(ranking.counts) == {each.name for each in COUNTS}
    plot = ranking_plot(ranking.choice, intervals(ranking.choice, 0))
    assert plot.startswith(b"\x89PNG")


def test_settings_and_order_see_nothing_of_what_comes_after_the_slice(made, tmp_path):
    model, ranking, packed, items, later = made
    held = validation_slice(packed, 7)
    parts = Parts(model.networks(packed), {n: c.fit(packed, items, held.ends)
                                  for n, c in ranking.counts.items()},
                  item_facts(packed, held.ends))  # fmt: skip
    lists = make_lists(parts, packed, held, 0)
    assert later
    for kind in ranking.choice.tried[: len(parts.names)]:
        column = lists.columns(f"rank_{kind.kind}")[:, 0]
        assert np.array_equal(lists.ndcg(-column), kind.ndcg)


@pytest.mark.parametrize("rows", [[], [(1, 0, "opaque"), (1, 9, "opaque")], [(1, 0, "fmcg_a")]])
def test_without_anything_to_choose_by_the_towers_rank_alone(rows, tmp_path):
    items = items_of(["fmcg_a", "opaque"])
    packed = pack(tmp_path, rows, items)
    model = fit_user_model(packed, items, SMALL, seed=0)
    held = validation_slice(packed, 7)
    ranking = fit_ranking(model.networks(packed), packed, items, held, 0)
    assert (ranking.counts, ranking.choice.ranker) == ({}, ALONE)
    assert intervals(ranking.choice, 0) == {}


def test_one_item_and_three_users_are_ranked(tmp_path):
    items = items_of(["fmcg_a"])
    packed = pack(tmp_path, [(u, h, "fmcg_a") for u in range(3) for h in (0, 900)], items)
    model = fit_user_model(packed, items, SMALL, seed=0)
    held = validation_slice(packed, 7)
    assert held.users == 3
    model = model.ranked_by(fit_ranking(model.networks(packed), packed, items, held, 0))
    found = pa.concat_tables(recommendations(model, packed, items, RecommendationsSettings(k=5)))
    assert found["item_id"].to_pylist() == ["fmcg_a"] * 3


@pytest.mark.parametrize("kind", ["boosted", "linear", "tifu_knn", SEQUENCE, TOWERS])
def test_stored_it_lists_the_same_and_needs_no_items_to_tell_its_ranking(kind, made, tmp_path):
    model, _, packed, items, _ = made
    held = validation_slice(packed, 7)
    parts = parts_of(model.networks(packed), model.counts, packed, items, held.ends)
    lists = make_lists(parts, packed, held, 0)
    order = fit_order(kind, lists, parts.names, 0)
    model = replace(model, ranker=Ranker(parts.names, TOWERS, order))
    assert list(model.parts(packed, items).logits) == [TOWERS, SEQUENCE]
    model.save(tmp_path)
    stored = StoredUserModel.load(tmp_path)
    assert stored.counts == model.counts
    assert (stored.ranker.parts, stored.ranker.first) == (parts.names, TOWERS)
    assert (stored.strategy, stored.sequence) == ("next_basket", (60, model.sequence.events))
    settings = RecommendationsSettings(k=7)
    lists = [pa.concat_tables(recommendations(each, packed, items, settings))
             for each in (model, stored.with_items(items))]  # fmt: skip
    assert lists[0].equals(lists[1])
    assert lists[0].num_rows == 80 * 7


def test_lists_are_in_the_rankings_order_and_may_leave_out_what_was_seen(made):
    model, _, packed, items, _ = made
    (shard,) = packed.shards()
    users, parts = np.arange(80), model.parts(packed, items)
    assert set(parts.names) == set(model.ranker.parts)
    ((_, scores),) = model.ranker.scores(parts, shard, users, shard.start[1:])
    found = pa.concat_tables(recommendations(model, packed, items, RecommendationsSettings(k=5)))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert found["item_id"].to_pylist() == items.ids(best.ravel()).to_pylist()
    new = RecommendationsSettings(k=30, exclude_seen=True)
    rest = pa.concat_tables(recommendations(model, packed, items, new)).to_pandas()
    for user in (0, 17):
        own = shard.pair_key[shard.pair_key // 30 == user] % 30
        seen = set(items.ids(own).to_pylist())
        mine = set(rest[rest.user_id == user].item_id)
        assert (mine & seen, len(mine)) == (set(), 30 - len(seen))


def test_it_is_evaluated_beside_its_towers(made):
    model, _, packed, items, later = made
    result = user_evaluation(model, packed, items, histories(later), seed=0)
    table = result.table.to_pandas().set_index(["method", "metric", "slice"]).value
    ours = table["user_model", "ndcg@10", "all_repeats"]
    assert ours > 1.1 * table["popularity", "ndcg@10", "all_repeats"]
    assert ours >= 0.95 * max(
        table[n, "ndcg@10", "all_repeats"] for n in ("two_towers", "sequence", "tifu_knn")
    )
    assert table["tifu_knn", "mrr", "all_new"] > 0
    assert f"own_share {model.counts['tifu_knn'].own_share}" in result.chosen["tifu_knn"]


def test_where_nothing_comes_again_what_a_user_had_is_in_no_list(tmp_path):
    ids = [f"fmcg_{n:02d}" for n in range(40)]
    rng = np.random.default_rng(0)
    rows = [(user, 24 * n, ids[item])
            for user in range(60) for n, item in enumerate(rng.permutation(40)[:12])]  # fmt: skip
    items = items_of(ids)
    packed = pack(tmp_path / "packed", rows, items)
    held = validation_slice(packed, 7)
    assert not held.repeats
    model = fit_user_model(packed, items, SMALL, seed=0)
    networks = model.networks(packed)
    lists = make_lists(parts_of(networks, {}, packed, items, held.ends), packed, held, 0)
    assert not lists.columns("own").any()
    model = model.ranked_by(fit_ranking(networks, packed, items, held, 0))
    model.save(tmp_path / "model")
    stored = StoredUserModel.load(tmp_path / "model").with_items(items)
    for each in (model, stored):
        found = pa.concat_tables(
            recommendations(each, packed, items, RecommendationsSettings(k=40))
        ).to_pandas()
        had = {(user, item) for user, _, item in rows}
        assert not had & set(zip(found.user_id, found.item_id, strict=True))
        assert len(found) == 60 * (40 - 12)


def test_what_comes_again_may_be_listed(made):
    model, _, packed, *_ = made
    assert validation_slice(packed, 7).repeats
    assert model.ranker.repeats
