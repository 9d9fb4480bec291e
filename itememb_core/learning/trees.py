"""Boosted trees stored as LightGBM's text: plain numbers, nothing is unpickled.

What belongs here: what the scorer of links and the ranking of users share. What does not: what
features mean, how many trees there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.device import threads
from itememb_core.errors import ItemembError
from itememb_core.model_files import existing

if TYPE_CHECKING:
    from lightgbm import Booster

#: Of every fit: the same bytes each time.
_ALWAYS: Final = {"deterministic": True, "force_row_wise": True, "verbosity": -1}


#: What stands behind the trees and what they were fitted with in LightGBM's text.
_END: Final = "\nend of parameters\n"


@dataclass(frozen=True)
class Trees:
    """A fitted model: LightGBM's text."""

    text: str

    @classmethod
    def read(cls, path: Path, model: str) -> "Trees":
        """Read a file of the text.

        Args:
            path: The file.
            model: The model's name, for the message.

        Raises:
            ItemembError: It is missing, cut short, or something else.
        """
        text = existing(path, model).read_text()
        if _END not in text:  # LightGBM ends the process on a text that is cut short
            raise ItemembError(f"{model}: {path} is not LightGBM's text, or cut short")
        return cls(text)

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
            raise ItemembError(f"a model is not LightGBM's text: {error}") from error


def fit_trees(
    x: NDArray[np.float32],
    label: NDArray[np.bool_],
    parameters: Mapping[str, object],
    *,
    names: tuple[str, ...],
    rounds: int,
    seed: int,
    group: NDArray[np.int64] | None = None,
) -> Trees:
    """Fit trees.

    Args:
        x: Features, float32 [rows, features]; NaN stands for not known.
        label: bool [rows], both values present.
        parameters: LightGBM's, by name.
        names: Of the columns.
        rounds: Trees.
        seed: Of the draws of rows and columns.
        group: Rows of each list, which follow each other, for objectives that rank [lists].
    """
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(
        x, label, group=group, feature_name=list(names), params={"verbosity": -1}
    )
    whole = {**parameters, **_ALWAYS, "seed": seed, "num_threads": threads()}
    return Trees(lightgbm.train(whole, data, rounds).model_to_string())


def _lightgbm() -> Any:
    """LightGBM needs libgomp, which a bare machine lacks and torch brings: torch goes first."""
    import torch  # noqa: F401
    import lightgbm  # isort: skip

    return lightgbm
