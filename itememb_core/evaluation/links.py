"""``link_evaluation``: ranks of held-out true matches, coverage and precision of acceptance."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row, evaluation_table
from itememb_core.evaluation.ranking import (
    hit_at,
    random_hit_at,
    random_reciprocal,
    ranks_among,
    reciprocal,
    tied_ranks,
)
from itememb_core.evaluation.reliability import EXAMPLE, calibration_gap, examples
from itememb_core.intervals import normal_interval, share_interval
from itememb_core.items.vectors import behaviour_vectors
from itememb_core.items.vocabulary import UNKNOWN
from itememb_core.links.labels import HeldOut, fold_of, held_out
from itememb_core.links.nodes import Support, link_nodes, support
from itememb_core.links.scorer.acceptance import (
    LabelledTop1,
    choose_threshold,
    precision_at,
)
from itememb_core.links.scorer.fit import labelled_top1, out_of_fold, out_of_fold_top1
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.links.scorer.population import example_weights
from itememb_core.links.scorer.text_use import TextUse
from itememb_core.report.links import precision_coverage_plot, reliability_plot
from itememb_core.schemas import EVALUATION
from itememb_core.settings import LinkPoolSettings

#: Events on both sides from which an item is well seen.
WELL_SEEN = 10

#: The notebook's threshold, picked by eye: a baseline of acceptance.
COSINE_BY_EYE = 0.7

#: Baselines of acceptance, and the column of the pool that each ranks by.
METHODS = {"csls": "csls", "users": "users_llr", "cosine_0.7": "similarity"}

#: Matches compared with all candidates at once.
ROWS = 256

#: Bands of the smaller of a match's two counts: name, lowest, highest.
BANDS = (
    ("support_1_2", 1, 2),
    ("support_3_9", 3, 9),
    ("support_10_29", 10, 29),
    ("support_30_up", 30, None),
)


class LinkEvaluation(NamedTuple):
    """Figures and pictures.

    Attributes:
        table: ``schemas.EVALUATION``.
        plots: PNG by name.
        examples: ``reliability.EXAMPLE``.
        matches: Held-out matches evaluated.
        reason: Why there are no figures; ``None`` otherwise.
    """

    table: pa.Table
    plots: dict[str, bytes]
    examples: pa.Table
    matches: int
    reason: str | None


class _Case(NamedTuple):
    """What every figure is made from: the matches, events of nodes, folds [matches], scorer."""

    held: HeldOut
    counts: Support
    fold: NDArray[np.int64]
    scorer: LinkScorer


def link_evaluation(
    pool: pa.Table,
    scorer: LinkScorer,
    holdout: pa.Table,
    vocabulary: pa.Table,
    *,
    embeddings: pa.Table,
    settings: LinkPoolSettings,
) -> LinkEvaluation:
    """Evaluate ranking and acceptance on held-out matches seen on both sides.

    Ranks are among all catalog candidates; a true match outside the pool has no rank by CSLS and
    the scorer, and counts as a miss. Acceptance mixes in the copies without the true match by the
    assumed share, and the matches without an interaction on the catalog side; thresholds and
    probabilities come from the other folds.

    Args:
        pool: The backtest's ``schemas.LINK_POOL``.
        scorer: Fitted on it.
        holdout: ``schemas.LINK_HOLDOUT``.
        vocabulary: The backtest's ``schemas.VOCABULARY``.
        embeddings: The backtest's ``schemas.item_embeddings(dim)``.
        settings: What the pool was made with.
    """
    held = held_out(pool, vocabulary, holdout)
    if not held.matches:
        reason = "no held-out direct match is seen on both sides before the cut"
        return LinkEvaluation(EVALUATION.empty_table(), {}, EXAMPLE.empty_table(), 0, reason)
    fold = fold_of(held.ids, max(len(scorer.by_fold), 2), scorer.seed)
    case = _Case(held, support(vocabulary), fold, scorer)
    catalog = link_nodes(vocabulary, settings).catalog
    top1 = _top1(case)
    rows = _rows(case, _ranks(case, catalog, behaviour_vectors(embeddings)), top1, len(catalog))
    sure = np.empty((0, 0))
    if scorer.model is not None:
        sure = out_of_fold(held.lists, case.counts, fold, scorer.by_fold)
    table, shown = evaluation_table(rows), examples(held, sure, vocabulary)
    return LinkEvaluation(table, _plots(top1, case), shown, held.matches, None)


def _rows(
    case: _Case, ranks: dict[str, NDArray[np.float64]], top1: dict[str, LabelledTop1], catalog: int
) -> list[Row]:
    """Every figure by slice, ours beside the baselines."""
    rows: list[Row] = []
    for name, mask in _slices(case.held, case.counts).items():
        seen = mask & case.held.seen
        rows.append(("held_out", "matches", name, float(seen.sum()), None, None))
        rows.append(("pool", "recall", name, *share_interval(case.held.place[seen] >= 0)))
        rows += _random_rows(name, catalog)
        for method, rank in ranks.items():
            rows += _rank_rows(method, name, rank[seen])
        rows += _acceptance_rows(name, mask, top1, case)
        rows += _calibration_rows(name, mask, top1, case.scorer)
    return rows + _scorer_rows(case.scorer) + _text_rows(case.scorer.text)


def _slices(held: HeldOut, counts: Support) -> dict[str, NDArray[np.bool_]]:
    """Which matches are in each slice that has any, bool [matches]."""
    least = np.minimum(counts.receipts[held.lists.receipt], counts.catalog[held.true_match])
    slices = {"all": least >= 0, "well_seen": least >= WELL_SEEN}
    for name, low, high in BANDS:
        slices[name] = (least >= low) & (least <= (high or least.max()))
    return {name: mask for name, mask in slices.items() if mask.any()}


def _ranks(
    case: _Case, catalog: NDArray[np.int64], values: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Rank of the true match by each method, from 0, float64 [matches]; infinite where none.

    Of a match whose catalog side has no interaction, which is no candidate, it means nothing.
    """
    held, counts = case.held, case.counts
    popular = np.sort(counts.catalog[catalog])  # [candidates]
    ranks = {
        "csls": _listed_ranks(held, "rank_csls"),
        "users": _listed_ranks(held, "rank_users"),
        "cosine": _cosine_ranks(held, catalog, values),
        "channel_popularity": ranks_among(popular, counts.catalog[held.true_match]),
    }
    if not np.isnan(held.lists.compared["rank_text"]).all():
        ranks["text"] = _listed_ranks(held, "rank_text")
    if case.scorer.model is not None:
        scores = out_of_fold(held.lists, counts, case.fold, case.scorer.by_fold)
        ranks = {"scorer": _rank_in_list(scores, held.place)} | ranks
    return ranks


