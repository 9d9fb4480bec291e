"""Lists of candidates with what the user took of them, from which a ranker learns."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import CUTOFFS
from itememb_core.users.ranking.candidates import DEPTH, Block, Candidates, blocks, feature_names
from itememb_core.users.ranking.parts import Parts
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import Truth, ValidationSlice

#: Other targets drawn for a list; each stands for as many as were not drawn.
OTHERS: Final = 100


@dataclass(frozen=True)
class Lists:
    """Candidates of all lists, one list after the other; lengths: lists, candidates.

    Attributes:
        user: User id ``[lists]``.
        start: First candidate of each list, and their number ``[lists + 1]``.
        target: Target ``[candidates]``.
        relevant: Whether the user interacted with it in the slice ``[candidates]``.
        relevant_count: Of the list's user, candidates or not ``[lists]``.
        weight: How many targets a candidate stands for ``[candidates]``.
        features: ``feature_names`` ``[candidates, features]``.
        names: Of the features.
    """

    user: NDArray[np.int64]
    start: NDArray[np.int64]
    target: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    relevant_count: NDArray[np.int64]
    weight: NDArray[np.float32]
    features: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of lists."""
        return len(self.user)

    @property
    def size(self) -> NDArray[np.int64]:
        """Candidates of each list ``[lists]``."""
        return np.diff(self.start)

    @property
    def row(self) -> NDArray[np.int64]:
        """List of each candidate ``[candidates]``."""
        return np.repeat(np.arange(len(self)), self.size)

    def columns(self, *names: str) -> NDArray[np.float32]:
        """Some of the features ``[candidates, names]``."""
        return self.features[:, [self.names.index(name) for name in names]]

    def take(self, kept: NDArray[np.bool_]) -> "Lists":
        """Some of the lists ``[lists]``."""
        inside = np.repeat(kept, self.size)
        start = np.concatenate([[0], np.cumsum(self.size[kept])]).astype(np.int64)
        return Lists(
            self.user[kept], start, self.target[inside], self.relevant[inside],
            self.relevant_count[kept], self.weight[inside], self.features[inside], self.names,
        )  # fmt: skip

    def ndcg(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """NDCG of each list at ``CUTOFFS``, ties by target ``[lists, cutoffs]``.

        Targets that were drawn to stand for others are not ranked: no part has them in front.

        Args:
            scores: ``[candidates]``.
        """
        ranked = self.weight == 1.0
        row, scores, relevant = self.row[ranked], scores[ranked], self.relevant[ranked]
        order = np.lexsort((self.target[ranked], -scores, row))
        place = np.arange(len(order)) - np.searchsorted(row, row, side="left")
        inside = place < CUTOFFS[-1]
        gain = np.zeros((len(self), CUTOFFS[-1]))
        gain[row[inside], place[inside]] = relevant[order][inside]
        discount = 1 / np.log2(np.arange(2, CUTOFFS[-1] + 2))
        best = np.concatenate([[0.0], np.cumsum(discount)])
        return np.stack([(gain[:, :k] @ discount[:k]) / best[np.minimum(self.relevant_count, k)]
                         for k in CUTOFFS], axis=1)  # fmt: skip


def make_lists(parts: Parts, packed: PackedHistories, held: ValidationSlice, seed: int) -> Lists:
    """The lists of all users of a slice; where nothing comes again, what a user had is in none.

    Args:
        parts: Fitted to what lies before the slice.
        packed: Histories.
        held: The slice.
        seed: Of the draws of other targets.
    """
    rng = np.random.default_rng(seed)
    names = feature_names(parts.names)
    made = [_empty(names)]
    for name, each in held.shards.items():
        if not len(each.users):
            continue
        truth = list(each.truth())
        for part, block in blocks(parts, packed.shard(name), each.users, each.end):
            made.append(_lists(block, truth[part], names, rng, repeats=held.repeats))
    return _joined(made)


def _lists(
    block: Block,
    truth: list[Truth],
    names: tuple[str, ...],
    rng: np.random.Generator,
    *,
    repeats: bool,
) -> Lists:
    """Lists of a block of users."""
    inside, width = block.best(DEPTH, without_own=not repeats), block.parts.targets
    drawn = np.zeros_like(inside)
    drawn[:, rng.choice(width, min(OTHERS, width), replace=False)] = True
    drawn &= ~inside
    if not repeats:
        drawn[block.own.row, block.own.target] = False
    rest = width - inside.sum(axis=1)
    stands_for = np.where(drawn, (rest / np.maximum(drawn.sum(axis=1), 1))[:, None], 1.0)
    relevant = np.zeros_like(inside)
    for row, each in enumerate(truth):
        relevant[row, each.all()] = True
    found: Candidates = block.candidates(inside | drawn)
    at = found.row, found.target
    return Lists(
        user=block.shard.user_ids[block.users],
        start=np.searchsorted(found.row, np.arange(len(block.users) + 1)).astype(np.int64),
        target=found.target,
        relevant=relevant[at],
        relevant_count=relevant.sum(axis=1),
        weight=stands_for[at].astype(np.float32),
        features=found.features,
        names=names,
    )


def _empty(names: tuple[str, ...]) -> Lists:
    none = np.zeros(0, np.int64)
    return Lists(none, np.zeros(1, np.int64), none, none.astype(bool), none,
                 none.astype(np.float32), np.zeros((0, len(names)), np.float32), names)  # fmt: skip


def _joined(made: list[Lists]) -> Lists:
    """All lists, one after the other."""
    sizes = np.concatenate([each.size for each in made])
    values = {
        name: np.concatenate([getattr(each, name) for each in made])
        for name in ("user", "target", "relevant", "relevant_count", "weight", "features")
    }
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Lists(start=start, names=made[0].names, **values)
