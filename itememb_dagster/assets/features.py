"""What is known of items beside who bought them, and all of it joined."""

from datetime import date
from typing import Final

import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.features.attributes.encoder import AttributeEncoder, fit_attributes
from itememb_core.features.attributes.encoder import attribute_features as attributes_of
from itememb_core.features.categories.measures import parent_hits
from itememb_core.features.categories.poincare import PoincareEmbedding, fit_poincare
from itememb_core.features.categories.tree import category_embeddings as categories_of
from itememb_core.features.categories.tree import category_tree as tree_of
from itememb_core.features.content.encoder import ContentEncoder, fit_content
from itememb_core.features.content.encoder import content_features as content_of
from itememb_core.features.content.sources import content_rows
from itememb_core.features.fused import block_of, popularity_block, read_features, shares
from itememb_core.features.fused import item_features as joined
from itememb_core.features.popularity import interaction_counts
from itememb_core.features.popularity import popularity_features as popularity_of
from itememb_dagster.assets.items import BACKTEST_NODES, before, last_day
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

#: Less explained variance than this is said where people look.
ENOUGH: Final = 0.95


def _rows(catalog: ir.Table, *columns: str) -> pa.Table:
    """Some columns of the catalog beside ``item_id``, whose order the rows have."""
    return catalog.select("item_id", *columns).order_by("item_id").to_pyarrow()


def _explained(variance: float) -> str:
    """The share of variance that a block keeps, and whether it is little."""
    return f"{variance:.3f}" + ("" if variance >= ENOUGH else f" (below {ENOUGH}: more is lost)")


def _popularity(
    ctx: StageContext, vocabulary: pa.Table, user_items: ir.Table, catalog: ir.Table, last: date
) -> pa.Table:
    """Popularity of interactions up to a day, with the fitted lines in words and as a picture."""
    from itememb_core.report.popularity import rank_frequency_plot

    counts = interaction_counts(user_items, last).to_pyarrow()
    groups = _rows(catalog, "group_id")
    found = popularity_of(vocabulary, counts, groups, ctx.days[0], last)
    ctx.metadata |= {
        f"zipf, {name}": f"exponent {line.exponent:.2f}, R² {line.r2:.2f}, {line.units:,} items"
        for name, line in found.zipf.items()
    }
    ctx.plots["rank and frequency"] = rank_frequency_plot(found.table, found.zipf)
    return found.table


@stage(
    key=(BACKTEST, "popularity_features"),
    group=BACKTEST,
    kinds=("numpy",),
    table=TableSpec(schemas.POPULARITY_FEATURES),
    inputs=BACKTEST_NODES,
)
def backtest_popularity_features(
    ctx: StageContext, vocabulary: pa.Table, user_items: ir.Table, catalog: ir.Table
) -> pa.Table:
    """Nine figures of popularity of every node, as of the cut."""
    seen = before(user_items, ctx.cut)
    return _popularity(ctx, vocabulary, seen, catalog, last_day(ctx))


@stage(group="features", kinds=("numpy",), table=TableSpec(schemas.POPULARITY_FEATURES))
def popularity_features(
    ctx: StageContext, vocabulary: pa.Table, user_items: ir.Table, catalog: ir.Table
) -> pa.Table:
    """Nine figures of popularity of every item, over all channels and in each."""
    return _popularity(ctx, vocabulary, user_items, catalog, ctx.days[-1])


@stage(group="catalog_features", kinds=("scikitlearn",))
def attribute_encoder(ctx: StageContext, catalog: ir.Table) -> AttributeEncoder:
    """Which attribute values count, and the directions that they are reduced to."""
    settings = ctx.settings.attribute_features
    rows = _rows(catalog, "brand_id", "attributes")
    encoder = fit_attributes(rows, settings, ctx.settings.seed, ctx.progress)
    facts = encoder.facts
    ctx.nothing = facts["reason"]
    ctx.metadata |= {name: value for name, value in facts.items() if isinstance(value, int)}
    ctx.metadata["explained variance"] = _explained(facts["explained_variance"])
    return encoder


@stage(group="catalog_features", kinds=("parquet",), table=TableSpec(None))
def attribute_features(
    ctx: StageContext, catalog: ir.Table, attribute_encoder: AttributeEncoder
) -> pa.Table:
    """Each catalog item's attributes and brand as a vector."""
    rows = _rows(catalog, "brand_id", "attributes")
    return attributes_of(rows, attribute_encoder, ctx.progress)


@stage(group="catalog_features", kinds=("numpy",))
def category_model(ctx: StageContext, catalog: ir.Table) -> PoincareEmbedding:
    """The category tree in the Poincare ball."""
    rows = _rows(catalog, "domain", "category_path")
    tree = tree_of(rows)
    dim, seed = ctx.settings.category_embeddings.dim, ctx.settings.seed
    model = fit_poincare(tree.edges, dim, seed=seed, progress=ctx.progress)
    found = parent_hits(model, tree.edges)
    ctx.metadata |= {"categories": len(model.ids) - 1, "levels": tree.levels}
    ctx.metadata["parent hit@1"] = f"{found.hit_at_1:.3f} of {found.pairs:,} categories"
    return model


