"""The pool read back as one padded row of candidates for each receipt item.

What belongs here: the dense form that features, scores and ranks are computed on, whatever the
length of each list. What does not: features, labels.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.channels import RECEIPTS, RETAIL
from itememb_core.errors import ItemembError
from itememb_core.vocabulary import UNKNOWN, node_index

#: Receipt items whose features are held at once.
CHUNK = 4096


@dataclass(frozen=True)
class PoolLists:
    """Candidates of n receipt items, in lists of at most ``size``, padded at the end.

    Attributes:
        receipt: int32 [n], node of each receipt item.
        catalog: int32 [n, size], node of each candidate; -1 pads.
        similarity: float32 [n, size]; -inf pads.
        csls: float32 [n, size]; -inf pads.
        reverse: int32 [n, size], rank of the receipt item in the candidate's list; 0 for none.
    """

    receipt: NDArray[np.int32]
    catalog: NDArray[np.int32]
    similarity: NDArray[np.float32]
    csls: NDArray[np.float32]
    reverse: NDArray[np.int32]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where there is a candidate, bool [n, size]."""
        return self.catalog != UNKNOWN

    def take(self, rows: NDArray[np.int64] | slice) -> "PoolLists":
        """The lists of some receipt items."""
        return PoolLists(
            self.receipt[rows],
            self.catalog[rows],
            self.similarity[rows],
            self.csls[rows],
            self.reverse[rows],
        )

    def without(self, place: NDArray[np.int64]) -> "PoolLists":
        """The lists with the candidate at ``place`` [n] taken out; -1 takes none."""
        hit = np.arange(self.catalog.shape[1]) == place[:, None]  # [n, size]
        return PoolLists(
            self.receipt,
            np.where(hit, np.int32(UNKNOWN), self.catalog),
            np.where(hit, np.float32(-np.inf), self.similarity),
            np.where(hit, np.float32(-np.inf), self.csls),
            np.where(hit, np.int32(0), self.reverse),
        )


def pool_lists(pool: pa.Table, vocabulary: pa.Table) -> PoolLists:
    """Read a pool.

    Args:
        pool: ``schemas.LINK_POOL``, the rows of one receipt item together.
        vocabulary: The vocabulary the pool was made with.

    Raises:
        ItemembError: An id is not in the vocabulary, or one item's rows are not together.
    """
    receipt = node_index(vocabulary, pool["receipt_item"], RECEIPTS)  # [pairs]
    catalog = node_index(vocabulary, pool["catalog_item"], RETAIL)
    for nodes, column in ((receipt, "receipt_item"), (catalog, "catalog_item")):
        if (nodes == UNKNOWN).any():
            found = pool[column][int(np.argmax(nodes == UNKNOWN))].as_py()
            raise ItemembError(f"link_pool: {column} {found} is not in the vocabulary")
    starts = np.flatnonzero(np.diff(receipt, prepend=-1))
    if len(np.unique(receipt[starts])) != len(starts):
        raise ItemembError("link_pool: the rows of a receipt item are not together")
    lengths = np.diff(starts, append=len(receipt))
    size = int(lengths.max(initial=0))
    row = np.repeat(np.arange(len(starts)), lengths)  # [pairs]
    column_of = np.arange(len(receipt)) - np.repeat(starts, lengths)  # [pairs]
    shape = (len(starts), size)

    def dense(values: NDArray, fill: float, kind: type) -> NDArray:
        filled: NDArray = np.full(shape, fill, kind)
        filled[row, column_of] = values
        return filled

    return PoolLists(
        receipt[starts],
        dense(catalog, UNKNOWN, np.int32),
        dense(pool["similarity"].to_numpy(), -np.inf, np.float32),
        dense(pool["csls"].to_numpy(), -np.inf, np.float32),
        dense(pool["rank_reverse"].fill_null(0).to_numpy(), 0, np.int32),
    )
