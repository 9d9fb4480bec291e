"""A logistic regression whose fit is plain numbers.

What belongs here: fitting, applying and importances of one model. What does not: what the
features or labels mean. A richer model takes this one's place behind the same three functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LogisticModel:
    """P(label 1) = 1 / (1 + exp(-(intercept + x . coefficients)))."""

    intercept: float
    coefficients: tuple[float, ...]

    def probability(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities float64 [...] of features float32 [..., features]."""
        logit = x @ np.array(self.coefficients) + self.intercept
        return 0.5 * (1.0 + np.tanh(0.5 * logit))  # the logistic function, without overflow


def fit_logistic(
    x: NDArray[np.float32],
    label: NDArray[np.bool_],
    weight: NDArray[np.float64],
) -> LogisticModel:
    """Fit with an L2 penalty of 1 on standardised features.

    Args:
        x: Features, float32 [rows, features].
        label: bool [rows], both values present.
        weight: float64 [rows], positive.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(axis=0, dtype=np.float64), spread(x)
    model = LogisticRegression(solver="newton-cholesky", max_iter=100)
    model.fit((x - mean) / scale, label, sample_weight=weight)
    coefficients = model.coef_[0] / scale
    intercept = float(model.intercept_[0] - coefficients @ mean)
    return LogisticModel(intercept, tuple(float(value) for value in coefficients))


def importances(model: LogisticModel, x: NDArray[np.float32]) -> tuple[float, ...]:
    """Change of the logit for one standard deviation of each feature, absolute."""
    return tuple(float(value) for value in np.abs(np.array(model.coefficients)) * spread(x))


def spread(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of each feature, 1 for a constant one, float64 [features]."""
    deviation = x.std(axis=0, dtype=np.float64)
    return np.where(deviation > 1e-12, deviation, 1.0)
