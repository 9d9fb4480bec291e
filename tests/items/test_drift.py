"""A retrain aligned with the previous version: what stays, the drift, which version it is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.errors import ItemembError
from itememb_core.items.drift import (
    ITEMS_SCHEMA,
    DriftReport,
    ModelVersion,
    Rows,
    aligned,
    drift,
    rotation,
    shared_rows,
)
from itememb_core.items.model import ItemModel, history_table
from itememb_core.schemas import VOCABULARY
from itememb_dagster.checks.gates import vectors_stay_in_place
from tests.conftest import TINY_SETTINGS, run
from tests.worlds.links import unit

DIM = 8


def orthogonal(rng: np.random.Generator, dim: int = DIM) -> np.ndarray:
    """A random rotation or reflection."""
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0] * rng.choice([-1, 1], dim)


def vocabulary(ids: list[str], counts: list[int] | None = None) -> pa.Table:
    rows = len(ids)
    n = pa.array(counts or [5] * rows, pa.int64())
    zeros = pa.array([0] * rows, pa.int64())
    columns = [
        pa.array(range(rows), pa.int32()), pa.array(ids), pa.array(["all"] * rows),
        pa.array(["retail"] * rows), n, zeros, zeros, zeros,
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=VOCABULARY)


def model(rng: np.random.Generator, rows: int, dim: int = DIM) -> ItemModel:
    embedding = unit(rng.standard_normal((rows, dim)))
    context, bias = rng.standard_normal((rows, dim)), rng.standard_normal(rows)
    facts = {"settings": {"dim": dim}}
    return ItemModel(
        embedding, context.astype(np.float32), bias.astype(np.float32), history_table([]), facts
    )


def rows_of(version: ModelVersion) -> Rows:
    made = version.model
    return Rows(version.items, made.embedding, made.context, made.bias)


def ids(first: int, last: int) -> list[str]:
    return [f"fmcg_{k:03d}" for k in range(first, last)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_turned_copy_is_turned_back_and_goes_with_scores_stay(seed: int):
    rng = np.random.default_rng(seed)
    old = model(rng, 60)
    before = rows_of(aligned(old, vocabulary(ids(0, 60)), None, 0))
    # The copy lacks ten items, has ten new ones, and comes in another order.
    order = rng.permutation(60)
    names = np.array(ids(10, 70))[order]
    turn = orthogonal(rng)
    fresh = model(rng, 60)
    known = np.concatenate([old.embedding[10:], fresh.embedding[:10]])[order]
    copy = ItemModel(
        (known @ turn).astype(np.float32), fresh.context, fresh.bias, fresh.history, fresh.facts
    )
    version = aligned(copy, vocabulary(names.tolist()), before, 0)
    np.testing.assert_allclose(version.model.embedding, known, atol=1e-5)
    np.testing.assert_allclose(
        version.model.context @ version.model.embedding.T,
        copy.context @ copy.embedding.T,
        atol=1e-4,
    )
    assert (version.model.bias == copy.bias).all()
    whole = version.drift.to_pylist()[0]
    assert whole["items"] == 50
    assert whole["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert whole["overlap@10"] > 0.99
    assert version.reason is None


def test_a_rotation_is_orthogonal_and_the_closest_of_many():
    rng = np.random.default_rng(0)
    moved, fixed = unit(rng.standard_normal((40, DIM))), unit(rng.standard_normal((40, DIM)))
    best = rotation(moved, fixed)
    np.testing.assert_allclose(best @ best.T, np.eye(DIM), atol=1e-12)
    distance = np.linalg.norm(moved @ best - fixed)
    others = [np.linalg.norm(moved @ orthogonal(rng) - fixed) for _ in range(200)]
    assert distance < min(others)


def test_rows_are_shared_by_id_and_side_where_both_touched_them():
    def table(*rows: tuple[str, str, int]) -> pa.Table:
        columns = zip(*rows, strict=True)
        return pa.table(dict(zip(ITEMS_SCHEMA.names, columns, strict=True)), schema=ITEMS_SCHEMA)

    now = table(("a", "all", 3), ("b", "all", 2), ("c", "all", 0), ("a", "receipts", 1))
    before = table(("b", "receipts", 9), ("a", "receipts", 4), ("c", "all", 5), ("a", "all", 1))
    new, old = shared_rows(now, before)
    assert (new.tolist(), old.tolist()) == ([0, 3], [3, 1])


def test_drift_by_hand():
    # 200 items on a circle; of the rarest half each is mirrored to the far side.
    angle = np.arange(200) * np.pi / 100
    old = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    new, counts = old.copy(), np.where(np.arange(200) < 100, 10, 100)
    new[:100] *= -1
    counts[199] = 1000
    table = drift(new, old, counts, np.ones(200), seed=0).to_pylist()
    found = {row["band"]: row for row in table}
    assert set(found) == {"all", "head", "tail"}
    assert found["all"]["cosine"] == pytest.approx(0.0, abs=1e-6)
    assert (found["head"]["items"], found["head"]["cosine"]) == (1, pytest.approx(1.0))
    assert found["all"]["cosine_unaligned"] == 1.0
    assert found["all"]["overlap@10_random"] == pytest.approx(10 / 199)
    # The mirrored half lies on the other: an item's neighbours there are others than before.
    assert found["all"]["overlap@10"] < 0.8
    same = drift(old, old, counts, np.ones(200), seed=0).to_pylist()
    assert {row["overlap@10"] for row in same} == {1.0}


def test_what_cannot_be_compared_stays_as_it_is_and_says_why():
    rng = np.random.default_rng(0)
    fitted, words = model(rng, 20), vocabulary(ids(0, 20))
    other = rows_of(aligned(model(rng, 20, dim=4), words, None, 0))
    strange = rows_of(aligned(model(rng, 20), vocabulary(ids(50, 70)), None, 0))
    for before, why in ((None, "no previous"), (other, "vectors of 4"), (strange, "no item")):
        version = aligned(fitted, words, before, 0)
        assert why in version.reason
        assert version.model is fitted
        assert version.drift.num_rows == 0


def test_a_stored_version_is_read_back_and_a_damaged_one_named(tmp_path: Path):
    rng = np.random.default_rng(0)
    words = vocabulary(ids(0, 20))
    first = aligned(model(rng, 20), words, None, 0)
    second = aligned(model(rng, 20), words, rows_of(first), 0)
    second.save(tmp_path)
    found = Rows.load(tmp_path)
    assert found.items.equals(second.items)
    assert (found.embedding == second.model.embedding).all()
    assert DriftReport.load(tmp_path).table.equals(second.drift)
    shutil.copy(tmp_path / "items.parquet", tmp_path / "kept.parquet")
    pa.parquet.write_table(second.items.slice(1), tmp_path / "items.parquet")
    with pytest.raises(ItemembError, match="19 ids, expected 20"):
        Rows.load(tmp_path)
    (tmp_path / "items.parquet").unlink()
    assert Rows.load(tmp_path) is None


def test_the_check_warns_of_vectors_that_moved_far_and_never_blocks(tmp_path: Path):
    rng = np.random.default_rng(0)
    words = vocabulary(ids(0, 60))
    first = aligned(model(rng, 60), words, None, 0)
    verdicts = {}
    for name, fitted in (("same", first.model), ("other", model(rng, 60))):
        (tmp_path / name).mkdir()
        aligned(fitted, words, rows_of(first), 0).save(tmp_path / name)
        verdicts[name] = vectors_stay_in_place.evaluate(DriftReport.load(tmp_path / name))
    assert verdicts["same"].passed
    assert not verdicts["other"].passed
    assert verdicts["other"].warn
    assert not vectors_stay_in_place.blocking
    first.save(tmp_path)
    assert "no previous version" in vectors_stay_in_place.evaluate(DriftReport.load(tmp_path)).why


@pytest.mark.slow
def test_a_retrain_descends_from_the_version_before_and_force_makes_it_again(
    made, tiny_raw: Path, tmp_path: Path
):
    lake = tmp_path / "lake"
    shutil.copytree(made[0], lake)

    def pointer() -> dict:
        return json.loads((lake / "item_model/current.json").read_text())

    def files() -> dict[str, bytes]:
        folder = lake / "_versions/item_model" / pointer()["id"]
        return {p.name: p.read_bytes() for p in folder.iterdir()}

    def make(settings, force: bool = False) -> None:
        only = run(tiny_raw, lake, settings=settings, select='key:"item_model"', force=force)
        assert only.errors == []

    first = pointer()
    assert first["parent"] is None
    model = TINY_SETTINGS.item_model.model_copy(update={"learning_rate": 0.02, "start": "random"})
    other = TINY_SETTINGS.model_copy(update={"item_model": model})
    make(other)
    second, stored = pointer(), files()
    assert second["parent"] == first["id"]
    facts = {
        row["band"]: row
        for row in DriftReport.load(lake / "_versions/item_model" / second["id"]).table.to_pylist()
    }
    assert facts["all"]["cosine"] > facts["all"]["cosine_unaligned"] + 0.1
    for _ in range(2):  # the parent is kept for another try
        make(other, force=True)
        assert pointer() == second
        assert files() == stored
    make(TINY_SETTINGS)
    assert pointer()["parent"] == second["id"]
    assert pointer()["id"] != first["id"]
