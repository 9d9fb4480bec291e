"""``link_scorer``: the probability of a candidate, and the threshold, from held-out matches.

What belongs here: fitting on the backtest's pool, out-of-fold judging, saving, loading. What
does not: features (``features``), the model's mathematics (``logistic``), ranks and figures for
people (``evaluation.links``).
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.links.accept import Acceptance, Judged, choose_threshold
from itememb_core.links.features import FEATURES, candidate_features
from itememb_core.links.heldout import HeldOut, fold_of, held_out
from itememb_core.links.lists import CHUNK, PoolLists
from itememb_core.links.logistic import LogisticModel, fit_logistic, importances
from itememb_core.links.nodes import Support, support
from itememb_core.progress import Progress, silent
from itememb_core.settings import LinkScorerSettings

SCORER_FILE = "link_scorer.json"

#: Fewer held-out matches with the twin in the pool than this: nothing to learn from.
LEAST_FOUND = 20


@dataclass(frozen=True)
class LinkScorer:
    """A fitted scorer, or the reason why there is none.

    Attributes:
        features: Names of the coefficients.
        model: Fitted on all held-out matches; ``None``: not fitted.
        by_fold: Model ``i`` has not seen the matches of fold ``i``.
        seed: Of the folds.
        acceptance: Threshold with its estimates, on out-of-fold probabilities.
        target_precision: What the threshold was chosen for.
        no_match_share: The assumed share of opaque items without a true link.
        matches: Held-out matches seen on both sides.
        unseen: Held-out matches of which nobody touched the catalog side: true no-match examples.
        absent: Held-out matches without a receipt line, which take no part.
        found: Matches whose twin is in the pool.
        importances: Change of the logit for one standard deviation, by feature.
        strict: Whether there were so few matches that the precision's lower bound decides.
        rule: How the threshold was chosen, in words.
        reason: Why there is no model, or why nothing is accepted; ``None`` otherwise.
    """

    features: tuple[str, ...]
    model: LogisticModel | None
    by_fold: tuple[LogisticModel, ...]
    seed: int
    acceptance: Acceptance
    target_precision: float
    no_match_share: float
    matches: int
    unseen: int
    absent: int
    found: int
    importances: dict[str, float]
    strict: bool
    rule: str
    reason: str | None

    def save(self, folder: Path) -> None:
        """Write one JSON file into an existing folder."""
        facts = asdict(self) | {"acceptance": self.acceptance._asdict()}
        text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)
        (folder / SCORER_FILE).write_text(text + "\n")


def load_scorer(folder: Path) -> LinkScorer:
    """Read what :meth:`LinkScorer.save` wrote.

    Raises:
        ItemembError: The file is missing, or its features are not this version's.
    """
    path = folder / SCORER_FILE
    if not path.is_file():
        raise ItemembError(f"link_scorer: {path} is missing")
    facts = json.loads(path.read_text())
    if tuple(facts["features"]) != FEATURES:
        raise ItemembError(
            f"link_scorer: {path} has features {', '.join(facts['features'])}, "
            f"expected {', '.join(FEATURES)}"
        )
    facts["features"] = FEATURES
    facts["model"] = facts["model"] and _model(facts["model"])
    facts["by_fold"] = tuple(_model(fold) for fold in facts["by_fold"])
    facts["acceptance"] = Acceptance(**facts["acceptance"])
    return LinkScorer(**facts)


def fit_scorer(
    pool: pa.Table,
    vocabulary: pa.Table,
    holdout: pa.Table,
    settings: LinkScorerSettings,
    seed: int,
    *,
    progress: Progress = silent,
) -> LinkScorer:
    """Fit on held-out matches; choose the threshold on out-of-fold probabilities.

    A match gives its list (weight 1 - no_match_share) and a copy without the twin (the rest).

    Args:
        pool: The backtest's ``schemas.LINK_POOL``.
        vocabulary: The backtest's ``schemas.VOCABULARY``.
        holdout: ``schemas.LINK_HOLDOUT``.
        settings: Target, assumed share, folds.
        seed: Of the folds.
        progress: Told after each fit.
    """
    held = held_out(pool, vocabulary, holdout)
    unfitted = _unfitted(held, settings, seed)
    if held.found < LEAST_FOUND:
        return unfitted
    counts = support(vocabulary)
    share, fold = settings.no_match_share, fold_of(held.ids, settings.folds, seed)
    examples = _examples(held, counts, share)
    by_fold, model = _fit_models(examples, fold, settings.folds, progress)
    judged = out_of_fold_judged(held, counts, fold, by_fold, share)
    acceptance = choose_threshold(judged, settings.target_precision, strict=unfitted.strict)
    return replace(
        unfitted,
        model=model,
        by_fold=by_fold,
        acceptance=acceptance,
        importances=dict(zip(FEATURES, importances(model, examples.x), strict=True)),
        rule=_rule(settings, unfitted.strict),
        reason=_nothing_accepted(acceptance, settings, unfitted.strict),
    )


def probabilities(lists: PoolLists, counts: Support, model: LogisticModel) -> NDArray[np.float64]:
    """Probability of every candidate, float64 [n, size]; -1 on padding."""
    result = np.full(lists.catalog.shape, -1.0)
    for start in range(0, len(result), CHUNK):
        rows = slice(start, start + CHUNK)
        part = lists.take(rows)
        scored = model.probability(candidate_features(part, counts))  # [chunk, size]
        result[rows] = np.where(part.valid, scored, -1.0)
    return result


def out_of_fold(
    lists: PoolLists,
    counts: Support,
    fold: NDArray[np.int64],
    by_fold: tuple[LogisticModel, ...],
) -> NDArray[np.float64]:
    """Probability of every candidate by the model that has not seen its list, [matches, size]."""
    result = np.full(lists.catalog.shape, -1.0)
    for number, model in enumerate(by_fold):
        rows = np.flatnonzero(fold == number)
        result[rows] = probabilities(lists.take(rows), counts, model)
    return result


def judge(
    held: HeldOut,
    scores: NDArray[np.floating],
    scores_without: NDArray[np.floating],
    no_match_share: float,
) -> Judged:
    """First candidates of all lists, then of their copies without the twin.

    Args:
        held: n matches.
        scores: float [n, size], what candidates are ranked and accepted by.
        scores_without: The same for the copies.
        no_match_share: Weight of the copies.

    Returns:
        2 n lists: element i is match i, element n + i its copy.
    """
    n = len(held.place)
    right = (scores.argmax(axis=1) == held.place) if n else np.empty(0, bool)
    return Judged(
        np.concatenate(
            [scores.max(axis=1, initial=-1.0), scores_without.max(axis=1, initial=-1.0)]
        ),
        np.concatenate([right, np.zeros(n, bool)]),
        np.concatenate([held.weight * (1.0 - no_match_share), held.weight * no_match_share]),
    )


def out_of_fold_judged(
    held: HeldOut,
    counts: Support,
    fold: NDArray[np.int64],
    by_fold: tuple[LogisticModel, ...],
    no_match_share: float,
) -> Judged:
    """:func:`judge` with out-of-fold probabilities."""
    without = held.lists.without(held.place)
    return judge(
        held,
        out_of_fold(held.lists, counts, fold, by_fold),
        out_of_fold(without, counts, fold, by_fold),
        no_match_share,
    )


class _Examples(NamedTuple):
    """Candidates as rows: features [rows, features], label, weight, number of the match."""

    x: NDArray[np.float32]
    label: NDArray[np.bool_]
    weight: NDArray[np.float64]
    match: NDArray[np.int64]


def _examples(held: HeldOut, counts: Support, no_match_share: float) -> _Examples:
    """Every candidate of every list and of every copy without the twin."""
    parts = []
    for lists, share in (
        (held.lists, 1.0 - no_match_share),
        (held.lists.without(held.place), no_match_share),
    ):
        match, column = np.nonzero(lists.valid)
        x = candidate_features(lists, counts)[match, column]
        label = column == held.place[match]  # never in a copy, where that place is empty
        parts.append((x, label, held.weight[match] * share, match))
    x, label, weight, match = (np.concatenate(part) for part in zip(*parts, strict=True))
    keep = weight > 0.0
    return _Examples(x[keep], label[keep], weight[keep], match[keep])


def _fit_models(
    examples: _Examples, fold: NDArray[np.int64], folds: int, progress: Progress
) -> tuple[tuple[LogisticModel, ...], LogisticModel]:
    """One model without each fold, and one on everything."""
    models = []
    for number in range(folds + 1):  # no match is in fold ``folds``: the last sees all
        keep = fold[examples.match] != number
        models.append(fit_logistic(examples.x[keep], examples.label[keep], examples.weight[keep]))
        progress("link_scorer: fits", number + 1, folds + 1)
    return tuple(models[:-1]), models[-1]


def _model(facts: dict) -> LogisticModel:
    return LogisticModel(facts["intercept"], tuple(facts["coefficients"]))


def _unfitted(held: HeldOut, settings: LinkScorerSettings, seed: int) -> LinkScorer:
    """The scorer of a lake with too little to learn from."""
    n = held.matches
    if not n:
        reason = "no held-out direct match is seen on both sides"
    else:
        reason = (
            f"the twin of only {held.found} of {n} held-out matches is in the pool, at least "
            f"{LEAST_FOUND} are needed: too few matches, or the spaces are not aligned"
        )
    return LinkScorer(
        features=FEATURES,
        model=None,
        by_fold=(),
        seed=seed,
        acceptance=Acceptance(None, None, None, None, 0.0),
        target_precision=settings.target_precision,
        no_match_share=settings.no_match_share,
        matches=n,
        unseen=len(held.ids) - n,
        absent=held.absent,
        found=held.found,
        importances={},
        strict=n < settings.small,
        rule="nothing is accepted",
        reason=reason,
    )


def _rule(settings: LinkScorerSettings, strict: bool) -> str:
    target = f"{settings.target_precision:g} with {settings.no_match_share:g} assumed matchless"
    if strict:
        return (
            f"fewer than {settings.small} held-out matches: lowest probability at which the lower "
            f"end of the precision's 95 % interval is {target}"
        )
    return f"lowest probability at which the estimated precision is {target}"


def _nothing_accepted(
    acceptance: Acceptance, settings: LinkScorerSettings, strict: bool
) -> str | None:
    if acceptance.threshold is not None:
        return None
    return f"no threshold passes ({_rule(settings, strict)})"
