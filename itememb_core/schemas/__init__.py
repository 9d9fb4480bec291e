"""The columns of every table in the lake, in order: Arrow schemas, and what each column means.

``schemas.EVENTS`` is the Arrow schema that files have; ``describe(schemas.EVENTS)`` gives meaning
and unit of its columns, which stand once, in the room's module. Daily and monthly tables also have
``day`` (date) or ``month`` (``YYYY-MM``), which the lake keeps in the folder's name; relational
stages see it as a column. Vector columns' lengths are known only when the vectors are, so their
schemas are functions of the dimension.
"""

from typing import Final

import pyarrow as pa

from itememb_core.schemas import edges, evaluation, items, links, tables, users
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
LINK_POOL: Final = arrow_schema(links.LINK_POOL)
LINK_CANDIDATES: Final = arrow_schema(links.LINK_CANDIDATES)
CROSS_DOMAIN_LINKS: Final = arrow_schema(links.CROSS_DOMAIN_LINKS)
ENRICHED_RECEIPTS: Final = arrow_schema(links.ENRICHED_RECEIPTS)
USER_HISTORIES: Final = arrow_schema(users.USER_HISTORIES)
RECOMMENDATIONS: Final = arrow_schema(users.RECOMMENDATIONS)
EVALUATION: Final = arrow_schema(evaluation.EVALUATION)

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
    links.LINK_POOL,
    links.LINK_CANDIDATES,
    links.CROSS_DOMAIN_LINKS,
    links.ENRICHED_RECEIPTS,
    users.USER_HISTORIES,
    users.RECOMMENDATIONS,
    evaluation.EVALUATION,
    items.item_embeddings(1),
    users.user_embeddings(1),
)


def item_embeddings(dim: int) -> pa.Schema:
    """Schema of ``item_embeddings`` with vectors of ``dim`` components."""
    return arrow_schema(items.item_embeddings(dim))


def user_embeddings(dim: int) -> pa.Schema:
    """Schema of ``user_embeddings`` with vectors of ``dim`` components, of any length."""
    return arrow_schema(users.user_embeddings(dim))


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
