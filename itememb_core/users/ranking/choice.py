"""Which order a lake's rankings have: the best on the validation slice, never below a part."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.intervals import multinomial_intervals
from itememb_core.users.ranking.lists import Lists
from itememb_core.users.ranking.ranker import Alone, Order, Ranker, fit_order

#: Folds of users: an order is fitted on all but one and judged on that.
FOLDS: Final = 4

#: Fewer users with anything relevant among their candidates fit nothing: the best part is used.
LEAST: Final = 50

_PRIMES: Final = 2654435761, 2**32


@dataclass(frozen=True)
class Tried:
    """One order's figures.

    Attributes:
        kind: A part's name, ``linear`` or ``boosted``.
        ndcg: Of each list out of fold, at 10 and at 100 ``[lists, 2]``.
    """

    kind: str
    ndcg: NDArray[np.float64]

    @property
    def value(self) -> float:
        """What is compared: the mean over lists and both cutoffs; 0 without lists."""
        return float(self.ndcg.mean()) if len(self.ndcg) else 0.0


@dataclass(frozen=True)
class Choice:
    """What was tried and what is used.

    Attributes:
        ranker: The order that ships.
        tried: All, the parts first.
        kind: Of the one that ships.
    """

    ranker: Ranker
    tried: tuple[Tried, ...]
    kind: str


def choose_ranker(lists: Lists, parts: tuple[str, ...], seed: int) -> Choice:
    """Fit orders out of fold, take the best, and fit it on all lists.

    No order is used that is below the best part: of equals the first is taken, parts first.

    Args:
        lists: Of the validation slice.
        parts: Names; without lists the first is used.
        seed: Of the fits.
    """
    tried = [Tried(name, _judged(lists, Alone(name))) for name in parts]
    fold = _fold_of(lists.user)
    taken = np.bincount(lists.row[lists.relevant], minlength=len(lists)) > 0
    by_fold = np.bincount(fold[taken], minlength=FOLDS)
    if taken.sum() >= LEAST and (taken.sum() - by_fold > 0).all():
        tried += [Tried(kind, _out_of_fold(kind, lists, parts, fold, seed))
                  for kind in ("linear", "boosted")]  # fmt: skip
    first = max(tried[: len(parts)], key=lambda each: each.value).kind
    best = max(tried, key=lambda each: each.value).kind
    order = fit_order(best, lists, parts, seed)
    needed = (best,) if isinstance(order, Alone) else parts
    return Choice(Ranker(needed, first, order), tuple(tried), best)


def intervals(choice: Choice, seed: int) -> dict[str, tuple[float, float]]:
    """95 % intervals of what each other order's value is above the one that ships, by users.

    Args:
        choice: What was tried.
        seed: Of the bootstrap.
    """
    others = [each for each in choice.tried if each.kind != choice.kind]
    shipped = [each for each in choice.tried if each.kind == choice.kind]
    if not others or not shipped or not len(shipped[0].ndcg):
        return {}
    base = shipped[0].ndcg.mean(axis=1)
    differences = np.stack([each.ndcg.mean(axis=1) - base for each in others], axis=1)
    low, high = multinomial_intervals(differences, seed)
    return {each.kind: (float(low[n]), float(high[n])) for n, each in enumerate(others)}


def _fold_of(user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each list, the same for all lists of a user (Knuth's multiplicative hash)."""
    mixed = user.astype(np.uint64) * np.uint64(_PRIMES[0]) % np.uint64(_PRIMES[1])
    return (mixed >> np.uint64(16)).astype(np.int64) % FOLDS


def _judged(lists: Lists, order: Order) -> NDArray[np.float64]:
    if not len(lists):
        return np.empty((0, 2))
    return lists.ndcg(order.scores(lists.features, lists.names))


def _out_of_fold(
    kind: str, lists: Lists, parts: tuple[str, ...], fold: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """NDCG of each list by an order fitted on the other folds ``[lists, 2]``."""
    found = np.zeros((len(lists), 2))
    for number in range(FOLDS):
        order = fit_order(kind, lists.take(fold != number), parts, seed)
        found[fold == number] = _judged(lists.take(fold == number), order)
    return found
