"""Columns of pairs and bags: what items have in common."""

from typing import Final

from itememb_core.schemas.column import INT32, INT64, TEXT, Column

FIXED_POINT: Final = "fixed point, 1 is 2^20"

EDGES: Final = (
    Column("channel", TEXT, "Where both items were observed."),
    Column("item_a", TEXT, "The item of the pair whose id sorts first."),
    Column("item_b", TEXT, "The other item."),
    Column(
        "weight",
        INT64,
        "Sum over baskets or sessions that hold both: the smaller of their strengths (1 in a "
        "basket) divided by how many items it holds.",
        FIXED_POINT,
    ),
    Column("n", INT64, "Baskets or sessions that hold both.", "baskets or sessions"),
)

BRIDGE_EDGES: Final = (
    Column("channel_a", TEXT, "Where the first item was observed; comes first in CHANNELS."),
    Column("item_a", TEXT, "The first item."),
    Column("channel_b", TEXT, "Where the other item was observed; another channel."),
    Column("item_b", TEXT, "The other item; the same id where it is a direct match."),
    Column(
        "weight",
        INT64,
        "Sum over users and windows of 1 / sqrt(items of bag a * items of bag b).",
        FIXED_POINT,
    ),
    Column("n", INT64, "Users and windows that hold both.", "users' windows"),
)

USER_ITEMS: Final = (
    Column("user_id", INT64, "The user."),
    Column("channel", TEXT, "Where the interactions were observed."),
    Column("item_id", TEXT, "The item."),
    Column("n", INT64, "Interactions of user and item on the day, of any strength.", "rows"),
    Column("strength", INT32, "The strongest of them; 0: in no bag.", "0 to 8"),
)
