"""Columns of histories, user vectors and recommendations."""

from typing import Final

import pyarrow as pa

from itememb_core.schemas.column import BOOL, FLOAT32, FLOAT64, INT32, INT64, TEXT, Column
from itememb_core.schemas.tables import EVENTS

_EVENT: Final = {column.name: column for column in EVENTS}

USER_HISTORIES: Final = (
    _EVENT["user_id"],
    Column("position", INT64, "Place among the user's interactions in time order.", "from 0"),
    Column("timestamp", _EVENT["timestamp"].type, "When the interaction took place.", "UTC"),
    *(_EVENT[name] for name in ("channel", "item_id", "action", "strength", "status", "count")),
    _EVENT["price"],
    Column("shard", INT32, "user_id modulo the number of shards: users are read shard by shard.",
           "from 0"),
)  # fmt: skip


def user_embeddings(dim: int) -> tuple[Column, ...]:
    """Columns of ``user_embeddings`` with vectors of ``dim`` components."""
    vector = pa.list_(pa.float32(), dim)
    return (
        Column("user_id", INT64, "The user; one row each that has an interaction."),
        Column("embedding", vector, "The user after the last interaction.", "any length"),
    )


RECOMMENDATIONS: Final = (
    Column("user_id", INT64, "The user."),
    Column("item_id", TEXT, "A catalog item or offer to show."),
    Column("rank", INT32, "Its place in the user's list.", "from 1"),
    Column(
        "score",
        FLOAT32,
        "What the list is ordered by; compares the items of one user, those without any "
        "interaction with each other alone.",
        "natural log, up to a constant of the user",
    ),
)

TARGET_STRATEGIES: Final = (
    Column("strategy", TEXT, "What was tried, as `user_model.strategy` takes it."),
    Column("encoder", TEXT, "What reads the events."),
    Column("target", TEXT, "What an event predicts."),
    Column("loss", TEXT, "What a target is compared with its negatives by."),
    Column("negatives", TEXT, "How many negatives a batch shares, and how they are drawn."),
    Column("round", INT32, "Round of the search; the last row is the winner's fit.", "from 0"),
    Column("steps", INT32, "Length of the fit, as planned."),
    Column("metric", TEXT, "What the value measures; null: the winner's fit, not judged here."),
    Column("value", FLOAT64, "Mean over users of the validation slice; null as above.", "0 to 1"),
    Column("low", FLOAT64, "Lower end of the 95 % interval of its distance to the round's best.",
           "as value"),
    Column("high", FLOAT64, "Upper end.", "as value"),
    Column("seconds", FLOAT64, "What it should take by stated rates.", "s"),
    Column("chosen", BOOL, "Whether it is what the model is fitted by."),
)  # fmt: skip
