"""The frozen map from (item id, channel) to a node, the row of every vector table.

A direct match is one node over all channels; a held-out one is two, its receipts apart (``side`` =
``receipts``).
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.errors import ItemembError
from itememb_core.schemas import VOCABULARY
from itememb_core.services import (
    CHANNELS,
    MARKETPLACE,
    OFFERS,
    RECEIPT_DOMAIN,
    RECEIPTS,
    RETAIL,
)
from itememb_core.settings import DomainSettings

ALL_SIDE: Final = "all"
RECEIPTS_SIDE: Final = "receipts"

#: Node of an item that the vocabulary lacks.
UNKNOWN: Final = -1


def item_domains(item_ids: pa.Array, domains: DomainSettings) -> pa.Array:
    """Domain of each id by its prefix (the longest that fits), as strings ``[ids]``."""
    prefixes = [
        (domains.retail, RETAIL),
        (domains.marketplace, MARKETPLACE),
        (domains.offers, OFFERS),
    ]
    result = pa.array([RECEIPT_DOMAIN] * len(item_ids), pa.string())
    for prefix, domain in sorted(prefixes, key=lambda pair: len(pair[0])):
        result = pc.if_else(pc.starts_with(item_ids, prefix), domain, result)
    return result


def build_vocabulary(
    counts: pa.Table,
    catalog_ids: pa.Array | pa.ChunkedArray,
    holdout_ids: pa.Array | pa.ChunkedArray,
    domains: DomainSettings,
) -> pa.Table:
    """Give every item its node.

    Nodes are ordered by total count, the most frequent first, then by id and side: rows that are
    touched together lie together, and the order depends on the content alone.

    Args:
        counts: Columns ``item_id``, ``channel``, ``n``: rows of the item in the channel; several
            rows of one (item, channel) add up.
        catalog_ids: Items listed in the catalog, with an interaction or not.
        holdout_ids: Held-out direct matches; empty for the final fit.
        domains: Which prefix means which domain.

    Returns:
        ``schemas.VOCABULARY``. A held-out id seen on receipts has a second row of side
        ``receipts`` that takes the receipts' count; its row of side ``all`` has the rest.

    Raises:
        ItemembError: On a null id, an unknown channel, or a count that is null or negative.
    """
    ids = _distinct_ids(counts, catalog_ids)
    matrix = _count_matrix(counts, ids)  # [ids, channels]
    receipts = CHANNELS.index(RECEIPTS)
    held = pc.is_in(ids, value_set=_array(holdout_ids)).to_numpy(zero_copy_only=False)
    apart = np.flatnonzero(held & (matrix[:, receipts] > 0))
    side_counts = np.zeros((len(apart), len(CHANNELS)), np.int64)
    side_counts[:, receipts] = matrix[apart, receipts]
    matrix[apart, receipts] = 0

    return _vocabulary_rows(ids, matrix, apart, side_counts, domains)


def _vocabulary_rows(
    ids: pa.Array,
    matrix: np.ndarray,
    apart: np.ndarray,
    side_counts: np.ndarray,
    domains: DomainSettings,
) -> pa.Table:
    """Join the rows of side ``all`` and of side ``receipts`` (ids at ``apart``) and order them."""
    row_id = np.concatenate([np.arange(len(ids)), apart])
    row_side = np.repeat([ALL_SIDE, RECEIPTS_SIDE], [len(ids), len(apart)])
    row_counts = np.concatenate([matrix, side_counts])
    # ``ids`` ascend, so the row number of an id orders like the id itself.
    order = np.lexsort((row_side, row_id, -row_counts.sum(axis=1)))
    names = ids.take(pa.array(row_id[order]))
    columns = [
        pa.array(np.arange(len(order), dtype=np.int32)),
        names,
        pa.array(row_side[order].tolist(), pa.string()),
        item_domains(names, domains),
        *(pa.array(row_counts[order, c]) for c in range(len(CHANNELS))),
    ]
    return pa.Table.from_arrays(columns, schema=VOCABULARY)


def node_index(
    vocabulary: pa.Table,
    item_ids: pa.Array | pa.ChunkedArray,
    channels: pa.Array | pa.ChunkedArray | str,
) -> np.ndarray:
    """Node of each (item, channel).

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        item_ids: Ids ``[rows]``; dictionary-encoded ones are looked up once a distinct id.
        channels: Channel of each row ``[rows]``, or one channel for all.

    Returns:
        int32 ``[rows]``; ``UNKNOWN`` (-1) where the vocabulary lacks the id.
    """
    nodes = vocabulary["index"].to_numpy()
    sides = vocabulary["side"].to_numpy(zero_copy_only=False)
    result = _lookup(vocabulary, nodes, sides == ALL_SIDE, item_ids)
    apart = sides == RECEIPTS_SIDE
    if not apart.any():
        return result
    on_receipts: np.ndarray | bool
    if isinstance(channels, str):
        on_receipts = channels == RECEIPTS
    else:
        on_receipts = pc.equal(_plain(channels), RECEIPTS).to_numpy(zero_copy_only=False)
    own = _lookup(vocabulary, nodes, apart, item_ids)
    return np.where(on_receipts & (own != UNKNOWN), own, result).astype(np.int32)


def channel_codes(channels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Position of each channel in ``CHANNELS``, int8 ``[rows]``.

    Raises:
        ItemembError: If a channel is none of them; the message names it.
    """
    values = _plain(channels)
    codes = pc.index_in(values, value_set=pa.array(CHANNELS, pa.string()))
    if codes.null_count:
        found = values.filter(pc.is_null(codes))[0].as_py()
        raise ItemembError(f"channel: found {found!r}, expected one of {', '.join(CHANNELS)}")
    return codes.to_numpy(zero_copy_only=False).astype(np.int8)


