"""Negatives that all positions of a batch share, drawn from sources whose chances are known."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itememb_core.settings.sequence import SequenceSettings


class Source(Protocol):
    """Where negatives are drawn from.

    A source that depends on the batch (its targets, an index queried with its users, failures
    observed in its histories) reads it from ``batch_targets`` or holds what it needs.
    """

    def draw(self, batch_targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Targets drawn for a batch ``[draws]``, repeated ones too.

        Args:
            batch_targets: Targets that the batch's positions predict ``[n]``, at least one.
            rng: Draws.
        """

    def expected(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often each of these targets is drawn for a batch, on average ``[items]``."""


@dataclass(frozen=True)
class Uniform:
    """Each target alike."""

    targets: int
    draws: int

    def draw(self, batch_targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """See :class:`Source`."""
        return rng.integers(self.targets, size=self.draws)

    def expected(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """See :class:`Source`."""
        return np.full(len(items), self.draws / self.targets)


@dataclass(frozen=True)
class Popularity:
    """By weight, such as users ** 0.75 (Mikolov et al. 2013)."""

    share: NDArray[np.float64]  # [targets], sums to 1
    draws: int

    def draw(self, batch_targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """See :class:`Source`."""
        drawn = np.searchsorted(np.cumsum(self.share), rng.random(self.draws), side="right")
        return np.minimum(drawn, len(self.share) - 1)

    def expected(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """See :class:`Source`."""
        return self.draws * self.share[items]


@dataclass(frozen=True)
class InBatch:
    """Targets of the batch's own positions (Yi et al., RecSys 2019)."""

    share: NDArray[np.float64]  # [targets], share of each among all that positions predict
    draws: int

    def draw(self, batch_targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """See :class:`Source`."""
        return batch_targets[rng.integers(len(batch_targets), size=self.draws)]

    def expected(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """See :class:`Source`."""
        return self.draws * self.share[items]


@dataclass(frozen=True)
class All:
    """Every target once: the full softmax."""

    targets: int

    def draw(self, batch_targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """See :class:`Source`."""
        return np.arange(self.targets)

    def expected(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """See :class:`Source`."""
        return np.ones(len(items))


def shared_negatives(
    sources: tuple[Source, ...], batch_targets: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Distinct negatives of a batch, ascending, and the log weight of each ``[negatives]``.

    The weight is times drawn / expected times over all sources together: the sum of weight times
    anything over the draws is, on average, its sum over the targets that any source may draw (the
    balance heuristic, Veach and Guibas 1995).
    """
    drawn = np.concatenate([source.draw(batch_targets, rng) for source in sources])
    items, times = np.unique(drawn, return_counts=True)
    expected = np.sum([source.expected(items) for source in sources], axis=0)
    return items, np.log(times / np.maximum(expected, 1e-12)).astype(np.float32)


def sources_of(
    settings: SequenceSettings, item_users: NDArray[np.int64], predicted: NDArray[np.int64]
) -> tuple[Source, ...]:
    """The sources that settings name.

    Args:
        settings: Of the model.
        item_users: Users who interacted with each target ``[targets]``.
        predicted: How often positions predict each target ``[targets]``.
    """
    n = len(item_users)
    if n <= max(settings.all_up_to, settings.negatives):
        return (All(n),)
    popular = round(settings.negatives * settings.popularity_share)
    in_batch = min(round(settings.negatives * settings.in_batch_share),
                   settings.negatives - popular)  # fmt: skip
    weight = np.maximum(item_users, 1) ** 0.75
    counts = np.maximum(predicted, 1e-3)
    sources = (
        Uniform(n, settings.negatives - popular - in_batch),
        Popularity(weight / weight.sum(), popular),
        InBatch(counts / counts.sum(), in_batch),
    )
    return tuple(source for source in sources if source.draws)
