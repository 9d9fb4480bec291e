"""``feature_model``: fitted on warm items, its uses chosen by those hidden from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row
from itememb_core.features.cold.blend import Blend, HalfFigures, half_of_belief
from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.features.cold.methods import FEATURES, MIXED, PLAIN, WARM
from itememb_core.features.cold.model import Choices, FeatureModel, Predictions, belief
from itememb_core.features.cold.network import Behaviour
from itememb_core.features.cold.trained import Trained
from itememb_core.features.cold.training import Targets, train
from itememb_core.features.cold.validation import (
    ColdFigures,
    cold_figures,
    hidden_nodes,
    popularity_apart,
    queries,
)
from itememb_core.features.likeness.choice import choose_likeness
from itememb_core.features.likeness.imputation import Parts
from itememb_core.features.likeness.space import LikenessSpace, fit_likeness, likeness_parts
from itememb_core.intervals import bootstrap_intervals
from itememb_core.items.training.data import Pairs
from itememb_core.progress import Progress, silent
from itememb_core.services import CHANNELS
from itememb_core.settings import FeatureModelSettings

#: Fewer warm items with features: nothing to learn from, nothing to judge on.
LEAST_WARM = 50


@dataclass(frozen=True)
class FeatureData:
    """What a feature model is fitted on; all arrays by node of one vocabulary.

    Attributes:
        own: Where behaviour put each node.
        counts: int64 [nodes, channels].
        catalog: bool [nodes], catalog items (no receipts side), which may be predicted.
        domain: int64 [nodes], from 0.
        inputs: Features.
        pairs: Within-channel pairs that the behaviour was trained on.
        recent: Those of the validation days, which it did not see; none in a final fit.
        matches: Receipts and catalog node of each held-out match, int64 [matches, 2].
    """

    own: Behaviour
    counts: NDArray[np.int64]
    catalog: NDArray[np.bool_]
    domain: NDArray[np.int64]
    inputs: NodeInputs
    pairs: Pairs
    recent: Pairs
    matches: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        """Interactions, int64 [nodes]."""
        return self.counts.sum(axis=1)

    @property
    def able(self) -> NDArray[np.bool_]:
        """Catalog items of which more than the domain is known, bool [nodes]."""
        inputs = self.inputs
        deep = inputs.paths.depth[inputs.paths.deepest] > 0
        return self.catalog & (inputs.known.any(axis=1) | deep)

    @property
    def warm(self) -> NDArray[np.int64]:
        """Able nodes with an interaction."""
        return np.flatnonzero(self.able & (self.total > 0))

    @cached_property
    def parts(self) -> Parts:
        """Vectors of warm nodes, domains and blocks, side by side."""
        return likeness_parts(self.own.embedding, self.total > 0, self.domain, self.inputs)


class _Judged(NamedTuple):
    """What hidden items showed."""

    cold: list[ColdFigures]
    half: HalfFigures


def fit_feature_model(
    data: FeatureData,
    settings: FeatureModelSettings,
    seed: int,
    *,
    like: Choices | None = None,
    progress: Progress = silent,
) -> FeatureModel:
    """Fit the network and the likeness space; judge them on items hidden from them.

    Args:
        data: Behaviour, features and pairs.
        settings: Sizes, and which uses are decided by validation.
        seed: Of hidden items, first weights and draws.
        like: Another fit's choices, which are kept: the fit sees all warm items. None: it hides a
            share of them and chooses.
        progress: Called after each stretch of steps.
    """
    warm = data.warm
    reason = _reason(data, settings)
    if reason is not None:
        choices = _no_choices()
        dim = data.own.embedding.shape[1]
        return FeatureModel(None, None, [], settings, dim, data.inputs.dims, choices, reason)
    rng = np.random.default_rng([seed, 0])
    hidden = warm[:0] if like else hidden_nodes(warm, settings.hidden_share, rng)
    learned = np.setdiff1d(warm, hidden, assume_unique=True)
    trained = None
    if settings.use != "never" and (like is None or _needs_network(like)):
        targets = Targets(data.own, belief(data.total), learned, data.pairs)
        trained = train(data.inputs, targets, settings, seed, progress=progress)
    choices = like or _choices(data, settings, trained, (learned, hidden), rng)
    space: LikenessSpace | None = None
    if choices["likeness"] > 0:
        space = fit_likeness(data.parts, settings.likeness_dim)
    names = _names(data.inputs, trained)
    dim = data.own.embedding.shape[1]
    return FeatureModel(trained, space, names, settings, dim, data.inputs.dims, choices, None)


def _needs_network(choices: Choices) -> bool:
    """Whether a channel's prediction has the network in it."""
    named = {choices["predictor"][name] for name, used in choices["cold"].items() if used}
    return bool(choices["half"]) or any(FEATURES in MIXED.get(each, (each,)) for each in named)


