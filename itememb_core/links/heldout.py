"""Held-out direct matches in the backtest's pool: the examples whose truth is known.

What belongs here: finding the twin's place in each list, folds, and what each match stands for.
What does not: models. The truth is that both sides carry one id; only labels use it.
"""

import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.channels import RECEIPT_DOMAIN, RETAIL
from itememb_core.links.lists import PoolLists, pool_lists
from itememb_core.links.nodes import Support, support
from itememb_core.vocabulary import ALL_SIDE, node_index

#: Lower ends of the bands of receipt lines by which matches are weighted.
BANDS = np.array([1, 3, 10, 30, 100])

#: A match stands for at most so many times its share, and at least for one part in so many.
MOST_WEIGHT = 10.0


class HeldOut(NamedTuple):
    """Held-out matches with a receipt line before the cut.

    One whose catalog side nobody touched has no twin among the candidates: it takes part in
    fitting and in acceptance, as such items do among the opaque ones, but not in ranks.

    Attributes:
        ids: The items, [n].
        lists: Their candidates.
        twin: int32 [n], node of the catalog side.
        place: int64 [n], the twin's place in the list; -1: the pool does not hold it.
        weight: float64 [n], mean 1: how many opaque items of its support a match stands for.
        seen: bool [n], whether the catalog side has an event, so that the twin is a candidate.
        absent: Held-out ids without a receipt line before the cut, which take no part.
    """

    ids: pa.Array
    lists: PoolLists
    twin: NDArray[np.int32]
    place: NDArray[np.int64]
    weight: NDArray[np.float64]
    seen: NDArray[np.bool_]
    absent: int

    @property
    def matches(self) -> int:
        """Matches seen on both sides."""
        return int(self.seen.sum())

    @property
    def found(self) -> int:
        """Matches whose twin is in the pool."""
        return int((self.place >= 0).sum())


def held_out(pool: pa.Table, vocabulary: pa.Table, holdout: pa.Table) -> HeldOut:
    """Find the held-out matches in a pool.

    Args:
        pool: The backtest's ``schemas.LINK_POOL``.
        vocabulary: The backtest's ``schemas.VOCABULARY``.
        holdout: ``schemas.LINK_HOLDOUT``.
    """
    held = holdout["item_id"].combine_chunks()
    lists = pool_lists(pool.filter(pc.is_in(pool["receipt_item"], value_set=held)), vocabulary)
    counts = support(vocabulary)
    ids = vocabulary["item_id"].take(pa.array(lists.receipt)).combine_chunks()
    twin = node_index(vocabulary, ids, RETAIL)  # [matches], the row of side ``all``
    apart = np.flatnonzero(twin != lists.receipt)
    ids, lists, twin = ids.take(pa.array(apart)), lists.take(apart), twin[apart]
    is_twin = lists.catalog == twin[:, None]  # [matches, size]
    place = np.where(is_twin.any(axis=1), is_twin.argmax(axis=1), -1) if len(apart) else apart
    weight = _support_weights(lists, counts, vocabulary)
    seen = counts.catalog[twin] > 0
    return HeldOut(ids, lists, twin, place, weight, seen, len(held) - len(apart))


def fold_of(ids: pa.Array, folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each id by a stable hash, int64 [ids]."""
    hashes = (zlib.crc32(f"{seed}:{item}".encode()) % folds for item in ids.to_pylist())
    return np.fromiter(hashes, np.int64, len(ids))


def _support_weights(
    lists: PoolLists, counts: Support, vocabulary: pa.Table
) -> NDArray[np.float64]:
    """Share of opaque items over share of matches, by band of receipt lines, [matches].

    Direct matches are seen more often than opaque items: unweighted, the easy ones would vouch
    for the hard ones.
    """
    opaque = pc.and_(
        pc.equal(vocabulary["domain"], RECEIPT_DOMAIN), pc.equal(vocabulary["side"], ALL_SIDE)
    ).to_numpy()
    wanted = counts.receipts[opaque.astype(bool) & (counts.receipts > 0)]
    band = np.digitize(counts.receipts[lists.receipt], BANDS)  # [matches]
    if not len(wanted) or not len(band):
        return np.ones(len(band))
    bands = len(BANDS) + 1
    there = np.bincount(band, minlength=bands) / len(band)
    asked = np.bincount(np.digitize(wanted, BANDS), minlength=bands) / len(wanted)
    weight = (asked[band] / there[band]).clip(1.0 / MOST_WEIGHT, MOST_WEIGHT)
    return weight / weight.mean()
