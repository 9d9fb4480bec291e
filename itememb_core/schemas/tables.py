"""Columns of what raw files become: events by channel, the catalog, side tables, the inventory."""

from typing import Final

import pyarrow as pa

from itememb_core.schemas.column import DATE, FLOAT64, INT32, INT64, TEXT, TIME, VECTOR, Column

SOURCE: Final = (
    Column("source_file", TEXT, "The raw file that the row is from: path inside the raw folder."),
    Column("source_row", INT64, "The row's number in that file.", "from 0"),
)
_USER: Final = Column("user_id", INT64, "The user, as in the raw files.")
_BRAND: Final = Column("brand_id", INT64, "The brand that the raw row names; null: none.")
_BASKET: Final = Column(
    "transaction_hash",
    TEXT,
    "The transaction; with user and day it is a basket. Null or empty: the lines of the user and "
    "day that have none are one basket.",
)
#: Unit of prices: some data sets publish them transformed, so that they may be negative.
MONEY: Final = "as in the raw files"

EVENTS: Final = (
    Column("timestamp", TIME, "When the interaction took place, on the folder's day.", "UTC"),
    _USER,
    Column("item_id", TEXT, "The item: with a catalog prefix, else an id only receipts know."),
    Column("channel", TEXT, "Where it was observed: receipts, retail, marketplace or offers."),
    Column("domain", TEXT, "Domain of the id's prefix: retail, marketplace, offers, else receipt."),
    Column(
        "action",
        TEXT,
        "What the user did, in one spelling (view, click, cart, order, ...); purchase on receipts, "
        "unknown where the file names none.",
    ),
    Column(
        "strength", INT32, "Strength of interest that the action shows; 0 makes no pair.", "0 to 8"
    ),
    Column(
        "status",
        TEXT,
        "What was known of an order by the end of its own day (processed, delivered, canceled); "
        "null for rows of files without statuses.",
    ),
    Column("subdomain", TEXT, "Part of the service in which it happened; null: unknown."),
    Column("os", TEXT, "Operating system of the user's device; null: unknown."),
    Column("count", FLOAT64, "Quantity on a receipt line; null: unknown.", "sold units, > 0"),
    Column("price", FLOAT64, "Price of one unit; null: unknown.", MONEY),
    _BRAND,
    _BASKET,
    Column("title", TEXT, "The text of a receipt line, as the till prints it; null: none."),
    *SOURCE,
)

CATALOG: Final = (
    Column("item_id", TEXT, "The catalog item, with its domain's prefix; one row an id."),
    Column("domain", TEXT, "Domain of the id's prefix: retail, marketplace or offers."),
    Column("listed", pa.bool_(), "Whether an items file lists it; false: only seen in events."),
    Column("brand_id", INT64, "Its brand; null: unknown."),
    Column("category", TEXT, "The broad category; null: unknown."),
    Column("subcategory", TEXT, "The category inside it; null: unknown."),
    Column(
        "category_path",
        pa.list_(TEXT),
        "All categories that it is in, the broadest first; null: none is known.",
    ),
    Column("price", FLOAT64, "List price; null: unknown.", MONEY),
    Column("title", TEXT, "Its name for people; null: unknown."),
    Column(
        "attributes",
        pa.list_(pa.struct([("name", TEXT), ("value", TEXT)])),
        "Attributes in the catalog, as pairs of name and value; null: unknown.",
    ),
    Column("group_id", TEXT, "Shared by the variants of one model; null: unknown."),
    Column("embedding", VECTOR, "Content vector of the items file; null: none."),
    Column("image_embedding", VECTOR, "Vector of its picture from the items file; null: none."),
    Column("text_embedding", VECTOR, "Vector of its text from the items file; null: none."),
)

USERS: Final = (
    Column("user_id", INT64, "The user; one row an id."),
    Column("socdem_cluster", INT64, "Number of the socio-demographic group; null: unknown."),
    Column("region", INT64, "Number of the region; null: unknown."),
)

BRANDS: Final = (
    Column("brand_id", INT64, "The brand; one row an id."),
    Column("embedding", VECTOR, "Content vector of the brands file; null: none."),
)

REVIEWS: Final = (
    Column("day", DATE, "Day of the raw file.", "UTC"),
    Column("timestamp", TIME, "When it was written; null where files have no times.", "UTC"),
    _USER,
    Column("brand_id", INT64, "The brand that is reviewed."),
    Column("rating", FLOAT64, "The rating; null: unknown.", "scale of the raw files"),
    Column("embedding", VECTOR, "Vector of the review's text; null: none."),
    *SOURCE,
)

PAYMENTS_EVENTS: Final = (
    Column("day", DATE, "Day of the raw file.", "UTC"),
    Column("timestamp", TIME, "When the payment was made.", "UTC"),
    _USER,
    _BRAND,
    Column("price", FLOAT64, "The amount paid; null: unknown.", MONEY),
    Column("transaction_hash", TEXT, "The transaction, as on its receipt lines; null: unknown."),
    *SOURCE,
)

RAW_INVENTORY: Final = (
    Column("file", TEXT, "The raw file: path inside the raw folder; one row a file."),
    Column("layout", TEXT, "Layout of the raw folder: tecd, notebook or ozon."),
    Column("channel", TEXT, "What its rows are: a channel, or a table such as retail_items."),
    Column("day", DATE, "The one day of its rows; null: of no day, or of many.", "UTC"),
    Column("bytes", INT64, "Its size.", "bytes"),
    Column("fingerprint", TEXT, "Hash of its content (BLAKE2b, 128 bits, hexadecimal)."),
    Column("rows", INT64, "Rows before cleaning; null: not read as the file is now.", "rows"),
    Column("clean", INT64, "Rows that were kept; null as for rows.", "rows"),
    Column("rejected", INT64, "Rows that broke a rule; null as for rows.", "rows"),
)
