"""The two sides of the link task: receipt items as queries, catalog items as candidates.

Ids are not compared: the receipts side of a held-out match is a query like any opaque item.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vocabulary import ALL_SIDE, RECEIPTS_SIDE, node_counts
from itememb_core.services import CATALOG_CHANNELS, CHANNELS, OFFERS, RECEIPT_DOMAIN, RECEIPTS
from itememb_core.settings import LinkPoolSettings

_RECEIPTS = CHANNELS.index(RECEIPTS)
_CATALOG = [CHANNELS.index(channel) for channel in CATALOG_CHANNELS]


class LinkNodes(NamedTuple):
    """The two sides, as rows of the vocabulary.

    Attributes:
        receipts: int64 [n]: queries, which are opaque items with a receipt line and receipts
            sides of held-out matches.
        catalog: int64 [m]: candidates.
    """

    receipts: NDArray[np.int64]
    catalog: NDArray[np.int64]


class Support(NamedTuple):
    """Rows of events behind every node, int64 [nodes] each."""

    receipts: NDArray[np.int64]
    catalog: NDArray[np.int64]


def support(vocabulary: pa.Table) -> Support:
    """Receipt lines and catalog events of every node."""
    counts = node_counts(vocabulary)  # [nodes, channels]
    return Support(counts[:, _RECEIPTS], counts[:, _CATALOG].sum(axis=1))


def link_nodes(vocabulary: pa.Table, settings: LinkPoolSettings) -> LinkNodes:
    """Queries and candidates.

    A candidate is a catalog item with an event in a catalog channel. One that receipts already
    name by its own id has its link, so it is no candidate unless ``direct_candidates`` is set.
    """
    counts = support(vocabulary)
    receipt = _equals(vocabulary["domain"], RECEIPT_DOMAIN)
    apart = _equals(vocabulary["side"], RECEIPTS_SIDE)
    queries = (receipt | apart) & (counts.receipts > 0)
    candidates = ~receipt & _equals(vocabulary["side"], ALL_SIDE) & (counts.catalog > 0)
    if not settings.offers:
        candidates &= ~_equals(vocabulary["domain"], OFFERS)
    if not settings.direct_candidates:
        candidates &= counts.receipts == 0
    return LinkNodes(np.flatnonzero(queries), np.flatnonzero(candidates))


def no_links_reason(vocabulary: pa.Table, settings: LinkPoolSettings) -> str | None:
    """Why the pool is empty, in words; ``None`` when it is not."""
    nodes = link_nodes(vocabulary, settings)
    if not len(nodes.receipts):
        return "no opaque item has a receipt line"
    if not len(nodes.catalog):
        return "no catalog item that may be a candidate has an event"
    return None


def _equals(column: pa.ChunkedArray, value: str) -> NDArray[np.bool_]:
    """Where a column of strings has the value, bool [rows]."""
    return pc.equal(column, value).to_numpy().astype(bool)
