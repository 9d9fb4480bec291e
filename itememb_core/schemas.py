"""The columns of every table in the lake, in order, as Arrow schemas.

Daily and monthly tables also have ``day`` (date) or ``month`` (``YYYY-MM``), which the lake keeps
in the folder's name; relational stages see it as a column. Vector columns' lengths are known only
when the vectors are, so their schemas are functions of the dimension. What does not belong here:
how a table is made or written.
"""

from typing import Final

import pyarrow as pa

from itememb_core.services import CHANNELS

EVENTS: Final = pa.schema(
    [
        ("timestamp", pa.timestamp("us")),
        ("user_id", pa.int64()),
        ("item_id", pa.string()),
        ("channel", pa.string()),
        ("domain", pa.string()),
        ("action", pa.string()),
        ("strength", pa.int32()),
        ("status", pa.string()),
        ("subdomain", pa.string()),
        ("os", pa.string()),
        ("count", pa.float64()),
        ("price", pa.float64()),
        ("brand_id", pa.int64()),
        ("transaction_hash", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ]
)

CATALOG: Final = pa.schema(
    [
        ("item_id", pa.string()),
        ("domain", pa.string()),
        ("listed", pa.bool_()),
        ("brand_id", pa.int64()),
        ("category", pa.string()),
        ("subcategory", pa.string()),
        ("price", pa.float64()),
        ("title", pa.string()),
        ("attributes", pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))),
        ("group_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("image_embedding", pa.list_(pa.float32())),
        ("text_embedding", pa.list_(pa.float32())),
    ]
)

USERS: Final = pa.schema(
    [("user_id", pa.int64()), ("socdem_cluster", pa.int64()), ("region", pa.int64())]
)

BRANDS: Final = pa.schema([("brand_id", pa.int64()), ("embedding", pa.list_(pa.float32()))])

#: By month. ``timestamp`` is null where the files have none; ``day`` is the file's.
REVIEWS: Final = pa.schema(
    [
        ("day", pa.date32()),
        ("timestamp", pa.timestamp("us")),
        ("user_id", pa.int64()),
        ("brand_id", pa.int64()),
        ("rating", pa.float64()),
        ("embedding", pa.list_(pa.float32())),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ]
)

