"""A fitted scorer and its files: JSON and LightGBM's text of each model; nothing is unpickled."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.learning.trees import Trees
from itememb_core.links.lists import CHUNK, PoolLists
from itememb_core.links.nodes import Support
from itememb_core.links.scorer.acceptance import Acceptance
from itememb_core.links.scorer.calibration import Calibration
from itememb_core.links.scorer.comparisons import FEATURES, WITH_TEXT, candidate_features
from itememb_core.links.scorer.population import Population
from itememb_core.links.scorer.text_use import TextUse
from itememb_core.model_files import read_json
from itememb_core.parts import IN_ORDER, PartExecutor

SCORER_FILE = "link_scorer.json"

#: The model that ships, and those of the folds.
MODEL_FILE = "model.txt"
FOLD_FILE = "fold_{}.txt"

#: Log odds of padding.
NEVER = -100.0


@dataclass(frozen=True)
class Fitted:
    """A model with the curve that makes its log odds probabilities."""

    trees: Trees
    calibration: Calibration

    def probabilities(
        self, lists: PoolLists, counts: Support, parts: PartExecutor = IN_ORDER
    ) -> NDArray[np.float64]:
        """Probability of every candidate, float64 [n, size]; -1 on padding."""
        receipts = counts.receipts[lists.receipt][:, None]
        found = self.calibration.probability(logits(lists, counts, self.trees, parts), receipts)
        return np.where(lists.valid, found, -1.0)


@dataclass(frozen=True)
class LinkScorer:
    """A fitted scorer, or the reason why there is none.

    Attributes:
        features: Names of the model's columns.
        model: Fitted on all held-out matches; ``None``: not fitted.
        by_fold: Model ``i`` has not seen the matches of fold ``i``, nor has its calibration.
        seed: Of the folds.
        acceptance: Threshold with its estimates, on out-of-fold probabilities.
        target_precision: What the threshold was chosen for.
        population: Opaque items by support, with the shares of those without a true link.
        matches: Held-out matches seen on both sides.
        unseen: Held-out matches without an interaction on the catalog side: true no-match examples.
        absent: Held-out matches without a receipt line, which are left out.
        found: Matches whose true match is in the pool.
        importances: Share of the fit's gain, by feature.
        strict: Whether there were so few matches that the precision's lower bound decides.
        rule: How the threshold was chosen, in words.
        reason: Why there is no model, or why nothing is accepted; ``None`` otherwise.
        one_to_one: Whether a catalog item is linked to one receipt item at most.
        text: What was found of the use of texts; ``None``: too few matches have one.
    """

    features: tuple[str, ...]
    model: Fitted | None
    by_fold: tuple[Fitted, ...]
    seed: int
    acceptance: Acceptance
    target_precision: float
    population: Population
    matches: int
    unseen: int
    absent: int
    found: int
    importances: dict[str, float]
    strict: bool
    rule: str
    reason: str | None
    one_to_one: bool = False
    text: TextUse | None = None

    def save(self, folder: Path) -> None:
        """Write one JSON file, and LightGBM's text of each model, into an existing folder."""
        facts = asdict(self) | {"acceptance": self.acceptance._asdict()}
        facts["model"] = self.model and asdict(self.model.calibration)
        facts["by_fold"] = [asdict(each.calibration) for each in self.by_fold]
        text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)
        (folder / SCORER_FILE).write_text(text + "\n")
        if self.model is not None:
            (folder / MODEL_FILE).write_text(self.model.trees.text)
        for number, each in enumerate(self.by_fold):
            (folder / FOLD_FILE.format(number)).write_text(each.trees.text)

    @classmethod
    def load(cls, folder: Path) -> "LinkScorer":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: A file is missing or damaged, or its features are not this version's.
        """
        facts: dict[str, Any] = read_json(folder / SCORER_FILE, "link_scorer")
        _check_features(facts["features"], folder / SCORER_FILE)
        facts["features"] = tuple(facts["features"])
        facts["text"] = facts["text"] and TextUse(**facts["text"])
        facts["model"] = facts["model"] and _fitted(facts["model"], folder / MODEL_FILE)
        facts["by_fold"] = tuple(
            _fitted(each, folder / FOLD_FILE.format(number))
            for number, each in enumerate(facts["by_fold"])
        )
        facts["acceptance"] = Acceptance(**facts["acceptance"])
        population = facts["population"]
        lists = {name: tuple(population[name]) for name in ("items", "no_match")}
        facts["population"] = Population(**(population | lists))
        return cls(**facts)


def logits(
    lists: PoolLists, counts: Support, trees: Trees, parts: PartExecutor = IN_ORDER
) -> NDArray[np.float64]:
    """Log odds of every candidate, float64 [n, size]; ``NEVER`` on padding.

    Args:
        lists: Of n receipt items; ``CHUNK`` of them are a part.
        counts: Events of nodes.
        trees: The model.
        parts: Runs :func:`logits_of_part`.
    """
    result = np.empty(lists.catalog.shape)
    rows = [slice(low, low + CHUNK) for low in range(0, len(result), CHUNK)]
    found = parts.map(logits_of_part, (trees, counts), map(lists.take, rows))
    for part, values in zip(rows, found, strict=True):
        result[part] = values
    return result


def logits_of_part(shared: tuple[Trees, Support], part: PoolLists) -> NDArray[np.float64]:
    """:func:`logits` of some lists, by the model and the events of nodes, which all share."""
    trees, counts = shared
    result, valid = np.full(part.catalog.shape, NEVER), part.valid
    result[valid] = trees.logits(candidate_features(part, counts, trees.features)[valid])
    if trees.features != WITH_TEXT:
        result[~part.without_text().valid] = NEVER
    return result


def _fitted(calibration: dict[str, Any], path: Path) -> Fitted:
    trees = Trees.read(path, "link_scorer")
    _check_features(trees.features, path)
    return Fitted(trees, Calibration(**calibration))


def _check_features(found: Any, path: Path) -> None:
    if tuple(found) not in (FEATURES, WITH_TEXT):
        expected = f"{', '.join(FEATURES)}, or those and {', '.join(WITH_TEXT[len(FEATURES) :])}"
        raise ItemembError(
            f"link_scorer: {path} has features {', '.join(found)}, expected {expected}"
        )
