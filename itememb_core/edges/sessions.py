"""Sessions: chains of one user's events in one channel, cut so that days can be made alone.

The law: a session is a chain of events with no gap longer than the setting between two
neighbours; it belongs to the day of (last event + gap). A chain is cut at a midnight M when no gap
longer than the setting has both ends in [M - 24 h, M], where M - 24 h itself counts as an end;
the part before M then closes on the day before M. So the events of days D - 1 and D are enough for
the sessions that close on day D: a chain that runs on from D - 1 either started after a gap within
D - 1, or is cut at the midnight between the two.

Events of one moment are of one session, whichever comes first: so times alone order them, and each
window over them ends with the whole of a moment.
"""

from typing import Any, Final

import ibis
import ibis.expr.types as ir

_USER: Final = ("user_id", "channel")


def sessionize(events: ir.Table, gap_minutes: int) -> ir.Table:
    """Find each event's session and the day on which the event would close it.

    Args:
        events: Clean rows of the catalog channels: ``day``, ``user_id``, ``channel``,
            ``timestamp`` and any others; a whole number of days, each complete.
        gap_minutes: A longer gap starts a new session; at most 12 hours.

    Returns:
        ``events`` with ``session`` (the time of its first event, unique within user and channel)
        and ``closes`` (date): a session closes on the greatest ``closes`` of its events. Sessions
        that close on the first day of ``events`` are whole only if no previous day has events.
    """
    gap = ibis.interval(minutes=gap_minutes)
    timed = events.mutate(previous=_lag(events.timestamp))
    # The start of the day counts as an event: the time to the first event is a gap within the day.
    since = ibis.greatest(timed.previous.coalesce(_midnight(timed)), _midnight(timed))
    wide = timed.mutate(wide=timed.timestamp > since + gap)
    broken = wide.mutate(broken=wide.wide.any().over(group_by=[*_USER, "day"])).drop("wide")
    before = broken.mutate(previous_day=_lag(broken.day), previous_broken=_lag(broken.broken))
    cut = (before.day != before.previous_day) & ~before.previous_broken
    starts = before.previous.isnull() | (before.timestamp > before.previous + gap) | cut
    moments = ibis.range_window(group_by=_USER, order_by="timestamp", preceding=(None, 0))
    sessions = before.mutate(
        session=starts.ifelse(before.timestamp, ibis.null()).max().over(moments),
        # Not broken: the chain is cut at the midnight that follows, whatever comes after.
        closes=ibis.ifelse(before.broken, (before.timestamp + gap).date(), before.day),
    )
    return sessions.drop("previous", "broken", "previous_day", "previous_broken")


def _midnight(events: ir.Table) -> Any:
    """The start of the event's day, as a timestamp."""
    return events.day.cast("timestamp")


def _lag(column: ir.Column) -> Any:
    """The value at an event before the user's event in the channel, by time."""
    return column.lag().over(group_by=_USER, order_by="timestamp")
