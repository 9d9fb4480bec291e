"""What the scorer sees of a candidate: numbers from the pool and from the counts.

What belongs here: one function from lists to a matrix, and the names of its columns. What does
not: labels, models, anything of an id.

Everything about CSLS is relative to the other candidates of the same list, so that r(x) of the
receipt item, which a twin taken out would have changed, is in none of it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.links.lists import PoolLists
from itememb_core.links.nodes import Support

FEATURES: Final = (
    "similarity",
    "csls_gap",
    "csls_standout",
    "log_rank",
    "log_rank_reverse",
    "reverse_missing",
    "log_receipts",
    "log_catalog",
    "log_count_gap",
    "gap_by_support",
)

#: The best of a list, of whose CSLS the mean is what a candidate stands out from.
NEIGHBORS: Final = 10


def candidate_features(lists: PoolLists, counts: Support) -> NDArray[np.float32]:
    """Features of every candidate, float32 [n, size, len(FEATURES)]; 0 on padding.

    Args:
        lists: The candidates of n receipt items.
        counts: Events behind every node of the vocabulary.
    """
    valid = lists.valid  # [n, size]
    receipts = np.log1p(counts.receipts[lists.receipt])[:, None]  # [n, 1]
    catalog = np.log1p(counts.catalog[lists.catalog])  # [n, size]; padding is overwritten below
    gap = np.where(valid, lists.csls - best_other(lists.csls), 0.0)  # no -inf to multiply
    columns = (
        lists.similarity,
        gap,
        lists.csls - _mean_best(lists.csls)[:, None],
        np.log1p(_ranks(lists.csls)),
        np.log1p(lists.reverse),
        lists.reverse == 0,
        np.broadcast_to(receipts, valid.shape),
        catalog,
        np.abs(receipts - catalog),
        gap * np.minimum(receipts, catalog),
    )
    result = np.empty((*valid.shape, len(FEATURES)), np.float32)
    for number, column in enumerate(columns):
        result[:, :, number] = column
    result[~valid] = 0.0
    return result


def best_other(csls: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best CSLS of the list without the candidate itself, float32 [n, size].

    A list of one has no other: the candidate's own value stands in, a gap of 0.
    """
    size = csls.shape[1]
    if size < 2:
        return csls
    first = csls.argmax(axis=1)[:, None]  # [n, 1]
    top = np.partition(csls, (size - 2, size - 1), axis=1)[:, -2:]  # [n, 2]: second, first
    second = np.where(np.isfinite(top[:, :1]), top[:, :1], top[:, 1:])
    return np.where(np.arange(size) == first, second, top[:, 1:])


def _mean_best(csls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the NEIGHBORS best CSLS of each list, float32 [n]; fewer where it is shorter."""
    size = csls.shape[1]
    best = csls if size <= NEIGHBORS else np.partition(csls, size - NEIGHBORS)[:, -NEIGHBORS:]
    there = np.isfinite(best)
    return np.where(there, best, 0.0).sum(axis=1) / there.sum(axis=1).clip(min=1)


def _ranks(csls: NDArray[np.float32]) -> NDArray[np.int32]:
    """Rank of each candidate in its list by CSLS, from 1; ties by place."""
    order = np.argsort(-csls, axis=1, kind="stable")
    ranks = np.empty(csls.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(1, csls.shape[1] + 1, dtype=np.int32)[None], axis=1)
    return ranks
