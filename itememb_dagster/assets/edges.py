"""Pairs and bags by day, and their sums: what items have in common."""

import ibis
import ibis.expr.types as ir

from itememb_core import edges as core
from itememb_core import schemas
from itememb_dagster.factory.stage import Input, StageContext, TableSpec, stage

PAIR = ("channel", "item_a", "item_b")
#: Ranks order the rows as ``PAIR`` does.
DAILY_EDGES = TableSpec(schemas.EDGES, ("rank_a", "rank_b"), "day")


@stage(group="edges", daily=True, table=DAILY_EDGES, kinds=("duckdb",))
def copurchase_edges(ctx: StageContext, receipts: ir.Table) -> ir.Table:
    """Pairs of items in one basket, by day."""
    return core.copurchase_edges(receipts, ctx.settings.copurchase_edges, ranks=True)


def _channels(*tables: ir.Table) -> ir.Table:
    return ibis.union(*tables)


@stage(
    group="edges",
    daily=True,
    table=DAILY_EDGES,
    kinds=("duckdb",),
    inputs={
        name: Input((name,), before=1)
        for name in ("retail_events", "marketplace_events", "offers_events")
    },
)
def coview_edges(
    ctx: StageContext,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> ir.Table:
    """Pairs of items in one session, by the day in which the session closes."""
    events = _channels(retail_events, marketplace_events, offers_events)
    setting = ctx.settings.coview_edges
    return core.coview_edges(events, setting, ctx.days[0], ctx.days[-1], ranks=True)


@stage(
    group="tables",
    daily=True,
    table=TableSpec(schemas.USER_ITEMS, ("user_id", "channel", "item_id"), "day"),
    kinds=("duckdb",),
)
def user_items(
    ctx: StageContext,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> ir.Table:
    """Each user's interactions by channel, item and day: the bags of which the bridge is made."""
    return core.user_items(_channels(receipts, retail_events, marketplace_events, offers_events))


@stage(
    group="edges",
    table=TableSpec(schemas.EDGES, PAIR, "month"),
    kinds=("duckdb",),
    gates=(("raw_inventory",),),
)
def edges(ctx: StageContext, copurchase_edges: ir.Table, coview_edges: ir.Table) -> ir.Table:
    """Within-channel pairs, summed by month; decay is applied when they are read."""
    return core.edges_by_month(copurchase_edges, coview_edges)


@stage(
    group="edges",
    table=TableSpec(schemas.BRIDGE_EDGES, ("rank_channels", "rank_a", "rank_b")),
    kinds=("duckdb",),
    gates=(("raw_inventory",),),
)
def bridge_edges(ctx: StageContext, user_items: ir.Table) -> ir.Table:
    """Interactions of one user in two channels within a window: the best partners of each item."""
    settings, window_days = ctx.settings.bridge_edges, ctx.settings.item_model.window_days
    return core.bridge_edges(user_items, settings, window_days, ranks=True)


STAGES = (copurchase_edges, coview_edges, user_items, edges, bridge_edges)
