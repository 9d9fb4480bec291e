"""Look-ups of one item in finished tables: similar items, goes-with items, links."""

import difflib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.index import ItemIndex, rows_with_vectors, same_items
from itememb_core.items.vectors import vectors
from itememb_core.items.vocabulary import UNKNOWN, node_counts, node_index
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
    index: ItemIndex,
    item: str,
    k: int,
    *,
    channel: str | None = None,
) -> pa.Table:
    """The ``k`` items most like one item, by the stored index.

    A flat index answers exactly; one of inverted lists finds of the exact neighbours the share
    that ``index.about["recall"]`` states, measured when it was built. Within a channel every item
    is compared: the lists that are read may hold few of its items.

    Args:
        embeddings: Of ``schemas.item_embeddings(dim)`` the columns ``item_id``, ``side``,
            ``source`` and ``embedding``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        index: Made of both.
        item: Its id.
        k: Items wanted.
        channel: Only items with an event there.

    Returns:
        ``FOUND``, best first, without the item itself; ``score`` is a cosine.

    Raises:
        ItemembError: An unknown item (close ids are named) or channel, or the index is of others.
    """
    row = _row_of(embeddings, vocabulary, item)
    values = vectors(embeddings)
    if channel is not None:
        rows = _others(vocabulary, item, channel)
        return _found(vocabulary, item, *_best(rows, values[rows] @ values[row], k))
    rows = rows_with_vectors(vocabulary, embeddings)
    return _found(vocabulary, item, *_by_index(index, vocabulary, rows, values[row], item, k))


def goes_with(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    item: str,
    k: int,
    *,
    channel: str | None = None,
) -> pa.Table:
    """The ``k`` items most likely beside one item in a basket or session.

    They are ranked by context(item) . embedding(other) + bias(other), a logit.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        item: Its id.
        k: Items wanted.
        channel: Only items with an event there; by default the item's own.

    Returns:
        ``FOUND``, best first, without the item itself; ``score`` is the logit.

    Raises:
        ItemembError: An unknown item (close ids are named) or channel.
    """
    row = _row_of(embeddings, vocabulary, item)
    domain = vocabulary["domain"][row].as_py()
    rows = _others(vocabulary, item, channel or (RECEIPTS if domain == RECEIPT_DOMAIN else domain))
    context = vectors(embeddings, column="context", unit=False)[row]
    scores = vectors(embeddings)[rows] @ context + embeddings["bias"].to_numpy()[rows]
    return _found(vocabulary, item, *_best(rows, scores, k))


def _by_index(
    index: ItemIndex,
    vocabulary: pa.Table,
    listed: NDArray[np.int64],
    query: NDArray[np.float32],
    item: str,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` rows that the index finds for a vector, and their cosines, without the item's.

    ``listed``: rows of the vocabulary that the index holds, in its order.
    """
    if not index.ids["item_id"].equals(vocabulary["item_id"].take(pa.array(listed))):
        raise ItemembError("item_index: made of other items than the vocabulary")
    # Neither of the two nodes of a held-out match is the other's neighbour.
    own = np.flatnonzero(pc.equal(index.ids["item_id"], item))
    found, scores = index.search(query[None], min(k + len(own), len(listed)))  # [1, k + own]
    other = (found[0] >= 0) & ~np.isin(found[0], own)
    return _best(listed[found[0][other]], scores[0][other], k)


def _row_of(embeddings: pa.Table, vocabulary: pa.Table, item: str) -> int:
    """The item's row in both tables."""
    same_items(vocabulary, embeddings)
    row = int(node_index(vocabulary, pa.array([item]), CHANNELS[1])[0])
    if row == UNKNOWN:
        raise unknown_item(item, vocabulary["item_id"])
    return row


def _others(vocabulary: pa.Table, item: str, channel: str) -> NDArray[np.int64]:
    """Rows of the other items with an event in the channel."""
    if channel not in CHANNELS:
        raise ItemembError(f"channel {channel} is unknown, expected one of {', '.join(CHANNELS)}")
    other = np.asarray(pc.not_equal(vocabulary["item_id"], item))
    return np.flatnonzero(other & (node_counts(vocabulary)[:, CHANNELS.index(channel)] > 0))


def _best(
    rows: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` rows with the largest scores and these, ties by row."""
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _found(
    vocabulary: pa.Table, item: str, rows: NDArray[np.int64], score: NDArray[np.float32]
) -> pa.Table:
    """The rows of the vocabulary that were found, as ``FOUND``."""
    found = pa.array(rows)
    columns = [
        pa.array([item] * len(found), pa.string()),
        vocabulary["item_id"].combine_chunks().take(found),
        pa.array(np.arange(1, len(found) + 1, dtype=np.int32)),
        pa.array(score, pa.float32()),
        vocabulary["domain"].combine_chunks().take(found),
    ]
    return pa.Table.from_arrays(columns, schema=FOUND)


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


def _about(table: pa.Table, item: str) -> pa.Table:
    """Rows whose receipt item or catalog item it is."""
    return table.filter(
        pc.or_(pc.equal(table["receipt_item"], item), pc.equal(table["catalog_item"], item))
    )
