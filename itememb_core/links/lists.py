"""The pool read back as one padded row of candidates for each receipt item."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import UNKNOWN, node_index
from itememb_core.schemas import LINK_POOL
from itememb_core.services import RECEIPTS, RETAIL

#: Receipt items whose features are held at once.
CHUNK = 4096

#: Columns of the pool that compare the two items.
COMPARED = tuple(LINK_POOL.names[2:])


@dataclass(frozen=True)
class PoolLists:
    """Candidates of n receipt items, in lists of at most ``size``, padded at the end.

    Attributes:
        receipt: int32 [n], node of each receipt item.
        catalog: int32 [n, size], node of each candidate; -1 pads.
        compared: float32 [n, size] by column of the pool; NaN pads and stands for null.
    """

    receipt: NDArray[np.int32]
    catalog: NDArray[np.int32]
    compared: Mapping[str, NDArray[np.float32]]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where there is a candidate, bool [n, size]."""
        return self.catalog != UNKNOWN

    def score(self, name: str) -> NDArray[np.float32]:
        """A compared column to rank by, float32 [n, size]; -inf on padding and where null."""
        values = self.compared[name]
        return np.where(np.isnan(values), np.float32("-inf"), values)

    def take(self, rows: NDArray[np.int64] | slice) -> "PoolLists":
        """The lists of some receipt items."""
        compared = {name: values[rows] for name, values in self.compared.items()}
        return PoolLists(self.receipt[rows], self.catalog[rows], compared)

    def without(self, place: NDArray[np.int64]) -> "PoolLists":
        """The lists with the candidate at ``place`` [n] taken out; -1 takes none."""
        hit = np.arange(self.catalog.shape[1]) == place[:, None]  # [n, size]
        return self.only(~hit)

    def without_text(self) -> "PoolLists":
        """The lists without the candidates that the text alone found."""
        by_text = ~np.isnan(self.compared["rank_text"])
        if not by_text.any():
            return self
        others = ~(np.isnan(self.compared["rank_csls"]) & np.isnan(self.compared["rank_users"]))
        return self.only(self.valid & (others | ~by_text))

    def only(self, kept: NDArray[np.bool_]) -> "PoolLists":
        """The lists without the candidates where ``kept`` [n, size] is false."""
        compared = {name: np.where(kept, v, np.float32("nan")) for name, v in self.compared.items()}
        return PoolLists(self.receipt, np.where(kept, self.catalog, np.int32(UNKNOWN)), compared)


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
    row = np.repeat(np.arange(len(starts)), lengths)  # [pairs]
    column_of = np.arange(len(receipt)) - np.repeat(starts, lengths)  # [pairs]
    shape = (len(starts), int(lengths.max(initial=0)))

    def dense(values: NDArray, fill: float, kind: type) -> NDArray:
        filled: NDArray = np.full(shape, fill, kind)
        filled[row, column_of] = values
        return filled

    compared = {name: dense(_floats(pool[name]), np.nan, np.float32) for name in COMPARED}
    return PoolLists(receipt[starts], dense(catalog, UNKNOWN, np.int32), compared)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column as float32, null as NaN."""
    return pc.fill_null(column.cast(pa.float32()), float("nan")).to_numpy()
