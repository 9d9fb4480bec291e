"""Co-view edges: pairs of items in one session of a catalog channel."""

from datetime import date, timedelta
from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.edges.pairs import cap_stats, capped_pairs
from itememb_core.edges.sessions import sessionize
from itememb_core.settings import CoviewSettings

_KEYS: Final = ("day", "user_id", "channel", "session")


def coview_edges(
    events: ir.Table,
    settings: CoviewSettings,
    first_day: date,
    last_day: date,
    ranks: bool = False,
) -> ir.Table:
    """Pairs of distinct items of one session, summed by channel and closing day.

    Events of strength 0 belong to a session (they extend it) but make no pair. Of a session over
    the cap the strongest items stay, then those seen first, then by item id.

    Args:
        events: Clean rows of the catalog channels, ``day`` and the columns of ``schemas.EVENTS``,
            of all days from the one before ``first_day`` to ``last_day``; others are ignored. A
            day without rows is a day without events.
        settings: Gap (minutes) and cap.
        first_day: First closing day wanted.
        last_day: Last closing day wanted; sessions of the last day of events may close one later.
        ranks: Whether to give ``rank_a`` and ``rank_b``, too: int32 that order a day's rows as
            ``channel``, ``item_a`` and ``item_b`` do, and faster.

    Returns:
        ``day`` (closing) and the columns of ``schemas.EDGES``, ``item_a < item_b``; a session of
        ``size`` kept items adds ``min(strength_a, strength_b) * (2**20 // size)`` to a pair's
        weight, an item's strength being that of its strongest action; ``n`` counts sessions.
    """
    items = _items(events, settings, first_day, last_day)
    strongest = [ibis.desc("strength"), "first"]
    pairs = capped_pairs(items, _KEYS, ("day", "channel"), strongest, settings.session_cap)
    return pairs if ranks else pairs.drop("rank_a", "rank_b")


def coview_stats(
    events: ir.Table, settings: CoviewSettings, first_day: date, last_day: date
) -> ir.Table:
    """What the cap cut: ``day, channel, sessions, capped, items_cut`` (int64 counts).

    Sessions of strength 0 alone are not counted. Arguments as in ``coview_edges``.
    """
    items = _items(events, settings, first_day, last_day)
    stats = cap_stats(items, _KEYS, ("day", "channel"), settings.session_cap)
    return stats.select("day", "channel", "capped", "items_cut", sessions="sets").relocate(
        "sessions", after="channel"
    )


def _items(events: ir.Table, settings: CoviewSettings, first_day: date, last_day: date) -> ir.Table:
    """Distinct items of each session that closes in the range."""
    columns = ["day", "user_id", "channel", "timestamp", "item_id", "strength"]
    own = events.filter(events.day.between(first_day, last_day)).select(columns)
    near = own.union(_open_before(events, settings, first_day).select(columns))
    seen = sessionize(near, settings.gap_minutes)
    session = ["user_id", "channel", "session"]
    items = seen.group_by(*session, "item_id").agg(
        strength=seen.strength.max(), first=seen.timestamp.min(), closes=seen.closes.max()
    )
    # What pairs use twice is made once only if the table is selected, not dropped from.
    closed = items.select(
        *session,
        "item_id",
        "strength",
        "first",
        day=items.closes.max().over(group_by=session),
    )
    return closed.filter(closed.day.between(first_day, last_day) & (closed.strength > 0))


def _open_before(events: ir.Table, settings: CoviewSettings, first_day: date) -> ir.Table:
    """Events of the day before of the users whose session may close on ``first_day``.

    A user without an event within the gap before midnight has no session that continues after it.
    """
    before = events.filter(events.day == first_day - timedelta(days=1))
    late = (before.timestamp + ibis.interval(minutes=settings.gap_minutes)).date() > before.day
    users = ["user_id", "channel"]
    return before.semi_join(before.filter(late).select(users).distinct(), users)
