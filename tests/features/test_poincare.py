"""Vectors of category trees: the ball's formulas, the gradient, trees of all shapes, measures."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.features.categories import poincare
from itememb_core.features.categories import training as poincare_training
from itememb_core.features.categories.hierarchy import Hierarchy
from itememb_core.features.categories.measures import (
    HeldOut,
    ParentHits,
    Ranking,
    held_out,
    link_prediction,
    parent_hits,
    reconstruction,
)
from itememb_core.features.categories.poincare import (
    FACTS,
    VECTORS,
    FlatEmbedding,
    PoincareEmbedding,
    fit_flat,
    fit_poincare,
)
from itememb_core.features.categories.space import (
    MAX_RADIUS,
    Ball,
    Flat,
    added,
    distance,
    log_at_origin,
)
from itememb_core.features.categories.start import laid_out, nested
from itememb_core.features.categories.training import batch_of, loss_gradient, rate_at, trained
from itememb_core.progress import silent

#: A root, two branches, five leaves.
SMALL = [("b", "a"), ("c", "a"), ("d", "b"), ("e", "b"), ("f", "c"), ("g", "c"), ("h", "c")]


def random_tree(nodes: int, seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(i, int(rng.integers(0, i))) for i in range(1, nodes)]


def on_a_line(*places: float) -> FlatEmbedding:
    return FlatEmbedding(tuple(range(len(places))), np.array(places)[:, None])


def test_distances_computed_by_hand():
    x = np.array([[0.0, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.5, 0.0]])
    wanted = [math.log(3), 2 * math.log(3), math.acosh(25 / 9), 0.0]
    np.testing.assert_allclose(distance(x, np.array([0.5, 0.0])), wanted, rtol=1e-14)
    np.testing.assert_allclose(Ball().near(x, x[3:]).distance[:, 0], wanted, rtol=1e-14)
    # far out, and near each other there: one geodesic through the origin
    far = np.tanh(np.array([[15.0], [15.001]]) / 2)
    np.testing.assert_allclose(distance(far[0], far[1]), 0.001, rtol=1e-4)


def test_tangent_vectors_computed_by_hand():
    points = np.array([[0.5, 0.0], [-0.3, 0.4], [0.0, 0.0]])
    wanted = np.array([[1.0, 0.0], [-0.6, 0.8], [0.0, 0.0]]) * math.log(3)
    np.testing.assert_allclose(log_at_origin(points), wanted, rtol=1e-14)


def test_a_step_and_a_gradient_computed_by_hand():
    origin, half = np.zeros((1, 2)), np.array([[0.5, 0.0]])
    moved = Ball().moved(origin, np.array([[math.log(3), 0.0]]))
    np.testing.assert_allclose(moved, half, rtol=1e-14)
    # d(0, x) = 2 artanh x falls by 2 / (1 - 0.25) a coordinate: by 1 a unit of distance
    gradient = np.array([[2 / 0.75, 0.0]])
    np.testing.assert_allclose(Ball().direction(half, gradient), [[1.0, 0.0]], rtol=1e-14)
    np.testing.assert_allclose(added(half, half), [[0.8, 0.0]], rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 8.0), st.floats(1e-3, 6.0))
def test_a_step_is_as_long_as_it_says_and_translations_keep_distances(seed, radius, length):
    rng = np.random.default_rng(seed)
    ways = rng.normal(size=(3, 4))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    point, by = np.tanh(radius / 2) * ways[:1], length * ways[1:2]
    after = Ball().moved(point, by)
    assert distance(point, after)[0] == pytest.approx(length, rel=1e-5)
    other = 0.7 * ways[2:]
    kept = distance(added(point, other), after)[0]
    assert kept == pytest.approx(distance(other, added(-point, after))[0], rel=1e-4, abs=1e-6)


def test_no_step_leaves_the_ball():
    after = Ball().moved(np.array([[0.9, 0.0], [0.0, 0.0]]), np.array([[900.0, 0.0], [0.0, -50.0]]))
    np.testing.assert_allclose(np.linalg.norm(log_at_origin(after), axis=1), MAX_RADIUS, rtol=1e-4)


@pytest.mark.parametrize("space", [Ball(), Flat()])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_gradient_is_that_of_differences(space, temperature):
    graph = Hierarchy.of([*SMALL, ("d", "a"), ("h", "b")])
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 3))
    batch = batch_of(graph, np.array([3, 5, 7]), np.array([0, 1, 2, 3, 5, 6, 7]))
    assert 4 not in batch.others
    found = np.zeros_like(points)
    found[batch.others] = loss_gradient(space, points, batch, temperature)[1]
    wanted = np.zeros_like(points)
    for at in np.ndindex(*points.shape):
        losses = []
        for shift in (1e-6, -1e-6):
            moved = points.copy()
            moved[at] += shift
            losses.append(loss_gradient(space, moved, batch, temperature)[0])
        wanted[at] = (losses[0] - losses[1]) / 2e-6
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_the_loss_computed_by_hand():
    # 0 wants 1 (at ln 3), against 2 (at 2 ln 3 of the other side): 1/3 / (1/3 + 1/9) = 3/4
    points = np.array([[0.0], [0.5], [-0.8]])
    batch = batch_of(Hierarchy.of([(0, 1), (2, 2)]), np.array([0]), np.arange(3))
    assert loss_gradient(Ball(), points, batch, 1.0)[0] == pytest.approx(math.log(4 / 3))
    # twice the distances: 1/9 / (1/9 + 1/81)
    assert loss_gradient(Ball(), points, batch, 0.5)[0] == pytest.approx(math.log(10 / 9))


def test_a_batch_holds_its_pairs_and_never_a_query_against_itself():
    graph = Hierarchy.of([*SMALL, ("d", "a")])
    batch = batch_of(graph, np.array([1, 3]), np.array([6, 6]))
    assert batch.others.tolist() == [0, 1, 3, 6]
    assert batch.wanted.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    assert batch.against.tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]


def test_the_rate_rises_holds_and_falls():
    rates = [rate_at(past) for past in (0.0, 0.05, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(np.array(rates) / poincare_training.RATE, [0.1, 1, 1, 0.5, 0.01])


def test_a_small_tree_is_found_whole_and_stored(tmp_path):
    model = fit_poincare([*SMALL, *SMALL, ("a", "a")], 3)
    assert model.ids == tuple("abcdefgh")
    assert parent_hits(model, SMALL) == ParentHits(1.0, 1.0, 1.0, 7)
    assert np.linalg.norm(model.vectors, axis=1).max() < 1
    # a root is at the origin, and deeper nodes farther out
    depth = np.linalg.norm(model.tangent(), axis=1)
    assert depth[0] == 0
    assert depth[1:3].max() < depth[3:].min()
    model.save(tmp_path)
    again = PoincareEmbedding.load(tmp_path)
    assert (again.ids, again.facts) == (model.ids, model.facts)
    assert again.vectors.tobytes() == model.vectors.tobytes()


def test_distances_by_name():
    model = fit_poincare(SMALL, 3)
    assert model.distance("a", "b").shape == ()
    rows = model.distance(["d", "e", "d"], "b")
    assert rows.shape == (3,)
    assert rows[0] == rows[2] == pytest.approx(model.between(np.array([3]), np.array([1]))[0, 0])
    with pytest.raises(ItemembError, match="no node 'x', expected one of 8"):
        model.distance("x", "a")


@pytest.mark.parametrize(
    "edges",
    [
        [(i + 1, i) for i in range(40)],
        [(i + 1, i) for i in range(40)] + [(100 + i, i) for i in range(40)],
        [(i + 1, i) for i in range(300)],
        [(i, 0) for i in range(1, 300)],
        [*random_tree(300, 1), (1000, 999), (1001, 999)],
        [(i, (i - 1) // 2) for i in range(1, 255)],
    ],
    ids=["40 levels", "40 levels with leaves", "300 levels", "star", "two trees", "halves"],
)
def test_every_parent_of_a_tree_is_nearest(edges):
    model = fit_poincare(edges, 15, steps=0)
    assert parent_hits(model, edges)[:3] == (1.0, 1.0, 1.0)
    assert model.facts["map"] == 1.0
    # so far from the edge that float32 holds them
    assert np.linalg.norm(model.vectors, axis=1).max() < 1 - 1e-5


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 80), st.integers(0, 1000))
def test_every_parent_of_any_tree_is_nearest(nodes, seed):
    edges = random_tree(nodes, seed)
    assert parent_hits(fit_poincare(edges, 15, steps=0), edges).hit_at_1_of_all == 1.0


def test_one_node():
    model = fit_poincare([("only", "only")])
    assert model.ids == ("only",)
    assert model.vectors.tolist() == [[0.0] * 15]
    assert model.tangent().tolist() == [[0.0] * 15]
    assert reconstruction(model, [("only", "only")]) == Ranking(1.0, 1.0)


def test_two_parents_are_both_near():
    edges = [*random_tree(60, 3), (59, 2), (58, 3), (57, 4), (56, 1)]
    layout, model = fit_poincare(edges, 5, steps=0), fit_poincare(edges, 5, steps=600)
    assert layout.facts["map"] < 1
    assert model.facts["map"] > max(0.995, layout.facts["map"])
    assert model.facts["map"] == reconstruction(model, edges).map
    assert model.facts["steps"] == 600


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 80), st.integers(0, 1000), st.integers(3, 6))
def test_every_closure_of_a_tree_is_given_back(nodes, seed, dim):
    edges = Hierarchy.of(random_tree(nodes, seed)).closure().pairs
    model = fit_poincare(edges, dim, steps=0)
    # ancestors are nearer than all other nodes, descendants among them
    assert reconstruction(model, edges) == Ranking(1.0, 1.0)


def test_caps_hold_by_the_hand_computed_angle():
    # one child of the root: its cap is 0.95 * 1.4 wide, and the origin as far from the rim as it
    points = nested(Hierarchy.of([("b", "a"), ("c", "b")]), 3, 0)
    assert points[0].tolist() == [0, 0, 0]
    assert np.linalg.norm(points[1]) == pytest.approx(math.cos(0.95 * 1.4))
    # of two places in the cap, half as wide as it, one is taken, off its centre
    assert np.linalg.norm(points[2]) == pytest.approx(math.cos(0.95 * 0.95 * 1.4 / 2))
    turn = points[1] @ points[2] / np.linalg.norm(points[1]) / np.linalg.norm(points[2])
    assert math.acos(turn) == pytest.approx(0.95 * 1.4 / 2)
    # 40 levels leave no room
    assert nested(Hierarchy.of([(i + 1, i) for i in range(40)]), 3, 0) is None


def test_the_closure_of_two_trees_and_one_too_deep_for_caps():
    two = [*random_tree(50, 1), (1000, 999), (1001, 1000)]
    edges = Hierarchy.of(two).closure().pairs
    assert reconstruction(fit_poincare(edges, 5, steps=0), edges) == Ranking(1.0, 1.0)
    deep = Hierarchy.of([(i + 1, i) for i in range(30)] + [(99 + i, i) for i in range(30)])
    edges = deep.closure().pairs
    model = fit_poincare(edges, 5, steps=300)
    assert model.facts["map"] > 0.8 > model.facts["layout_map"]


#: A closure in which some nodes have a second parent.
SECOND = Hierarchy.of([*random_tree(60, 5), (59, 2), (58, 3), (40, 35), (45, 44)]).closure().pairs


def test_a_closure_is_trained_from_its_layout_and_direct_pairs_from_near_the_origin(monkeypatch):
    starts = []

    def started(_graph, start, *_others):
        starts.append(start)
        return start, 0.5

    monkeypatch.setattr(poincare, "trained", started)
    layout = fit_poincare(SECOND, 5)
    assert starts[0].tobytes() == layout.vectors.tobytes()
    assert layout.facts["steps"] == 0  # as good is no better
    fit_poincare([*random_tree(60, 5), (59, 2)], 5)
    assert np.linalg.norm(log_at_origin(starts[1]), axis=1).max() <= poincare.SHORT[1] + 1e-9


@pytest.mark.parametrize("most", [10, 100])
def test_training_brings_second_parents_near_also_by_drawn_negatives(most, monkeypatch):
    monkeypatch.setattr(poincare_training, "MOST_NODES", most)
    monkeypatch.setattr(poincare_training, "DRAWN", 20)
    said = []
    model = fit_poincare(SECOND, 5, steps=600, progress=lambda *what: said.append(what))
    assert model.facts["map"] > max(0.97, model.facts["layout_map"])
    assert said == [("category vectors", 500, 600), ("category vectors", 600, 600)]


@pytest.mark.parametrize("most", [10, 100])
def test_the_same_seed_gives_the_same_bytes(most, monkeypatch):
    monkeypatch.setattr(poincare_training, "MOST_NODES", most)
    graph = Hierarchy.of(SECOND)
    start = laid_out(graph, 5, 0, 3.0, 19.0)
    first, again, other = (
        trained(graph, start, Ball(), 60, seed, silent)[0].tobytes() for seed in (0, 0, 1)
    )
    assert first == again != other
    monkeypatch.setattr(poincare_training, "DRAWN", 1)
    fewer = trained(graph, start, Ball(), 60, 0, silent)[0].tobytes()
    assert (fewer == first) == (most == 100)
    first, again, other = (fit_poincare(SECOND, 5, steps=0, seed=seed) for seed in (0, 0, 1))
    assert first.vectors.tobytes() == again.vectors.tobytes() != other.vectors.tobytes()


def test_flat_vectors_are_trained_too():
    edges = random_tree(40, 2)
    flat = fit_flat(edges, 5, steps=400)
    assert parent_hits(fit_flat(edges, 5, steps=0), edges).hit_at_1 < 0.3
    assert parent_hits(flat, edges).hit_at_1 > 0.6
    assert fit_flat([(1, 1)], 5).vectors.shape == (1, 5)


@pytest.mark.parametrize(
    ("edges", "named"),
    [
        ([("b", "a"), ("c", "b"), ("a", "c"), ("d", "a")], "a cycle of 3: a -> c -> b -> a,"),
        ([(1, 2), (2, 1), (2, 3)], "a cycle of 2: 1 -> 2 -> 1,"),
        ([(1, 2), (2, 3), (3, 2)], "a cycle of 2: 2 -> 3 -> 2,"),
        ([(i, (i + 1) % 30) for i in range(30)], r"a cycle of 30: 0 -> 1 .* 11 -> \.\.\.,"),
        ([], "none given"),
        ([("a", 1)], "several kinds"),
        ([("a", "b", "1"), ("c", "b", "1")], r"number 0 is \('a', 'b', '1'\), expected \(child"),
        ([("a", "b"), "cb"], "number 1 is 'cb', expected"),
        ([1, 2], "number 0 is 1, expected"),
    ],
)
def test_no_tree(edges, named):
    for fit in (fit_poincare, fit_flat):
        with pytest.raises(ItemembError, match=named):
            fit(edges)


@pytest.mark.parametrize(("wrong", "named"), [({"dim": 1}, "dim is 1"), ({"steps": -1}, "steps")])
def test_wrong_settings(wrong, named):
    with pytest.raises(ItemembError, match=named):
        fit_poincare(SMALL, **wrong)


def test_levels_closure_and_main_parents_of_two_parents():
    graph = Hierarchy.of([("c", "b"), ("b", "a"), ("c", "a"), ("d", "c"), ("d", "x")])
    assert graph.ids == ("a", "b", "c", "d", "x")
    assert Hierarchy.of([*graph.pairs, *graph.pairs, ("a", "a")]).pairs == graph.pairs
    assert graph.levels.tolist() == [0, 1, 2, 3, 0]
    assert graph.main_parent.tolist() == [-1, 0, 1, 2, -1]
    closed = graph.closure().pairs
    assert [p for p in closed if p[0] == "d"] == [("d", "a"), ("d", "b"), ("d", "c"), ("d", "x")]
    assert Hierarchy.of(closed).closure().pairs == closed
    # of two parents of one level, the first
    assert Hierarchy.of([(3, 2), (3, 1)]).main_parent.tolist() == [-1, -1, 0]


def test_hits_computed_by_hand():
    # 0 - 1 - 2 by parent; of 1, the child 2 is nearer than the parent 0, and 3 is far
    edges = [(1, 0), (2, 1), (3, 0)]
    found = parent_hits(on_a_line(0.0, 2.0, 3.0, 9.0), edges)
    assert found == ParentHits(2 / 3, 1 / 3, (1 + 1 + 3) / 3, 3)
    # vectors that are all alike find nothing: ties count against the parent
    assert parent_hits(on_a_line(1.0, 1.0, 1.0, 1.0), edges).hit_at_1 == 0.0


def test_reconstruction_computed_by_hand():
    # 2 has 0 and 1, at 3 and 1; against them 3, at 2, and its own child 4, at 0.5
    vectors = on_a_line(0.0, 2.0, 3.0, 5.0, 3.5)
    edges = [(2, 0), (2, 1), (4, 2), (3, 3)]
    # of 2: ranks 2 and 3, precisions 1/2 and 2/4; of 4: rank 1
    assert reconstruction(vectors, edges) == pytest.approx((2.0, (0.5 + 1) / 2))
    # without 4: ranks 1 and 2, precisions 1 and 2/3
    wanted = Ranking((1 + 2 + 1) / 3, (5 / 6 + 1) / 2)
    assert reconstruction(vectors, edges, unrelated=True) == pytest.approx(wanted)
    with pytest.raises(ItemembError, match="none of 7"):
        reconstruction(vectors, [(7, 0)])


def test_held_out_pairs_are_of_leaves_and_ranked_without_what_was_fitted():
    edges = random_tree(200, 4)
    held = held_out(edges, 0.1, seed=3)
    closed = set(Hierarchy.of(edges).closure().pairs)
    assert set(held.train) | set(held.test) == closed
    assert not set(held.train) & set(held.test)
    leaves = {child for child, _ in edges} - {parent for _, parent in edges}
    assert {child for child, _ in held.test} <= leaves
    assert set(held.test) <= set(edges)
    assert {child for child, _ in held.test} <= {child for child, _ in held.train}
    assert held == held_out(edges, 0.1, seed=3) != held_out(edges, 0.1, seed=4)
    # 2 was fitted to 0, at 1; 1 is held out, at 2; 3 at 1.5 is the only one between
    line = on_a_line(0.0, 3.0, 1.0, 2.5)
    asked = HeldOut([(2, 0), (3, 0), (1, 0)], [(2, 1)])
    assert link_prediction(line, asked) == Ranking(2.0, 0.5)
    for wrong, named in ((0.0, "share is 0"), (1.0, "share is 1")):
        with pytest.raises(ItemembError, match=named):
            held_out(edges, wrong)
    with pytest.raises(ItemembError, match="two levels deep"):
        held_out([(1, 0)])


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(ItemembError, match=f"{VECTORS} is missing"):
        PoincareEmbedding.load(tmp_path)
    fit_poincare(SMALL, 3).save(tmp_path)
    facts = json.loads((tmp_path / FACTS).read_text())
    (tmp_path / FACTS).write_text(json.dumps({**facts, "dim": 4}))
    with pytest.raises(ItemembError, match=r"has vectors \[8, 3\], expected \[8, 4\]"):
        PoincareEmbedding.load(tmp_path)
    (tmp_path / VECTORS).write_bytes(b"none")
    with pytest.raises(ItemembError, match="cannot be read"):
        PoincareEmbedding.load(tmp_path)


def test_distances_by_names_of_any_integer_and_as_many_as_the_others():
    made = fit_poincare([(1, 0), (2, 0), (3, 1)], 3)
    assert made.distance(np.int64(1), 0) == made.distance(1, 0) > 0
    assert made.distance([1, 2], 0).shape == (2,)
    with pytest.raises(ItemembError, match="2 names against 3"):
        made.distance([1, 2], [0, 1, 2])
