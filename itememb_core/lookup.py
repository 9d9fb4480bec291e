"""Look-ups of one item in finished tables: similar items, goes-with items, links."""

import difflib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.index import same_items
from itememb_core.items.vectors import vectors
from itememb_core.items.vocabulary import UNKNOWN, node_counts, node_index
from itememb_core.retrieval.exact import top_k
from itememb_core.schemas import LINK_CANDIDATES
from itememb_core.services import CHANNELS, RECEIPT_DOMAIN, RECEIPTS

#: ``score``: a cosine, or with goes-with a logit that only ranks.
FOUND = pa.schema(
    [
        ("item_id", pa.string()),
        ("neighbor_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("neighbor_domain", pa.string()),
    ]
)

#: Candidates of an item, and whether the pair is a link and by which method.
LINKS_OF = pa.schema([*LINK_CANDIDATES, ("method", pa.string())])

#: Ids compared with an unknown one by edit distance, at most.
CLOSE_SAMPLE = 20_000


def similar(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    item: str,
    k: int,
    *,
    goes_with: bool = False,
    channel: str | None = None,
) -> pa.Table:
    """The ``k`` items most like one item, or most likely beside it in a basket or session.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        item: Its id.
        k: Items wanted.
        goes_with: Rank by context(item) . embedding(other) + bias(other) and not by cosine.
        channel: Only items with an event there; by default any, with ``goes_with`` its own.

    Returns:
        ``FOUND``, best first, without the item itself.

    Raises:
        ItemembError: An unknown item (close ids are named) or channel.
    """
    same_items(vocabulary, embeddings)
    row = int(node_index(vocabulary, pa.array([item]), CHANNELS[1])[0])
    if row == UNKNOWN:
        raise unknown_item(item, vocabulary["item_id"])
    if goes_with and channel is None:
        domain = vocabulary["domain"][row].as_py()
        channel = RECEIPTS if domain == RECEIPT_DOMAIN else domain
    ids = vocabulary["item_id"].combine_chunks()
    rows = _candidates(vocabulary, channel)
    # Neither of the two nodes of a held-out match is the other's neighbour.
    rows = rows[pc.not_equal(ids.take(pa.array(rows)), item).to_numpy(zero_copy_only=False)]
    query, bias = _query(embeddings, row, goes_with)
    near, score = top_k(query, vectors(embeddings)[rows], k, penalty=-bias[rows])
    return _found(vocabulary, item, rows[near[0]], score[0])


def _found(
    vocabulary: pa.Table, item: str, rows: NDArray[np.int64], score: NDArray[np.float32]
) -> pa.Table:
    """The rows of the vocabulary that were found, as ``FOUND``."""
    found = pa.array(rows)
    columns = [
        pa.array([item] * len(found), pa.string()),
        vocabulary["item_id"].combine_chunks().take(found),
        pa.array(np.arange(1, len(found) + 1, dtype=np.int32)),
        pa.array(score),
        vocabulary["domain"].combine_chunks().take(found),
    ]
    return pa.Table.from_arrays(columns, schema=FOUND)


def _query(
    embeddings: pa.Table, row: int, goes_with: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The query's vector [1, dim], and what is added to each item's score [rows]."""
    if not goes_with:
        return vectors(embeddings)[row : row + 1], np.zeros(embeddings.num_rows, np.float32)
    context = vectors(embeddings, column="context", unit=False)
    return context[row : row + 1], embeddings["bias"].to_numpy()


def links_of(candidates: pa.Table, links: pa.Table, vocabulary: pa.Table, item: str) -> pa.Table:
    """The candidates and links of one item, of a receipt item or of a catalog item.

    Args:
        candidates: ``schemas.LINK_CANDIDATES``.
        links: ``schemas.CROSS_DOMAIN_LINKS``.
        vocabulary: ``schemas.VOCABULARY``, which lists every item.
        item: Its id.

    Returns:
        ``LINKS_OF``: a receipt item's candidates by rank, or the receipt items that a catalog
        item is a candidate of, best first; ``method`` is null where the pair is no link. A direct
        link has no rank.

    Raises:
        ItemembError: An unknown item; close ids are named.
    """
    if not pc.any(pc.equal(vocabulary["item_id"], item)).as_py():
        raise unknown_item(item, vocabulary["item_id"])
    mine, linked = _about(candidates, item), _about(links, item)
    pairs = mine.join(
        linked.select(["receipt_item", "catalog_item", "method"]), ["receipt_item", "catalog_item"]
    )
    direct = linked.filter(pc.equal(linked["method"], "direct"))
    for name in LINKS_OF.names:
        if name not in direct.column_names:
            direct = direct.append_column(
                name, pa.nulls(direct.num_rows, LINKS_OF.field(name).type)
            )
    both = [each.select(LINKS_OF.names).cast(LINKS_OF) for each in (direct, pairs)]
    order = [("probability", "descending"), ("csls", "descending"), ("receipt_item", "ascending")]
    return pa.concat_tables(both).sort_by([*order, ("catalog_item", "ascending")])


def unknown_item(item: str, ids: pa.ChunkedArray) -> ItemembError:
    """An error that names the item and up to three ids close to it."""
    known = pc.unique(ids)
    prefix = item
    near = known.slice(0, 0)
    while prefix and not len(near):
        near = known.filter(pc.starts_with(known, prefix))
        prefix = prefix[: len(prefix) - 1]
    sample = (near if len(near) else known).slice(0, CLOSE_SAMPLE).to_pylist()
    close = difflib.get_close_matches(item, sample, n=3, cutoff=0.0)
    hint = f"; close ids: {', '.join(close)}" if close else ""
    return ItemembError(f"item {item} is unknown among {len(known)} items{hint}")


def _candidates(vocabulary: pa.Table, channel: str | None) -> np.ndarray:
    """Rows of items with an event in the channel, or in any."""
    counts = node_counts(vocabulary)  # [nodes, channels]
    if channel is None:
        return np.flatnonzero(counts.sum(axis=1) > 0)
    if channel not in CHANNELS:
        raise ItemembError(f"channel {channel} is unknown, expected one of {', '.join(CHANNELS)}")
    return np.flatnonzero(counts[:, CHANNELS.index(channel)] > 0)


def _about(table: pa.Table, item: str) -> pa.Table:
    """Rows whose receipt item or catalog item it is."""
    return table.filter(
        pc.or_(pc.equal(table["receipt_item"], item), pc.equal(table["catalog_item"], item))
    )
