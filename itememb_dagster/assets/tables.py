"""Raw files to cleaned tables: one daily table a channel, the inventory, the catalog."""

from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.channels import MARKETPLACE, OFFERS, RECEIPTS, RETAIL
from itememb_core.raw import check_files, fingerprint, read_events
from itememb_core.tables.catalog import read_catalog
from itememb_core.tables.clean import clean_events
from itememb_core.tables.inventory import raw_inventory as inventory
from itememb_dagster.counts import stored_counts
from itememb_dagster.stage import StageContext, TableSpec, stage

EVENTS = TableSpec(schemas.EVENTS, ("timestamp", "user_id", "source_file", "source_row"), "day")
DAILY: dict[str, Any] = {
    "group": "tables",
    "daily": True,
    "table": EVENTS,
    "settings": ("domains",),
}


def _clean(ctx: StageContext, channel: str) -> ir.Table:
    """Read and clean the days' files of one channel; rejected rows keep their reason."""
    if not ctx.scan.range_files(channel, ctx.days):
        ctx.nothing = f"raw holds no files of {channel} for these days"
    bad = check_files(ctx.scan, channel, ctx.days)
    ctx.bad_days |= {day: str(error) for day, error in bad.items()}
    raw = read_events(ctx.con, ctx.scan, channel, [d for d in ctx.days if d not in bad])
    return clean_events(raw, channel, ctx.settings.domains)


@stage(**DAILY, raw=(RECEIPTS,), kinds=("duckdb", "parquet"))
def receipts(ctx: StageContext) -> ir.Table:
    """Lines of payment receipts, cleaned; what is rejected lies in `receipts_rejected`."""
    return _clean(ctx, RECEIPTS)


@stage(**DAILY, raw=(RETAIL,), kinds=("duckdb", "parquet"))
def retail_events(ctx: StageContext) -> ir.Table:
    """Views, clicks, carts and orders of retail items, cleaned."""
    return _clean(ctx, RETAIL)


@stage(**DAILY, raw=(MARKETPLACE,), kinds=("duckdb", "parquet"))
def marketplace_events(ctx: StageContext) -> ir.Table:
    """Views, clicks, likes and orders of marketplace items, cleaned."""
    return _clean(ctx, MARKETPLACE)


@stage(**DAILY, raw=(OFFERS,), kinds=("duckdb", "parquet"))
def offers_events(ctx: StageContext) -> ir.Table:
    """What users did with offers, cleaned."""
    return _clean(ctx, OFFERS)


CHANNEL_STAGES = (receipts, retail_events, marketplace_events, offers_events)
CHANNEL_KEYS = tuple(s.key for s in CHANNEL_STAGES)


@stage(group="tables", table=TableSpec(schemas.RAW_INVENTORY), raw=("*",), kinds=("parquet",))
def raw_inventory(
    ctx: StageContext,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> pa.Table:
    """Every raw file with its fingerprint, its rows and how many are clean and rejected."""
    counts = [count for key in CHANNEL_KEYS for count in stored_counts(ctx.lake, key)]
    prints = {file.path: fingerprint(ctx.scan.root, file) for file in ctx.scan.files}
    table = inventory(ctx.scan, prints, counts)
    ctx.metadata |= {"layout": ctx.scan.layout, "days in the lake": len(ctx.days)}
    missing = [d for d in ctx.scan.days if d not in set(ctx.days)]
    if missing:
        ctx.metadata["days of raw not in the lake"] = ", ".join(map(str, missing[:20]))
    return table


@stage(
    group="tables",
    table=TableSpec(schemas.CATALOG, ("item_id",)),
    raw=("retail_items", "marketplace_items", "offers_items"),
    settings=("domains",),
    kinds=("duckdb", "parquet"),
    after=(("raw_inventory",),),
)
def catalog(ctx: StageContext, user_items: ir.Table) -> ir.Table:
    """Catalog items: listed in an items file, or only seen in events (with empty columns)."""
    rows = read_catalog(ctx.con, ctx.scan, user_items, ctx.settings.domains)
    ctx.metadata |= {
        "rejected rows": rows.rejected.count().execute(),
        "repeated ids merged": rows.duplicates.count().execute(),
    }
    return rows.items


STAGES = (*CHANNEL_STAGES, raw_inventory, catalog)
