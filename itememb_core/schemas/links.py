"""Columns of links: the pool with its comparisons, candidates, accepted links, enriched lines."""

from typing import Final

from itememb_core.schemas.column import DATE, FLOAT32, FLOAT64, INT32, TEXT, Column
from itememb_core.schemas.tables import EVENTS

_EVENT: Final = {column.name: column for column in EVENTS}

_RATIO: Final = "log-likelihood ratio, natural log"
_LOGS: Final = "difference of natural logs; of prices where one is negative"

_RECEIPT: Final = Column("receipt_item", TEXT, "The receipt item to be linked.")
_CATALOG: Final = Column("catalog_item", TEXT, "The catalog item that it may be.")
_CATALOG_DOMAIN: Final = Column("catalog_domain", TEXT, "Domain of the catalog item's prefix.")
_SIMILARITY: Final = Column("similarity", FLOAT32, "Cosine of the two embeddings.", "-1 to 1")
_CSLS: Final = Column(
    "csls", FLOAT32, "Cosine against the neighbourhoods: 2 cos - mean - mean.", "-4 to 4"
)
_USERS: Final = Column(
    "users_llr",
    FLOAT32,
    "Likelihood of their buyers if both are one item against two items.",
    _RATIO,
)
_LEAD: Final = Column(
    "users_llr_lead",
    FLOAT32,
    "users_llr less the best of another receipt item with the same catalog item (at least 0).",
    "difference of log-likelihood ratios",
)
_WEEKLY: Final = Column(
    "weekly_correlation",
    FLOAT32,
    "Correlation of weekly purchases after removing the channel's weekly course.",
    "-1 to 1",
)
_PRICE: Final = Column(
    "price_gap", FLOAT32, "Median receipt price less catalog price; null: unknown.", _LOGS
)
_BRAND: Final = Column(
    "brand", FLOAT32, "1: both name the same brand, -1: different ones; null: unknown.", "-1 or 1"
)

#: Ranks count from 1; a null rank: that list did not hold the pair.
LINK_POOL: Final = (
    _RECEIPT,
    _CATALOG,
    _SIMILARITY,
    _CSLS,
    Column("rank_csls", INT32, "Place of the catalog item by CSLS; null: not listed.", "from 1"),
    Column("rank_reverse", INT32, "Place of the receipt item among those of the catalog item by "
           "CSLS; null: not listed.", "from 1"),
    _USERS,
    Column("rank_users", INT32, "Place of the catalog item by users_llr; null: not listed.",
           "from 1"),
    _LEAD,
    Column("months_llr", FLOAT32, "As users_llr, with counts by user and 30 days.", _RATIO),
    Column("weeks_llr", FLOAT32, "As users_llr, with counts by user and 7 days.", _RATIO),
    _WEEKLY,
    Column("monthly_correlation", FLOAT32, "As weekly_correlation, by 28 days.", "-1 to 1"),
    Column("first_gap", FLOAT32, "First day on receipts less first day in the catalog.", "days"),
    Column("last_gap", FLOAT32, "Last day on receipts less last day in the catalog.", "days"),
    Column("price_gap_low", FLOAT32, "As price_gap, of the receipt prices' tenth percentile.",
           _LOGS),
    _PRICE,
    Column("price_gap_high", FLOAT32, "As price_gap, of the ninetieth percentile.", _LOGS),
    _BRAND,
    Column("rank_text", INT32, "Catalog items whose title is at least as near the receipt text; "
           "null: not listed.", "from 1"),
    Column("text_cosine", FLOAT32, "Cosine of the n-grams of text and title; null: a side has no "
           "text.", "0 to 1"),
    Column("text_skeleton", FLOAT32, "As text_cosine, of words without their vowels.", "0 to 1"),
    Column("text_explained", FLOAT32, "Share of the text's letters in words that abbreviate a word "
           "of the title.", "0 to 1"),
    Column("text_missed", FLOAT32, "The text's other letters.", "letters"),
    Column("title_explained", FLOAT32, "Share of the title's words, rare ones counting more, that "
           "a word of the text abbreviates.", "0 to 1"),
    Column("text_numbers", FLOAT32, "Share of the text's numbers that the title has; null: a side "
           "has none.", "0 to 1"),
    Column("text_users_lead", FLOAT32, "As users_llr_lead, of users_llr less 2.87 a letter that is "
           "missed; null: a side has no text.", "difference of log-likelihood ratios"),
)  # fmt: skip

#: The evidence of the pool stands beside, for people.
LINK_CANDIDATES: Final = (
    _RECEIPT,
    _CATALOG,
    _CATALOG_DOMAIN,
    Column("rank", INT32, "Place among the item's candidates, by probability, then CSLS.",
           "from 1"),
    _SIMILARITY,
    _CSLS,
    Column("probability", FLOAT64, "Calibrated probability that it is the true match; null: there "
           "is no scorer.", "0 to 1"),
    _USERS,
    _LEAD,
    _WEEKLY,
    _PRICE,
    _BRAND,
)  # fmt: skip

CROSS_DOMAIN_LINKS: Final = (
    Column("receipt_item", TEXT, "The receipt item; at most one row each."),
    Column("catalog_item", TEXT, "The catalog item that it is taken to be."),
    _CATALOG_DOMAIN,
    Column("similarity", FLOAT32, "Cosine of the two embeddings; 1 for direct.", "-1 to 1"),
    Column("probability", FLOAT64, "Probability that the link is right; 1 for direct.", "0 to 1"),
    Column("method", TEXT, "direct: the receipts name the catalog id; learned: the scorer."),
)

#: Every receipt line; nulls where its item has no link.
ENRICHED_RECEIPTS: Final = (
    Column("day", DATE, "Day of the line.", "UTC"),
    _EVENT["timestamp"],
    _EVENT["user_id"],
    Column("item_id", TEXT, "The receipt item, as on the receipt."),
    _EVENT["count"],
    _EVENT["price"],
    _EVENT["brand_id"],
    _EVENT["transaction_hash"],
    Column("catalog_item", TEXT, "The catalog item it is linked to; null: no link."),
    Column("catalog_domain", TEXT, "Domain of that item's prefix; null: no link."),
    Column("category", TEXT, "That item's broad category; null: unknown."),
    Column("subcategory", TEXT, "That item's category inside it; null: unknown."),
    Column("brand", _EVENT["brand_id"].type, "The line's own brand, else the catalog item's."),
    Column("link_probability", FLOAT64, "Probability that the link is right; null: no link.",
           "0 to 1"),
    Column("link_method", TEXT, "direct or learned; null: no link."),
    _EVENT["source_file"],
    _EVENT["source_row"],
)  # fmt: skip
