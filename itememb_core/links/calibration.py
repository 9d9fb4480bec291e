"""From a model's log odds to probabilities that hold for opaque items.

What belongs here: a logistic curve over the log odds and the support, and its fit. What does not:
the model, the population it is fitted for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The least slope: a better score is never a lower probability.
LEAST_SLOPE = 1e-3


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
    """Fit on the first candidates of lists whose truth is known, [lists] each.

    Args:
        logit: Log odds of the first candidate.
        receipts: Receipt lines of the list's item.
        right: Whether it is the twin.
        weight: How many opaque items the list stands for.
    """
    from sklearn.linear_model import LogisticRegression

    kept = weight > 0.0
    if right[kept].all() or not right[kept].any():
        return Calibration(0.0, 1.0, 0.0)
    x = np.stack([logit, np.log(receipts.clip(min=1))], axis=1)[kept]
    model = LogisticRegression(C=100.0, solver="newton-cholesky", max_iter=200)
    model.fit(x, right[kept], sample_weight=weight[kept])
    slope, support = (float(value) for value in model.coef_[0])
    return Calibration(float(model.intercept_[0]), max(slope, LEAST_SLOPE), support)
