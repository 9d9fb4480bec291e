"""Next-basket recall of the mean of a history's vectors, beside counts."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.evaluation.figures import QueryMetrics, Values
from itememb_core.evaluation.items.baselines import popularity
from itememb_core.evaluation.items.baskets import NextBaskets
from itememb_core.evaluation.items.goes_with import Space
from itememb_core.evaluation.ranking import hit_at, random_hit_at, sparse_ranks, tied_ranks
from itememb_core.items.vectors import vectors
from itememb_core.items.vocabulary import UNKNOWN, node_counts, node_index
from itememb_core.services import CHANNELS

#: Cutoffs of recall.
DEPTHS: Final = (20, 100)
#: Users ranked at once.
ROWS: Final = 256

Nodes = NDArray[np.int64]


def evaluate_next_baskets(
    space: Space, baskets: Mapping[str, NextBaskets], histories: pa.Table
) -> list[QueryMetrics]:
    """Evaluate one basket of each user in each channel; users without a history are left out.

    Args:
        space: Vectors and training data.
        baskets: By channel (``baskets.draw_next_baskets``).
        histories: ``schemas.USER_ITEMS`` of at least these users, all days before the cut.

    Returns:
        For each channel ``recall@20`` and ``recall@100`` of its next basket's items among all items
        with training events there, ties half, as mean by user: by the mean of the vectors of the
        user's interactions in any channel (``history_mean``, a row a day and item), by the mean of
        their contexts (``history_goes_with``), by the user's own most frequent (then popularity)
        and by the channel's popularity.
    """
    own = _history(space.vocabulary, histories)
    found = [_evaluate(space, channel, basket, *own) for channel, basket in baskets.items()]
    return [metrics for metrics in found if len(metrics)]


def _history(vocabulary: pa.Table, histories: pa.Table) -> tuple[Nodes, Nodes]:
    """User and node of each row of strength above 0, ordered by user."""
    kept = histories.filter(pc.greater(histories["strength"], 0))
    node = node_index(vocabulary, kept["item_id"], kept["channel"]).astype(np.int64)
    user = kept["user_id"].to_numpy()
    known = np.flatnonzero(node != UNKNOWN)
    known = known[np.lexsort((node[known], user[known]))]
    return user[known], node[known]


def _evaluate(
    space: Space, channel: str, basket: NextBaskets, owner: NDArray[np.int64], items: Nodes
) -> QueryMetrics:
    users = np.intersect1d(basket.user, owner)
    entry = np.isin(basket.user[basket.row], users)
    row = np.searchsorted(users, basket.user[basket.row[entry]])  # [items]
    mine = np.isin(owner, users)
    ranks = _ranks(
        space,
        channel,
        (row, basket.node[entry]),
        (np.searchsorted(users, owner[mine]), items[mine], len(users)),
    )
    sizes = np.bincount(row, minlength=len(users))
    values = {
        (method, f"recall@{depth}"): np.bincount(row, hit_at(found, depth), len(users)) / sizes
        for method, found in ranks.items()
        for depth in DEPTHS
    }
    seen = int((node_counts(space.vocabulary)[:, CHANNELS.index(channel)] > 0).sum())
    chance = {
        ("random", f"recall@{depth}"): np.full(len(users), random_hit_at(seen, depth))
        for depth in DEPTHS
    }
    return QueryMetrics(values, chance, {f"next basket, {channel}": np.ones(len(users), bool)})


def _ranks(
    space: Space, channel: str, items: tuple[Nodes, Nodes], history: tuple[Nodes, Nodes, int]
) -> dict[str, Values]:
    """Rank of each basket's item among the channel's, ``[items]`` by method."""
    from scipy.sparse import csr_array

    counts = node_counts(space.vocabulary)[:, CHANNELS.index(channel)]
    seen = np.flatnonzero(counts > 0)
    (row, node), (of, previous, users) = items, history
    targets = np.searchsorted(seen, node)
    shape = (users, len(counts))
    times = csr_array((np.ones(len(of)), (of, previous)), shape=shape)  # summed where repeated
    share = popularity(counts[seen])
    own, none = times[:, seen].tocsr(), csr_array((users, len(seen)))
    unit = vectors(space.embeddings)
    context = vectors(space.embeddings, column="context", unit=False)
    length = np.asarray(times.sum(axis=1)).ravel()[:, None]
    bias = space.embeddings["bias"].to_numpy()[seen]
    means = [(times @ table / length).astype(np.float32) for table in (unit, context)]
    return {
        "history_mean": _dense_ranks(means[0], unit[seen], 0 * bias, row, targets),
        "history_goes_with": _dense_ranks(means[1], unit[seen], bias, row, targets),
        "own_most_frequent": sparse_ranks(own[row], share, targets),
        "channel_popularity": sparse_ranks(none[row], share, targets),
    }


def _dense_ranks(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    bias: NDArray[np.float32],
    row: Nodes,
    targets: Nodes,
) -> Values:
    """Rank of each target by the scores of its row of ``queries``, ascending, ``[targets]``."""
    columns = np.ascontiguousarray(candidates.T)  # [dim, candidates]
    parts = []
    for start in range(0, len(queries), ROWS):
        mine = (row >= start) & (row < start + ROWS)
        scores = queries[start : start + ROWS] @ columns + bias
        parts.append(tied_ranks(scores, targets[mine], rows=row[mine] - start))
    return np.concatenate([np.empty(0), *parts])
