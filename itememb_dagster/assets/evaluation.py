"""Evaluation of the backtest's vectors and links, beside baselines."""

from datetime import date
from typing import Any, Final

import dagster as dg
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.evaluation.items.baskets import holdout_baskets
from itememb_core.evaluation.items.evaluate import draw_queries
from itememb_core.evaluation.items.evaluate import item_evaluation as evaluate_items
from itememb_core.evaluation.items.goes_with import Space
from itememb_core.evaluation.links import link_evaluation as evaluate_links
from itememb_core.features.cold.model import FeatureModel
from itememb_core.items.model import ItemModel
from itememb_core.items.training import fit, training_data
from itememb_core.links.scorer.model import LinkScorer
from itememb_dagster.assets.items import before, last_day
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

SPEC: Final = TableSpec(schemas.EVALUATION)


def _of_backtest(*names: str) -> dict[str, Input]:
    return {name: Input((BACKTEST, name)) for name in names}


def _record(ctx: StageContext, found: Any) -> pa.Table:
    """Show pictures, or the reason why there are no figures."""
    ctx.plots |= getattr(found, "plots", {})
    ctx.nothing = found.reason
    return found.table


def _without_bridge(
    ctx: StageContext, model: ItemModel, edges: pa.Table, user_items: ir.Table, nodes: pa.Table
) -> pa.Table | None:
    """Fit as often at the same rates without the bridge, where that comparison is wanted."""
    if not ctx.settings.item_evaluation.without_bridge:
        return None
    settings, bags = ctx.settings.item_model, before(user_items, ctx.cut).to_pyarrow()
    data = training_data(nodes, edges, bags, settings=settings, last_day=last_day(ctx))
    seed, like = ctx.settings.seed, model.history
    control = fit(data.without_bridge(), settings, seed, like=like, progress=ctx.progress)
    return control.table(nodes)


@stage(
    group="evaluation",
    kinds=("numpy",),
    table=SPEC,
    judges=True,
    inputs=_of_backtest("item_embeddings", "item_model", "feature_model", "vocabulary", "edges"),
)
def item_evaluation(
    ctx: StageContext,
    item_embeddings: pa.Table,
    item_model: ItemModel,
    feature_model: FeatureModel,
    vocabulary: pa.Table,
    edges: pa.Table,
    user_items: ir.Table,
    catalog: ir.Table,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> pa.Table:
    """Holdout baskets and next baskets, ranked among a whole channel; categories of near items."""
    events = ibis.union(retail_events, marketplace_events, offers_events)
    gap, cut, seed = ctx.settings.coview_edges.gap_minutes, ctx.cut or date.max, ctx.settings.seed
    baskets = holdout_baskets(receipts, events, cut, gap).to_pyarrow()
    queries = draw_queries(vocabulary, baskets, seed)
    own = before(user_items, ctx.cut).filter(user_items.user_id.isin(queries.users))
    control = _without_bridge(ctx, item_model, edges, user_items, vocabulary)
    space = Space(item_embeddings, vocabulary, edges, control)
    known = catalog.select("item_id", "category").to_pyarrow()
    hidden = feature_model.choices["figures"]
    return _record(ctx, evaluate_items(space, queries, own.to_pyarrow(), known, seed, hidden))


@stage(
    group="evaluation",
    kinds=("numpy",),
    table=SPEC,
    judges=True,
    inputs=_of_backtest("item_embeddings", "vocabulary", "link_pool"),
)
def link_evaluation(
    ctx: StageContext,
    link_pool: pa.Table,
    link_scorer: LinkScorer,
    link_holdout: pa.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    catalog: ir.Table,
) -> pa.Table:
    """Ranks of the true match, precision and coverage, on held-out direct matches."""
    found = evaluate_links(
        link_pool,
        link_scorer,
        link_holdout,
        vocabulary,
        embeddings=item_embeddings,
        settings=ctx.settings.link_pool,
    )
    if found.examples.num_rows:
        ctx.metadata["examples"] = _examples(found.examples, catalog)
    return _record(ctx, found)


def _examples(pairs: pa.Table, catalog: ir.Table) -> dg.MetadataValue:
    """The most probable right and wrong top-1 candidates as a table, with titles."""
    ids = {*pairs["receipt_item"].to_pylist(), *pairs["catalog_item"].to_pylist()}
    rows = catalog.filter(catalog.item_id.isin(sorted(ids)))
    known = rows.select("item_id", "title", "category").to_pyarrow().to_pylist()
    titles = {r["item_id"]: r["title"] or r["category"] or "" for r in known}
    lines = ["| receipt item is | top-1 candidate | probability | right |", "|---|---|---|---|"]
    for pair in pairs.to_pylist():
        names = (f"{i} {titles.get(i, '')}" for i in (pair["receipt_item"], pair["catalog_item"]))
        right = "yes" if pair["right"] else "no"
        lines.append(f"| {' | '.join(names)} | {pair['probability']:.3f} | {right} |")
    return dg.MetadataValue.md("\n".join(lines))


STAGES = (item_evaluation, link_evaluation)
