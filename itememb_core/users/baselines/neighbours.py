"""Users that others are compared with: a seeded sample, so that the cost is linear in users."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import Events, history_events, joined_rows
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import Ends

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Users in the sample at most.
MOST_USERS: Final = 5_000


@dataclass(frozen=True)
class Neighbours:
    """The sample.

    Attributes:
        ids: Users ``[sample]``.
        tables: Of the users, each float32 ``[sample, targets]``.
    """

    ids: NDArray[np.int64]
    tables: "tuple[csr_matrix, ...]"

    def itself(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether user and neighbour are the same ``[users, sample]``."""
        return ids[:, None] == self.ids[None, :]


def sample_neighbours(
    packed: PackedHistories,
    ends: Ends | None,
    seed: int,
    tables_of: "Callable[[Events, int], tuple[csr_matrix, ...]]",
) -> Neighbours:
    """Draw users evenly and make their tables of their own events.

    Args:
        packed: Histories.
        ends: Nothing after these ends is seen; None: all is.
        seed: Of the draw.
        tables_of: From events and the number of users to tables ``[users, targets]``.
    """
    ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    parts: list[tuple[csr_matrix, ...]] = []
    for events, users in history_events(packed, ends, most=MOST_USERS, seed=seed):
        ids.append(users)
        parts.append(tables_of(events, len(users)))
    tables = zip(*parts, strict=True)
    size = len(packed.item_users)
    return Neighbours(np.concatenate(ids), tuple(joined_rows(list(t), size) for t in tables))


def weighted_sum(weights: NDArray[np.float32], table: "csr_matrix") -> NDArray[np.float32]:
    """Rows of neighbours, weighted and summed: ``weights @ table``, float32 ``[users, targets]``.

    Args:
        weights: ``[users, sample]``.
        table: ``[sample, targets]``.
    """
    # The dense side as columns: each stored number is used for all users at once.
    return np.ascontiguousarray((table.T @ np.ascontiguousarray(weights.T)).T)
