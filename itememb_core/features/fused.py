"""``item_features``: all blocks joined, with their names, offsets and widths in the schema.

What reads the features checks the widths first (:func:`read_features`), so that a table of one
width never feeds a model of another.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.items.vectors import one_array, vector_column, vectors
from itememb_core.schemas import BLOCKS_KEY
from itememb_core.schemas.features import EVERY_CHANNEL, FIGURES

_Floats = NDArray[np.float32]
_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """One block of features.

    Attributes:
        values: float32 [rows, dim]; zeros where it is not known.
        known: Whether it is known, bool [rows].
    """

    values: _Floats
    known: _Bools


@dataclass(frozen=True)
class ItemFeatures:
    """Features of items, in the order of their table.

    Attributes:
        values: float32 [rows, sum of the blocks' dims].
        dims: Width of each block by name, in order.
        known: Whether a row has the block, bool [rows, blocks].
    """

    values: _Floats
    dims: Mapping[str, int]
    known: _Bools

    def block(self, name: str) -> Block:
        """One block's columns, without a copy."""
        names = list(self.dims)
        start = sum(self.dims[before] for before in names[: names.index(name)])
        values = self.values[:, start : start + self.dims[name]]
        return Block(values, self.known[:, names.index(name)])


def popularity_block(vocabulary: pa.Table, popularity: pa.Table) -> Block:
    """The nine figures over all channels by node, each standardised over what has interactions.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        popularity: ``schemas.POPULARITY_FEATURES`` of the same nodes, in their order.
    """
    rows = popularity.filter(pc.equal(popularity["channel"], EVERY_CHANNEL))
    _same_rows(vocabulary, rows, "popularity_features")
    values = np.stack([rows[name].to_numpy() for name in FIGURES], axis=1)
    known = values[:, FIGURES.index("log_count")] > 0
    if known.any():
        spread = values[known].std(axis=0)
        values = (values - values[known].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return Block(np.where(known[:, None], values, 0.0).astype(np.float32), known)


def rows_of(vocabulary: pa.Table, table: pa.Table) -> NDArray[np.int64]:
    """Row of each node in a table of items, int64 [nodes]; -1: it has none.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        table: ``item_id`` and, where sides differ, ``side``: a node takes the row of its own side.
            A table without sides tells of the catalog, so nothing of a node of side ``receipts``.
    """
    side = table["side"] if "side" in table.column_names else pa.array(["all"] * table.num_rows)
    keys = [
        pc.binary_join_element_wise(sides, ids, "/")
        for ids, sides in (
            (table["item_id"], side),
            (vocabulary["item_id"], vocabulary["side"]),
        )
    ]
    found = pc.index_in(keys[1], value_set=one_array(keys[0]))
    return np.asarray(found.fill_null(-1).to_numpy(), np.int64)


def block_of(vocabulary: pa.Table, table: pa.Table, column: str, known: str) -> Block:
    """A vector column of a table of items as a block by node."""
    values = vectors(table, None, column, unit=False)
    row = rows_of(vocabulary, table)
    there = np.append(
        np.asarray(table[known].combine_chunks().to_numpy(zero_copy_only=False)), False
    )
    has = there[row].astype(bool)
    padded = np.concatenate([values, np.zeros((1, values.shape[1]), np.float32)])
    return Block(np.where(has[:, None], padded[row], 0.0).astype(np.float32), has)


def item_features(vocabulary: pa.Table, blocks: Mapping[str, Block]) -> pa.Table:
    """Join blocks, each scaled to a mean square norm of 1 over the rows that have it.

    So no block outweighs another by its width or unit, and inside a block lengths still tell:
    how deep a category lies, how far from average a popularity.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        blocks: By name, in order; each of as many rows.

    Returns:
        ``schemas.item_features(dims)``, a row a node.
    """
    dims = {name: block.values.shape[1] for name, block in blocks.items()}
    joined = np.empty((vocabulary.num_rows, sum(dims.values())), np.float32)
    start = 0
    for block in blocks.values():
        norms = np.einsum("nd,nd->n", block.values, block.values, dtype=np.float64)
        mean = norms[block.known].mean() if block.known.any() else 0.0
        scale = np.float32(1.0 / np.sqrt(mean)) if mean > 0 else np.float32(0.0)
        joined[:, start : start + block.values.shape[1]] = block.values * scale
        start += block.values.shape[1]
    columns = [
        one_array(vocabulary["item_id"]),
        one_array(vocabulary["side"]),
        vector_column(joined),
        *(pa.array(block.known) for block in blocks.values()),
    ]
    return pa.Table.from_arrays(columns, schema=schemas.item_features(dims))


def read_features(table: pa.Table, expected_dim: int | None = None) -> ItemFeatures:
    """Read ``item_features``, whose metadata must say what its columns are.

    Args:
        table: ``schemas.item_features(dims)``.
        expected_dim: The width that the caller was made for; None takes the table's own.

    Raises:
        ItemembError: The width is another (both are named), the metadata is missing or does not
            add up to the width, or a value is not finite.
    """
    values = vectors(table, expected_dim, "features", unit=False)
    metadata = table.schema.metadata or {}
    if BLOCKS_KEY not in metadata:
        raise ItemembError("item_features: no blocks in the schema's metadata")
    dims = json.loads(metadata[BLOCKS_KEY])
    if sum(dims.values()) != values.shape[1]:
        named = " + ".join(f"{dim} {name}" for name, dim in dims.items())
        raise ItemembError(f"item_features: {values.shape[1]} columns, expected {named}")
    known = [table[f"has_{name}"].to_numpy(zero_copy_only=False) for name in dims]
    return ItemFeatures(values, dims, np.stack(known, axis=1).astype(bool))


def shares(features: ItemFeatures) -> Iterator[tuple[str, float]]:
    """Yield how many of the rows have each block, as a share."""
    for column, name in enumerate(features.dims):
        yield name, float(features.known[:, column].mean()) if len(features.known) else 0.0


def _same_rows(vocabulary: pa.Table, table: pa.Table, name: str) -> None:
    for column in ("item_id", "side"):
        if not one_array(vocabulary[column]).equals(one_array(table[column])):
            raise ItemembError(f"{name}: its rows of all channels are not the vocabulary's")
