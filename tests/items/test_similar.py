"""The table of nearest items."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.items.similar import similar_items
from itememb_core.retrieval.indexed import Aim
from itememb_core.schemas import SIMILAR_ITEMS
from tests.worlds.links import embeddings_table, unit, vocabulary_table


def tables(values, touched):
    n = len(values)
    ids = [f"i{number}" for number in range(n)]
    domains = ["retail" if number % 2 else "receipt" for number in range(n)]
    rows = [
        (item, "all", domain, int(count), 0, 0, 0)
        for item, domain, count in zip(ids, domains, touched, strict=True)
    ]
    return embeddings_table(values, ids, domains=domains), vocabulary_table(rows)


def test_neighbours_by_hand():
    # Angles of 0, 10, 30 and 90 degrees; the last, at 5 degrees, nobody touched.
    angles = np.radians([0, 10, 30, 90, 5])
    values = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    result = similar_items(*tables(values, [1, 1, 1, 1, 0]), k=2)
    assert (result.items, result.without_vectors) == (4, 1)
    assert result.table.schema == SIMILAR_ITEMS
    rows = result.table.to_pylist()
    assert [(row["item_id"], row["neighbor_id"], row["rank"]) for row in rows] == [
        ("i0", "i1", 1),
        ("i0", "i2", 2),
        ("i1", "i0", 1),
        ("i1", "i2", 2),
        ("i2", "i1", 1),
        ("i2", "i0", 2),
        ("i3", "i2", 1),
        ("i3", "i1", 2),
    ]
    assert rows[0]["similarity"] == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert [row["neighbor_domain"] for row in rows[:2]] == ["retail", "receipt"]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), k=st.integers(1, 45), seed=st.integers(0, 99), same=st.booleans())
def test_never_itself_and_as_many_as_there_are(n, k, seed, same):
    rng = np.random.default_rng(seed)
    values = unit(np.repeat(rng.normal(size=(1, 3)), n, 0) if same else rng.normal(size=(n, 3)))
    touched = rng.integers(0, 2, n)
    result = similar_items(*tables(values, touched), k=k)
    frame = result.table.to_pandas()
    assert not (frame.item_id == frame.neighbor_id).any()
    assert not frame.duplicated(["item_id", "neighbor_id"]).any()
    seen = {f"i{row}" for row in np.flatnonzero(touched)}
    assert set(frame.item_id) | set(frame.neighbor_id) <= seen
    assert len(frame) == len(seen) * min(k, max(len(seen) - 1, 0))


@pytest.mark.usefixtures("one_thread")
def test_an_index_lists_nearly_the_same_and_says_how_it_was_made():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 16))
    values = unit(centres[rng.integers(0, 30, 4000)] + 0.4 * rng.normal(size=(4000, 16)))
    made = tables(values, [1] * 4000)
    exact, found = (similar_items(*made, k=20, aim=Aim(most, 0.99, 500)) for most in (4000, 3999))
    assert (exact.facts["search"], found.facts["search"]) == ("exact", "index")
    assert found.facts["recall"] >= 0.99
    assert found.facts["lists read"] < found.facts["lists"]
    frames = [each.table.to_pandas() for each in (exact, found)]
    pairs = [set(zip(f.item_id, f.neighbor_id, strict=True)) for f in frames]
    assert len(pairs[1]) == len(pairs[0]) == 4000 * 20
    assert 0.98 < len(pairs[0] & pairs[1]) / len(pairs[0]) < 1.0
    assert not (frames[1].item_id == frames[1].neighbor_id).any()
    again = similar_items(*made, k=20, aim=Aim(3999, 0.99, 500))
    assert again.table.equals(found.table)


def test_no_items_give_the_empty_table():
    result = similar_items(*tables(unit(np.ones((2, 3))), [0, 0]), k=3)
    assert result.table.schema == SIMILAR_ITEMS
    assert (result.table.num_rows, result.items, result.without_vectors) == (0, 0, 2)


def test_vectors_without_unit_norm_are_refused():
    with pytest.raises(ItemembError, match="norm 2"):
        similar_items(*tables(2 * unit(np.ones((2, 3))), [1, 1]), k=3)