@stage(group="catalog_features", kinds=("parquet",), table=TableSpec(None))
def category_embeddings(
    ctx: StageContext, catalog: ir.Table, category_model: PoincareEmbedding
) -> pa.Table:
    """Each catalog item's category, mapped to the tangent space at the origin."""
    rows = _rows(catalog, "domain", "category_path")
    return categories_of(rows, category_model)


@stage(group="catalog_features", kinds=("scikitlearn",))
def content_encoder(ctx: StageContext, catalog: ir.Table, receipts: ir.Table) -> ContentEncoder:
    """How titles, receipt texts and given vectors are reduced; fitted on what the backtest sees."""
    rows = content_rows(catalog, before(receipts, ctx.cut))
    encoder = fit_content(rows, ctx.settings.content_features, ctx.settings.seed, ctx.progress)
    for name, facts in (("image", encoder.facts["image"]), ("text", encoder.facts["text"])):
        counts = {key: value for key, value in facts.items() if isinstance(value, int)}
        ctx.metadata |= {f"{name}, {key}": value for key, value in counts.items()}
        ctx.metadata[f"{name}, explained variance"] = _explained(facts["explained_variance"])
    return encoder


@stage(
    key=(BACKTEST, "content_features"),
    group=BACKTEST,
    kinds=("parquet",),
    table=TableSpec(None),
)
def backtest_content_features(
    ctx: StageContext, catalog: ir.Table, receipts: ir.Table, content_encoder: ContentEncoder
) -> pa.Table:
    """Titles, receipt texts before the cut, and given vectors, reduced."""
    rows = content_rows(catalog, before(receipts, ctx.cut))
    return content_of(rows, content_encoder, ctx.progress)


@stage(group="features", kinds=("parquet",), table=TableSpec(None))
def content_features(
    ctx: StageContext, catalog: ir.Table, receipts: ir.Table, content_encoder: ContentEncoder
) -> pa.Table:
    """Each item's title or receipt text, and its given vectors, reduced."""
    return content_of(content_rows(catalog, receipts), content_encoder, ctx.progress)


def _joined(
    ctx: StageContext,
    vocabulary: pa.Table,
    popularity: pa.Table,
    attributes: pa.Table,
    categories: pa.Table,
    content: pa.Table,
) -> pa.Table:
    """All blocks by node, in the order of ``schemas.FEATURE_BLOCKS``."""
    table = joined(
        vocabulary,
        {
            "attributes": block_of(vocabulary, attributes, "attributes", "has_attributes"),
            "popularity": popularity_block(vocabulary, popularity),
            "hierarchy": block_of(vocabulary, categories, "hierarchy", "has_hierarchy"),
            "image": block_of(vocabulary, content, "image", "has_image"),
            "text": block_of(vocabulary, content, "text", "has_text"),
        },
    )
    features = read_features(table)
    ctx.metadata["blocks"] = ", ".join(f"{dim} {name}" for name, dim in features.dims.items())
    ctx.metadata |= {f"items with {name}": f"{share:.0%}" for name, share in shares(features)}
    return table


@stage(
    key=(BACKTEST, "item_features"),
    group=BACKTEST,
    kinds=("parquet",),
    table=TableSpec(None),
    inputs={
        **BACKTEST_NODES,
        "popularity_features": Input((BACKTEST, "popularity_features")),
        "content_features": Input((BACKTEST, "content_features")),
    },
)
def backtest_item_features(
    ctx: StageContext,
    vocabulary: pa.Table,
    popularity_features: pa.Table,
    attribute_features: pa.Table,
    category_embeddings: pa.Table,
    content_features: pa.Table,
) -> pa.Table:
    """All features of every node, as of the cut; their widths stand in the schema."""
    tables = (popularity_features, attribute_features, category_embeddings, content_features)
    return _joined(ctx, vocabulary, *tables)


@stage(group="features", kinds=("parquet",), table=TableSpec(None))
def item_features(
    ctx: StageContext,
    vocabulary: pa.Table,
    popularity_features: pa.Table,
    attribute_features: pa.Table,
    category_embeddings: pa.Table,
    content_features: pa.Table,
) -> pa.Table:
    """All features of every item; which columns are what stands in the schema."""
    tables = (popularity_features, attribute_features, category_embeddings, content_features)
    return _joined(ctx, vocabulary, *tables)


STAGES = (
    backtest_popularity_features,
    popularity_features,
    attribute_encoder,
    attribute_features,
    category_model,
    category_embeddings,
    content_encoder,
    backtest_content_features,
    content_features,
    backtest_item_features,
    item_features,
)
