"""Vectors of items without interactions: paths, the network, baselines, validation, blending."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.features.cold.baselines import CategoryMeans, apart, content_means
from itememb_core.features.cold.blend import HALVES, Blend, blended, half_of_belief
from itememb_core.features.cold.fit import FeatureData, fit_feature_model
from itememb_core.features.cold.inputs import NodeInputs, Paths, paths_of
from itememb_core.features.cold.methods import PLAIN
from itememb_core.features.cold.model import FeatureModel, belief
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.cold.training import channel_draws
from itememb_core.features.cold.validation import (
    ColdFigures,
    Query,
    cold_figures,
    hidden_nodes,
    popularity_apart,
    queries,
)
from itememb_core.items.training.data import Pairs
from tests.worlds.cold import SETTINGS, feature_world
from tests.worlds.links import vocabulary_table


def test_a_path_begins_with_the_domain_and_ends_where_the_item_is():
    vocabulary = vocabulary_table(
        [
            ("fmcg_1", "all", "retail", 0, 1, 0, 0),
            ("fmcg_1", "receipts", "retail", 1, 0, 0, 0),
            ("fmcg_2", "all", "retail", 0, 1, 0, 0),
            ("nfmcg_3", "all", "marketplace", 0, 0, 1, 0),
        ]
    )
    categories = pa.table(
        {
            "item_id": ["fmcg_1", "fmcg_2", "nfmcg_3"],
            "category_path": pa.array([["a", "b"], ["a"], None], pa.list_(pa.string())),
        }
    )
    paths = paths_of(vocabulary, categories)
    names = [paths.names[number].replace("\x1f", "/") for number in paths.deepest]
    assert names == ["retail/a/b", "retail", "retail/a", "marketplace"]
    assert paths.depth[paths.deepest].tolist() == [2, 0, 1, 0]
    lineage = paths.lineage()[paths.deepest[0]]
    above = [paths.names[number].replace("\x1f", "/") for number in lineage]
    assert above == ["retail", "retail/a", "retail/a/b"]


def behaviour(values) -> Behaviour:
    """Embeddings along given axes; context and bias as told."""
    rows = np.asarray(values, np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Behaviour(unit, 2 * unit, np.arange(len(rows), dtype=np.float32))


def test_a_category_without_items_has_its_parents_mean():
    # 0 is the root; 1 and 2 lie under it; items 0 and 1 are in 1, item 2 wants a vector in 2.
    paths = Paths(["r", "r/1", "r/2"], np.array([-1, 0, 0]), np.array([1, 1, 2]))
    own = behaviour([[1, 0], [1, 0], [0, 1]])
    weight = np.ones(3, np.float32)
    means = CategoryMeans(paths, own, weight, np.array([0, 1]))
    found = apart(means.of(np.array([0, 2])))
    assert np.allclose(found.embedding, [[1, 0], [1, 0]])
    # Root: biases 0 and 1, drawn to their mean of 0.5; category 1 likewise; 2 has its parent's.
    assert np.allclose(found.bias, [0.5, 0.5])
    # Without item 0: root (1 + 2 * 0.5) / 3, then category 1 (1 + 2 * 2/3) / 3.
    left = apart(means.of(np.array([0]), leave_out=True))
    assert np.allclose(left.bias, [7 / 9])


def test_the_nearest_by_content_are_averaged():
    features = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.05]], np.float32)
    paths = Paths(["r"], np.array([-1]), np.zeros(4, np.int64))
    inputs = NodeInputs(features, np.ones((4, 1), bool), {"text": 2}, paths)
    own = behaviour([[1, 0], [1, 0], [0, 1], [0, 1]])
    found = content_means(inputs, own, np.array([0, 1]), np.array([3]))
    assert np.allclose(found.embedding, [[1, 0]])
    assert np.allclose(found.bias, [0.5])


def test_hits_are_ranks_among_the_hidden_items_alone():
    contexts = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    asked = [Query(1, np.array([2, 3]), np.array([0, 1]), np.array([0, 0]))]
    places = Behaviour(
        np.array([[1, 0], [0, 1]], np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(2, np.float32),
    )
    (found,) = cold_figures(asked, contexts, np.array([2, 3]), {"features": places})
    # Query 0 asks for node 2 along the axis it lies on; query 1 asks for it along the other's.
    assert found.hits["features"].tolist() == [True, False]
    assert (found.at, found.candidates, found.chance) == (1, 2, 0.5)


def figures_of(**hits: NDArray[np.bool_]) -> ColdFigures:
    """Hits of the named methods; the others have none."""
    size = len(next(iter(hits.values())))
    every = {name: np.zeros(size, bool) for name in PLAIN} | hits
    return ColdFigures(1, 10, 100, every)


def test_the_best_of_several_is_judged_on_queries_that_it_was_not_chosen_on():
    rng = np.random.default_rng(0)
    said = 0
    for _ in range(200):
        noise = {name: rng.random(400) < 0.1 for name in PLAIN}  # as chance has it
        said += figures_of(**noise).helps(rng)
    assert said <= 12  # 2.5 % of 200 is 5; the best of five on all queries said so 19 times
    assert figures_of(features=rng.random(400) < 0.2).helps(rng)
    assert figures_of(features=np.ones(400, bool)).best() == "features"
    assert not figures_of(features=np.ones(99, bool)).helps(rng)  # too few


def test_hidden_items_are_asked_for_by_pairs_that_training_did_not_see():
    def pairs_to(candidate: int, size: int) -> Pairs:
        return Pairs(
            np.zeros(size, np.int32), np.full(size, candidate, np.int32), np.zeros(size, np.int8),
            np.ones(size, np.float32),
        )  # fmt: skip

    counts = np.ones((3, 4), np.int64)
    hidden, rng = np.array([1, 2]), np.random.default_rng(0)
    (asked,) = queries(pairs_to(1, 200), pairs_to(2, 200), hidden, counts, rng)
    assert set(asked.target.tolist()) == {0}  # node 1, of the validation days
    (asked,) = queries(pairs_to(1, 99), pairs_to(2, 200), hidden, counts, rng)
    assert set(asked.target.tolist()) == {1}  # too few of them: node 2, of training


def test_draws_are_directed_and_only_of_candidates_asked_by_others():
    pairs = Pairs(
        np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.zeros(2, np.int8),
        np.array([1.0, 3.0], np.float32),
    )  # fmt: skip
    (draw,) = channel_draws(pairs, np.array([1]), 3, banned=np.array([0]))
    assert (draw.query.tolist(), draw.candidate.tolist()) == ([2], [1])
    (both,) = channel_draws(pairs, np.array([1, 2]), 3)
    assert sorted(zip(both.query.tolist(), both.candidate.tolist(), strict=True)) == [
        (0, 1),
        (1, 2),
        (2, 1),
    ]
    assert np.allclose(np.exp(both.log_share[[1, 2]]), [4 / 7, 3 / 7])


@given(st.integers(0, 50), st.sampled_from([0.0, 1.0, 10.0]))
def test_an_item_speaks_for_itself_by_its_interactions(n, half):
    own, predicted = behaviour([[1, 0]]), behaviour([[0, 1]])
    total = np.array([n])
    found = blended(own, predicted, total, np.array([True]), half)
    share = (n / (n + half) if half else 1.0) if n else 0.0
    assert np.allclose(found.context, share * own.context + (1 - share) * predicted.context)
    assert np.isclose(np.linalg.norm(found.embedding), 1)
    fixed = blended(own, predicted, total, np.array([False]), half)
    assert np.array_equal(fixed.embedding, own.embedding)


def test_rare_items_lean_on_their_features_unless_links_are_lost_by_it():
    """Features put rare items where their group is: right for pairs, blind for who is who."""
    rng, items = np.random.default_rng(0), 300
    group = np.arange(items) % 3
    centre = 3 * np.eye(8, dtype=np.float32)[group]
    noisy = centre + 1.5 * rng.normal(size=(items, 8)).astype(np.float32)
    unit = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    bias = np.zeros(items, np.float32)
    own, predicted = Behaviour(unit, centre, bias), Behaviour(centre / 3, centre, bias)
    counts = np.full((items, 1), 2)
    blend = Blend(own, predicted, counts[:, 0], np.ones(items, bool))
    a, b = rng.choice(items, (2, 20_000)).astype(np.int32)
    same = (group[a] == group[b]) & (a != b)
    recent = Pairs(a[same], b[same], np.zeros(same.sum(), np.int8),
                   np.ones(same.sum(), np.float32))  # fmt: skip
    alone = half_of_belief(blend, counts, recent, np.empty((0, 2), np.int64), rng)
    assert alone.chosen > 0
    assert [len(alone.links[half]) for half in HALVES] == [0] * len(HALVES)
    receipts = Behaviour(*(np.concatenate([each, each]) for each in own))
    both = Behaviour(*(np.concatenate([each, each]) for each in predicted))
    twice = np.tile(counts, (2, 1))
    able = np.arange(2 * items) < items
    nodes = np.stack([np.arange(items) + items, np.arange(items)], axis=1)
    found = half_of_belief(Blend(receipts, both, twice[:, 0], able), twice, recent, nodes, rng)
    assert found.links[0.0].mean() == 1.0
    assert found.links[alone.chosen].mean() < 1.0
    assert found.chosen == 0.0


def test_hidden_nodes_are_a_share_of_the_warm_ones():
    warm = np.arange(10, 110)
    found = hidden_nodes(warm, 0.1, np.random.default_rng(0))
    assert len(found) == 10
    assert np.isin(found, warm).all()
    assert (np.diff(found) > 0).all()


@pytest.fixture(scope="module")
def fitted() -> tuple[FeatureData, FeatureModel]:
    data = feature_world()
    return data, fit_feature_model(data, SETTINGS, 0)


def base_of(data, nodes) -> np.ndarray:
    """Means of the categories of nodes."""
    weight = belief(data.total)
    return CategoryMeans(data.inputs.paths, data.own, weight, data.warm).of(nodes)


def test_cold_items_lie_where_their_group_does(fitted):
    data, model = fitted
    cold = np.arange(360, 400)
    found = model.on(data.inputs).predict(data.inputs, base_of(data, cold), cold)
    cosine = (found.embedding * data.own.embedding[cold]).sum(axis=1)
    random = np.roll(data.own.embedding, 7, axis=0)[cold]
    assert cosine.mean() > 0.6
    assert cosine.mean() > (found.embedding * random).sum(axis=1).mean() + 0.3


def test_validation_says_what_hidden_items_showed(fitted):
    _, model = fitted
    rows = {(m, x, s): v for m, x, s, v, *_ in model.choices["figures"]}
    slice_ = "hidden items, retail"
    assert rows["features", "hit@3", slice_] > 2 * rows["random", "hit@3", slice_]
    assert rows["candidates", "n", slice_] == 36
    # All items of this world are as popular: knowing it changes little.
    known = rows["features, own popularity", "hit@3", slice_]
    assert known == pytest.approx(rows["features", "hit@3", slice_], abs=0.1)
    assert model.choices["cold"] == {"retail": True}
    assert ("likeness share 0.5", "features_cosine@10", "hidden features") in rows


def test_popularity_is_told_apart_from_place():
    own, found = (Behaviour(*(np.full((2, n), v, np.float32) for n in (3, 3)),
                            np.full(2, v, np.float32)) for v in (1, 2))  # fmt: skip
    parts = popularity_apart(own, found)
    assert [(each.embedding[0, 0], each.bias[0]) for each in parts.values()] == [(2, 1), (1, 2)]
    assert list(parts) == ["features, own popularity", "warm, predicted popularity"]


def test_the_same_seed_gives_the_same_model_and_files_keep_it(fitted, tmp_path):
    data, model = fitted
    again = fit_feature_model(data, SETTINGS, 0)
    model.save(tmp_path)
    loaded = FeatureModel.load(tmp_path)
    assert loaded.choices == model.choices == again.choices
    nodes = np.arange(400)
    wanted = model.on(data.inputs).predict(data.inputs, base_of(data, nodes), nodes)
    for each in (again, loaded):
        found = each.on(data.inputs).predict(data.inputs, base_of(data, nodes), nodes)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert np.array_equal(loaded.space.axes, model.space.axes)


def test_a_final_fit_keeps_the_choices_and_hides_nothing(fitted):
    data, model = fitted
    final = fit_feature_model(data, SETTINGS, 0, like=model.choices)
    assert final.choices is model.choices


def test_features_of_another_width_are_refused(fitted):
    data, model = fitted
    (block,) = data.inputs.dims
    wide = data.inputs._replace(dims={block: 11})
    wanted = rf"features have 11 columns \({block} 11\), expected 8 \({block} 8\)"
    with pytest.raises(ItemembError, match=wanted):
        model.on(wide)
    parted = data.inputs._replace(dims={block: 5, "other": 3})
    with pytest.raises(ItemembError, match=rf"8 columns \({block} 5, other 3\), expected 8"):
        model.check(parted.dims)


def test_too_few_items_and_no_use_are_said():
    few = fit_feature_model(feature_world(items=60, cold=40), SETTINGS, 0)
    assert few.trained is None
    assert "20 catalog items have both features and interactions" in few.reason
    never = SETTINGS.model_copy(update={"use": "never", "likeness": "never"})
    assert fit_feature_model(feature_world(), never, 0).reason.endswith("are never")


def test_belief_is_a_half_at_twenty_interactions():
    assert np.allclose(belief(np.array([0, 20, 180])), [0, 0.5, 0.9])
