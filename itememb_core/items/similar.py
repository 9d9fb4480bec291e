"""``similar_items``: the nearest items of every item, over all domains."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.items.index import rows_with_vectors, same_items
from itememb_core.items.vectors import one_array, vectors
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.indexed import EXACT, Aim, SearchFacts, nearest
from itememb_core.schemas import SIMILAR_ITEMS


class SimilarItems(NamedTuple):
    """The table and what is not in it.

    Attributes:
        table: ``schemas.SIMILAR_ITEMS``, items in the vocabulary's order, then rank.
        items: Items with an interaction or features: the queries, and all that may be a neighbour.
        without_vectors: Items without either, which are not in the table.
        facts: How they were found, see :func:`itememb_core.retrieval.indexed.nearest`.
    """

    table: pa.Table
    items: int
    without_vectors: int
    facts: SearchFacts


def similar_items(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    k: int,
    expected_dim: int | None = None,
    *,
    aim: Aim = EXACT,
    progress: Progress = silent,
) -> SimilarItems:
    """The ``k`` items with the largest cosine to each item, never the item itself.

    Equal cosines come in the vocabulary's order.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        k: Neighbours an item; fewer where there are no more items.
        expected_dim: As in :func:`vectors`.
        aim: How many items are compared one by one, and how good an index of more must be.
        progress: Called after each block of items.

    Raises:
        ItemembError: As :func:`vectors` and :func:`same_items`.
    """
    every = vectors(embeddings, expected_dim)
    same_items(vocabulary, embeddings)
    rows = rows_with_vectors(vocabulary, embeddings)
    values = every[rows]  # [items, dim]
    near, cosine, facts = _others(values, k, aim, progress)
    table = _table(vocabulary, rows, near, cosine)
    return SimilarItems(table, len(rows), len(every) - len(rows), facts)


def _table(
    vocabulary: pa.Table,
    rows: NDArray[np.int64],
    near: NDArray[np.int64],
    cosine: NDArray[np.float32],
) -> pa.Table:
    """``schemas.SIMILAR_ITEMS``: of nodes [items], each with places of others [items, k]."""
    n, width = near.shape
    ids, domains = one_array(vocabulary["item_id"]), one_array(vocabulary["domain"])
    neighbor = pa.array(rows[near.ravel()])
    columns = [
        ids.take(pa.array(np.repeat(rows, width))),
        ids.take(neighbor),
        pa.array(np.tile(np.arange(1, width + 1, dtype=np.int32), n)),
        pa.array(cosine.ravel().clip(-1.0, 1.0)),
        domains.take(neighbor),
    ]
    return pa.Table.from_arrays(columns, schema=SIMILAR_ITEMS)


def _others(
    values: NDArray[np.float32], k: int, aim: Aim, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float32], SearchFacts]:
    """Rows and cosines [n, min(k, n - 1)] of the nearest vectors other than each one itself."""
    n = len(values)
    near, cosine, facts = nearest(values, values, k + 1, aim, progress, "similar_items")
    own = near == np.arange(n)[:, None]  # [n, k + 1]
    # Where equal vectors crowd the item out of its own list, the last place goes instead.
    own[~own.any(axis=1), -1:] = True
    shape = (n, max(near.shape[1] - 1, 0))
    return near[~own].reshape(shape), cosine[~own].reshape(shape), facts
