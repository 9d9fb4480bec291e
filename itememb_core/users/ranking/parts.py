"""The parts of a ranking: what each gives a target, as a share of all it gives.

What belongs here: fitted parts of one cut and what is counted of items up to it. What does not:
which targets are looked at (``candidates``), how parts are weighed (``linear``, ``choice``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.users.baselines.events import history_events
from itememb_core.users.baselines.protocol import Fitted, Scores
from itememb_core.users.shards import PackedHistories, Shard, item_stats
from itememb_core.users.validation import Ends

#: Days before the last event in which an item's events count as recent.
RECENT: Final = (7.0, 28.0)

#: Facts of an item: share of repeats, log share of users, log share of recent events.
ITEM_FACTS: Final = ("repeats", "users", *(f"recent_{days:.0f}" for days in RECENT))


@dataclass(frozen=True)
class ItemFacts:
    """What is known of all targets up to the ends of the histories.

    Attributes:
        share: Of all events, one more counted of each target ``[targets]`` (Laplace).
        facts: ``ITEM_FACTS`` ``[targets, facts]``.
    """

    share: NDArray[np.float32]
    facts: NDArray[np.float32]


def item_facts(packed: PackedHistories, ends: Ends | None = None) -> ItemFacts:
    """Count them; with ``ends`` nothing after these is seen.

    The first two facts are those of ``PackedHistories.item_stats``.
    """
    size, users = len(packed.item_users), 0
    found = [(events, len(ids)) for events, ids in history_events(packed, ends)]
    last = max((float(events.days.max(initial=0.0)) for events, _ in found), default=0.0)
    counts, pairs = np.zeros(size, np.int64), np.zeros(size, np.int64)
    recent = np.zeros((len(RECENT), size))
    for events, number in found:
        users += number
        counts += np.bincount(events.target, minlength=size)
        own = np.unique(events.row * max(size, 1) + events.target) % max(size, 1)
        pairs += np.bincount(own, minlength=size)
        for row, days in enumerate(RECENT):
            late = events.target[events.days > last - days]
            recent[row] += np.bincount(late, minlength=size)
    recent = np.log((recent + 0.5) / (recent.sum(axis=1, keepdims=True) + 1.0))
    facts = [item_stats(counts, pairs, users), recent.T.astype(np.float32)]
    share = (counts + 1.0) / (counts.sum() + max(size, 1))
    return ItemFacts(share.astype(np.float32), np.concatenate(facts, axis=1))


@dataclass(frozen=True)
class Parts:
    """Fitted parts, all up to the same ends.

    Attributes:
        logits: Parts whose scores are logits of a softmax over all targets, by name.
        amounts: Parts whose scores above 0 are amounts; others order what has none, by name.
        items: Of the same ends.
    """

    logits: Mapping[str, Fitted]
    amounts: Mapping[str, Fitted]
    items: ItemFacts

    @property
    def names(self) -> tuple[str, ...]:
        """All, logits first."""
        return (*self.logits, *self.amounts)

    @property
    def targets(self) -> int:
        """Number of targets."""
        return len(self.items.share)

    def scores(
        self, shard: Shard, users: NDArray[np.int64], end: NDArray[np.int64]
    ) -> Iterator[tuple[str, Scores]]:
        """Scores of each part ``[users, targets]``, the caller's to change."""
        for name, part in (*self.logits.items(), *self.amounts.items()):
            yield name, part.scores(shard, users, end)

    def log_shares(
        self, name: str, scores: Scores, row: NDArray[np.int64], target: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Log of the share that a part gives a target of all that it gives the user ``[n]``.

        Amounts are mixed half and half with the shares of everybody, so that what a part knows
        nothing of has a share, too (interpolation, Jelinek and Mercer 1980).

        Args:
            name: Of the part.
            scores: Its scores ``[users, targets]``.
            row: Users ``[n]``.
            target: Targets ``[n]``.
        """
        if name in self.logits:
            top = scores.max(axis=1, keepdims=True)
            total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
            return scores[row, target] - total[row]
        total = np.maximum(scores, 0.0).sum(axis=1)
        own = np.maximum(scores[row, target], 0.0) / np.maximum(total, 1e-30)[row]
        return np.log((own + self.items.share[target]) / 2)
