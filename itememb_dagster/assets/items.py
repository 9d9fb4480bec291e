"""From pairs and bags to item vectors, in the backtest and for good."""

from datetime import date, timedelta
from typing import Final

import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import edges as edge_tables
from itememb_core import schemas
from itememb_core.evaluation.split import direct_matches
from itememb_core.evaluation.split import link_holdout as hold_out
from itememb_core.items.drift import ModelVersion, Rows, aligned, on_nodes
from itememb_core.items.model import ItemModel
from itememb_core.items.training import TrainingData, fit, training_data
from itememb_core.items.training.start import WarmStart, bags_over
from itememb_core.items.vocabulary import build_vocabulary
from itememb_core.settings import ItemModelSettings
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

#: Among a version's counts: the version that it is turned to.
ALIGNED_TO: Final = "aligned_to"

BACKTEST_EDGES: Final = {"edges": Input((BACKTEST, "edges"))}
BACKTEST_NODES: Final = {"vocabulary": Input((BACKTEST, "vocabulary"))}


def before(table: ir.Table, day: date | None) -> ir.Table:
    """Return the rows of days before one; all of them without a day."""
    return table if day is None else table.filter(table.day < day)


def item_counts(user_items: ir.Table) -> pa.Table:
    """Return rows seen by item and channel: item_id, channel, n."""
    grouped = user_items.group_by("item_id", "channel")
    counts = grouped.agg(n=edge_tables.int64(user_items.n.sum()))
    return counts.order_by("item_id", "channel").to_pyarrow()


def last_day(ctx: StageContext) -> date:
    """Return the last day that the backtest sees; the lake's own last day only closes sessions."""
    return ctx.cut - timedelta(days=1) if ctx.cut else min(ctx.days[-1], ctx.scan.days[-1])


@stage(
    group=BACKTEST,
    kinds=("parquet",),
    table=TableSpec(schemas.LINK_HOLDOUT),
)
def link_holdout(ctx: StageContext, user_items: ir.Table) -> pa.Table:
    """Direct matches whose two sides the backtest keeps apart: the ground truth of links."""
    direct = direct_matches(item_counts(user_items), ctx.settings.domains)
    held = hold_out(direct.to_pylist(), ctx.settings.seed, ctx.settings.link_holdout.share)
    ctx.metadata |= {"direct matches": len(direct), "held out": held.num_rows}
    return held


@stage(
    key=(BACKTEST, "edges"),
    group=BACKTEST,
    kinds=("duckdb",),
    table=TableSpec(schemas.EDGES, ("channel", "item_a", "item_b"), "month"),
    gates=(("raw_inventory",),),
)
def backtest_edges(
    ctx: StageContext, copurchase_edges: ir.Table, coview_edges: ir.Table
) -> ir.Table:
    """Within-channel pairs by month, of the days before the cut."""
    return edge_tables.edges_by_month(
        before(copurchase_edges, ctx.cut), before(coview_edges, ctx.cut)
    )


@stage(
    key=(BACKTEST, "vocabulary"),
    group=BACKTEST,
    kinds=("parquet",),
    table=TableSpec(schemas.VOCABULARY),
)
def backtest_vocabulary(
    ctx: StageContext, user_items: ir.Table, catalog: ir.Table, link_holdout: pa.Table
) -> pa.Table:
    """Nodes as of the cut: a held-out match is two, its receipts side apart."""
    listed = catalog.filter(catalog.listed).item_id.to_pyarrow()
    counts = item_counts(before(user_items, ctx.cut))
    return build_vocabulary(counts, listed, link_holdout["item_id"], ctx.settings.domains)


@stage(
    group="items",
    kinds=("parquet",),
    table=TableSpec(schemas.VOCABULARY),
)
def vocabulary(ctx: StageContext, user_items: ir.Table, catalog: ir.Table) -> pa.Table:
    """All nodes: every item of every channel and catalog, once."""
    ids = catalog.item_id.to_pyarrow()
    return build_vocabulary(
        item_counts(user_items), ids, pa.array([], pa.string()), ctx.settings.domains
    )


def _record(ctx: StageContext, model: ItemModel, data: TrainingData) -> ItemModel:
    """Show what a fit did."""
    ctx.metadata |= bags_over(data.training_bags, ctx.settings.item_model)
    ctx.metadata |= {"steps": model.facts["steps"], "shares": model.facts["shares"]}
    ctx.nothing = model.facts["reason"]
    ctx.plots["training history"] = model.picture
    return model


