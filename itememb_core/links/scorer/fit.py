"""``link_scorer``: probabilities and the threshold, cross-fitted on held-out matches."""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.learning.trees import Trees, fit_trees
from itememb_core.links.labels import HeldOut, fold_of, held_out, is_top1
from itememb_core.links.lists import PoolLists, pool_lists
from itememb_core.links.nodes import Support, support
from itememb_core.links.scorer.acceptance import (
    Acceptance,
    LabelledTop1,
    choose_by_expectation,
    choose_threshold,
)
from itememb_core.links.scorer.calibration import Calibration, fit_calibration
from itememb_core.links.scorer.comparisons import FEATURES, WITH_TEXT, candidate_features
from itememb_core.links.scorer.model import NEVER, Fitted, LinkScorer, logits
from itememb_core.links.scorer.population import (
    BANDS,
    Population,
    band_of,
    example_weights,
    no_match_shares,
    opaque_nodes,
    set_population,
)
from itememb_core.links.scorer.text_use import (
    TextUse,
    found_without_text,
    text_use,
    with_text,
)
from itememb_core.progress import Progress, silent
from itememb_core.settings import LinkScorerSettings

#: Small trees and strong shrinkage: there are some thousand lists with one positive each.
TREES: Final = {
    "objective": "binary",
    "learning_rate": 0.15,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
}

#: Fewer held-out matches with the true match in the pool than this: nothing to learn from.
LEAST_FOUND = 20

#: Most opaque lists of a band of support from which the share without a match, and the threshold,
#: are estimated.
POPULATION_SAMPLE = 2000


def fit_scorer(
    pool: pa.Table,
    vocabulary: pa.Table,
    holdout: pa.Table,
    settings: LinkScorerSettings,
    seed: int,
    *,
    progress: Progress = silent,
) -> LinkScorer:
    """Fit on held-out matches; choose the threshold on the opaque items' probabilities.

    Each match gives its list and a copy without the true match, an example of no match. Texts are
    used where they help out of fold. The probabilities are made for the opaque items, with
    ``no_match_share`` of them without a match, or a share estimated from their scores. The
    threshold is the lowest at which their mean meets the target; with few matches it is chosen on
    out-of-fold matches alone.

    Args:
        pool: The backtest's ``schemas.LINK_POOL``.
        vocabulary: The backtest's ``schemas.VOCABULARY``.
        holdout: ``schemas.LINK_HOLDOUT``.
        settings: Target, assumed share, folds.
        seed: Of the folds and of the models.
        progress: Called after each fit.
    """
    held = held_out(pool, vocabulary, holdout)
    unfitted = _unfitted(held, vocabulary, settings, seed)
    if held.found < LEAST_FOUND:
        return unfitted
    case = _Case(held, support(vocabulary), fold_of(held.ids, settings.folds, seed))
    (trees, whole), text = _models(case, settings, seed, progress)
    unfitted = replace(unfitted, features=whole.features, text=text)
    known = _known(case, trees)
    opaque, population = _opaque(pool, vocabulary, case.counts, whole), unfitted.population
    if settings.no_match_share is None:
        population = _estimated(opaque, case, known, population.items)
    models = _calibrated_models(case, known, population, (trees, whole))
    labelled = out_of_fold_top1(case.held, case.counts, case.fold, models[1], population)
    acceptance = _accepted(labelled, opaque, models[0].calibration, unfitted)
    return _scorer(unfitted, models, acceptance, population, settings)


def _scorer(
    unfitted: LinkScorer,
    models: tuple[Fitted, tuple[Fitted, ...]],
    acceptance: Acceptance,
    population: Population,
    settings: LinkScorerSettings,
) -> LinkScorer:
    rule = _rule(settings, population, unfitted.strict)
    gains = models[0].trees.importances().tolist()
    return replace(
        unfitted,
        model=models[0],
        by_fold=models[1],
        acceptance=acceptance,
        population=population,
        importances=dict(zip(models[0].trees.features, gains, strict=True)),
        rule=rule,
        reason=None if acceptance.threshold is not None else f"no threshold passes ({rule})",
    )


class _Case(NamedTuple):
    """The held-out matches, events of nodes, the fold of each match."""

    held: HeldOut
    counts: Support
    fold: NDArray[np.int64]


class _Opaque(NamedTuple):
    """Lists of opaque items: log odds of the top-1 candidate, receipt lines, sampling weight."""

    best: NDArray[np.float64]
    receipts: NDArray[np.int64]
    weight: NDArray[np.float64]


def _accepted(
    labelled: LabelledTop1, opaque: _Opaque, curve: Calibration, scorer: LinkScorer
) -> Acceptance:
    """The threshold, with its estimates from the labelled matches."""
    if scorer.strict:
        return choose_threshold(labelled, scorer.target_precision, strict=True)
    probability = curve.probability(opaque.best, opaque.receipts)
    return choose_by_expectation(labelled, probability, opaque.weight, scorer.target_precision)


