"""Plans of batches against brute force over the pairs."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.model.batches import Batch, plan

sizes = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 15), st.integers(0, 2**31))


def drawn(batches: int, batch: int, nodes: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    query, candidate = rng.integers(nodes, size=(2, batches, batch)).astype(np.int32)
    return query, candidate, rng.random((batches, batch), np.float32)


def planned(*drawn_pairs: np.ndarray) -> list[Batch]:
    return list(plan(*drawn_pairs, "cpu"))


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_rows_and_places_give_the_ends_again(size):
    query, candidate, weight = drawn(*size)
    found = planned(query, candidate, weight)
    assert len(found) == len(query)
    for i, batch in enumerate(found):
        assert batch.rows.tolist() == sorted({*query[i].tolist(), *candidate[i].tolist()})
        assert batch.rows[batch.query.row].tolist() == query[i].tolist()
        assert batch.rows[batch.candidate.row].tolist() == candidate[i].tolist()
        assert batch.weight.tolist() == weight[i].tolist()


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_totals_are_the_sums_over_the_pairs_of_a_row(size):
    for batch in planned(*drawn(*size)):
        for side in (batch.query, batch.candidate):
            values = torch.randn(len(side.row), 3, dtype=torch.float64)
            expected = torch.zeros(len(batch.rows), 3, dtype=torch.float64)
            expected.index_add_(0, side.row, values)
            torch.testing.assert_close(side.total(values), expected)


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_hits_are_the_candidates_equal_to_the_query_or_its_partner(size):
    query, candidate, weight = drawn(*size)
    n = query.shape[1]
    for i, batch in enumerate(planned(query, candidate, weight)):
        expected = {
            a * n + b
            for a in range(n)
            for b in range(n)
            if a != b and candidate[i, b] in (query[i, a], candidate[i, a])
        }
        assert set(batch.hits.tolist()) == expected