def warm_start_of(
    parent: Rows | None, vocabulary: pa.Table, settings: ItemModelSettings
) -> WarmStart | None:
    """The previous version as a warm start, where set and of the same dimension."""
    if settings.start != "previous" or parent is None or parent.embedding.shape[1] != settings.dim:
        return None
    return on_nodes(parent, vocabulary)


def drift_facts(version: ModelVersion) -> dict[str, str]:
    """How far the items moved since the previous version."""
    if version.reason:
        return {"drift": version.reason}
    return {
        f"drift, {row['band']}": (
            f"cosine {row['cosine']:.3f} ({row['cosine_unaligned']:.3f} unaligned), "
            f"{row['overlap@10']:.0%} of ten neighbours as before "
            f"(chance {row['overlap@10_random']:.2%}), {row['items']:,} items"
        )
        for row in version.drift.to_pylist()
    }


def _record_alignment(ctx: StageContext, version: ModelVersion) -> None:
    """Say to which version this one was turned: its numbers depend on it."""
    if ctx.parent and not version.reason:
        ctx.counts[ALIGNED_TO] = ctx.parent.name
        ctx.metadata["alignment"] = (
            f"to the version before ({ctx.parent.name}); itememb run --fresh, or the run tag "
            "itememb/fresh, aligns with nothing"
        )


def recent_pairs(ctx: StageContext, *edges: ir.Table) -> pa.Table:
    """Return the pairs of the validation days, which end the backtest's."""
    first = last_day(ctx) - timedelta(days=max(ctx.settings.item_model.validation_days - 1, 0))
    both = before(edges[0].union(*edges[1:]), ctx.cut)
    kept = both.filter(both.day >= first).order_by("day", "channel", "item_a", "item_b")
    return kept.to_pyarrow()


@stage(
    key=(BACKTEST, "item_model"),
    group=BACKTEST,
    kinds=("pytorch",),
    inputs={**BACKTEST_EDGES, **BACKTEST_NODES},
    alone=True,
)
def backtest_item_model(
    ctx: StageContext,
    edges: pa.Table,
    user_items: ir.Table,
    vocabulary: pa.Table,
    copurchase_edges: ir.Table,
    coview_edges: ir.Table,
) -> ItemModel:
    """Item vectors of the backtest; finds length and rates on its last days."""
    settings, last = ctx.settings.item_model, last_day(ctx)
    data = training_data(
        vocabulary,
        edges,
        before(user_items, ctx.cut).to_pyarrow(),
        settings=settings,
        last_day=last,
        recent_edges=recent_pairs(ctx, copurchase_edges, coview_edges),
    )
    seed, checkpoint = ctx.settings.seed, ctx.checkpoint
    model = fit(data, settings, seed, checkpoint=checkpoint, progress=ctx.progress)
    return _record(ctx, model, data)


@stage(
    group="items",
    kinds=("pytorch",),
    inputs={"backtest": Input((BACKTEST, "item_model"))},
    gates=(("item_evaluation",),),
    descends=True,
)
def item_model(
    ctx: StageContext,
    edges: pa.Table,
    user_items: ir.Table,
    vocabulary: pa.Table,
    backtest: ItemModel,
) -> ModelVersion:
    """The item vectors that ship: the backtest's length and rates, on all data; aligned."""
    settings = ctx.settings.item_model
    data = training_data(
        vocabulary,
        edges,
        user_items.to_pyarrow(),
        settings=settings,
        last_day=ctx.days[-1],
    )
    seed, parent = ctx.settings.seed, Rows.load(ctx.parent) if ctx.parent else None
    model = fit(
        data,
        settings,
        seed,
        like=backtest.history,
        warm_start=warm_start_of(parent, vocabulary, settings),
        checkpoint=ctx.checkpoint,
        progress=ctx.progress,
    )
    version = aligned(_record(ctx, model, data), vocabulary, parent, seed)
    ctx.metadata |= drift_facts(version)
    _record_alignment(ctx, version)
    return version


STAGES = (
    link_holdout,
    backtest_edges,
    backtest_vocabulary,
    backtest_item_model,
    vocabulary,
    item_model,
)
