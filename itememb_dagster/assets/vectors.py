"""Item vectors of behaviour and features together, and what is looked up in them."""

from typing import Final

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from itememb_core import schemas
from itememb_core.evaluation.figures import QueryMetrics
from itememb_core.evaluation.items.probe import mixing_figures
from itememb_core.features.cold.data import feature_data
from itememb_core.features.cold.fit import fit_feature_model
from itememb_core.features.cold.model import FeatureModel
from itememb_core.items.fusion import fused_embeddings
from itememb_core.items.index import ItemIndex, build_index
from itememb_core.items.model import ItemModel
from itememb_core.items.similar import similar_items as neighbours
from itememb_core.items.training.data import pairs_of
from itememb_core.retrieval.indexed import Aim
from itememb_dagster.assets.items import (
    BACKTEST_EDGES,
    BACKTEST_NODES,
    last_day,
    recent_pairs,
)
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

BACKTEST_INPUTS: Final = {
    **BACKTEST_NODES,
    **{name: Input((BACKTEST, name)) for name in ("item_model", "item_features", "feature_model")},
}


def _record(ctx: StageContext, model: FeatureModel) -> FeatureModel:
    """Show what was decided, and why there is nothing where there is nothing."""
    choices = model.choices
    ctx.nothing = model.reason
    ctx.metadata |= {
        f"cold items, {name}": method if choices["cold"][name] else f"{method} (as chance)"
        for name, method in choices["predictor"].items()
    }
    ctx.metadata["rare items"] = f"half by features up to {choices['half']:g} interactions"
    ctx.metadata["share of the likeness part"] = choices["likeness"]
    if model.space is not None:
        ctx.metadata["likeness, explained variance"] = f"{model.space.explained:.3f}"
    return model


@stage(
    key=(BACKTEST, "feature_model"),
    group=BACKTEST,
    kinds=("pytorch",),
    inputs={**BACKTEST_EDGES, **BACKTEST_INPUTS},
)
def backtest_feature_model(
    ctx: StageContext,
    item_model: ItemModel,
    vocabulary: pa.Table,
    item_features: pa.Table,
    category_embeddings: pa.Table,
    edges: pa.Table,
    copurchase_edges: ir.Table,
    coview_edges: ir.Table,
) -> FeatureModel:
    """From features to vectors, in the backtest: decides by hidden items what features are for."""
    recent = recent_pairs(ctx, copurchase_edges, coview_edges)
    settings, last = ctx.settings.item_model, last_day(ctx)
    pairs = pairs_of(vocabulary, edges, settings=settings, last_day=last, recent_edges=recent)
    data = feature_data(item_model, vocabulary, item_features, category_embeddings, *pairs)
    seed = ctx.settings.seed
    found = fit_feature_model(data, ctx.settings.feature_model, seed, progress=ctx.progress)
    return _record(ctx, found)


@stage(
    group="vectors",
    kinds=("pytorch",),
    inputs={"backtest": Input((BACKTEST, "feature_model"))},
)
def feature_model(
    ctx: StageContext,
    item_model: ItemModel,
    vocabulary: pa.Table,
    item_features: pa.Table,
    category_embeddings: pa.Table,
    edges: pa.Table,
    backtest: FeatureModel,
) -> FeatureModel:
    """From features to vectors: the backtest's decisions, fitted on all items."""
    last = ctx.days[-1]
    pairs = pairs_of(vocabulary, edges, settings=ctx.settings.item_model, last_day=last)
    data = feature_data(item_model, vocabulary, item_features, category_embeddings, *pairs)
    settings, seed, like = ctx.settings.feature_model, ctx.settings.seed, backtest.choices
    found = fit_feature_model(data, settings, seed, like=like, progress=ctx.progress)
    return _record(ctx, found)


