"""The targets that are ranked for a user, and the features by which they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import CUTOFFS
from itememb_core.retrieval.exact import best_columns, padded
from itememb_core.users.baselines.events import baskets, own_events
from itememb_core.users.baselines.protocol import Scores
from itememb_core.users.features import REPEAT_FEATURES
from itememb_core.users.ranking.parts import ITEM_FACTS, Parts
from itememb_core.users.scoring import OwnItems, own_items
from itememb_core.users.shards import Shard

#: Best targets of each part that are candidates: as many as rankings are judged by.
DEPTH: Final = CUTOFFS[-1]

#: Bytes of all parts' scores that are held at once, about.
_BYTES: Final = 256 * 2**20

#: A target that the user interacted with: that it is one, and ``features.repeat_features``.
OWN: Final = ("own", *(f"own_{n}" for n in range(REPEAT_FEATURES)))

#: log(1 + own events), log(1 + baskets).
USER: Final = ("events", "baskets")


def feature_names(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of :attr:`Candidates.features`."""
    logs, ranks = (f"log_{name}" for name in parts), (f"rank_{name}" for name in parts)
    facts = (f"item_{name}" for name in ITEM_FACTS)
    return (*logs, *ranks, *OWN, *facts, *(f"user_{name}" for name in USER))


@dataclass(frozen=True)
class Candidates:
    """Candidates of some users, user by user, then by target; lengths: candidates.

    Attributes:
        row: User, ascending.
        target: Target.
        features: ``feature_names`` ``[candidates, features]``.
    """

    row: NDArray[np.int64]
    target: NDArray[np.int64]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Scores of all parts for some users.

    Attributes:
        parts: The parts.
        shard: Histories.
        users: Rows of ``shard.user_ids``, ascending ``[users]``.
        end: Ends of their histories ``[users]``.
        scores: By part, ``[users, targets]``.
        own: The targets that the users interacted with.
    """

    parts: Parts
    shard: Shard
    users: NDArray[np.int64]
    end: NDArray[np.int64]
    scores: dict[str, Scores]
    own: OwnItems

    def best(self, depth: int = DEPTH, *, without_own: bool = False) -> NDArray[np.bool_]:
        """Whether a target is among any part's ``depth`` best ``[users, targets]``.

        Args:
            depth: Targets a part.
            without_own: Whether those that the user interacted with are left out.
        """
        inside = np.zeros((len(self.users), self.parts.targets), np.bool_)
        rows = np.arange(len(self.users))[:, None]
        at = self.own.row, self.own.target
        for scores in self.scores.values():
            held = scores[at]
            if without_own:
                scores[at] = -np.inf
            found, values = best_columns(padded(scores), min(depth, self.parts.targets))
            some = np.isfinite(values)  # fewer than so many may be left
            inside[np.broadcast_to(rows, found.shape)[some], found[some]] = True
            scores[at] = held
        return inside

    def candidates(self, inside: NDArray[np.bool_]) -> Candidates:
        """The chosen targets ``[users, targets]`` with their features."""
        row, target = np.nonzero(inside)
        logs = [self.parts.log_shares(name, scores, row, target)
                for name, scores in self.scores.items()]  # fmt: skip
        ranks = [_log_ranks(row, scores[row, target]) for scores in self.scores.values()]
        columns = [*logs, *ranks]
        return Candidates(row, target, np.concatenate([
            np.stack(columns, axis=1) if columns else np.empty((len(row), 0), np.float32),
            self._own_features(inside, row, target),
            self.parts.items.facts[target],
            self._user_features()[row],
        ], axis=1))  # fmt: skip

    def _own_features(
        self, inside: NDArray[np.bool_], row: NDArray[np.int64], target: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """``OWN`` of candidates, zeros for what is new to the user."""
        width = self.parts.targets
        features = np.zeros((len(row), len(OWN)), np.float32)
        chosen = inside[self.own.row, self.own.target]
        keys = self.own.row[chosen] * width + self.own.target[chosen]
        place = np.searchsorted(row * width + target, keys)
        features[place, 0] = 1.0
        features[place, 1:] = self.own.features[chosen]
        return features

    def _user_features(self) -> NDArray[np.float32]:
        """``USER`` ``[users, 2]``."""
        events = own_events(self.shard, self.users, self.end, self.parts.targets)
        _, _, user = baskets(events, self.parts.targets)
        counts = [np.bincount(each, minlength=len(self.users)) for each in (events.row, user)]
        return np.log1p(np.stack(counts, axis=1)).astype(np.float32)


def blocks(
    parts: Parts, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[tuple[slice, Block]]:
    """Blocks of users whose scores fit into memory, and where they lie.

    Args:
        parts: Fitted.
        shard: Histories.
        users: Rows of ``shard.user_ids``, ascending ``[users]``.
        end: Ends of their histories ``[users]``.
    """
    of_one = 4 * max(parts.targets, 1) * (len(parts.names) + 1)
    size = int(np.clip(_BYTES // of_one, 1, 128))
    for low in range(0, len(users), size):
        part = slice(low, min(low + size, len(users)))
        scores = dict(parts.scores(shard, users[part], end[part]))
        own = own_items(shard, users[part], end[part], parts.items.facts[:, :2])
        yield part, Block(parts, shard, users[part], end[part], scores, own)


def _log_ranks(row: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(1 + place of each candidate among its user's, the best 0), ties by target."""
    order = np.lexsort((-values, row))
    first = np.searchsorted(row, row, side="left")
    ranks = np.empty(len(row), np.float32)
    ranks[order] = np.log1p(np.arange(len(row)) - first[order])
    return ranks
