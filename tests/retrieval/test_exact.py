"""Reading vector columns and the exact nearest neighbours."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.items.vectors import vectors
from itememb_core.retrieval.exact import nearest_others, top_k
from tests.worlds.links import unit


def table(values, kind="float32"):
    flat = pa.array(np.asarray(values).ravel(), kind)
    return pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, len(values[0]))})


def test_vectors_come_back_row_by_row_also_from_a_slice():
    values = unit(np.arange(1.0, 13.0).reshape(4, 3))
    assert np.array_equal(vectors(table(values), 3), values)
    assert np.array_equal(vectors(table(values).slice(1, 2), 3), values[1:3])
    joined = pa.concat_tables([table(values).slice(2), table(values).slice(0, 1)])
    assert np.array_equal(vectors(joined), values[[2, 3, 0]])


def test_an_empty_table_keeps_its_dimension():
    assert vectors(table([[1.0, 0.0]]).slice(0, 0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("bad", "expected", "words"),
    [
        (table([[1.0, 0.0]]), 128, ["dimension 2", "expected 128"]),
        (table([[1.0, 0.0]], "float64"), None, ["double", "expected fixed_size_list"]),
        (table([[1.0, 0.0], [3.0, 4.0]]), None, ["row 1", "norm 5", "expected 1"]),
        (table([[np.nan, 0.0]]), None, ["row 0", "not finite"]),
        (pa.table({"other": [1]}), None, ["no column embedding", "other"]),
    ],
)
def test_bad_vectors_are_named(bad, expected, words):
    with pytest.raises(ItemembError) as error:
        vectors(bad, expected)
    assert all(word in str(error.value) for word in words)


def test_a_null_vector_is_an_error():
    kind = pa.list_(pa.float32(), 2)
    with pytest.raises(ItemembError, match="1 nulls"):
        vectors(pa.table({"embedding": pa.array([[1.0, 0.0], None], kind)}))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 12),
    m=st.integers(1, 90),
    k=st.integers(1, 8),
    rows=st.integers(1, 12),
    seed=st.integers(0, 999),
    penalised=st.booleans(),
)
def test_top_k_is_what_sorting_every_score_gives(n, m, k, rows, seed, penalised):
    rng = np.random.default_rng(seed)
    # Small whole numbers: products are exact and ties are many.
    queries = rng.integers(-2, 3, (n, 4)).astype(np.float32)
    base = rng.integers(-2, 3, (m, 4)).astype(np.float32)
    penalty = rng.integers(0, 3, m).astype(np.float32) if penalised else None
    scores = queries @ base.T - (0 if penalty is None else penalty)
    ids, values = top_k(queries, base, k, penalty=penalty, block_bytes=rows * 4 * m)
    assert ids.shape == (n, min(k, m))
    assert np.array_equal(values, -np.sort(-scores, axis=1)[:, :k])
    assert np.array_equal(np.take_along_axis(scores, ids, 1), values)
    assert all(len(set(row)) == len(row) for row in ids.tolist())
    tied = values[:, 1:] == values[:, :-1]
    assert (ids[:, 1:] > ids[:, :-1])[tied].all()


def test_top_k_of_two_dimensions_is_an_error():
    with pytest.raises(ItemembError, match=r"\(1, 2\).*\(1, 3\)"):
        top_k(np.ones((1, 2), np.float32), np.ones((1, 3), np.float32), 1)


def test_top_k_of_nothing_is_nothing():
    ids, scores = top_k(np.ones((2, 3), np.float32), np.ones((0, 3), np.float32), 5)
    assert ids.shape == scores.shape == (2, 0)


def test_an_item_is_no_neighbour_of_itself_and_candidates_are_those_given():
    angle = np.arange(30) * 0.01
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    everyone = np.arange(30)
    near = nearest_others(rows, np.array([0, 15]), 4, everyone)
    assert near[0].tolist() == [1, 2, 3, 4]
    assert sorted(near[1].tolist()) == [13, 14, 16, 17]
    some = np.array([2, 10, 20])
    assert nearest_others(rows, np.array([0, 10]), 2, some).tolist() == [[2, 10], [2, 20]]
    same = nearest_others(np.ones((30, 2), np.float32), everyone, 10, everyone)
    assert same.shape == (30, 10)
    assert not (same == everyone[:, None]).any()
