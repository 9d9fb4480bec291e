"""User histories: every event of a user in time order, in shards of users."""

from datetime import date

import ibis
import ibis.expr.types as ir

from itememb_core.schemas import USER_HISTORIES
from itememb_core.settings import UserHistoriesSettings

_ORDER = ("timestamp", "source_file", "source_row")


def user_histories(
    events: ir.Table,
    settings: UserHistoriesSettings,
    *,
    before: date | None = None,
    since: date | None = None,
) -> ir.Table:
    """All events of all channels by user, in time order.

    Args:
        events: Clean rows of any channels, ``day`` and the columns of ``schemas.EVENTS``.
        settings: Number of shards.
        before: Keep only events of days before this one, for the backtest; None keeps all.
        since: Keep only events of this day and after, for its holdout; None keeps all.

    Returns:
        The columns of ``schemas.USER_HISTORIES``, rows of every strength and status. Ties of a
        timestamp are in the order of the source rows; (``user_id``, ``position``) is unique.
        ``shard`` is the remainder of ``user_id`` by ``shards``, from 0, negative ids too.
    """
    if before is not None:
        events = events.filter(events.day < before)
    if since is not None:
        events = events.filter(events.day >= since)
    shards = settings.shards
    by_user = ibis.window(group_by="user_id", order_by=_ORDER)
    numbered = events.mutate(
        position=ibis.row_number().over(by_user).cast("int64"),
        # A remainder takes the sign of the number it is of, so it is brought into 0 .. shards - 1.
        shard=((events.user_id % shards + shards) % shards).cast("int32"),
    )
    return numbered.select(*USER_HISTORIES.names)
