"""A warm start: known rows, new rows, its length and its rate."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itememb_core.items.drift import ITEMS_SCHEMA, Rows, on_nodes
from itememb_core.items.training import fit
from itememb_core.items.training.data import Pairs
from itememb_core.items.training.start import WarmStart, start_from
from itememb_dagster.assets.items import warm_start_of
from tests.items.test_drift import vocabulary
from tests.worlds.two_channels import PRODUCTS, SETTINGS, WORLD

NODES = 2 * PRODUCTS


def warm_start(known: list[bool], embedding: list[list[float]]) -> WarmStart:
    rows = np.array(embedding, np.float32)
    return WarmStart(np.array(known), rows, np.zeros_like(rows), np.zeros(len(rows), np.float32))


def test_known_rows_stay_and_new_ones_start_at_their_partners_weighted_mean():
    ends = np.array([0, 2, 2, 3], np.int32), np.array([1, 0, 1, 4], np.int32)
    weight = np.array([5, 3, 4, 9], np.float32)
    pairs = Pairs(*ends, np.zeros(4, np.int8), weight)
    data = replace(WORLD, counts=np.ones((5, 4), np.int64), pairs=pairs)
    known = warm_start([True, True, False, False, False], [[1, 0], [0, 1], [9, 9], [9, 9], [9, 9]])
    found = start_from(data, known, 0)
    assert found[0].tolist() == [1, 0]
    assert found[1].tolist() == [0, 1]
    assert found[2] == pytest.approx([0.6, 0.8])  # (3 (1, 0) + 4 (0, 1)) / 5
    # 3 and 4 are partners of each other alone: at random, apart.
    assert np.linalg.norm(found[3:], axis=1) == pytest.approx(1.0)
    assert abs(float(found[3] @ found[4])) < 0.999
    assert (start_from(data, known, 1)[3] != found[3]).any()


def test_rows_are_matched_by_id_and_side():
    items = pa.Table.from_pylist(
        [
            {"item_id": "c", "side": "all", "count": 1},
            {"item_id": "a", "side": "receipts", "count": 1},
            {"item_id": "b", "side": "all", "count": 0},
        ],
        ITEMS_SCHEMA,
    )
    rows = np.eye(3, dtype=np.float32)
    found = on_nodes(Rows(items, rows, rows * 2, np.arange(3.0)), vocabulary(["a", "b", "c", "d"]))
    assert found.known.tolist() == [False, True, True, False]
    assert found.embedding[1:3].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert found.context[2].tolist() == [2, 0, 0]
    assert found.bias.tolist() == [0, 2, 0, 0]


def test_a_fit_goes_on_with_fewer_and_smaller_steps():
    settings = SETTINGS.model_copy(update={"start": "previous", "previous_steps": 250})
    first = fit(WORLD, SETTINGS, 0)
    before = WarmStart(np.ones(NODES, np.bool_), first.embedding, first.context, first.bias)
    again = fit(replace(WORLD, validation_from=None), settings, 0, like=first.history,
                warm_start=before)  # fmt: skip
    assert again.history["step"].to_pylist() == [250]
    assert again.history["rate"].to_pylist() == [settings.learning_rate / 4]
    # It starts where the first ended, far below where the first started.
    name = "train_loss_receipts~retail"
    assert again.history[name][0].as_py() < first.history[name][0].as_py()
    # Items without a move in between stay near; the spectral start alone is elsewhere.
    assert (again.embedding * first.embedding).sum(axis=1).mean() > 0.9


def test_only_the_setting_and_a_version_of_the_same_dimension_are_gone_on_from():
    items = pa.Table.from_pylist([{"item_id": "a", "side": "all", "count": 1}], ITEMS_SCHEMA)
    one = np.ones((1, SETTINGS.dim), np.float32)
    rows, nodes = Rows(items, one, one, np.ones(1, np.float32)), vocabulary(["a"])
    wanted = SETTINGS.model_copy(update={"start": "previous"})
    assert warm_start_of(rows, nodes, SETTINGS) is None
    assert warm_start_of(None, nodes, wanted) is None
    assert warm_start_of(rows, nodes, wanted.model_copy(update={"dim": 8})) is None
    found = warm_start_of(rows, nodes, wanted)
    assert found is not None
    assert found.known.tolist() == [True]