def _reason(data: FeatureData, settings: FeatureModelSettings) -> str | None:
    if settings.use == "never" and settings.likeness == "never":
        return "feature_model.use and feature_model.likeness are never"
    if len(data.warm) < LEAST_WARM:
        return (
            f"{len(data.warm)} catalog items have both features and interactions, at least "
            f"{LEAST_WARM} are needed"
        )
    return None


def _no_choices() -> Choices:
    return Choices(steps=0, predictor={}, cold={}, half=0.0, likeness=0.0, figures=[])


def _choices(
    data: FeatureData,
    settings: FeatureModelSettings,
    trained: Trained | None,
    split: tuple[NDArray[np.int64], NDArray[np.int64]],
    rng: np.random.Generator,
) -> Choices:
    """Decide by the hidden items, by channel."""
    choices = _no_choices() | {"steps": settings.steps}
    if trained is not None:
        judged = _judge(data, trained, split, rng)
        for each in judged.cold:
            name = CHANNELS[each.channel]
            choices["predictor"][name] = each.best()
            choices["cold"][name] = settings.use == "always" or each.helps(rng)
        choices["half"] = judged.half.chosen
        choices["figures"] += [*_cold_rows(judged.cold, rng), *_half_rows(judged.half, rng)]
    if settings.likeness != "never":
        likeness = choose_likeness(data.parts, data.inputs.paths, data.warm, settings, rng)
        choices["figures"] += likeness.rows
        choices["likeness"] = likeness.share
    return choices


def _judge(
    data: FeatureData,
    trained: Trained,
    split: tuple[NDArray[np.int64], NDArray[np.int64]],
    rng: np.random.Generator,
) -> _Judged:
    learned, hidden = split
    weight = belief(data.total)
    asked = queries(data.recent, data.pairs, hidden, data.counts, rng)

    def placed(nodes: NDArray[np.int64]) -> Predictions:
        return Predictions(trained, data.inputs, data.own, weight, learned, nodes)

    predictions = placed(hidden)
    own, found = data.own.take(hidden), {each: predictions.of(each) for each in PLAIN}
    methods = {WARM: own, **found, **popularity_apart(own, found[FEATURES])}
    cold = cold_figures(asked, data.own.context, hidden, methods)
    predicted = placed(np.arange(len(data.counts))).of(FEATURES)
    blend = Blend(data.own, predicted, data.total, data.able)
    half = half_of_belief(blend, data.counts, data.recent, data.matches, rng)
    return _Judged(cold, half)


def _names(inputs: NodeInputs, trained: Trained | None) -> list[str]:
    """Names of the network's rows of categories, in their order."""
    if trained is None:
        return []
    order = np.argsort(trained.categories, kind="stable")
    return [inputs.paths.names[number] for number in order if trained.categories[number] >= 0]


def _cold_rows(figures: list[ColdFigures], rng: np.random.Generator) -> Iterator[Row]:
    """Hits of every method on hidden items, by channel."""
    for each in figures:
        name, metric = f"hidden items, {CHANNELS[each.channel]}", f"hit@{each.at}"
        hits = np.stack([hit.astype(np.float64) for hit in each.hits.values()], axis=1)
        low, high = bootstrap_intervals(hits, rng)
        for column, method in enumerate(each.hits):
            mean = float(hits[:, column].mean())
            yield method, metric, name, mean, float(low[column]), float(high[column])
        yield "random", metric, name, each.chance, None, None
        yield "candidates", "n", name, float(each.candidates), None, None
        yield "queries", "n", name, float(len(hits)), None, None


def _half_rows(figures: HalfFigures, rng: np.random.Generator) -> Iterator[Row]:
    """Reciprocal ranks of rare items and of held-out matches by the half of the blend."""
    tried = {"rare items": figures.goes_with, "held-out matches, by cosine": figures.links}
    for name, found in tried.items():
        columns = {half: ranks for half, ranks in found.items() if len(ranks)}
        if not columns:
            continue
        values = np.stack(list(columns.values()), axis=1)
        low, high = bootstrap_intervals(values, rng)
        for column, half in enumerate(columns):
            method = f"blend, half at {half:g}" if half else "behaviour"
            mean = float(values[:, column].mean())
            yield method, "mrr", name, mean, float(low[column]), float(high[column])
        yield "queries", "n", name, float(len(values)), None, None
