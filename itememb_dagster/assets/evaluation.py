"""What the backtest's vectors and links are worth, beside plain baselines."""

from datetime import date
from typing import Any, Final

import dagster as dg
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.evaluation.items import holdout_baskets
from itememb_core.evaluation.items import item_evaluation as judge_items
from itememb_core.evaluation.links import link_evaluation as judge_links
from itememb_core.links.fitted import LinkScorer
from itememb_dagster.stage import BACKTEST, Input, StageContext, TableSpec, stage

SPEC: Final = TableSpec(schemas.EVALUATION)


def _of_backtest(*names: str) -> dict[str, Input]:
    return {name: Input((BACKTEST, name)) for name in names}


def _tell(ctx: StageContext, found: Any) -> pa.Table:
    """Show pictures, or the reason why there are no figures."""
    ctx.plots |= getattr(found, "plots", {})
    ctx.nothing = found.reason
    return found.table


@stage(
    group="evaluation",
    kinds=("numpy",),
    table=SPEC,
    settings=("seed", "holdout_days"),
    inputs=_of_backtest("item_embeddings", "vocabulary", "edges"),
)
def item_evaluation(
    ctx: StageContext,
    item_embeddings: pa.Table,
    vocabulary: pa.Table,
    edges: pa.Table,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> pa.Table:
    """One item of a later basket or session given another, ranked among the whole channel."""
    catalog = ibis.union(retail_events, marketplace_events, offers_events)
    later = ctx.cut or date.max
    baskets = holdout_baskets(
        receipts.filter(receipts.day >= later), catalog.filter(catalog.day >= later)
    )
    found = judge_items(item_embeddings, vocabulary, edges, baskets.to_pyarrow(), ctx.settings.seed)
    return _tell(ctx, found)


@stage(
    group="evaluation",
    kinds=("numpy",),
    table=SPEC,
    settings=("link_pool",),
    code="2",
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
    """Right catalog item first, precision and coverage, on held-out direct matches."""
    found = judge_links(
        link_pool,
        link_scorer,
        link_holdout,
        vocabulary,
        embeddings=item_embeddings,
        settings=ctx.settings.link_pool,
    )
    if found.examples.num_rows:
        ctx.metadata["examples"] = _examples(found.examples, catalog)
    return _tell(ctx, found)


def _examples(pairs: pa.Table, catalog: ir.Table) -> dg.MetadataValue:
    """The surest right and wrong first candidates as a table, with titles."""
    ids = {*pairs["receipt_item"].to_pylist(), *pairs["catalog_item"].to_pylist()}
    rows = catalog.filter(catalog.item_id.isin(sorted(ids)))
    known = rows.select("item_id", "title", "category").to_pyarrow().to_pylist()
    titles = {r["item_id"]: r["title"] or r["category"] or "" for r in known}
    lines = ["| receipt item is | first candidate | probability | right |", "|---|---|---|---|"]
    for pair in pairs.to_pylist():
        names = (f"{i} {titles.get(i, '')}" for i in (pair["receipt_item"], pair["catalog_item"]))
        right = "yes" if pair["right"] else "no"
        lines.append(f"| {' | '.join(names)} | {pair['probability']:.3f} | {right} |")
    return dg.MetadataValue.md("\n".join(lines))


STAGES = (item_evaluation, link_evaluation)
