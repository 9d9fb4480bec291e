"""Scores of users for all targets, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itememb_core.retrieval.exact import score_blocks
from itememb_core.settings import UserModelSettings
from itememb_core.users.shards import Shard
from itememb_core.users.towers import (
    Towers,
    item_tower,
    repeated,
    user_states,
    user_vectors,
)
from itememb_core.users.training.batches import event_arrays

if TYPE_CHECKING:
    from torch import Tensor

#: Users whose events go through the GRU at once.
_USERS = 128

#: Items that go through the item tower at once.
_ITEMS = 65_536


@dataclass(frozen=True)
class OwnItems:
    """Previously interacted items of users at the ends of their histories, ordered by user."""

    row: NDArray[np.int64]  # [n], position of the user among those requested
    target: NDArray[np.int64]  # [n]
    count: NDArray[np.int64]  # [n], interactions with it
    last: NDArray[np.int64]  # [n], event of the last of them
    features: NDArray[np.float32]  # [n, REPEAT_FEATURES]


def vectors_of_users(
    towers: Towers,
    shard: Shard,
    users: NDArray[np.int64],
    end: NDArray[np.int64],
    settings: UserModelSettings,
) -> NDArray[np.float32]:
    """User vectors after the last ``window`` events before ``end``, float32 ``[users, dim]``.

    Args:
        towers: Parameters.
        shard: Histories.
        users: Rows of ``shard.user_ids`` ``[users]``.
        end: End of each one's history, after at least one event ``[users]``.
        settings: The window.
    """
    import torch

    begin = np.maximum(shard.start[users], end - settings.window)
    result = np.empty((len(users), settings.dim), np.float32)
    order = np.argsort(end - begin, kind="stable")  # alike lengths together: little padding
    for low in range(0, len(users), _USERS):
        part = order[low : low + _USERS]
        arrays = event_arrays(shard, begin[part], end[part])
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.no_grad():
            length = batch["node"].shape[1]
            last = torch.arange(len(part)) * length + batch["lengths"] - 1
            result[part] = user_vectors(towers, user_states(towers, batch, last)).numpy()
    return result


def item_matrix(towers: Towers) -> NDArray[np.float32]:
    """Vectors of all targets with their bias as the last column ``[targets, dim + 1]``."""
    import torch

    parts = []
    with torch.no_grad():
        for low in range(0, len(towers.targets), _ITEMS):
            rows = torch.arange(low, min(low + _ITEMS, len(towers.targets)))
            values = item_tower(towers, rows, towers.ids[rows])
            parts.append(torch.cat([values, towers.bias[rows]], dim=1))
        return torch.cat(parts).numpy() if parts else np.empty((0, 1), np.float32)


def cold_matrix(towers: Towers, nodes: NDArray[np.int32]) -> NDArray[np.float32]:
    """Vectors of items that were no targets ``[nodes, dim]``, by the item tower.

    They have no trained row: the mean of all stands in. Nor do they have a bias, so that their
    scores compare them with each other, and not with targets.

    Args:
        towers: Parameters.
        nodes: Of the vocabulary.
    """
    import torch

    if not len(towers.targets) or not len(nodes):
        return np.empty((0, 0), np.float32)
    with torch.no_grad():
        row = towers.ids.mean(dim=0, keepdim=True)
        vectors = towers.vectors[torch.from_numpy(nodes.astype(np.int64)) + 1]
        joined = torch.cat([vectors, row.expand(len(vectors), -1)], dim=1)
        return towers.layers["item"](joined).numpy()


def own_items(
    shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64], item_stats: NDArray[np.float32]
) -> OwnItems:
    """The targets that users interacted with before ``end``.

    Args:
        shard: Histories.
        users: Rows of ``shard.user_ids``, ascending ``[users]``.
        end: End of each one's history ``[users]``.
        item_stats: ``PackedHistories.item_stats`` ``[targets, 2]``.
    """
    n_targets = max(len(item_stats), 1)
    low = np.searchsorted(shard.pair_key, users * n_targets)
    high = np.searchsorted(shard.pair_key, (users + 1) * n_targets)
    size = high - low
    row = np.repeat(np.arange(len(users)), size)
    pairs = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + np.repeat(low, size)
    seen_from = end[row] - 1
    last = shard.latest(pairs, seen_from)
    row, pairs, seen_from, last = (each[last >= 0] for each in (row, pairs, seen_from, last))
    target = shard.pair_key[pairs] % n_targets
    return OwnItems(
        row=row,
        target=target,
        count=last - shard.pair_start[pairs] + 1,
        last=shard.occurrence[last] % max(shard.events, 1),
        features=shard.repeats(pairs, last, seen_from, item_stats[target]),
    )


@dataclass(frozen=True)
class TowerScores:
    """The towers with their repeat term as a part of a ranking.

    Attributes:
        towers: Parameters.
        settings: The window.
        base: :func:`item_matrix`.
        item_stats: ``PackedHistories.item_stats`` ``[targets, 2]``.
    """

    towers: Towers
    settings: UserModelSettings
    base: NDArray[np.float32]
    item_stats: NDArray[np.float32]

    @classmethod
    def of(
        cls, towers: Towers, settings: UserModelSettings, item_stats: NDArray[np.float32]
    ) -> "TowerScores":
        """Make the item vectors once."""
        return cls(towers, settings, item_matrix(towers), item_stats)

    def scores(
        self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of all targets, float32 ``[users, targets]``.

        Args:
            shard: Histories.
            users: Rows of ``shard.user_ids``, ascending ``[users]``.
            end: End of each one's history, after at least one event ``[users]``.
        """
        import torch

        values = vectors_of_users(self.towers, shard, users, end, self.settings)
        own = own_items(shard, users, end, self.item_stats)
        blocks = [each.clone() for _, each in model_scores(self.towers, values, self.base, own)]
        width = len(self.towers.targets)
        return torch.cat(blocks)[:, :width].contiguous().numpy()


def model_scores(
    towers: Towers,
    values: NDArray[np.float32],
    base: NDArray[np.float32],
    own: OwnItems,
) -> "Iterator[tuple[slice, Tensor]]":
    """Scores of users for all targets, the repeat term with them.

    Args:
        towers: Parameters.
        values: User vectors ``[users, dim]``.
        base: :func:`item_matrix`.
        own: Previously interacted items of these users.

    Yields:
        As :func:`itememb_core.retrieval.exact.score_blocks`.
    """
    import torch

    features = torch.from_numpy(own.features)
    queries = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
    for part, scores in score_blocks(queries, base):
        low, high = np.searchsorted(own.row, [part.start, part.stop])
        rows = torch.from_numpy(own.row[low:high] - part.start)
        at = rows, torch.from_numpy(own.target[low:high])
        with torch.no_grad():
            again = repeated(towers, scores[at], features[low:high])
        scores[at] = again
        yield part, scores
