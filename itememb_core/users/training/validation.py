"""Validation loss of a fit on the held-out next targets of the validation users."""

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.scoring import item_matrix, model_scores, own_items, vectors_of_users
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.towers import Towers
from itememb_core.users.training.batches import Sampler, limits, validation_users


def validation_loss(towers: Towers, packed: PackedHistories, sampling: Sampler) -> float | None:
    """Mean -log softmax, over all targets, of validation users' next targets; None without any.

    The held targets of a user are all those of his last time with a target; each user counts 1.
    """
    base = item_matrix(towers)
    losses: list[float] = []
    for shard in packed.shards():
        users = validation_users(shard, sampling)
        if len(users):
            end = limits(shard, sampling)[users]
            losses += _losses(towers, base, shard, users, end, sampling)
    return float(np.mean(losses)) if losses else None


def _losses(
    towers: Towers,
    base: NDArray[np.float32],
    shard: Shard,
    users: NDArray[np.int64],
    end: NDArray[np.int64],
    sampling: Sampler,
) -> list[float]:
    """Loss of each user ``[users]``."""
    import torch

    values = vectors_of_users(towers, shard, users, end, sampling.settings)
    own = own_items(shard, users, end, sampling.item_stats)
    held = [
        np.unique(shard.pair_key[shard.pair[shard.own[low:high]]] % sampling.targets)
        for low, high in zip(shard.owned[end], shard.owned[shard.start[users + 1]], strict=True)
    ]
    losses: list[float] = []
    for part, scores in model_scores(towers, values, base, own):
        total = torch.logsumexp(scores, dim=1)
        for row, targets in enumerate(held[part]):
            losses.append(float((total[row] - scores[row, torch.from_numpy(targets)]).mean()))
    return losses
