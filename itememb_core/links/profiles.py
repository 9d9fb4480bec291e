"""Purchases as profiles of items: counts by user, by user and month, by user and week."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vocabulary import UNKNOWN, node_index
from itememb_core.links.likelihood import Side
from itememb_core.links.nodes import LinkNodes
from itememb_core.services import OFFERS, RECEIPTS

#: Days of a window in which a user's purchases count together, by column; None: all of them.
WINDOWS: Final = {"users_llr": None, "months_llr": 30, "weeks_llr": 7}

#: Counting of windows in time begins at a multiple of this. Sums over a row go by the lanes of
#: registers, so windows without a day in front of it change no digit, and need not be held.
LANES: Final = 128

#: Counts of items and windows that are made at once.
CELLS: Final = 1 << 22


class Purchases(NamedTuple):
    """Days on which users interacted with items, one element each; strength 0 is left out.

    Attributes:
        user: int64 [entries], from 0 without gaps.
        day: int64 [entries], days since 1970-01-01.
        on_receipts: bool [entries], which side it is.
        place: int64 [entries], row of ``nodes.receipts`` or ``nodes.catalog``; -1 for an item
            that is on neither side, which still counts as an event of its user there.
    """

    user: NDArray[np.int64]
    day: NDArray[np.int64]
    on_receipts: NDArray[np.bool_]
    place: NDArray[np.int64]


def purchases(user_items: pa.Table, vocabulary: pa.Table, nodes: LinkNodes) -> Purchases:
    """Read the bags of both sides.

    Args:
        user_items: ``day`` and ``schemas.USER_ITEMS``, nothing after the cut.
        vocabulary: ``schemas.VOCABULARY``.
        nodes: The two sides.
    """
    kept = pc.and_(
        pc.greater(user_items["strength"], 0), pc.not_equal(user_items["channel"], OFFERS)
    )
    rows = user_items.filter(kept)
    on_receipts = pc.equal(rows["channel"], RECEIPTS).to_numpy().astype(bool)
    node = node_index(vocabulary, rows["item_id"], rows["channel"])
    receipts, catalog = (_places(side, vocabulary.num_rows) for side in nodes)
    place = np.where(on_receipts, receipts[node], catalog[node])
    place[node == UNKNOWN] = UNKNOWN
    user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1]
    day = rows["day"].cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64)
    return Purchases(user.astype(np.int64), day, on_receipts, place)


def sides(bought: Purchases, nodes: LinkNodes, window: int | None) -> tuple[Side, Side]:
    """Counts of days by item and column, a column being a user's window of so many days.

    Columns that only one side has carry no evidence (the other's share of them is 0) and are left
    out; shares and totals count them.
    """
    column = bought.user
    if window is not None:
        number = bought.day // window
        column = column * (int(number.max(initial=0)) + 1) + number
    on_receipts = np.unique(column[bought.on_receipts])
    shared = np.intersect1d(on_receipts, column[~bought.on_receipts], assume_unique=False)
    place = np.searchsorted(shared, column)
    inside = np.isin(column, shared)
    receipts = _side(bought, bought.on_receipts, len(nodes.receipts), place, inside, len(shared))
    catalog = _side(bought, ~bought.on_receipts, len(nodes.catalog), place, inside, len(shared))
    return receipts, catalog


class Compared(NamedTuple):
    """Both sides of a comparison, and what a cap took from it.

    Attributes:
        queries: The receipts side.
        base: The catalog side.
        columns_cut: Columns left out.
        entries_cut: Counts in them, of both sides.
    """

    queries: Side
    base: Side
    columns_cut: int
    entries_cut: int


def without_wide(queries: Side, base: Side, most: int) -> Compared:
    """Leave out columns with more than ``most`` items of either side.

    Such a column is no person's (a till's own account, a robot's): it makes a pair of each two of
    its items, and the evidence for one of n pairs is about 1 / n of that of one pair. Shares and
    totals count it, as they do a column that one side has alone.
    """
    sizes = [side.counts.getnnz(axis=0) for side in (queries, base)]  # [columns] each
    wide = (sizes[0] > most) | (sizes[1] > most)
    if not wide.any():
        return Compared(queries, base, 0, 0)
    kept = np.flatnonzero(~wide)
    left, right = (
        Side(side.counts[:, kept].tocsr(), side.share[kept], side.totals)
        for side in (queries, base)
    )
    return Compared(left, right, int(wide.sum()), int(sum(size[wide].sum() for size in sizes)))


def _side(
    bought: Purchases,
    own: NDArray[np.bool_],
    items: int,
    column: NDArray[np.int64],
    inside: NDArray[np.bool_],
    columns: int,
) -> Side:
    from scipy.sparse import csr_matrix

    share = np.bincount(column[own & inside], minlength=columns) / max(int(own.sum()), 1)
    known = own & (bought.place != UNKNOWN)
    totals = np.bincount(bought.place[known], minlength=items).astype(np.float64)
    kept = known & inside
    ones = np.ones(int(kept.sum()), np.float32)
    counts = csr_matrix((ones, (bought.place[kept], column[kept])), (items, columns))
    counts.sum_duplicates()
    return Side(counts, share, totals)


def by_time(bought: Purchases, nodes: LinkNodes, days: int) -> tuple[NDArray, NDArray]:
    """How an item's days lie in time against its channel's: Pearson residuals by window.

    Returns:
        float32 [receipt items, windows] and [catalog items, windows], rows of norm 1: the dot
        product of two is the correlation of what time alone does not explain.
    """
    first = int(bought.day.min()) // days // LANES * LANES if len(bought.day) else 0
    number = bought.day // days - first
    windows = int(number.max(initial=0)) + 1
    result = []
    for own, items in (
        (bought.on_receipts, len(nodes.receipts)),
        (~bought.on_receipts, len(nodes.catalog)),
    ):
        share = np.bincount(number[own], minlength=windows) / max(int(own.sum()), 1)
        known = own & (bought.place != UNKNOWN)
        result.append(_residuals(bought.place[known], number[known], share, items))
    return result[0], result[1]


def _residuals(
    place: NDArray[np.int64], number: NDArray[np.int64], share: NDArray[np.float64], items: int
) -> NDArray[np.float32]:
    """Pearson residuals of entries by item and window, rows of norm 1, float32 [items, windows].

    Some items at a time: only the result is held whole.
    """
    windows = len(share)
    residuals = np.empty((items, windows), np.float32)
    order = np.argsort(place, kind="stable")
    step = max(CELLS // windows, 1)
    for low in range(0, items, step):
        rows = residuals[low : low + step]
        begin, end = np.searchsorted(place, (low, low + len(rows)), sorter=order)
        own = order[begin:end]
        flat = (place[own] - low) * windows + number[own]
        rows[:] = np.bincount(flat, minlength=rows.size).reshape(rows.shape)
        expected = rows.sum(axis=1, keepdims=True) * share.astype(np.float32)
        rows -= expected
        expected += 0.5
        rows /= np.sqrt(expected, out=expected)
        norm = np.sqrt(np.einsum("iw,iw->i", rows, rows))
        rows /= np.maximum(norm, 1e-9)[:, None]
    return residuals


def first_and_last(bought: Purchases, nodes: LinkNodes) -> tuple[NDArray, NDArray]:
    """First and last day of every item, float32 [items, 2] a side; NaN without any."""
    result = []
    for own, items in (
        (bought.on_receipts, len(nodes.receipts)),
        (~bought.on_receipts, len(nodes.catalog)),
    ):
        known = own & (bought.place != UNKNOWN)
        ends = np.full((items, 2), (np.inf, -np.inf))
        np.minimum.at(ends[:, 0], bought.place[known], bought.day[known])
        np.maximum.at(ends[:, 1], bought.place[known], bought.day[known])
        ends[~np.isfinite(ends)] = np.nan
        result.append(ends.astype(np.float32))
    return result[0], result[1]


def _places(nodes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Row of each node in ``nodes``, -1 for the others, int64 [size + 1] (the last: unknown)."""
    places = np.full(size + 1, UNKNOWN, np.int64)
    places[nodes] = np.arange(len(nodes))
    return places
