"""From a model's log odds to probabilities that hold for opaque items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The least slope: a better score is never a lower probability.
LEAST_SLOPE = 1e-3

#: Mean and standard deviation of slope and support before any match is seen. Some hundred matches
#: determine them badly (the support's coefficient to 0.3), and a threshold rests on the curve's far
#: end. Curves fitted to the ground truth of ten worlds of the demo have 0.66 (0.03) and 0.5 (0.14),
#: those fitted to their held-out matches 0.70 (0.06) and 0.35 (0.25).
SLOPE_PRIOR = (0.7, 0.05)
SUPPORT_PRIOR = (0.4, 0.1)


@dataclass(frozen=True)
class Calibration:
    """P(right) = 1 / (1 + exp(-(intercept + slope z + support log(receipt lines)))).

    Platt's scaling ("Probabilistic outputs for support vector machines", 1999) with the support
    beside it: at few lines a high score is more often chance. Within one list, where the support
    is the same, the order by z stays.
    """

    intercept: float
    slope: float
    support: float

    def probability(
        self, logit: NDArray[np.float64], receipts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Probabilities of log odds, both of one shape or broadcast."""
        z = self.intercept + self.slope * logit + self.support * np.log(receipts.clip(min=1))
        return 0.5 * (1.0 + np.tanh(0.5 * z))  # the logistic function, without overflow


def fit_calibration(
    logit: NDArray[np.float64],
    receipts: NDArray[np.int64],
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
) -> Calibration:
    """Fit on the top-1 candidates of labelled lists, [lists] each: the maximum a posteriori.

    Args:
        logit: Log odds of the top-1 candidate.
        receipts: Receipt lines of the list's item.
        right: Whether it is the true match.
        weight: How much each list counts.
    """
    from scipy.optimize import minimize

    kept = weight > 0.0
    if right[kept].all() or not right[kept].any():
        return Calibration(0.0, 1.0, 0.0)
    x = np.stack([np.ones(len(logit)), logit, np.log(receipts.clip(min=1))], axis=1)[kept]
    y, w = right[kept].astype(np.float64), weight[kept]
    means, deviations = np.transpose([SLOPE_PRIOR, SUPPORT_PRIOR])

    def loss(curve: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z, off = x @ curve, (curve[1:] - means) / deviations
        value = w @ (np.logaddexp(0.0, z) - y * z) + 0.5 * off @ off
        error = w * (0.5 * (1.0 + np.tanh(0.5 * z)) - y)
        return float(value), x.T @ error + np.append(0.0, off / deviations)

    found = minimize(loss, np.array([0.0, *means]), jac=True, method="BFGS").x
    return Calibration(float(found[0]), max(float(found[1]), LEAST_SLOPE), float(found[2]))
