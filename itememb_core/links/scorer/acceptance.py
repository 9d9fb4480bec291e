"""The threshold for accepting a link, with its precision and the bounds of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.intervals import wilson


class LabelledTop1(NamedTuple):
    """Top-1 candidates of lists with known ground truth, one element a list.

    Attributes:
        probability: float64 [lists], the score the threshold is put on.
        correct: bool [lists], whether the top-1 candidate is the true match.
        weight: float64 [lists], how much of the population the list stands for.
    """

    probability: NDArray[np.float64]
    correct: NDArray[np.bool_]
    weight: NDArray[np.float64]

    def take(self, rows: NDArray) -> "LabelledTop1":
        """Some of the lists."""
        return LabelledTop1(self.probability[rows], self.correct[rows], self.weight[rows])


class Acceptance(NamedTuple):
    """A threshold and its estimates.

    Attributes:
        threshold: Lowest probability accepted; ``None``: nothing is.
        precision: Share right among the labelled lists it accepts; ``None`` with no acceptance.
        low: Lower end of its 95 % interval.
        high: Upper end.
        coverage: Share of all lists accepted.
        expected: Mean probability of what it accepts among the unlabelled lists it is for.
    """

    threshold: float | None
    precision: float | None
    low: float | None
    high: float | None
    coverage: float
    expected: float | None = None


def precision_at(labelled: LabelledTop1, threshold: float | None) -> Acceptance:
    """Precision and coverage of a given threshold; weights count by Kish's effective number."""
    taken = labelled.probability >= (np.inf if threshold is None else threshold)
    weight = labelled.weight[taken]
    total = float(labelled.weight.sum())
    if not len(weight):
        return Acceptance(threshold, None, None, None, 0.0)
    share = float(weight[labelled.correct[taken]].sum() / weight.sum())
    low, high = wilson(share, float(weight.sum() ** 2 / (weight**2).sum()))
    return Acceptance(threshold, share, float(low), float(high), float(weight.sum() / total))


def choose_threshold(labelled: LabelledTop1, target: float, *, strict: bool) -> Acceptance:
    """The lowest threshold whose precision over all it accepts meets ``target``.

    Precision is taken as if one more acceptance had been wrong, so that a handful of right ones
    proves nothing (0.95 needs 19). ``strict``, for few matches, requires the lower end of the 95 %
    interval to meet the target instead (0.95 needs 73): it leans to accepting nothing.
    """
    order = np.argsort(-labelled.probability, kind="stable")
    order = order[labelled.weight[order] > 0.0]
    probability = labelled.probability[order]
    weight = labelled.weight[order]
    accepted = weight.cumsum()  # [lists]
    right = (weight * labelled.correct[order]).cumsum()
    if strict:
        effective = accepted**2 / (weight**2).cumsum()
        bound = np.array(
            [wilson(a, n)[0] for a, n in zip(right / accepted, effective, strict=True)]
        )
    else:
        bound = right / (accepted + accepted / np.arange(1, len(weight) + 1))
    lowest = _lowest(probability, bound >= target)
    return precision_at(labelled, None if lowest is None else float(probability[lowest]))


def choose_by_expectation(
    labelled: LabelledTop1,
    probability: NDArray[np.float64],
    weight: NDArray[np.float64],
    target: float,
) -> Acceptance:
    """The lowest threshold above which the mean probability meets ``target``.

    The probabilities are of the lists that links are made for, many and unlabelled: a threshold
    chosen by the share right among a few hundred labelled ones overfits them. Where no labelled
    list lies that high, no precision was observed: nothing is accepted.

    Args:
        labelled: What the estimates of the chosen threshold come from, but for ``expected``.
        probability: Of the top-1 candidate of each list, calibrated, [lists].
        weight: How many lists each stands for, [lists].
        target: Precision wanted.
    """
    order = np.argsort(-probability, kind="stable")
    ordered, counts = probability[order], weight[order]
    mean = (counts * ordered).cumsum() / counts.cumsum()
    lowest = _lowest(ordered, mean >= target)
    found = precision_at(labelled, None if lowest is None else float(ordered[lowest]))
    if lowest is None or found.precision is None:
        return precision_at(labelled, None)
    return found._replace(expected=float(mean[lowest]))


def _lowest(ordered: NDArray[np.float64], meets: NDArray[np.bool_]) -> int | None:
    """The last place that meets the target among falling scores; equal ones are taken together."""
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    found = np.flatnonzero(last & meets)
    return int(found[-1]) if len(found) else None
