"""The exact nearest neighbours of many vectors at once, by blocks of matrix products."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

#: Columns whose maximum is looked at first; see :func:`best_columns`.
GROUP = 16

#: Bytes of one block of scores.
BLOCK_BYTES = 256 * 2**20


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
        progress: Called after each block.
        what: Its first argument.

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
    rows: NDArray[np.float32], queries: NDArray[np.int64], k: int, among: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The ``k`` rows of ``among`` nearest to each query by inner product, itself left out.

    Args:
        rows: float32 [items, dim].
        queries: Rows of the queries, [n].
        k: Neighbours wanted; one fewer than there are candidates are given at most.
        among: Rows that may be neighbours, distinct, at least one.

    Returns:
        Rows int64 [n, min(k, candidates - 1)], nearest first.
    """
    found = among[top_k(rows[queries], rows[among], k + 1)[0]]
    other = found != queries[:, None]
    # A query that is no candidate, or one of many equal ones: the last is one too many.
    other[other.all(axis=1), -1] = False
    return found[other].reshape(len(queries), found.shape[1] - 1)


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
    whole = torch.zeros(width, base.shape[1])
    whole[:m] = as_tensor(base)
    size = int(np.clip(block_bytes // (4 * width), 1, n))
    buffer = torch.empty(size, width)
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        scores = buffer[: part.stop - start]
        torch.mm(as_tensor(queries[part]), whole.T, out=scores)
        scores[:, m:] = -torch.inf
        yield part, scores


def padded(scores: NDArray[np.float32]) -> "Tensor":
    """Scores ``[n, m]`` with -inf on more columns, up to whole groups, for :func:`best_columns`."""
    import torch

    result = torch.full((len(scores), -(-scores.shape[1] // GROUP) * GROUP), -torch.inf)
    result[:, : scores.shape[1]] = torch.from_numpy(scores)
    return result


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
