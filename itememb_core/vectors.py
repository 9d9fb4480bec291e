"""Reading a vector column, and the exact nearest neighbours of many vectors at once.

What belongs here: the checks every reader of vectors needs (dimension, type, unit norm) and one
blocked brute-force search. What does not: approximate indexes, which vectors to compare.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

#: How far the norm of a unit vector may be from 1.
UNIT_TOLERANCE = 1e-3

#: Columns whose maximum is looked at first; see :func:`best_columns`.
GROUP = 16

#: Bytes of one block of scores.
BLOCK_BYTES = 256 * 2**20


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
    chunks = table.column(column).combine_chunks()
    array = chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
    flat = array.flatten()
    if array.null_count or flat.null_count:
        raise ItemembError(f"{column}: {array.null_count or flat.null_count} nulls, expected none")
    values = flat.to_numpy(zero_copy_only=True).reshape(-1, kind.list_size)  # [rows, dim]
    _check_values(values, column, unit)
    return values


def _check_values(values: NDArray[np.float32], column: str, unit: bool) -> None:
    """Finite, and of norm 1 where asked; the first bad row is named."""
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


def top_k(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    k: int,
    *,
    penalty: NDArray[np.float32] | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress = silent,
    what: str = "nearest neighbours",
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` rows of ``base`` with the largest ``query . row - penalty[row]``, exactly.

    Args:
        queries: float32 [n, dim].
        base: float32 [m, dim].
        k: Rows wanted; min(k, m) are given.
        penalty: float32 [m], taken off the score of each row; none is 0.
        block_bytes: Most memory of a block of scores.
        progress: Told after each block.
        what: The words progress gets.

    Returns:
        Rows int64 [n, min(k, m)] and scores float32 of that shape, best first, ties by row.
    """
    n, k = len(queries), min(k, len(base))
    rows, best = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    for part, scores in score_blocks(queries, base, block_bytes):
        if penalty is not None:
            scores[:, : len(base)] -= as_tensor(penalty)
        rows[part], best[part] = best_columns(scores, k)
        progress(what, part.stop, n)
    return rows, best


def nearest_others(
    rows: NDArray[np.float32], asked: NDArray[np.int64], k: int, among: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The ``k`` rows of ``among`` nearest to each asked one by inner product, itself left out.

    Args:
        rows: float32 [items, dim].
        asked: Rows to answer for, [n].
        k: Neighbours wanted; one fewer than there are candidates are given at most.
        among: Rows that may be neighbours, distinct, at least one.

    Returns:
        Rows int64 [n, min(k, candidates - 1)], nearest first.
    """
    found = among[top_k(rows[asked], rows[among], k + 1)[0]]
    other = found != asked[:, None]
    # An asked row that is no candidate, or one of many equal ones: the last is one too many.
    other[other.all(axis=1), -1] = False
    return found[other].reshape(len(asked), found.shape[1] - 1)


def score_blocks(
    queries: NDArray[np.float32], base: NDArray[np.float32], block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[slice, "Tensor"]]:
    """All inner products, a block of queries at a time.

    Args:
        queries: float32 [n, dim].
        base: float32 [m, dim].
        block_bytes: Most memory of a block.

    Yields:
        The rows of the block, and a torch tensor float32 [block, m padded to whole groups] with
        -inf on the padding. It is one buffer used again (fresh memory for each block costs as
        much as the product): valid, and free to change, until the next block. Nothing is
        yielded where a side is empty.

    Raises:
        ItemembError: The sides differ in dimension.
    """
    import torch

    _same_dim(queries, base)
    n, m = len(queries), len(base)
    if n == 0 or m == 0:
        return
    width = -(-m // GROUP) * GROUP
    padded = torch.zeros(width, base.shape[1])
    padded[:m] = as_tensor(base)
    size = int(np.clip(block_bytes // (4 * width), 1, n))
    buffer = torch.empty(size, width)
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        scores = buffer[: part.stop - start]
        torch.mm(as_tensor(queries[part]), padded.T, out=scores)
        scores[:, m:] = -torch.inf
        yield part, scores


def best_columns(scores: "Tensor", k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of the ``k`` largest of each row, best first, ties by column.

    A row is taken as groups of GROUP columns, group j being j, j + width, j + 2 width, ... The k
    largest lie in the k groups with the largest maxima, so that only those are sorted: one
    linear pass and a small sort instead of a sort of the row.

    Args:
        scores: Torch tensor float32 [n, GROUP * width].
        k: At most the number of columns.
    """
    ids, values = largest_columns(scores, k)
    order = np.lexsort((ids.numpy(), -values.numpy()), axis=-1)  # [n, k]
    return np.take_along_axis(ids.numpy(), order, -1), np.take_along_axis(values.numpy(), order, -1)


def largest_columns(scores: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
    """Columns and values of the ``k`` largest of each row, ties in any order.

    Args:
        scores: As :func:`best_columns` takes them, of any floating type.
        k: At most the number of columns.
    """
    import torch

    n, width = scores.shape[0], scores.shape[1] // GROUP
    if width <= k:
        values, ids = scores.topk(k, dim=1)
    else:
        maxima = scores.view(n, GROUP, width).amax(1)  # [n, width]
        groups = maxima.topk(k, dim=1, sorted=False).indices  # [n, k]
        ids = (groups[:, :, None] + width * torch.arange(GROUP)).view(n, -1)  # [n, k * GROUP]
        values, places = scores.gather(1, ids).topk(k, dim=1)
        ids = ids.gather(1, places)
    return ids, values


def as_tensor(values: NDArray[np.float32]) -> "Tensor":
    """The same numbers as a torch tensor; a copy of what lies apart or is read-only, as Arrow's."""
    import torch

    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _same_dim(queries: NDArray[np.float32], base: NDArray[np.float32]) -> None:
    """Both sides of a product have one dimension."""
    if queries.ndim != 2 or base.ndim != 2 or queries.shape[1] != base.shape[1]:
        raise ItemembError(
            f"nearest neighbours: queries have shape {queries.shape}, base {base.shape}, "
            "expected one dimension for both"
        )
