"""From vectors to links: the pool, the scorer fitted on held-out matches, candidates, links."""

from typing import Final

import pyarrow as pa

from itememb_core import schemas
from itememb_core.links.candidates import cross_domain_links as accept
from itememb_core.links.candidates import link_candidates as rank
from itememb_core.links.nodes import no_links_reason
from itememb_core.links.pool import link_pool as pool_of
from itememb_core.links.scorer import LinkScorer, fit_scorer
from itememb_dagster.stage import BACKTEST, Input, StageContext, TableSpec, stage

POOL: Final = TableSpec(schemas.LINK_POOL)
BACKTEST_INPUTS: Final = {
    name: Input((BACKTEST, name)) for name in ("item_embeddings", "vocabulary", "link_pool")
}


def _pool(ctx: StageContext, embeddings: pa.Table, vocabulary: pa.Table) -> pa.Table:
    """Candidates by CSLS; the reason in the metadata where there are none."""
    settings = ctx.settings.link_pool
    ctx.nothing = no_links_reason(vocabulary, settings)
    dim = ctx.settings.item_model.dim
    return pool_of(embeddings, vocabulary, settings, dim, ctx.progress)


@stage(
    key=(BACKTEST, "link_pool"),
    group="links",
    kinds=("numpy",),
    table=POOL,
    settings=("link_pool", "item_model"),
    inputs=BACKTEST_INPUTS,
)
def backtest_link_pool(
    ctx: StageContext, item_embeddings: pa.Table, vocabulary: pa.Table
) -> pa.Table:
    """The wide pool of candidates of every opaque item and held-out match, in the backtest."""
    return _pool(ctx, item_embeddings, vocabulary)


@stage(
    group="links",
    kinds=("scikitlearn",),
    settings=("link_scorer", "seed"),
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
        "assumed share without a match": scorer.no_match_share,
        "threshold": str(scorer.acceptance.threshold),
        "rule": scorer.rule,
        "importances": scorer.importances,
    }
    ctx.nothing = scorer.reason
    return scorer


@stage(group="links", kinds=("numpy",), table=POOL, settings=("link_pool", "item_model"))
def link_pool(ctx: StageContext, item_embeddings: pa.Table, vocabulary: pa.Table) -> pa.Table:
    """The wide pool of candidates of every opaque receipt item."""
    return _pool(ctx, item_embeddings, vocabulary)


@stage(
    group="links",
    kinds=("parquet",),
    table=TableSpec(schemas.LINK_CANDIDATES),
    settings=("link_candidates",),
)
def link_candidates(
    ctx: StageContext, link_pool: pa.Table, vocabulary: pa.Table, link_scorer: LinkScorer
) -> pa.Table:
    """The best candidates of every opaque receipt item after scoring."""
    return rank(link_pool, vocabulary, link_scorer, ctx.settings.link_candidates.k)


@stage(group="links", kinds=("parquet",), table=TableSpec(schemas.CROSS_DOMAIN_LINKS))
def cross_domain_links(
    ctx: StageContext, link_candidates: pa.Table, vocabulary: pa.Table, link_scorer: LinkScorer
) -> pa.Table:
    """Accepted links: direct ones by id, learned ones above the threshold."""
    links = accept(link_candidates, vocabulary, link_scorer)
    methods = links["method"].value_counts().to_pylist()
    ctx.metadata |= {f"links, {entry['values']}": entry["counts"] for entry in methods}
    return links


STAGES = (backtest_link_pool, link_scorer, link_pool, link_candidates, cross_domain_links)