def node_counts(vocabulary: pa.Table) -> np.ndarray:
    """Counts by node and channel, int64 ``[nodes, channels]``, in the order of ``CHANNELS``."""
    columns = [vocabulary[f"count_{channel}"].to_numpy() for channel in CHANNELS]
    return np.stack(columns, axis=1)


def _distinct_ids(counts: pa.Table, catalog_ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    seen = pa.concat_arrays([_array(counts["item_id"]), _array(catalog_ids)]).unique()
    if seen.null_count:
        raise ItemembError("vocabulary: found a null item_id, expected none")
    return seen.take(pc.array_sort_indices(seen))


def _count_matrix(counts: pa.Table, ids: pa.Array) -> np.ndarray:
    n = counts["n"]
    if n.null_count or (counts.num_rows and pc.min(n).as_py() < 0):
        raise ItemembError("vocabulary: found a null or negative count n, expected 0 or more")
    rows = pc.index_in(_array(counts["item_id"]), value_set=ids).to_numpy(zero_copy_only=False)
    matrix = np.zeros((len(ids), len(CHANNELS)), np.int64)
    np.add.at(matrix, (rows, channel_codes(counts["channel"])), n.to_numpy())
    return matrix


def _lookup(
    vocabulary: pa.Table,
    nodes: np.ndarray,
    rows: np.ndarray,
    item_ids: pa.Array | pa.ChunkedArray,
) -> np.ndarray:
    value_set = _array(vocabulary["item_id"]).filter(pa.array(rows))
    own = np.append(nodes[rows], UNKNOWN).astype(np.int32)  # the last: not found
    if not pa.types.is_dictionary(item_ids.type):
        return own[_positions(item_ids, value_set)]
    # One dictionary for all chunks: each look-up hashes the whole set.
    merged = item_ids.combine_chunks() if isinstance(item_ids, pa.ChunkedArray) else item_ids
    return own[_dictionary_positions(merged, value_set)]


def _positions(ids: pa.Array | pa.ChunkedArray, value_set: pa.Array) -> np.ndarray:
    """Place of each id in the set, -1 where it is not; one call, so that it is hashed once."""
    found = pc.index_in(ids.cast(pa.string()), value_set=value_set)
    return found.fill_null(-1).to_numpy()


def _dictionary_positions(ids: pa.DictionaryArray, value_set: pa.Array) -> np.ndarray:
    """As ``_positions``, looked up once a distinct id."""
    of_code = np.append(_positions(ids.dictionary, value_set), -1)
    return of_code[ids.indices.fill_null(len(ids.dictionary)).to_numpy(zero_copy_only=False)]


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    plain = _plain(values)
    merged = plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain
    return merged.cast(pa.string())


def _plain(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    return values
