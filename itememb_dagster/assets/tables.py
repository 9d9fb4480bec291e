"""Raw files to cleaned tables: one daily table a channel, tables of ids and by month, inventory.

Reviews and payments are day files that no daily stage reads: they are tables by month, so that
days without such a file cost nothing in the event log, and a changed one rereads its month.
"""

from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core import tables as core
from itememb_core.errors import ItemembError
from itememb_core.raw import RawScan, check_files, count_rows, read_events, unclaimed
from itememb_core.services import MARKETPLACE, OFFERS, RECEIPTS, RETAIL
from itememb_dagster.factory.stage import EVERY_FILE, StageContext, TableSpec, stage
from itememb_dagster.lake.counts import raw_print, stored_counts, unknown_counts

EVENTS = TableSpec(schemas.EVENTS, ("timestamp", "user_id", "source_file", "source_row"), "day")
DAILY: dict[str, Any] = {
    "group": "tables",
    "daily": True,
    "table": EVENTS,
}


def _clean(ctx: StageContext, channel: str) -> ir.Table:
    """Read and clean the days' files of one channel; rejected rows keep their reason."""
    if not ctx.scan.range_files(channel, ctx.days):
        ctx.nothing = f"raw holds no files of {channel} for these days"
    bad = check_files(ctx.scan, channel, ctx.days)
    ctx.bad_days |= {day: str(error) for day, error in bad.items()}
    raw = read_events(ctx.con, ctx.scan, channel, [d for d in ctx.days if d not in bad])
    return core.clean_events(raw, channel, ctx.settings.domains)


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


def _count_merged(ctx: StageContext, merged: core.MergedRows) -> core.MergedRows:
    """Record how many ids stood in several rows."""
    ctx.metadata["repeated ids merged"] = merged.duplicates.count().execute()
    return merged


def _without(ctx: StageContext, *names: str) -> None:
    """Record that a table stays empty where raw holds none of its files."""
    if not any(ctx.scan.named(name) for name in names):
        ctx.nothing = f"raw holds no files of {names[0]}"


@stage(
    group="tables",
    table=TableSpec(schemas.CATALOG, ("item_id",)),
    raw=("retail_items", "marketplace_items", "offers_items", "categories"),
    kinds=("duckdb", "parquet"),
)
def catalog(ctx: StageContext, user_items: ir.Table) -> core.MergedRows:
    """Catalog items: listed in an items file, or only seen in events (with empty columns)."""
    return _count_merged(
        ctx, core.read_catalog(ctx.con, ctx.scan, user_items, ctx.settings.domains)
    )


@stage(group="tables", table=TableSpec(schemas.USERS, ("user_id",)), raw=("users",),
       kinds=("duckdb", "parquet"))  # fmt: skip
def users(ctx: StageContext) -> core.MergedRows:
    """Users as the raw data describes them."""
    _without(ctx, "users")
    return _count_merged(ctx, core.read_users(ctx.con, ctx.scan))


@stage(group="tables", table=TableSpec(schemas.BRANDS, ("brand_id",)), raw=("brands",),
       kinds=("duckdb", "parquet"))  # fmt: skip
def brands(ctx: StageContext) -> core.MergedRows:
    """Brands and their vectors."""
    _without(ctx, "brands")
    return _count_merged(ctx, core.read_brands(ctx.con, ctx.scan))


BY_FILE = ("day", "source_file", "source_row")


@stage(group="tables", table=TableSpec(schemas.REVIEWS, BY_FILE, "month"), raw=("reviews",),
       kinds=("duckdb", "parquet"))  # fmt: skip
def reviews(ctx: StageContext) -> ir.Table:
    """Reviews of brands, cleaned, by month; what is rejected lies in `reviews_rejected`."""
    _without(ctx, "reviews")
    return core.read_reviews(ctx.con, ctx.scan, ctx.days)


@stage(group="tables", table=TableSpec(schemas.PAYMENTS_EVENTS, BY_FILE, "month"),
       raw=("payments",), kinds=("duckdb", "parquet"))  # fmt: skip
def payments_events(ctx: StageContext) -> ir.Table:
    """Payments without their receipt lines, cleaned, by month."""
    _without(ctx, "payments")
    return core.read_payments_events(ctx.con, ctx.scan, ctx.days)


#: Tables without days that raw files become, in the inventory as the channels are.
OTHER_STAGES = (catalog, users, brands, reviews, payments_events)


def raw_faults(scan: RawScan) -> dict[str, str]:
    """What of the raw folder is in no table: files that nothing reads.

    Raises:
        ItemembError: Some should be read, and nobody can say for which day.
    """
    if scan.lost:
        raise ItemembError("; ".join(scan.lost))
    other = unclaimed(scan)
    return {"files not read": "; ".join(other)} if other else {}


@stage(group="tables", table=TableSpec(schemas.RAW_INVENTORY), raw=EVERY_FILE, kinds=("parquet",),
       reads=tuple(s.key for s in OTHER_STAGES), judges=True)  # fmt: skip
def raw_inventory(
    ctx: StageContext,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> pa.Table:
    """Every raw file with its fingerprint, its rows and how many are clean and rejected."""
    keys = [s.key for s in (*CHANNEL_STAGES, *OTHER_STAGES)]
    counts = [count for key in keys for count in stored_counts(ctx.lake, key)]
    prints = {file.path: raw_print(ctx.scan.root, file) for file in ctx.scan.files}
    totals = count_rows(ctx.scan.root, [file for file in ctx.scan.files if file.span])
    ctx.metadata |= {"layout": ctx.scan.layout, "days in the lake": len(ctx.days)}
    ctx.metadata |= raw_faults(ctx.scan)
    for key in CHANNEL_KEYS:
        ctx.metadata |= {
            f"{key[0]}: unknown {word}": n for word, n in unknown_counts(ctx.lake, key).items()
        }
    missing = [d for d in ctx.scan.days if d not in set(ctx.days)]
    if missing:
        ctx.metadata["days of raw not in the lake"] = ", ".join(map(str, missing[:20]))
    return core.raw_inventory(ctx.scan, prints, counts, totals)


STAGES = (*CHANNEL_STAGES, *OTHER_STAGES, raw_inventory)
