"""Baselines of the user model: counts of the user, of all users and of neighbouring items.

Each gives scores float32 ``[users, targets]``; one that scores a part of the items alone is filled
up by popularity, which stays below its own scores.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.items.vocabulary import node_counts
from itememb_core.users.features import DAY
from itememb_core.users.items import ItemSpace
from itememb_core.users.scoring import OwnItems
from itememb_core.users.shards import PackedHistories, Shard

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scores = NDArray[np.float32]

#: Latest events whose vectors are averaged.
_WINDOW: Final = 200


@dataclass(frozen=True)
class Statistics:
    """Counts over all training histories."""

    popularity: NDArray[np.float64]  # [targets], below 1, the most frequent highest
    by_channel: NDArray[np.float64]  # [channels, targets], shares of the channel's events
    baskets: "csr_matrix"  # [user days, targets], 1 where interacted
    transitions: "csr_matrix"  # [targets, targets], counts of one event and the next
    vectors: NDArray[np.float32]  # [targets, item dim]


def statistics(packed: PackedHistories, items: ItemSpace) -> Statistics:
    """Count what the baselines need, from the targets' own events."""
    from scipy.sparse import csr_matrix

    size = len(items.targets)
    days, targets, before, after = [], [], [], []
    rows = 0
    for shard in packed.shards():
        own, users = own_targets(shard, size), shard.users_of(shard.own)
        day = np.floor(shard.seconds[shard.own] / DAY).astype(np.int64)
        changes = np.diff(day, prepend=-1) + np.diff(users, prepend=-1) != 0
        changes |= np.diff(users, prepend=-1) != 0
        days.append(rows + np.cumsum(changes) - 1)
        rows += int(changes.sum())
        targets.append(own)
        same = users[1:] == users[:-1]
        before.append(own[:-1][same])
        after.append(own[1:][same])
    columns = _join(targets)
    ones = np.ones(len(columns), np.float32)
    baskets = csr_matrix((ones, (_join(days), columns)), shape=(rows, size))
    baskets.sum_duplicates()
    baskets.data[:] = 1
    steps = _join(before), _join(after)
    moves = csr_matrix((np.ones(len(steps[0]), np.float32), steps), shape=(size, size))
    counts = node_counts(items.vocabulary)[items.targets].T.astype(np.float64)
    return Statistics(
        popularity=items.counts / (items.counts.max(initial=0) + 1.0),
        by_channel=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
        baskets=baskets,
        transitions=moves,
        vectors=items.vectors[items.targets],
    )


def own_targets(shard: Shard, n_targets: int) -> NDArray[np.int64]:
    """Target of each own event of a shard ``[own]``; a link never makes an event own."""
    return shard.pair_key[shard.pair[shard.own]] % max(n_targets, 1)


def last_targets(shard: Shard, users: NDArray[np.int64], n_targets: int) -> NDArray[np.int64]:
    """Target of each user's last own event, -1 without any ``[users]``."""
    count = shard.owned[shard.start[users + 1]]
    some = count > shard.owned[shard.start[users]]
    own = own_targets(shard, n_targets)
    return (
        np.where(some, own[np.maximum(count - 1, 0)], -1) if len(own) else np.full(len(users), -1)
    )


def baseline_scores(
    stats: Statistics, shard: Shard, users: NDArray[np.int64], own: OwnItems, items: ItemSpace
) -> dict[str, Scores]:
    """Scores by method.

    Args:
        stats: Counts.
        shard: Histories.
        users: Rows of ``shard.user_ids`` ``[users]``.
        own: Previously interacted items of these users; positions are those in ``users``.
        items: Vectors.
    """
    last = last_targets(shard, users, len(items.targets))
    shape = (len(users), len(stats.popularity))
    return {
        "own_most_frequent": _own(stats, shard, users, shape),
        "popularity": np.broadcast_to(stats.popularity.astype(np.float32), shape).copy(),
        "channel_popularity": _channels(stats, shard, users),
        "last_item_co_occurrence": _neighbours(stats, last, _co_occurrences(stats, last)),
        "markov_chain": _neighbours(stats, last, stats.transitions[np.maximum(last, 0)]),
        "mean_of_vectors": _mean(stats, shard, users, items),
    }


def _own(
    stats: Statistics, shard: Shard, users: NDArray[np.int64], shape: tuple[int, int]
) -> Scores:
    """Count of the user's own events, links not counted; ties by recency, then popularity."""
    scores = np.tile((stats.popularity - 1.0).astype(np.float32), (shape[0], 1))
    pair = shard.pair[shard.own]  # [own]
    count = np.bincount(pair, minlength=len(shard.pair_key))  # [pairs]
    last = np.zeros(len(shard.pair_key), np.int64)
    np.maximum.at(last, pair, shard.own)
    row = np.searchsorted(users, shard.pair_key // shape[1])
    mine = count > 0
    mine &= users[np.minimum(row, len(users) - 1)] == shard.pair_key // shape[1]
    pairs = np.flatnonzero(mine)
    late = np.argsort(np.argsort(last[pairs], kind="stable"), kind="stable")
    at = row[pairs], shard.pair_key[pairs] % shape[1]
    scores[at] = count[pairs] + late / (len(late) + 1.0)
    return scores


def _channels(stats: Statistics, shard: Shard, users: NDArray[np.int64]) -> Scores:
    """Popularity in each channel, by the share of the channel in the user's target events."""
    share = np.zeros((len(users), len(stats.by_channel)))
    for row, user in enumerate(users.tolist()):
        low, high = shard.owned[shard.start[user]], shard.owned[shard.start[user + 1]]
        channels = shard.channel[shard.own[low:high]]
        share[row] = np.bincount(channels, minlength=share.shape[1]) / max(len(channels), 1)
    return (share @ stats.by_channel + 1e-9 * stats.popularity).astype(np.float32)


def _co_occurrences(stats: Statistics, last: NDArray[np.int64]) -> "csr_matrix":
    """User days with both the last item and another, the item itself not counted (CSR)."""
    from scipy.sparse import csr_matrix

    both = (stats.baskets[:, np.maximum(last, 0)].T @ stats.baskets).tocsr()
    itself = np.arange(len(last)), np.maximum(last, 0)
    own = np.asarray(both[itself]).ravel()
    return both - csr_matrix((own, itself), shape=both.shape)


def _neighbours(stats: Statistics, last: NDArray[np.int64], counts: "csr_matrix") -> Scores:
    """Counts given the last item, then popularity; without a last item popularity alone."""
    scores = counts.toarray().astype(np.float32)  # [users, targets]
    scores[last < 0] = 0.0
    return scores + stats.popularity.astype(np.float32)


def _mean(stats: Statistics, shard: Shard, users: NDArray[np.int64], items: ItemSpace) -> Scores:
    """Cosine with the mean of the vectors of the user's latest events."""
    mean = np.zeros((len(users), items.dim), np.float32)
    for row, user in enumerate(users.tolist()):
        end = int(shard.start[user + 1])
        nodes = shard.node[max(int(shard.start[user]), end - _WINDOW) : end]
        mean[row] = items.vectors[nodes[nodes >= 0]].sum(axis=0)
    return mean @ stats.vectors.T


def _join(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
