"""What a baseline is, and what all of them are made of."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.items import ItemSpace
from itememb_core.users.shards import PackedHistories, Shard
from itememb_core.users.validation import Ends

Scores = NDArray[np.float32]

#: Values to try of each setting, in the order in which settings are chosen.
Ladder = Mapping[str, tuple[float, ...]]


class Fitted(Protocol):
    """A baseline that has seen the histories."""

    def scores(self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]) -> Scores:
        """Scores of all targets, float32 ``[users, targets]``, the caller's to change.

        Args:
            shard: Histories.
            users: Rows of ``shard.user_ids``, ascending ``[users]``.
            end: End of each one's history, an event number of the shard ``[users]``.
        """
        ...


class Baseline(Protocol):
    """A baseline and its settings: a frozen dataclass, so that others are made by ``replace``.

    Attributes:
        name: Of the method.
        ladder: Settings that are chosen.
        scoring: Those of them that ``fit`` does not read: what it gives is then a dataclass, too,
            whose ``settings`` hold them, so that a search need not fit again.
    """

    name: ClassVar[str]
    ladder: ClassVar[Ladder]
    scoring: ClassVar[frozenset[str]]

    def fit(self, packed: PackedHistories, items: ItemSpace, ends: Ends | None = None) -> Fitted:
        """Count what it needs.

        Args:
            packed: Histories.
            items: Targets and vectors.
            ends: Nothing after these ends is seen; None: all is.
        """
        ...


def filled(scores: Scores, popularity: NDArray[np.float64]) -> Scores:
    """Scores where they are above 0, and below all of them the popularity.

    Args:
        scores: ``[users, targets]``, 0 or more; overwritten.
        popularity: :func:`~itememb_core.users.baselines.popularity.popularity_of` ``[targets]``.
    """
    rest = (popularity - 1.0).astype(np.float32)
    np.copyto(scores, rest[None, :], where=scores <= 0)
    return scores
