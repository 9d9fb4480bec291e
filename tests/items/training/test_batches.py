"""Plans of batches against brute force over the pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.items.training.batches import BLOCK, Batch, plan

sizes = st.tuples(
    st.integers(1, 4), st.integers(1, 12), st.integers(0, 4), st.integers(1, 15),
    st.integers(1, 14), st.integers(0, 2**31),
)  # fmt: skip
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def drawn(batches: int, pairs: int, extra: int, nodes: int, shared: int, seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    query = rng.integers(nodes, size=(batches, pairs)).astype(np.int32)
    candidate = rng.integers(nodes, size=(batches, pairs + extra)).astype(np.int32)
    return query, candidate, rng.random((batches, nodes), np.float32), shared


def planned(
    query: np.ndarray, candidate: np.ndarray, weights: np.ndarray, shared: int
) -> list[Batch]:
    return list(plan(query, candidate, list(weights), "cpu", shared))


def negatives(candidate: np.ndarray, pairs: int, shared: int) -> np.ndarray:
    return np.concatenate([candidate[: min(shared, pairs)], candidate[pairs:]])


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_every_pair_finds_its_ends_and_each_side_is_distinct(size):
    query, candidate, weights, shared = drawn(*size)
    found = planned(query, candidate, weights, shared)
    assert len(found) == len(query)
    for i, batch in enumerate(found):
        pairs = batch.pairs
        ends = batch.query[batch.pair_query], batch.candidate[batch.pair_candidate]
        expected = zip(query[i].tolist(), candidate[i, :pairs].tolist(), strict=True)
        assert sorted(zip(*(e.tolist() for e in ends), strict=True)) == sorted(expected)
        m, first = batch.negatives, set(negatives(candidate[i], pairs, shared).tolist())
        rest = set(candidate[i].tolist()) - first
        for part, nodes in (
            (batch.query, set(query[i].tolist())),
            (batch.candidate[:m], first),
            (batch.candidate[m:], rest),
        ):
            assert part.tolist()[: len(nodes)] == sorted(nodes)
            assert len(part) % BLOCK == 0
        paired = batch.candidate[batch.pair_candidate].tolist()
        assert batch.apart.tolist() == [p for p, node in enumerate(paired) if node not in first]


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_counts_are_the_negative_draws_and_padding_counts_none(size):
    query, candidate, weights, shared = drawn(*size)
    for i, batch in enumerate(planned(query, candidate, weights, shared)):
        nodes, draws = np.unique(negatives(candidate[i], batch.pairs, shared), return_counts=True)
        assert batch.count.tolist() == [*draws, *[0] * (len(batch.candidate) - len(nodes))]
        assert batch.weight.tolist() == weights[i][batch.candidate].tolist()


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_starts_cut_the_pairs_into_those_of_each_node(size):
    for batch in planned(*drawn(*size)):
        pairs = list(range(batch.pairs))
        for starts, order, places in (
            (batch.query_starts, pairs, batch.pair_query),
            (batch.candidate_starts, batch.by_candidate.tolist(), batch.pair_candidate),
        ):
            assert sorted(order) == pairs
            ends = [*starts.tolist()[1:], batch.pairs]
            cut = [order[a:b] for a, b in zip(starts.tolist(), ends, strict=True)]
            assert cut == [[p for p in order if places[p] == row] for row in range(len(starts))]


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_same_cells_are_those_of_one_node(size):
    query, candidate, weights, shared = drawn(*size)
    for i, batch in enumerate(planned(query, candidate, weights, shared)):
        queries, width = len(set(query[i].tolist())), batch.negatives
        candidates = len(set(negatives(candidate[i], batch.pairs, shared).tolist()))
        expected = {
            a * width + b
            for a in range(queries)
            for b in range(candidates)
            if batch.query[a] == batch.candidate[b]
        }
        assert set(batch.same.tolist()) == expected