def out_of_fold(
    lists: PoolLists, counts: Support, fold: NDArray[np.int64], by_fold: tuple[Fitted, ...]
) -> NDArray[np.float64]:
    """Probability of every candidate by the model that has not seen its list, [matches, size]."""
    result = np.full(lists.catalog.shape, -1.0)
    for number, model in enumerate(by_fold):
        rows = np.flatnonzero(fold == number)
        result[rows] = model.probabilities(lists.take(rows), counts)
    return result


def labelled_top1(
    held: HeldOut,
    scores: NDArray[np.floating],
    scores_without: NDArray[np.floating],
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> LabelledTop1:
    """Top-1 candidates of all lists, then of their copies without the true match.

    Args:
        held: n matches.
        scores: float [n, size], what candidates are ranked and accepted by.
        scores_without: The same for the copies.
        weights: Of the lists and of the copies, [n] each.

    Returns:
        2 n lists: element i is match i, element n + i its copy.
    """
    n = len(held.place)
    right = is_top1(scores, held.place)
    best = [each.max(axis=1, initial=-1.0) for each in (scores, scores_without)]
    return LabelledTop1(
        np.concatenate(best), np.concatenate([right, np.zeros(n, bool)]), np.concatenate(weights)
    )


def out_of_fold_top1(
    held: HeldOut,
    counts: Support,
    fold: NDArray[np.int64],
    by_fold: tuple[Fitted, ...],
    population: Population,
) -> LabelledTop1:
    """:func:`labelled_top1` with out-of-fold probabilities, for a population."""
    without = held.lists.without(held.place)
    return labelled_top1(
        held,
        out_of_fold(held.lists, counts, fold, by_fold),
        out_of_fold(without, counts, fold, by_fold),
        example_weights(held, counts, population),
    )


class _Examples(NamedTuple):
    """Candidates as rows: features [rows, features], label, number of the match."""

    x: NDArray[np.float32]
    label: NDArray[np.bool_]
    match: NDArray[np.int64]


def _examples(held: HeldOut, counts: Support, names: tuple[str, ...]) -> _Examples:
    """Every candidate of every list and of every copy without the true match."""
    parts = []
    whole = held.lists if names == WITH_TEXT else held.lists.without_text()
    for lists in (whole, whole.without(held.place)):
        match, column = np.nonzero(lists.valid)
        x = candidate_features(lists, counts, names)[match, column]
        label = column == held.place[match]  # never in a copy, where that place is empty
        parts.append((x, label, match))
    x, label, match = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Examples(x, label, match)


def _models(
    case: _Case, settings: LinkScorerSettings, seed: int, progress: Progress
) -> tuple[tuple[tuple[Trees, ...], Trees], TextUse | None]:
    """The models without texts, or those with them where they help, and what was found of that."""
    plain = found_without_text(case.held) >= LEAST_FOUND
    fitted = _fit_models(case, FEATURES, settings, seed, progress) if plain else None
    if fitted is not None and with_text(case.held).sum() < LEAST_FOUND:
        return fitted, None
    texts = _fit_models(case, WITH_TEXT, settings, seed, progress)
    without = np.full(case.held.lists.catalog.shape, NEVER)
    if fitted is not None:
        without = _scores(case, fitted[0], case.held.lists)
    use = text_use(case.held, _scores(case, texts[0], case.held.lists), without, seed)
    return (texts if use.used or fitted is None else fitted), use


def _fit_models(
    case: _Case,
    names: tuple[str, ...],
    settings: LinkScorerSettings,
    seed: int,
    progress: Progress,
) -> tuple[tuple[Trees, ...], Trees]:
    """One model without each fold, and one on everything."""
    examples, fold = _examples(case.held, case.counts, names), case.fold
    models = []
    for number in range(settings.folds + 1):  # no match is in fold ``folds``: the last sees all
        keep = fold[examples.match] != number
        x, label = examples.x[keep], examples.label[keep]
        models.append(fit_trees(x, label, TREES, names=names, rounds=settings.rounds, seed=seed))
        progress("link_scorer: fits", number + 1, settings.folds + 1)
    return tuple(models[:-1]), models[-1]


class _Known(NamedTuple):
    """Log odds of the top-1 candidate of each list and of its copy, whether the list's is right."""

    best: NDArray[np.float64]
    right: NDArray[np.bool_]
    best_without: NDArray[np.float64]


def _known(case: _Case, trees: tuple[Trees, ...]) -> _Known:
    """Score every list with the model that has not seen it."""
    held = case.held
    scores = _scores(case, trees, held.lists)
    scores_without = _scores(case, trees, held.lists.without(held.place))
    right = is_top1(scores, held.place)
    return _Known(scores.max(axis=1), right, scores_without.max(axis=1))


def _scores(case: _Case, trees: tuple[Trees, ...], lists: PoolLists) -> NDArray[np.float64]:
    """Log odds of every candidate by the model that has not seen its match, [matches, size]."""
    scores = np.full(lists.catalog.shape, NEVER)
    for number, model in enumerate(trees):
        rows = np.flatnonzero(case.fold == number)
        scores[rows] = logits(lists.take(rows), case.counts, model)
    return scores


def _calibrated_models(
    case: _Case, known: _Known, population: Population, trees: tuple[tuple[Trees, ...], Trees]
) -> tuple[Fitted, tuple[Fitted, ...]]:
    """The model of all matches and those without a fold, each with its own curve.

    The curve has the support as an input, so matches are weighted by the share of no match alone;
    raising the few of little support to the opaque items' numbers would make it overfit them.
    """
    band = band_of(case.counts.receipts[case.held.lists.receipt])
    items = tuple(np.bincount(band, minlength=len(BANDS)).tolist())
    weights = example_weights(case.held, case.counts, replace(population, items=items))
    by_fold = tuple(
        Fitted(model, _calibrated(case, known, weights, case.fold != number))
        for number, model in enumerate(trees[0])
    )
    every = np.ones(len(case.fold), bool)
    return Fitted(trees[1], _calibrated(case, known, weights, every)), by_fold


def _calibrated(
    case: _Case,
    known: _Known,
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
    kept: NDArray[np.bool_],
) -> Calibration:
    """The curve fitted on some of the lists and on their copies."""
    receipts = case.counts.receipts[case.held.lists.receipt][kept]
    return fit_calibration(
        np.concatenate([known.best[kept], known.best_without[kept]]),
        np.concatenate([receipts, receipts]),
        np.concatenate([known.right[kept], np.zeros(int(kept.sum()), bool)]),
        np.concatenate([each[kept] for each in weights]),
    )


def _opaque(pool: pa.Table, vocabulary: pa.Table, counts: Support, whole: Trees) -> _Opaque:
    """The top-1 candidates of a sample of the opaque items, by the model of all matches."""
    nodes = opaque_nodes(vocabulary)
    band = band_of(counts.receipts[nodes])
    sample = [rows[:: -(-len(rows) // POPULATION_SAMPLE)] for rows in _by_band(band)]
    rows = np.sort(np.concatenate(sample))
    chosen = vocabulary["item_id"].take(pa.array(nodes[rows]))
    own = pool.filter(pc.is_in(pool["receipt_item"], value_set=chosen.combine_chunks()))
    lists = pool_lists(own, vocabulary)
    best = logits(lists, counts, whole).max(axis=1, initial=NEVER)
    receipts = counts.receipts[lists.receipt]
    items, taken = (np.bincount(each, minlength=len(BANDS)) for each in (band, band[rows]))
    return _Opaque(best, receipts, (items / taken.clip(min=1))[band_of(receipts)])


def _estimated(opaque: _Opaque, case: _Case, known: _Known, items: tuple[int, ...]) -> Population:
    """The opaque items, with the shares of no match estimated from their scores."""
    held, counts, _ = case
    held_band = band_of(counts.receipts[held.lists.receipt])
    shares = no_match_shares(
        opaque.best,
        band_of(opaque.receipts),
        (known.best[held.seen], held_band[held.seen]),
        (known.best_without, held_band),
    )
    return Population(items, shares, True)


def _by_band(band: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of each band that has any."""
    rows = (np.flatnonzero(band == number) for number in range(len(BANDS)))
    return [each for each in rows if len(each)] or [np.empty(0, np.int64)]


def _unfitted(
    held: HeldOut, vocabulary: pa.Table, settings: LinkScorerSettings, seed: int
) -> LinkScorer:
    """The scorer of a lake with too little to learn from."""
    n = held.matches
    if not n:
        reason = "no held-out direct match is seen on both sides"
    else:
        reason = (
            f"only {held.found} of {n} held-out matches have their true match in the pool, at "
            f"least {LEAST_FOUND} are needed: too few matches, or the spaces are not aligned"
        )
    share = 0.5 if settings.no_match_share is None else settings.no_match_share
    return LinkScorer(
        features=FEATURES,
        model=None,
        by_fold=(),
        seed=seed,
        acceptance=Acceptance(None, None, None, None, 0.0),
        target_precision=settings.target_precision,
        population=set_population(vocabulary, share),
        matches=n,
        unseen=len(held.ids) - n,
        absent=held.absent,
        found=held.found,
        importances={},
        strict=n < settings.small,
        rule="nothing is accepted",
        reason=reason,
        one_to_one=settings.one_to_one,
    )


def _rule(settings: LinkScorerSettings, population: Population, strict: bool) -> str:
    how = "estimated" if population.estimated else "assumed"
    target = f"{settings.target_precision:g} with {population.share:.2f} {how} to have no match"
    if strict:
        return (
            f"fewer than {settings.small} held-out matches: lowest probability at which the lower "
            f"end of the precision's 95 % interval is {target}"
        )
    return f"lowest probability at which the estimated precision is {target}"
