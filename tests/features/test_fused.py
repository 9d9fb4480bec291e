"""All blocks joined: scale, masks, sides, and widths that cannot lie."""

import json

import numpy as np
import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.fused import (
    Block,
    block_of,
    item_features,
    popularity_block,
    read_features,
    shares,
)
from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.settings import DomainSettings

VOCABULARY = build_vocabulary(
    pa.table({
        "item_id": ["fmcg_a", "fmcg_a", "till"],
        "channel": ["retail", "receipts", "receipts"],
        "n": [3, 2, 1],
    }),
    pa.array(["fmcg_b"]),
    pa.array(["fmcg_a"]),
    DomainSettings(),
)  # fmt: skip
NODES = [("fmcg_a", "all"), ("fmcg_a", "receipts"), ("till", "all"), ("fmcg_b", "all")]


def vector(rows: list[list[float]]) -> pa.Array:
    flat = np.array(rows, np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def block(rows: list[list[float]], known: list[bool]) -> Block:
    return Block(np.array(rows, np.float32), np.array(known))


def test_the_vocabulary_is_as_the_tests_take_it():
    pairs = zip(*(VOCABULARY[name].to_pylist() for name in ("item_id", "side")), strict=True)
    assert list(pairs) == NODES


def test_blocks_have_mean_square_norm_one_and_lengths_tell_within():
    wide = block([[3, 4], [0, 0], [0, 1], [0, 0]], [True, False, True, False])
    one = block([[0], [0], [0], [0]], [False] * 4)
    table = item_features(VOCABULARY, {"attributes": wide, "text": one})
    found = read_features(table)
    scale = 1 / np.sqrt((25 + 1) / 2)
    assert found.values == pytest.approx(np.array([[3, 4, 0], [0] * 3, [0, 1, 0], [0] * 3]) * scale)
    assert found.dims == {"attributes": 2, "text": 1}
    assert found.known.tolist() == [[True, False], [False, False], [True, False], [False, False]]
    assert found.block("attributes").values.shape == (4, 2)
    assert found.block("text").values.shape == (4, 1)
    assert dict(shares(found)) == {"attributes": 0.5, "text": 0.0}
    assert json.loads(table.schema.metadata[schemas.BLOCKS_KEY]) == {"attributes": 2, "text": 1}


def test_a_side_takes_the_row_of_its_own():
    sided = pa.table({
        "item_id": ["fmcg_a", "fmcg_a", "gone"],
        "side": ["receipts", "all", "all"],
        "text": vector([[1], [2], [9]]),
        "has_text": [True, True, True],
    })  # fmt: skip
    found = block_of(VOCABULARY, sided, "text", "has_text")
    assert found.values.ravel().tolist() == [2, 1, 0, 0]
    assert found.known.tolist() == [True, True, False, False]


def test_what_is_known_of_the_catalog_is_not_told_of_the_receipts_side():
    catalog = pa.table({
        "item_id": ["fmcg_a", "fmcg_b"],
        "attributes": vector([[1], [2]]),
        "has_attributes": [True, False],
    })  # fmt: skip
    found = block_of(VOCABULARY, catalog, "attributes", "has_attributes")
    assert found.values.ravel().tolist() == [1, 0, 0, 0]
    assert found.known.tolist() == [True, False, False, False]


def test_popularity_is_standardised_over_what_has_interactions():
    columns = {name: [0.0] * 5 for name in schemas.POPULARITY_FEATURES.names[3:]}
    columns["log_count"] = [3.0, 1.0, 2.0, 0.0, 7.0]
    ids, sides = zip(*NODES, strict=True)
    rows = pa.table({
        "item_id": [*ids, "fmcg_a"],
        "side": [*sides, "all"],
        "channel": ["all"] * 4 + ["retail"],
        **columns,
    })  # fmt: skip
    found = popularity_block(VOCABULARY, rows)
    deviation = np.std([3, 1, 2])
    assert found.values[:, 0] == pytest.approx([1 / deviation, -1 / deviation, 0, 0])
    assert (found.values[:, 1:] == 0).all()
    assert found.known.tolist() == [True, True, True, False]
    with pytest.raises(ItemembError, match="its rows of all channels are not the vocabulary's"):
        popularity_block(VOCABULARY, rows.slice(1))


def test_a_width_that_the_reader_was_not_made_for_is_an_error_with_both_numbers():
    values = np.zeros((4, 326), np.float32)
    table = item_features(VOCABULARY, {"text": Block(values, np.zeros(4, bool))})
    with pytest.raises(ItemembError, match="features: vectors have dimension 326, expected 128"):
        read_features(table, expected_dim=128)
    assert read_features(table, expected_dim=326).values.shape == (4, 326)


def test_metadata_that_does_not_add_up_is_an_error():
    table = item_features(VOCABULARY, {"text": block([[1, 0]] * 4, [True] * 4)})
    lying = table.replace_schema_metadata({schemas.BLOCKS_KEY: json.dumps({"text": 3})})
    with pytest.raises(ItemembError, match="2 columns, expected 3 text"):
        read_features(lying)
    with pytest.raises(ItemembError, match="no blocks in the schema's metadata"):
        read_features(table.replace_schema_metadata(None))