def _cosine_ranks(
    held: HeldOut, catalog: NDArray[np.int64], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Rank of the true match by cosine among all candidates, float64 [matches]."""
    candidates = values[catalog]  # [candidates, dim]
    place = np.full(len(values), UNKNOWN, np.int64)
    place[catalog] = np.arange(len(catalog))
    targets = place[held.true_match]  # [matches]
    ranks = np.empty(len(targets))
    for start in range(0, len(ranks), ROWS):
        rows = slice(start, start + ROWS)
        queries = values[held.lists.receipt[rows]]  # [rows, dim]
        ranks[rows] = tied_ranks(queries @ candidates.T, targets[rows])
    return ranks


def _listed_ranks(held: HeldOut, name: str) -> NDArray[np.float64]:
    """The true match's rank in one of the lists that the pool unites, float64 [matches]."""
    if not held.lists.catalog.shape[1]:
        return np.full(len(held.place), np.inf)
    ranks = held.lists.compared[name]
    own = np.take_along_axis(ranks, held.place[:, None].clip(min=0), axis=1)[:, 0]
    return np.where((held.place >= 0) & ~np.isnan(own), own - 1, np.inf).astype(np.float64)


def _rank_in_list(scores: NDArray[np.floating], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank of the candidate at ``place`` [n] by score [n, size]."""
    if not scores.shape[1]:
        return np.full(len(place), np.inf)
    return np.where(place >= 0, tied_ranks(scores, place.clip(min=0)), np.inf)


def _top1(case: _Case) -> dict[str, LabelledTop1]:
    """Top-1 candidates by each method of acceptance, with the copies without the true match."""
    held, scorer = case.held, case.scorer
    without = held.lists.without(held.place)
    weights = example_weights(held, case.counts, scorer.population)
    top1 = {
        method: labelled_top1(held, held.lists.score(name), without.score(name), weights)
        for method, name in METHODS.items()
    }
    if scorer.model is not None:
        own = out_of_fold_top1(held, case.counts, case.fold, scorer.by_fold, scorer.population)
        top1 = {"scorer": own} | top1
    return top1


def _accepted(method: str, top1: LabelledTop1, case: _Case) -> LabelledTop1:
    """The same lists, with probability 1 where accepted and 0 where not.

    A fold's threshold is chosen on the others; the cosine's is fixed, and the scorer's rests on
    opaque items unless matches are few.
    """
    target, strict = case.scorer.target_precision, case.scorer.strict
    fixed: dict[str, float | None] = {"cosine_0.7": COSINE_BY_EYE}
    if not strict:
        fixed["scorer"] = case.scorer.acceptance.threshold
    both = np.concatenate([case.fold, case.fold])
    taken = np.zeros(len(both))
    for number in np.unique(both):
        inside = both == number
        if method in fixed:
            threshold = fixed[method]
        else:
            threshold = choose_threshold(top1.take(~inside), target, strict=strict).threshold
        if threshold is not None:
            taken[inside] = top1.probability[inside] >= threshold
    return top1._replace(probability=taken)


def _acceptance_rows(
    name: str, mask: NDArray[np.bool_], top1: dict[str, LabelledTop1], case: _Case
) -> list[Row]:
    """Coverage and precision of each method's acceptance; no precision where none is accepted."""
    rows: list[Row] = []
    inside = np.concatenate([mask, mask])
    for method, each in top1.items():
        result = precision_at(_accepted(method, each, case).take(inside), 0.5)
        rows.append((method, "coverage", name, result.coverage, None, None))
        if result.precision is not None:
            rows.append((method, "precision", name, result.precision, result.low, result.high))
    return rows


def _calibration_rows(
    name: str, mask: NDArray[np.bool_], top1: dict[str, LabelledTop1], scorer: LinkScorer
) -> list[Row]:
    """Mean probability less share right, of all top-1 candidates and of those accepted."""
    if "scorer" not in top1:
        return []
    each, both = top1["scorer"], np.concatenate([mask, mask])
    parts = {"calibration": both}
    if scorer.acceptance.threshold is not None:
        accepted = each.probability >= scorer.acceptance.threshold
        parts["calibration_accepted"] = both & accepted
    found = {metric: calibration_gap(each, part, scorer.seed) for metric, part in parts.items()}
    return [("scorer", metric, name, *gap) for metric, gap in found.items() if gap is not None]


def _rank_rows(method: str, name: str, rank: NDArray[np.float64]) -> list[Row]:
    """hit@1, hit@10 (Wilson intervals) and the mean reciprocal rank (normal interval)."""
    return [
        (method, "hit@1", name, *share_interval(hit_at(rank, 1))),
        (method, "hit@10", name, *share_interval(hit_at(rank, 10))),
        (method, "mrr", name, *normal_interval(reciprocal(rank))),
    ]


def _random_rows(name: str, candidates: int) -> list[Row]:
    """What a random order of the candidates is expected to reach."""
    figures = {
        "hit@1": random_hit_at(candidates, 1),
        "hit@10": random_hit_at(candidates, 10),
        "mrr": random_reciprocal(candidates),
    }
    return [("random", metric, name, value, None, None) for metric, value in figures.items()]


def _scorer_rows(scorer: LinkScorer) -> list[Row]:
    """The shipped threshold, and what it was chosen by."""
    rows: list[Row] = [
        ("scorer", "target_precision", "all", scorer.target_precision, None, None),
        ("scorer", "no_match_share", "all", scorer.population.share, None, None),
    ]
    found = scorer.acceptance
    for metric, value in (("threshold", found.threshold), ("expected_precision", found.expected)):
        if value is not None:
            rows.append(("scorer", metric, "all", value, None, None))
    return rows


def _text_rows(text: TextUse | None) -> list[Row]:
    """The scorer with texts and without, out of fold, and whether they are used."""
    if text is None:
        return []
    gains = (
        (text.top1_gain_low, text.top1_gain_high),
        (
            text.log_loss_gain_low,
            text.log_loss_gain_high,
        ),
    )
    return [
        ("scorer_with_text", "matches", "with_text", float(text.matches), None, None),
        ("scorer_with_text", "used", "with_text", float(text.used), None, None),
        ("scorer_with_text", "hit@1", "with_text", text.top1, None, None),
        ("scorer_without_text", "hit@1", "with_text", text.top1_without, None, None),
        ("scorer_with_text", "hit@1_gain", "with_text", text.top1 - text.top1_without, *gains[0]),
        ("scorer_with_text", "log_loss", "with_text", text.log_loss, None, None),
        ("scorer_without_text", "log_loss", "with_text", text.log_loss_without, None, None),
        ("scorer_with_text", "log_loss_gain", "with_text",
         text.log_loss - text.log_loss_without, *gains[1]),
    ]  # fmt: skip


def _plots(top1: dict[str, LabelledTop1], case: _Case) -> dict[str, bytes]:
    curves = {name: each for name, each in top1.items() if name != "cosine_0.7"}
    curves["cosine"] = top1["cosine_0.7"]
    target = case.scorer.target_precision
    plots = {"precision_coverage": precision_coverage_plot(curves, target)}
    if "scorer" in top1:
        parts = {
            _words(name): top1["scorer"].take(np.flatnonzero(np.concatenate([mask, mask])))
            for name, mask in _slices(case.held, case.counts).items()
            if name.startswith("support")
        }
        plots["reliability"] = reliability_plot(parts)
    return plots


def _words(name: str) -> str:
    """``support_3_9`` as a label for people."""
    return name.replace("_up", " and more").replace("support_", "support ").replace("_", " to ")
