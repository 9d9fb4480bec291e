"""Vectors of behaviour and features together: parts, sources, what stays as it was."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.features.cold.fit import FeatureData, fit_feature_model
from itememb_core.features.cold.model import FeatureModel, Predictions, belief
from itememb_core.items.fusion import Fused, fused_embeddings
from itememb_core.items.index import rows_with_vectors
from itememb_core.items.similar import similar_items
from itememb_core.items.vectors import behaviour_vectors, parts_of, vectors
from itememb_core.schemas import item_embeddings
from itememb_core.users.items import item_space
from tests.worlds.cold import DIM, SETTINGS, feature_world
from tests.worlds.links import vocabulary_table

ITEMS, COLD = 400, 40
VOCABULARY = vocabulary_table(
    [
        (f"fmcg_{n:03d}", "all", "retail", 0, 0 if n >= ITEMS - COLD else 30, 0, 0)
        for n in range(ITEMS)
    ]
)


@pytest.fixture(scope="module")
def made() -> tuple[FeatureData, FeatureModel, Fused]:
    data = feature_world(ITEMS, COLD)
    settings = SETTINGS.model_copy(update={"likeness": "always", "likeness_share": 0.5})
    model = fit_feature_model(data, settings, 0)
    return data, model, fused_embeddings(VOCABULARY, data, model)


def test_the_parts_stand_in_the_metadata_and_the_whole_has_unit_norm(made):
    *_, found = made
    assert parts_of(found.table) == {"behaviour": DIM, "likeness": 6}
    assert vectors(found.table, DIM + 6).shape == (ITEMS, DIM + 6)
    assert found.sources == {"blend": ITEMS - COLD, "features": COLD}


def test_what_behaviour_said_of_warm_items_stays(made):
    data, _, found = made
    warm = np.arange(ITEMS - COLD)
    assert np.allclose(
        behaviour_vectors(found.table, DIM)[warm], data.own.embedding[warm], atol=1e-6
    )
    context = vectors(found.table, column="context", unit=False)
    scores = context[warm] @ vectors(found.table)[warm].T
    assert np.allclose(scores, data.own.context[warm] @ data.own.embedding[warm].T, atol=1e-4)


def test_cold_items_have_what_their_features_say(made):
    data, _, found = made
    cold = np.arange(ITEMS - COLD, ITEMS)
    unlike = data.own.embedding.copy()
    unlike[cold] = -unlike[cold]  # what training left of them must not matter
    other = dataclasses.replace(data, own=data.own._replace(embedding=unlike))
    again = fused_embeddings(VOCABULARY, other, made[1])
    assert np.allclose(behaviour_vectors(again.table)[cold], behaviour_vectors(found.table)[cold])
    cosine = (behaviour_vectors(found.table)[cold] * data.own.embedding[cold]).sum(axis=1)
    assert cosine.mean() > 0.6


def test_where_no_item_is_cold_behaviour_stays(made):
    data, model, _ = made
    warm = dataclasses.replace(data, counts=np.maximum(data.counts, 1))
    found = fused_embeddings(VOCABULARY, warm, model)
    assert found.sources == {"blend": ITEMS}
    assert np.allclose(behaviour_vectors(found.table), data.own.embedding, atol=1e-6)


def test_rare_items_blend_with_what_their_half_was_chosen_with(made):
    data, model, _ = made
    choices = {**model.choices, "half": 10.0, "predictor": {"retail": "category_means"}}
    found = fused_embeddings(VOCABULARY, data, dataclasses.replace(model, choices=choices))
    nodes = np.arange(ITEMS)
    predictions = Predictions(
        model.on(data.inputs), data.inputs, data.own, belief(data.total), data.warm, nodes
    )
    placed = {name: predictions.of(name) for name in ("features", "category_means")}
    share = (data.total / (data.total + 10))[:, None]
    mixed = share * data.own.embedding + (1 - share) * placed["features"].embedding
    warm, cold = nodes[: ITEMS - COLD], nodes[ITEMS - COLD :]
    unit = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    assert np.allclose(behaviour_vectors(found.table)[warm], unit[warm], atol=1e-5)
    means = placed["category_means"].embedding[cold]
    assert np.allclose(behaviour_vectors(found.table)[cold], means, atol=1e-5)


def test_without_use_there_is_one_part_and_nothing_changes(made):
    data, *_ = made
    never = SETTINGS.model_copy(update={"use": "never", "likeness": "never"})
    found = fused_embeddings(VOCABULARY, data, fit_feature_model(data, never, 0))
    assert parts_of(found.table) == {"behaviour": DIM}
    assert np.array_equal(vectors(found.table), data.own.embedding)
    assert found.sources == {"behaviour": ITEMS}


def test_a_domain_that_validation_does_not_bear_out_stays_as_it_was(made):
    data, model, _ = made
    choices = model.choices | {"cold": {"retail": False}}
    found = fused_embeddings(VOCABULARY, data, dataclasses.replace(model, choices=choices))
    assert "features" not in found.sources


def test_cold_items_are_listed_where_people_look(made):
    *_, found = made
    assert len(rows_with_vectors(VOCABULARY, found.table)) == ITEMS
    table = similar_items(found.table, VOCABULARY, 5).table
    assert set(table["item_id"].to_pylist()) == set(VOCABULARY["item_id"].to_pylist())
    space = item_space(VOCABULARY, found.table, dim=DIM)
    assert space.cold.tolist() == list(range(ITEMS - COLD, ITEMS))
    assert len(space.targets) == ITEMS - COLD


def test_readers_name_both_widths(made):
    *_, found = made
    with pytest.raises(ItemembError, match="behaviour part has 8, expected 128"):
        behaviour_vectors(found.table, 128)
    column = found.table.drop_columns(["embedding", "context"])
    narrow = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(ITEMS, np.float32)), 1)
    wrong = column.append_column("embedding", narrow)
    with pytest.raises(ItemembError, match="dimension 1, expected 8 behaviour \\+ 6 likeness"):
        parts_of(wrong)


def test_a_model_of_other_vectors_is_refused(made):
    data, model, _ = made
    with pytest.raises(ItemembError, match="made for vectors of 5, found 8"):
        fused_embeddings(VOCABULARY, data, dataclasses.replace(model, dim=5))


def test_the_schema_without_parts_is_the_plain_one():
    assert item_embeddings(3).metadata is None
