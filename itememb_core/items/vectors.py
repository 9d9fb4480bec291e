"""Reading a vector column, with the checks of every reader: dimension, type, unit norm."""

import json
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.schemas import PARTS_KEY

#: The part that interactions made, or were predicted to.
BEHAVIOUR: Final = "behaviour"
#: Values of ``source``: what made a vector.
FROM_BEHAVIOUR: Final = "behaviour"
FROM_FEATURES: Final = "features"
FROM_BOTH: Final = "blend"
#: The part of what is alike.
LIKENESS: Final = "likeness"

#: How far the norm of a unit vector may be from 1.
UNIT_TOLERANCE = 1e-3


def vectors(
    table: pa.Table,
    expected_dim: int | None = None,
    column: str = "embedding",
    *,
    unit: bool = True,
) -> NDArray[np.float32]:
    """The vectors of ``column``, float32 [rows, dim], without a copy where Arrow allows it.

    Args:
        table: Any table with a column ``fixed_size_list<float>[dim]``.
        expected_dim: The dimension the caller needs; ``None`` takes the column's own.
        column: The column's name.
        unit: Whether every vector must have norm 1.

    Raises:
        ItemembError: The column is missing, of another type or dimension (both dimensions are
            named), has a null or a non-finite number, or a vector without unit norm.
    """
    if column not in table.column_names:
        raise ItemembError(f"vectors: no column {column}, found {', '.join(table.column_names)}")
    kind = table.schema.field(column).type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise ItemembError(f"{column}: type {kind}, expected fixed_size_list<float>[dim]")
    if expected_dim is not None and kind.list_size != expected_dim:
        raise ItemembError(
            f"{column}: vectors have dimension {kind.list_size}, expected {expected_dim}"
        )
    if table.num_rows == 0:
        return np.empty((0, kind.list_size), np.float32)
    array = one_array(table.column(column))
    flat = array.flatten()
    if array.null_count or flat.null_count:
        raise ItemembError(f"{column}: {array.null_count or flat.null_count} nulls, expected none")
    values = flat.to_numpy(zero_copy_only=True).reshape(-1, kind.list_size)  # [rows, dim]
    _check_values(values, column, unit)
    return values


def parts_of(table: pa.Table) -> dict[str, int]:
    """Widths of the parts of ``embedding``, by name, in order.

    Raises:
        ItemembError: They do not add up to the vectors' width (both are named).
    """
    width = table.schema.field("embedding").type.list_size
    stated = (table.schema.metadata or {}).get(PARTS_KEY)
    parts = json.loads(stated) if stated else {BEHAVIOUR: width}
    if sum(parts.values()) != width:
        named = " + ".join(f"{dim} {name}" for name, dim in parts.items())
        raise ItemembError(f"embedding: vectors have dimension {width}, expected {named}")
    return parts


def behaviour_vectors(table: pa.Table, expected_dim: int | None = None) -> NDArray[np.float32]:
    """The behaviour part of ``embedding`` at norm 1, float32 [rows, dim]: for links and users.

    Args:
        table: ``schemas.item_embeddings``.
        expected_dim: The part's width that the caller needs; None takes its own.

    Raises:
        ItemembError: As :func:`vectors` and :func:`parts_of`; the part has another width, or a
            vector has none of it.
    """
    parts = parts_of(table)
    dim = parts[BEHAVIOUR]
    if expected_dim is not None and dim != expected_dim:
        raise ItemembError(f"embedding: its {BEHAVIOUR} part has {dim}, expected {expected_dim}")
    every = vectors(table)
    if len(parts) == 1:
        return every
    own = every[:, :dim]
    norms = np.sqrt(np.einsum("nd,nd->n", own, own, dtype=np.float64))
    if not norms.all():
        raise ItemembError(f"embedding: row {int(np.argmin(norms))} has no {BEHAVIOUR} part")
    return (own / norms[:, None]).astype(np.float32)


def vector_column(values: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Vectors float32 [rows, dim] as a column ``fixed_size_list<float>[dim]``."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column's chunks as one array."""
    merged = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return merged.combine_chunks() if isinstance(merged, pa.ChunkedArray) else merged


def _check_values(values: NDArray[np.float32], column: str, unit: bool) -> None:
    """Check that rows are finite, and of norm 1 if ``unit``; the first bad row is named."""
    squares = np.einsum("nd,nd->n", values, values)  # [rows]; not finite if any component is not
    bad = np.flatnonzero(~np.isfinite(squares))
    if bad.size:
        raise ItemembError(f"{column}: row {bad[0]} is not finite ({bad.size} such rows)")
    bad = np.flatnonzero(np.abs(np.sqrt(squares) - 1.0) > UNIT_TOLERANCE)
    if unit and bad.size:
        norm = float(np.sqrt(squares[bad[0]]))
        raise ItemembError(
            f"{column}: row {bad[0]} has norm {norm:.4g}, expected 1 ({bad.size} such rows)"
        )
