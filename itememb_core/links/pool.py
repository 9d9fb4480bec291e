"""``link_pool``: the wide pool of candidates of every opaque receipt item.

What belongs here: making the table. What does not: scoring it (``scorer``), reading it back as
lists (``lists``).
"""

import numpy as np
import pyarrow as pa

from itememb_core.index import same_items
from itememb_core.links.csls import csls_lists
from itememb_core.links.nodes import link_nodes
from itememb_core.progress import Progress, silent
from itememb_core.schemas import LINK_POOL
from itememb_core.settings import LinkPoolSettings
from itememb_core.vectors import vectors


def link_pool(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    settings: LinkPoolSettings,
    expected_dim: int | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """The best candidates by CSLS of every opaque item and every held-out receipts side.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        settings: Candidates an item, neighbourhood of CSLS, who may be a candidate.
        expected_dim: As in :func:`vectors`.
        progress: Told of each block of each of four passes.

    Returns:
        ``schemas.LINK_POOL``, receipt items in the vocabulary's order, then ``rank_csls``; empty
        where a side is (``no_links_reason`` says which).

    Raises:
        ItemembError: As :func:`vectors` and :func:`same_items`.
    """
    values = vectors(embeddings, expected_dim)
    same_items(vocabulary, embeddings)
    nodes = link_nodes(vocabulary, settings)
    receipts, catalog = values[nodes.receipts], values[nodes.catalog]  # [n, dim], [m, dim]
    lists = csls_lists(receipts, catalog, settings.size, settings.csls_neighbors, progress)
    n, width = lists.candidate.shape
    ids = vocabulary["item_id"].combine_chunks()
    reverse = lists.reverse.ravel()
    columns = [
        ids.take(pa.array(np.repeat(nodes.receipts, width))),
        ids.take(pa.array(nodes.catalog[lists.candidate.ravel()])),
        pa.array(lists.similarity.ravel()),
        pa.array(lists.csls.ravel()),
        pa.array(np.tile(np.arange(1, width + 1, dtype=np.int32), n)),
        pa.array(reverse, mask=reverse == 0),
    ]
    return pa.Table.from_arrays(columns, schema=LINK_POOL)
