"""Plans of batches against brute force over the pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.model.batches import BLOCK, Batch, plan

sizes = st.tuples(
    st.integers(1, 4), st.integers(1, 12), st.integers(0, 4), st.integers(1, 15),
    st.integers(0, 2**31),
)  # fmt: skip


def drawn(batches: int, pairs: int, extra: int, nodes: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    query = rng.integers(nodes, size=(batches, pairs)).astype(np.int32)
    candidate = rng.integers(nodes, size=(batches, pairs + extra)).astype(np.int32)
    return [query, candidate, rng.random((batches, nodes), np.float32)]


def planned(query: np.ndarray, candidate: np.ndarray, weights: np.ndarray) -> list[Batch]:
    return list(plan(query, candidate, list(weights), "cpu"))


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_every_pair_finds_its_ends_and_each_side_is_distinct(size):
    query, candidate, weights = drawn(*size)
    found = planned(query, candidate, weights)
    assert len(found) == len(query)
    for i, batch in enumerate(found):
        pairs = batch.pairs
        ends = batch.query[batch.pair_query], batch.candidate[batch.pair_candidate]
        expected = zip(query[i].tolist(), candidate[i, :pairs].tolist(), strict=True)
        assert sorted(zip(*(e.tolist() for e in ends), strict=True)) == sorted(expected)
        for side, nodes in ((batch.query, query[i]), (batch.candidate, candidate[i])):
            distinct = sorted(set(nodes.tolist()))
            assert side.tolist()[: len(distinct)] == distinct
            assert len(side) % BLOCK == 0
            assert set(side.tolist()[len(distinct) :]) <= {distinct[0]}


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_counts_are_the_draws_and_padding_counts_none(size):
    query, candidate, weights = drawn(*size)
    for i, batch in enumerate(planned(query, candidate, weights)):
        nodes, draws = np.unique(candidate[i], return_counts=True)
        assert batch.count.tolist() == [*draws, *[0] * (len(batch.candidate) - len(nodes))]
        assert batch.weight.tolist()[: len(nodes)] == weights[i][nodes].tolist()


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
    query, candidate, weights = drawn(*size)
    for i, batch in enumerate(planned(query, candidate, weights)):
        queries, width = len(set(query[i].tolist())), len(batch.candidate)
        candidates = len(set(candidate[i].tolist()))
        expected = {
            a * width + b
            for a in range(queries)
            for b in range(candidates)
            if batch.query[a] == batch.candidate[b]
        }
        assert set(batch.same.tolist()) == expected
