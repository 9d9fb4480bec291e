"""Held-out direct matches in the backtest's pool: labelled examples, and folds of them.

The ground truth is that both sides carry one id; only labels use it.
"""

import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vocabulary import node_index
from itememb_core.links.lists import PoolLists, pool_lists
from itememb_core.links.nodes import support
from itememb_core.services import RETAIL


class HeldOut(NamedTuple):
    """Held-out matches with a receipt line before the cut.

    One whose catalog side has no interaction has no true match among the candidates: it takes part
    in fitting and in acceptance, as such items do among the opaque ones, but not in ranks.

    Attributes:
        ids: The items, [n].
        lists: Their candidates.
        true_match: int32 [n], node of the catalog side.
        place: int64 [n], the true match's place in the list; -1: the pool does not hold it.
        seen: bool [n], whether the catalog side has an event, so that it is a candidate.
        absent: Held-out ids without a receipt line before the cut, which are left out.
    """

    ids: pa.Array
    lists: PoolLists
    true_match: NDArray[np.int32]
    place: NDArray[np.int64]
    seen: NDArray[np.bool_]
    absent: int

    @property
    def matches(self) -> int:
        """Matches seen on both sides."""
        return int(self.seen.sum())

    @property
    def found(self) -> int:
        """Matches whose true match is in the pool."""
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
    ids = vocabulary["item_id"].take(pa.array(lists.receipt)).combine_chunks()
    match = node_index(vocabulary, ids, RETAIL)  # [matches], the row of side ``all``
    apart = np.flatnonzero(match != lists.receipt)
    ids, lists, match = ids.take(pa.array(apart)), lists.take(apart), match[apart]
    is_match = lists.catalog == match[:, None]  # [matches, size]
    place = np.where(is_match.any(axis=1), is_match.argmax(axis=1), -1) if len(apart) else apart
    seen = support(vocabulary).catalog[match] > 0
    return HeldOut(ids, lists, match, place, seen, len(held) - len(apart))


def is_top1(scores: NDArray[np.floating], place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the candidate at ``place`` [n] is top-1 of its list without a tie, bool [n]."""
    if not scores.shape[1]:
        return np.zeros(len(place), bool)
    own = np.take_along_axis(scores, place[:, None].clip(min=0), axis=1)  # [n, 1]
    return (place >= 0) & ((scores >= own).sum(axis=1) == 1)


def fold_of(ids: pa.Array, folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each id by a stable hash, int64 [ids]."""
    hashes = (zlib.crc32(f"{seed}:{item}".encode()) % folds for item in ids.to_pylist())
    return np.fromiter(hashes, np.int64, len(ids))
