"""Where sessions start and on which day they close (law 2), hand-computed."""

from datetime import timedelta

import pytest

from itememb_core.edges import sessionize
from tests.worlds import reference
from tests.worlds.edge_rows import GAP, SECOND, START, at, connect, event, events_table


@pytest.fixture(scope="module")
def con():
    return connect(threads=2)


def found(con, events):
    """Sessions as (closing day counted from the first, items in order), made and expected."""
    table = sessionize(events_table(con, events), gap_minutes=30)
    made = {}
    for row in table.order_by("timestamp", "source_row").to_pyarrow().to_pylist():
        key = row["user_id"], row["channel"], row["session"]
        closes, items = made.get(key, (START, []))
        made[key] = max(closes, row["closes"]), [*items, row["item_id"]]
    sessions = sorted(made.values())
    expected = [(d, [e.item_id for e in part]) for d, part in reference.sessions(events, GAP)]
    assert sessions == sorted(expected)
    return [((day - START).days, "".join(items)) for day, items in sessions]


def test_a_gap_of_exactly_the_setting_stays_and_one_longer_cuts(con):
    times = [at(9), at(9) + GAP, at(9) + GAP * 2 + timedelta(microseconds=1)]
    assert found(con, [event(t, i) for t, i in zip(times, "abc", strict=True)]) == [
        (0, "ab"),
        (0, "c"),
    ]


def test_users_and_channels_are_apart(con):
    events = [event(at(9), "a"), event(at(9), "b", user=2), event(at(9), "c", channel="offers")]
    assert found(con, events) == [(0, "a"), (0, "b"), (0, "c")]


def test_events_of_one_moment_are_ordered_by_source_row(con):
    events = [event(at(9), item, row=row) for row, item in enumerate("cab")]
    assert found(con, events[::-1]) == [(0, "cab")]


def test_a_session_over_midnight_stays_whole_and_closes_on_the_later_day(con):
    events = [event(at(23.8), "a"), event(at(24.1), "b")]
    assert found(con, events) == [(1, "ab")]


def test_the_last_moment_before_midnight_decides_the_closing_day(con):
    assert found(con, [event(at(23.5) - SECOND, "a")]) == [(0, "a")]
    assert found(con, [event(at(23.5), "a")]) == [(1, "a")]


def test_a_day_without_a_gap_is_cut_at_its_end_and_closes_on_itself(con):
    events = [event(at(n / 2), "a", row=n) for n in range(48)] + [event(at(24), "b", row=48)]
    assert found(con, events) == [(0, "a" * 48), (1, "b")]
    assert found(con, events[:-1]) == [(0, "a" * 48)]


def test_the_start_of_the_day_counts_as_an_end_of_a_gap(con):
    late = [event(at(n / 2) + GAP + SECOND, "a", row=n) for n in range(47)]
    assert found(con, [*late, event(at(24), "b", row=99)]) == [(1, "a" * 47 + "b")]
    sharp = [event(at(n / 2) + GAP, "a", row=n) for n in range(47)]
    assert found(con, [*sharp, event(at(24), "b", row=99)]) == [(0, "a" * 47), (1, "b")]


def test_a_gap_on_the_day_before_keeps_the_chain_over_two_midnights_cut_once(con):
    # From 20:00, for 40 hours: the first day has a gap, the second has none.
    events = [event(at(20 + n / 2), "a", row=n) for n in range(80)]
    assert found(con, events) == [(1, "a" * 56), (2, "a" * 24)]


def test_a_chain_of_four_whole_days_is_cut_at_every_midnight(con):
    events = [event(at(n / 2), "a", row=n) for n in range(4 * 48)]
    assert found(con, events) == [(day, "a" * 48) for day in range(4)]


def test_a_gap_that_ends_on_the_next_day_does_not_count_there(con):
    # 12:00, then from 0:20 of the next day without a gap: that day is cut at its end.
    events = [event(at(12), "a")]
    events += [event(at(24 + n / 2) + timedelta(minutes=20), "b", row=n) for n in range(50)]
    assert found(con, events) == [(0, "a"), (1, "b" * 48), (2, "bb")]
