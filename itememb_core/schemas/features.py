"""Columns of item features: popularity, attributes, categories, content, and all joined."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from itememb_core.schemas.column import FLOAT32, TEXT, Column

#: The channel of figures over all channels.
EVERY_CHANNEL: Final = "all"
#: The nine figures, in their order.
FIGURES: Final = (
    "log_count",
    "share",
    "rank",
    "log_count_z",
    "zipf_residual",
    "tailness",
    "segment",
    "trend",
    "recency",
)

_ITEM: Final = Column("item_id", TEXT, "The item.")
_SIDE: Final = Column(
    "side",
    TEXT,
    "Whose features: the item's (all), or those of its receipts alone (receipts), which a held-out "
    "match has apart.",
)

POPULARITY_FEATURES: Final = (
    _ITEM,
    _SIDE,
    Column("channel", TEXT, "Where it was counted; all: over all channels, one row an item."),
    Column("log_count", FLOAT32, "ln(1 + n) of its n interactions.", "natural log"),
    Column("share", FLOAT32, "Its share of the channel's interactions.", "0 to 1"),
    Column("rank", FLOAT32, "Its rank, the most popular first; ties share one.", "0 to 1"),
    Column(
        "log_count_z",
        FLOAT32,
        "log_count, standardised over what has interactions.",
        "standard deviations",
    ),
    Column("zipf_residual", FLOAT32, "ln n less the rank-frequency line.", "natural log"),
    Column("tailness", FLOAT32, "Share of interactions of what is less popular.", "0 to 1"),
    Column(
        "segment", FLOAT32, "Head 2 (80 % of interactions), torso 1 (to 95 %), tail 0.", "0 to 2"
    ),
    Column(
        "trend",
        FLOAT32,
        "Its last 28 days over what the days before let expect; 0: as before.",
        "natural log",
    ),
    Column("recency", FLOAT32, "Days since the last interaction; none: all days seen.", "days"),
)


def attribute_features(dim: int) -> tuple[Column, ...]:
    """Columns of ``attribute_features`` with vectors of ``dim`` components."""
    vector = pa.list_(pa.float32(), dim)
    return (
        _ITEM,
        Column("attributes", vector, "Its attributes; zeros where it has none.", "singular values"),
        Column("has_attributes", pa.bool_(), "Whether it has any attribute or brand."),
    )


def category_embeddings(dim: int) -> tuple[Column, ...]:
    """Columns of ``category_embeddings`` with vectors of ``dim`` components."""
    tangent = pa.list_(pa.float32(), dim)
    return (
        _ITEM,
        Column("category_path", pa.list_(TEXT), "The categories it is in, the broadest first."),
        Column(
            "hierarchy",
            tangent,
            "Its category in the Poincare ball, mapped to the tangent space at the origin; zeros "
            "where it has none.",
            "hyperbolic distance from the root",
        ),
        Column("has_hierarchy", pa.bool_(), "Whether it has a category."),
    )


def content_features(image: int, text: int) -> tuple[Column, ...]:
    """Columns of ``content_features`` with vectors of such dimensions."""
    return (
        _ITEM,
        _SIDE,
        Column("image", pa.list_(pa.float32(), image), "Its given vectors, reduced.", "unit norm"),
        Column("has_image", pa.bool_(), "Whether it has a vector that can be compared."),
        Column("text", pa.list_(pa.float32(), text), "Its title or receipt text.", "unit norm"),
        Column("has_text", pa.bool_(), "Whether it has a text."),
    )


def item_features(dims: Mapping[str, int]) -> tuple[Column, ...]:
    """Columns of ``item_features`` with blocks of such dimensions, by name, in order."""
    total = sum(dims.values())
    return (
        _ITEM,
        _SIDE,
        Column(
            "features",
            pa.list_(pa.float32(), total),
            "All blocks, each of mean square norm 1 over the items that have it; where each "
            "starts stands in the schema's metadata.",
        ),
        *(
            Column(f"has_{name}", pa.bool_(), f"Whether the block {name} is known; else zeros.")
            for name in dims
        ),
    )
