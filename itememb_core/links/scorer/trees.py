"""Boosted trees stored as LightGBM's text: plain numbers, nothing is unpickled."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.device import threads
from itememb_core.errors import ItemembError

if TYPE_CHECKING:
    from lightgbm import Booster

#: Small trees and strong shrinkage: there are some thousand lists with one positive each.
PARAMETERS: Final = {
    "objective": "binary",
    "learning_rate": 0.15,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Trees:
    """A fitted model: LightGBM's text."""

    text: str

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log odds float64 [rows] of features float32 [rows, features]."""
        if not len(x):
            return np.empty(0)
        found = self._booster.predict(x, raw_score=True, num_threads=threads())
        return np.asarray(found, np.float64)

    def importances(self) -> NDArray[np.float64]:
        """Share of the fit's gain by feature, float64 [features]."""
        gain = self._booster.feature_importance("gain")
        return np.asarray(gain / max(float(gain.sum()), 1e-12), np.float64)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns it was fitted on."""
        return tuple(self._booster.feature_name())

    @cached_property
    def _booster(self) -> "Booster":
        lightgbm = _lightgbm()
        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise ItemembError(f"link_scorer: a model is not LightGBM's text: {error}") from error


def fit_trees(
    x: NDArray[np.float32],
    label: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    names: tuple[str, ...],
    rounds: int,
    seed: int,
) -> Trees:
    """Fit a classifier.

    Args:
        x: Features, float32 [rows, features]; NaN stands for not known.
        label: bool [rows], both values present.
        weight: float64 [rows], positive.
        names: Of the columns.
        rounds: Trees.
        seed: Of the draws of rows and columns.
    """
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(
        x, label, weight=weight, feature_name=list(names), params={"verbosity": -1}
    )
    parameters = PARAMETERS | {"seed": seed, "num_threads": threads()}
    return Trees(lightgbm.train(parameters, data, rounds).model_to_string())


def _lightgbm() -> Any:
    """LightGBM needs libgomp, which a bare machine lacks and torch brings: torch goes first."""
    import torch  # noqa: F401
    import lightgbm  # isort: skip

    return lightgbm