#: By month.
PAYMENTS_EVENTS: Final = pa.schema(
    [
        ("day", pa.date32()),
        ("timestamp", pa.timestamp("us")),
        ("user_id", pa.int64()),
        ("brand_id", pa.int64()),
        ("price", pa.float64()),
        ("transaction_hash", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ]
)

RAW_INVENTORY: Final = pa.schema(
    [
        ("file", pa.string()),
        ("layout", pa.string()),
        ("channel", pa.string()),
        ("day", pa.date32()),
        ("bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("rows", pa.int64()),
        ("clean", pa.int64()),
        ("rejected", pa.int64()),
    ]
)

#: Within-channel edges, by day or by month. ``weight`` is fixed point, 2**-20.
EDGES: Final = pa.schema(
    [
        ("channel", pa.string()),
        ("item_a", pa.string()),
        ("item_b", pa.string()),
        ("weight", pa.int64()),
        ("n", pa.int64()),
    ]
)

BRIDGE_EDGES: Final = pa.schema(
    [
        ("channel_a", pa.string()),
        ("item_a", pa.string()),
        ("channel_b", pa.string()),
        ("item_b", pa.string()),
        ("weight", pa.int64()),
        ("n", pa.int64()),
    ]
)

USER_ITEMS: Final = pa.schema(
    [
        ("user_id", pa.int64()),
        ("channel", pa.string()),
        ("item_id", pa.string()),
        ("n", pa.int64()),
        ("strength", pa.int32()),
    ]
)

LINK_HOLDOUT: Final = pa.schema([("item_id", pa.string())])

VOCABULARY: Final = pa.schema(
    [
        ("index", pa.int32()),
        ("item_id", pa.string()),
        ("side", pa.string()),
        ("domain", pa.string()),
        *((f"count_{channel}", pa.int64()) for channel in CHANNELS),
    ]
)


def item_embeddings(dim: int) -> pa.Schema:
    """Schema of ``item_embeddings`` with vectors of ``dim`` components."""
    return pa.schema(
        [
            ("item_id", pa.string()),
            ("side", pa.string()),
            ("domain", pa.string()),
            ("embedding", pa.list_(pa.float32(), dim)),
            ("context", pa.list_(pa.float32(), dim)),
            ("bias", pa.float32()),
        ]
    )


SIMILAR_ITEMS: Final = pa.schema(
    [
        ("item_id", pa.string()),
        ("neighbor_id", pa.string()),
        ("rank", pa.int32()),
        ("similarity", pa.float32()),
        ("neighbor_domain", pa.string()),
    ]
)

#: Ranks count from 1; a null rank: that list did not hold the pair. Null: not known. ``_llr`` is a
#: log-likelihood ratio of one item against two, of days counted by user, by user and 30 days
#: (``months``) or by user and 7 days (``weeks``); ``users_llr_lead`` is its lead over the catalog
#: item's best other pair. ``_correlation``: of what is bought by 7 and by 28 days.
LINK_POOL: Final = pa.schema(
    [
        ("receipt_item", pa.string()),
        ("catalog_item", pa.string()),
        ("similarity", pa.float32()),
        ("csls", pa.float32()),
        ("rank_csls", pa.int32()),
        ("rank_reverse", pa.int32()),
        ("users_llr", pa.float32()),
        ("rank_users", pa.int32()),
        ("users_llr_lead", pa.float32()),
        ("months_llr", pa.float32()),
        ("weeks_llr", pa.float32()),
        ("weekly_correlation", pa.float32()),
        ("monthly_correlation", pa.float32()),
        ("first_gap", pa.float32()),
        ("last_gap", pa.float32()),
        ("price_gap_low", pa.float32()),
        ("price_gap", pa.float32()),
        ("price_gap_high", pa.float32()),
        ("brand", pa.float32()),
    ]
)

#: With some comparisons of the pool, as evidence for people.
LINK_CANDIDATES: Final = pa.schema(
    [
        ("receipt_item", pa.string()),
        ("catalog_item", pa.string()),
        ("catalog_domain", pa.string()),
        ("rank", pa.int32()),
        ("similarity", pa.float32()),
        ("csls", pa.float32()),
        ("probability", pa.float64()),
        ("users_llr", pa.float32()),
        ("users_llr_lead", pa.float32()),
        ("weekly_correlation", pa.float32()),
        ("price_gap", pa.float32()),
        ("brand", pa.float32()),
    ]
)

CROSS_DOMAIN_LINKS: Final = pa.schema(
    [
        ("receipt_item", pa.string()),
        ("catalog_item", pa.string()),
        ("catalog_domain", pa.string()),
        ("similarity", pa.float32()),
        ("probability", pa.float64()),
        ("method", pa.string()),
    ]
)

#: By month. Every receipt line; nulls where its item has no link.
ENRICHED_RECEIPTS: Final = pa.schema(
    [
        ("day", pa.date32()),
        ("timestamp", pa.timestamp("us")),
        ("user_id", pa.int64()),
        ("item_id", pa.string()),
        ("count", pa.float64()),
        ("price", pa.float64()),
        ("brand_id", pa.int64()),
        ("transaction_hash", pa.string()),
        ("catalog_item", pa.string()),
        ("catalog_domain", pa.string()),
        ("category", pa.string()),
        ("subcategory", pa.string()),
        ("brand", pa.int64()),
        ("link_probability", pa.float64()),
        ("link_method", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ]
)

#: ``position`` counts a user's events from 0 in time order; ``shard`` is ``user_id`` modulo shards.
USER_HISTORIES: Final = pa.schema(
    [
        ("user_id", pa.int64()),
        ("position", pa.int64()),
        ("timestamp", pa.timestamp("us")),
        ("channel", pa.string()),
        ("item_id", pa.string()),
        ("action", pa.string()),
        ("strength", pa.int32()),
        ("status", pa.string()),
        ("count", pa.float64()),
        ("price", pa.float64()),
        ("shard", pa.int32()),
    ]
)


def user_embeddings(dim: int) -> pa.Schema:
    """Schema of ``user_embeddings`` with vectors of ``dim`` components, of any length."""
    return pa.schema([("user_id", pa.int64()), ("embedding", pa.list_(pa.float32(), dim))])


#: ``rank`` counts from 1.
RECOMMENDATIONS: Final = pa.schema(
    [
        ("user_id", pa.int64()),
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
    ]
)

#: ``low`` and ``high``: a 95 % interval, null where there is none.
EVALUATION: Final = pa.schema(
    [
        ("method", pa.string()),
        ("metric", pa.string()),
        ("slice", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
