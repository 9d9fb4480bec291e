"""From vectors and purchases to links: the pool, the scorer, candidates, links."""

from collections.abc import Iterator
from typing import Final

import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.links.candidates import cross_domain_links as accept
from itememb_core.links.candidates import link_candidates as rank
from itememb_core.links.candidates import without_receipt_items
from itememb_core.links.enrich import enriched_receipts as enrich
from itememb_core.links.evidence import receipt_facts
from itememb_core.links.nodes import no_links_reason
from itememb_core.links.pool import LinkData, open_pool
from itememb_core.links.scorer.fit import fit_scorer
from itememb_core.links.scorer.model import LinkScorer
from itememb_dagster.assets.items import before
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

POOL: Final = TableSpec(schemas.LINK_POOL)
LINKS: Final = TableSpec(schemas.CROSS_DOMAIN_LINKS)
BACKTEST_INPUTS: Final = {
    name: Input((BACKTEST, name)) for name in ("item_embeddings", "vocabulary", "link_pool")
}


def _pool(
    ctx: StageContext,
    embeddings: pa.Table,
    vocabulary: pa.Table,
    user_items: ir.Table,
    receipts: ir.Table,
    catalog: ir.Table,
) -> Iterator[pa.Table]:
    """Candidates by vectors, users and text; the reason in the metadata where there are none."""
    settings = ctx.settings.link_pool
    ctx.nothing = no_links_reason(vocabulary, settings)
    if not ctx.settings.item_model.bridge:  # no pair across channels: nor are their users compared
        user_items = user_items.limit(0)
    data = LinkData(
        embeddings,
        vocabulary,
        user_items.to_pyarrow(),
        receipt_facts(receipts),
        catalog.select("item_id", "price", "brand_id", "title").to_pyarrow(),
    )
    pool = open_pool(data, settings, ctx.settings.item_model.dim, ctx.progress)
    ctx.metadata |= pool.about
    ctx.counts |= pool.about
    return pool.parts


@stage(
    key=(BACKTEST, "link_pool"),
    group=BACKTEST,
    kinds=("numpy",),
    table=POOL,
    inputs=BACKTEST_INPUTS,
)
def backtest_link_pool(
    ctx: StageContext,
    item_embeddings: pa.Table,
    vocabulary: pa.Table,
    user_items: ir.Table,
    receipts: ir.Table,
    catalog: ir.Table,
) -> Iterator[pa.Table]:
    """The wide pool of candidates of every opaque item and held-out match, in the backtest."""
    bought, lines = before(user_items, ctx.cut), before(receipts, ctx.cut)
    return _pool(ctx, item_embeddings, vocabulary, bought, lines, catalog)


@stage(
    group=BACKTEST,
    kinds=("lightgbm",),
    inputs=BACKTEST_INPUTS,
)
def link_scorer(
    ctx: StageContext, link_pool: pa.Table, vocabulary: pa.Table, link_holdout: pa.Table
) -> LinkScorer:
    """Probability of a candidate and the threshold, fitted on the backtest's held-out matches."""
    scorer = fit_scorer(
        link_pool,
        vocabulary,
        link_holdout,
        ctx.settings.link_scorer,
        ctx.settings.seed,
        progress=ctx.progress,
    )
    ctx.metadata |= {
        "held-out matches": scorer.matches,
        "share without a match": scorer.population.share,
        "threshold": str(scorer.acceptance.threshold),
        "expected precision": str(scorer.acceptance.expected),
        "rule": scorer.rule,
        "importances": scorer.importances,
    }
    ctx.nothing = scorer.reason
    if scorer.reason and not ctx.settings.item_model.bridge:
        ctx.nothing = f"item_model.bridge is off, nothing joins the channels: {scorer.reason}"
    return scorer


@stage(
    key=(BACKTEST, "cross_domain_links"),
    group=BACKTEST,
    kinds=("parquet",),
    table=LINKS,
    inputs=BACKTEST_INPUTS,
)
def backtest_links(
    ctx: StageContext,
    link_pool: pa.Table,
    vocabulary: pa.Table,
    link_scorer: LinkScorer,
    link_holdout: pa.Table,
) -> pa.Table:
    """Links as the backtest knows them; held-out matches, which the scorer saw, get none."""
    links = accept(rank(link_pool, vocabulary, link_scorer, 1), vocabulary, link_scorer)
    return without_receipt_items(links, link_holdout["item_id"])


@stage(group="links", kinds=("numpy",), table=POOL)
def link_pool(
    ctx: StageContext,
    item_embeddings: pa.Table,
    vocabulary: pa.Table,
    user_items: ir.Table,
    receipts: ir.Table,
    catalog: ir.Table,
) -> Iterator[pa.Table]:
    """The wide pool of candidates of every opaque receipt item, with the evidence."""
    return _pool(ctx, item_embeddings, vocabulary, user_items, receipts, catalog)


@stage(
    group="links",
    kinds=("parquet",),
    table=TableSpec(schemas.LINK_CANDIDATES),
    gates=(("link_evaluation",),),
)
def link_candidates(
    ctx: StageContext, link_pool: pa.Table, vocabulary: pa.Table, link_scorer: LinkScorer
) -> pa.Table:
    """The best candidates of every opaque receipt item after scoring."""
    return rank(link_pool, vocabulary, link_scorer, ctx.settings.link_candidates.k)


@stage(group="links", kinds=("parquet",), table=LINKS)
def cross_domain_links(
    ctx: StageContext, link_candidates: pa.Table, vocabulary: pa.Table, link_scorer: LinkScorer
) -> pa.Table:
    """Accepted links: direct ones by id, learned ones above the threshold."""
    links = accept(link_candidates, vocabulary, link_scorer)
    methods = links["method"].value_counts().to_pylist()
    ctx.metadata |= {f"links, {entry['values']}": entry["counts"] for entry in methods}
    return links


@stage(
    group="links",
    kinds=("duckdb", "parquet"),
    table=TableSpec(schemas.ENRICHED_RECEIPTS, ("day", "source_file", "source_row"), "month"),
)
def enriched_receipts(
    ctx: StageContext, receipts: ir.Table, cross_domain_links: ir.Table, catalog: ir.Table
) -> ir.Table:
    """Receipt lines with their catalog item, its category and brand, by month."""
    return enrich(receipts, cross_domain_links, catalog)


STAGES = (
    backtest_link_pool,
    link_scorer,
    backtest_links,
    link_pool,
    link_candidates,
    cross_domain_links,
    enriched_receipts,
)
