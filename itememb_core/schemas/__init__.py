"""The columns of every table in the lake, in order: Arrow schemas, and what each column means.

``schemas.EVENTS`` is the Arrow schema that files have; ``describe(schemas.EVENTS)`` gives meaning
and unit of its columns, which stand once, in the room's module. Daily and monthly tables also have
``day`` (date) or ``month`` (``YYYY-MM``), which the lake keeps in the folder's name; relational
stages see it as a column. Vector columns' lengths are known only when the vectors are, so their
schemas are functions of the dimension.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa

from itememb_core.schemas import edges, evaluation, features, items, links, tables, users
from itememb_core.schemas.column import Column, arrow_schema

EVENTS: Final = arrow_schema(tables.EVENTS)
CATALOG: Final = arrow_schema(tables.CATALOG)
USERS: Final = arrow_schema(tables.USERS)
BRANDS: Final = arrow_schema(tables.BRANDS)
REVIEWS: Final = arrow_schema(tables.REVIEWS)
PAYMENTS_EVENTS: Final = arrow_schema(tables.PAYMENTS_EVENTS)
RAW_INVENTORY: Final = arrow_schema(tables.RAW_INVENTORY)
EDGES: Final = arrow_schema(edges.EDGES)
BRIDGE_EDGES: Final = arrow_schema(edges.BRIDGE_EDGES)
USER_ITEMS: Final = arrow_schema(edges.USER_ITEMS)
LINK_HOLDOUT: Final = arrow_schema(items.LINK_HOLDOUT)
VOCABULARY: Final = arrow_schema(items.VOCABULARY)
SIMILAR_ITEMS: Final = arrow_schema(items.SIMILAR_ITEMS)
POPULARITY_FEATURES: Final = arrow_schema(features.POPULARITY_FEATURES)
LINK_POOL: Final = arrow_schema(links.LINK_POOL)
LINK_CANDIDATES: Final = arrow_schema(links.LINK_CANDIDATES)
CROSS_DOMAIN_LINKS: Final = arrow_schema(links.CROSS_DOMAIN_LINKS)
ENRICHED_RECEIPTS: Final = arrow_schema(links.ENRICHED_RECEIPTS)
USER_HISTORIES: Final = arrow_schema(users.USER_HISTORIES)
RECOMMENDATIONS: Final = arrow_schema(users.RECOMMENDATIONS)
TARGET_STRATEGIES: Final = arrow_schema(users.TARGET_STRATEGIES)
EVALUATION: Final = arrow_schema(evaluation.EVALUATION)

#: Key of the blocks of ``item_features`` in its schema's metadata: their dimensions, in order.
BLOCKS_KEY: Final = b"itememb_blocks"

#: Key of the parts of ``item_embeddings`` in its schema's metadata: their dimensions, in order.
PARTS_KEY: Final = b"itememb_parts"

#: Blocks of ``item_features`` in their order, and what each measures by default.
FEATURE_BLOCKS: Final = {
    "attributes": 70,
    "popularity": 9,
    "hierarchy": 15,
    "image": 104,
    "text": 128,
}

#: The columns of every table, those of vectors of some width.
_ALL: Final[tuple[tuple[Column, ...], ...]] = (
    tables.EVENTS,
    tables.CATALOG,
    tables.USERS,
    tables.BRANDS,
    tables.REVIEWS,
    tables.PAYMENTS_EVENTS,
    tables.RAW_INVENTORY,
    edges.EDGES,
    edges.BRIDGE_EDGES,
    edges.USER_ITEMS,
    items.LINK_HOLDOUT,
    items.VOCABULARY,
    items.SIMILAR_ITEMS,
    features.POPULARITY_FEATURES,
    features.attribute_features(1),
    features.category_embeddings(1),
    features.content_features(1, 1),
    features.item_features(FEATURE_BLOCKS),
    links.LINK_POOL,
    links.LINK_CANDIDATES,
    links.CROSS_DOMAIN_LINKS,
    links.ENRICHED_RECEIPTS,
    users.USER_HISTORIES,
    users.RECOMMENDATIONS,
    users.TARGET_STRATEGIES,
    evaluation.EVALUATION,
    items.item_embeddings(1),
    users.user_embeddings(1),
)


def item_embeddings(dim: int, parts: Mapping[str, int] | None = None) -> pa.Schema:
    """Schema of ``item_embeddings`` with vectors of ``dim`` components.

    Its metadata name the ``parts`` of them in order, where there is more than one.
    """
    plain = arrow_schema(items.item_embeddings(dim))
    return plain.with_metadata({PARTS_KEY: json.dumps(dict(parts))}) if parts else plain


def attribute_features(dim: int) -> pa.Schema:
    """Schema of ``attribute_features`` with vectors of ``dim`` components."""
    return arrow_schema(features.attribute_features(dim))


def category_embeddings(dim: int) -> pa.Schema:
    """Schema of ``category_embeddings`` with vectors of ``dim`` components."""
    return arrow_schema(features.category_embeddings(dim))


def content_features(image: int, text: int) -> pa.Schema:
    """Schema of ``content_features`` with vectors of such dimensions."""
    return arrow_schema(features.content_features(image, text))


def item_features(dims: Mapping[str, int]) -> pa.Schema:
    """Schema of ``item_features`` with blocks of such dimensions, which its metadata names."""
    plain = arrow_schema(features.item_features(dims))
    return plain.with_metadata({BLOCKS_KEY: json.dumps(dict(dims))})


def user_embeddings(dim: int) -> pa.Schema:
    """Schema of ``user_embeddings`` with vectors of ``dim`` components, of any length."""
    return arrow_schema(users.user_embeddings(dim))


def of_some_width(schema: Callable[..., pa.Schema]) -> pa.Schema:
    """A schema whose vectors have one component each, or one block of that width."""
    wanted = (each for each in inspect.signature(schema).parameters.values())
    kinds = (each.annotation for each in wanted if each.default is inspect.Parameter.empty)
    return schema(*(1 if kind is int else FEATURE_BLOCKS for kind in kinds))


def describe(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a table of the lake with meaning and unit; empty for any other schema.

    A table is known by its columns' names; types are those of ``schema``.
    """
    known = {tuple(column.name for column in columns): columns for columns in _ALL}
    columns = known.get(tuple(schema.names), ())
    return tuple(
        Column(field.name, field.type, column.meaning, column.unit)
        for field, column in zip(schema, columns, strict=bool(columns))
    )
