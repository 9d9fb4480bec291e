"""Columns of nodes and their vectors."""

from typing import Final

import pyarrow as pa

from itememb_core.schemas.column import FLOAT32, INT32, INT64, TEXT, Column
from itememb_core.services import CHANNELS

_SIDE: Final = Column(
    "side",
    TEXT,
    "Interactions of the item that the node stands for: all, or receipts, which a held-out match "
    "has apart.",
)
_DOMAIN: Final = Column("domain", TEXT, "Domain of the id's prefix; receipt: an opaque item.")

LINK_HOLDOUT: Final = (
    Column("item_id", TEXT, "A direct match whose two sides the backtest keeps apart."),
)

VOCABULARY: Final = (
    Column("index", INT32, "The node: its row in every vector table, from 0, frequent first."),
    Column("item_id", TEXT, "The item."),
    _SIDE,
    _DOMAIN,
    *(
        Column(f"count_{channel}", INT64, f"Rows of the item in the channel {channel}.", "rows")
        for channel in CHANNELS
    ),
)


def item_embeddings(dim: int) -> tuple[Column, ...]:
    """Columns of ``item_embeddings`` with vectors of ``dim`` components."""
    vector = pa.list_(pa.float32(), dim)
    return (
        Column("item_id", TEXT, "The item; rows are in the vocabulary's order."),
        _SIDE,
        _DOMAIN,
        Column("source", TEXT, "What made the vector: behaviour (its interactions), features (it "
               "has none), blend (both)."),
        Column("embedding", vector, "What is like the item: compare by cosine. Widths of its "
               "parts, behaviour and likeness, stand in the schema's metadata.", "unit norm"),
        Column("context", vector, "What goes with the item, as the query: context(query) . "
               "embedding(candidate) + bias(candidate).", "any length"),
        Column("bias", FLOAT32, "The candidate's own part of that score.", "natural log"),
    )  # fmt: skip


SIMILAR_ITEMS: Final = (
    Column("item_id", TEXT, "The item; all that have an interaction."),
    Column("neighbor_id", TEXT, "An item near to it, of any domain."),
    Column("rank", INT32, "Its place among the neighbours.", "from 1"),
    Column("similarity", FLOAT32, "Cosine of the two embeddings.", "-1 to 1"),
    Column("neighbor_domain", TEXT, "Domain of the neighbour's prefix."),
)
