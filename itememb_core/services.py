"""Channels, domains and actions of the services, and the strength of an action.

A *channel* is where a row was observed; a *domain* is that of an item id's prefix.
"""

from typing import Final

RECEIPTS: Final = "receipts"
RETAIL: Final = "retail"
MARKETPLACE: Final = "marketplace"
OFFERS: Final = "offers"

#: In the order of the columns ``count_<channel>`` and of the channel codes of numeric stages.
CHANNELS: Final = (RECEIPTS, RETAIL, MARKETPLACE, OFFERS)

#: Channels whose events are views, clicks and orders of catalog items.
CATALOG_CHANNELS: Final = (RETAIL, MARKETPLACE, OFFERS)

#: The domain of an id without a catalog prefix.
RECEIPT_DOMAIN: Final = "receipt"

#: Asset that holds a channel's cleaned rows.
CHANNEL_TABLES: Final = {
    RECEIPTS: "receipts",
    RETAIL: "retail_events",
    MARKETPLACE: "marketplace_events",
    OFFERS: "offers_events",
}

#: The action of an order, and the status of one that is neither delivered nor canceled (yet).
ORDER: Final = "order"
PROCESSED: Final = "processed"

#: The action of an event that names none.
UNNAMED: Final = "unknown"

#: What a file calls an action, or the status of an order, and what it is called here; keys are
#: lower case. What is not in it keeps its own name.
ALIASES: Final = {
    "added-to-cart": "cart",
    "added_to_cart": "cart",
    "to_cart": "cart",
    "page_view": "view",
    "view_description": "view",
    "review_view": "view",
    "delivered_orders": "delivered",
    "canceled_orders": "canceled",
    "proccesed_orders": PROCESSED,  # the data's own spelling
    "processed_orders": PROCESSED,
}

#: Strength of a canonical action; of an order with a status, that of the status. 0 keeps the row
#: but makes no pair. A processed order is as strong as a delivered one: the buyer has decided and
#: nothing has been taken back.
STRENGTHS: Final = {
    "view": 1,
    "click": 2,
    "like": 2,
    "favorite": 2,
    "cart": 4,
    "clickout": 4,
    ORDER: 8,
    PROCESSED: 8,
    "delivered": 8,
    "purchase": 8,
    "canceled": 0,
    "remove": 0,
    "unfavorite": 0,
}

#: Strength of an action or status that is not in the table above.
UNKNOWN_STRENGTH: Final = 1