def _fused(
    ctx: StageContext,
    item_model: ItemModel,
    feature_model: FeatureModel,
    vocabulary: pa.Table,
    item_features: pa.Table,
    category_embeddings: pa.Table,
) -> pa.Table:
    """Join both parts, and show where vectors come from."""
    data = feature_data(item_model, vocabulary, item_features, category_embeddings)
    found = fused_embeddings(vocabulary, data, feature_model)
    ctx.metadata |= {f"vectors, {name}": rows for name, rows in found.sources.items()}
    return found.table


@stage(
    key=(BACKTEST, "item_embeddings"),
    group=BACKTEST,
    kinds=("pytorch",),
    table=TableSpec(None),
    inputs=BACKTEST_INPUTS,
)
def backtest_item_embeddings(
    ctx: StageContext,
    item_model: ItemModel,
    feature_model: FeatureModel,
    vocabulary: pa.Table,
    item_features: pa.Table,
    category_embeddings: pa.Table,
) -> pa.Table:
    """Vectors of the backtest's nodes."""
    return _fused(ctx, item_model, feature_model, vocabulary, item_features, category_embeddings)


def _show_mixing(
    ctx: StageContext, table: pa.Table, vocabulary: pa.Table, catalog: pa.Table
) -> None:
    """Show a map of the vectors and how much domains mix among neighbours."""
    from itememb_core.report.item_map import item_map

    seed = ctx.settings.seed
    mixing = mixing_figures(table, vocabulary, np.random.default_rng(seed))
    facts = mixing_facts(mixing) if mixing else {}
    ctx.metadata |= facts
    picture = item_map(table, vocabulary, catalog, seed, next(iter(facts.values()), ""))
    if picture is not None:
        ctx.plots["map of items"] = picture


def mixing_facts(mixing: QueryMetrics) -> dict[str, str]:
    """How many of the ten nearest are of another domain, beside chance."""
    found = mixing.values["nearest_10", "other_domain_share"]
    chance = mixing.exact["random", "other_domain_share"]
    return {
        f"near {name}": (
            f"{found[inside].mean():.0%} of the ten nearest are of another domain, "
            f"by chance {chance[inside].mean():.0%}"
        )
        for name, inside in mixing.slices.items()
    }


@stage(group="vectors", kinds=("pytorch",), table=TableSpec(None))
def item_embeddings(
    ctx: StageContext,
    item_model: ItemModel,
    feature_model: FeatureModel,
    vocabulary: pa.Table,
    item_features: pa.Table,
    category_embeddings: pa.Table,
    catalog: ir.Table,
) -> pa.Table:
    """Vectors of all items: `embedding` for what is alike, `context` for what goes with."""
    table = _fused(ctx, item_model, feature_model, vocabulary, item_features, category_embeddings)
    known = catalog.select("item_id", "category").order_by("item_id").to_pyarrow()
    _show_mixing(ctx, table, vocabulary, known)
    return table


@stage(group="vectors", kinds=("faiss",))
def item_index(ctx: StageContext, item_embeddings: pa.Table, vocabulary: pa.Table) -> ItemIndex:
    """FAISS index over the vectors, with its measured recall."""
    built = build_index(
        item_embeddings,
        vocabulary,
        ctx.settings.item_index,
        ctx.settings.seed,
        progress=ctx.progress,
    )
    ctx.metadata |= {name: str(value) for name, value in built.about.items()}
    return built


@stage(
    group="vectors",
    kinds=("numpy",),
    table=TableSpec(schemas.SIMILAR_ITEMS),
)
def similar_items(ctx: StageContext, item_embeddings: pa.Table, vocabulary: pa.Table) -> pa.Table:
    """The most similar items of every item with an interaction or features."""
    settings = ctx.settings.similar_items
    aim = Aim(settings.exact_up_to, settings.recall, settings.recall_sample)
    found = neighbours(item_embeddings, vocabulary, settings.k, aim=aim, progress=ctx.progress)
    ctx.metadata |= {"items": found.items, "nothing known, left out": found.without_vectors}
    ctx.metadata |= found.facts
    return found.table


STAGES = (
    backtest_feature_model,
    backtest_item_embeddings,
    feature_model,
    item_embeddings,
    item_index,
    similar_items,
)
