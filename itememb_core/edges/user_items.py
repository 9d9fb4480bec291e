"""User items: each user's interactions by channel, item and day, the bags of the bridge.

The table grows with events, not with pairs, so the bridge is sampled from it.
"""

import ibis.expr.types as ir


def user_items(events: ir.Table) -> ir.Table:
    """Sum all four channels' rows by day, user, channel and item.

    Args:
        events: Clean rows of any channels, ``day`` and the columns of ``schemas.EVENTS``.

    Returns:
        ``day`` and the columns of ``schemas.USER_ITEMS``: ``n`` counts rows of any strength,
        ``strength`` is that of the strongest. Items of strength 0 alone stay, with strength 0:
        readers of bags drop them.
    """
    sums = events.group_by("day", "user_id", "channel", "item_id").agg(
        n=events.count(), strength=events.strength.max()
    )
    return sums.select("day", "user_id", "channel", "item_id", "n", "strength")
