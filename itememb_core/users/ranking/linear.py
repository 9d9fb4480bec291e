"""A weighted sum of the parts' logarithms, found by conditional logit (McFadden 1974).

An item's score is a logarithmic opinion pool of the parts (Genest and Zidek 1986), the weights
moving with the length of the user's history, plus what is known of a previously interacted item.
The weights are those under which what users took is most probable among all targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from itememb_core.errors import ItemembError
from itememb_core.users.ranking.candidates import OWN
from itememb_core.users.ranking.lists import Lists

#: Precision of the normal prior of each weight of a feature of unit spread: one user's choice.
PRIOR: Final = 1.0
_MOST_STEPS: Final = 200


@dataclass(frozen=True)
class Linear:
    """Found weights.

    Attributes:
        names: Of the features that are weighed.
        level: Of each one for a history of mean length ``[features]``.
        slope: What is added to it for each unit of log events above the mean ``[features]``.
        center: Mean of log events.
    """

    names: tuple[str, ...]
    level: NDArray[np.float32]
    slope: NDArray[np.float32]
    center: float

    def scores(self, features: NDArray[np.float32], names: tuple[str, ...]) -> NDArray[np.float32]:
        """Scores ``[n]`` of features ``[n, names]``."""
        columns = features[:, [names.index(name) for name in self.names]]
        length = features[:, names.index("user_events")] - np.float32(self.center)
        return columns @ self.level + (columns @ self.slope) * length

    def facts(self) -> Mapping[str, object]:
        """What :meth:`of` makes it of again, for JSON."""
        return {"names": list(self.names), "level": self.level.tolist(),
                "slope": self.slope.tolist(), "center": self.center}  # fmt: skip

    @classmethod
    def of(cls, facts: JsonValue) -> "Linear":
        """Read :meth:`facts`.

        Raises:
            ItemembError: They are others.
        """
        if not isinstance(facts, dict) or facts.keys() != {"names", "level", "slope", "center"}:
            raise ItemembError("ranking: facts of a weighted sum: expected names, level, slope and "
                               "center")  # fmt: skip
        level, slope = (np.asarray(facts[name], np.float32) for name in ("level", "slope"))
        return cls(tuple(texts(facts["names"])), level, slope, float(str(facts["center"])))


def fit_linear(lists: Lists, parts: tuple[str, ...]) -> Linear:
    """Find the weights.

    Args:
        lists: Candidates, at least one of them relevant.
        parts: Of the lists' parts, those that get a weight.
    """
    from scipy.optimize import minimize

    names = (*(f"log_{name}" for name in parts), *OWN)
    columns, length = lists.columns(*names), lists.columns("user_events")
    center = float(length.mean())
    joined = np.concatenate([columns, columns[:, : len(parts)] * (length - center)], axis=1)
    scale = np.maximum(joined.std(axis=0), 1e-6)
    begin = np.zeros(joined.shape[1])
    begin[: len(parts)] = scale[: len(parts)] / len(parts)  # equal weights
    problem = _Problem(lists, joined / scale)
    found = minimize(problem, begin, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS})
    level, slope = np.split((found.x / scale).astype(np.float32), [len(names)])
    slope = np.concatenate([slope, np.zeros(len(OWN), np.float32)])
    return Linear(names, level, slope, center)


def texts(value: JsonValue) -> list[str]:
    """The texts of a list; nothing of anything else."""
    return [str(each) for each in value] if isinstance(value, list) else []


class _Problem:
    """Loss and gradient: mean over a list's relevant targets of -log of their share, summed."""

    def __init__(self, lists: Lists, columns: NDArray[np.float32]) -> None:
        inside = np.bincount(lists.row[lists.relevant], minlength=len(lists))
        kept = lists.take(inside > 0)
        self.columns = columns[np.repeat(inside > 0, lists.size)].astype(np.float32)
        self.begin, self.row = kept.start[:-1], kept.row
        self.log_weight = np.log(kept.weight)
        self.truth = (kept.relevant / inside[inside > 0][self.row]).astype(np.float32)

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = self.columns @ weights.astype(np.float32)
        weighed = scores + self.log_weight
        top = np.maximum.reduceat(weighed, self.begin)
        mass = np.exp(weighed - top[self.row])
        total = np.add.reduceat(mass, self.begin)
        loss = float((np.log(total) + top).sum() - (self.truth * scores).sum())
        gradient = self.columns.T @ (mass / total[self.row] - self.truth)
        return loss + PRIOR / 2 * float(weights @ weights), gradient + PRIOR * weights
