"""Law 2: day by day = any grouping = all at once = the reference, exactly, whatever arrives when.

An example holds ten histories, each of two users with items of their own, so that one query checks
ten. Days are made from the rows of those days (and the day before) alone, as the lake has them.
"""

import functools
import itertools
import random
from datetime import date, timedelta

import ibis
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from itememb_core import edges
from itememb_core.settings import BridgeSettings, CopurchaseSettings, CoviewSettings
from tests.worlds import reference
from tests.worlds.edge_rows import (
    DAILY_EDGES,
    DAILY_EVENTS,
    DAILY_USER_ITEMS,
    GAP,
    START,
    connect,
    events_table,
    histories,
    table_of,
)

DAY = timedelta(days=1)
#: Small, so that most sets are over their cap and many partners are cut.
BASKET, SESSION = CopurchaseSettings(basket_cap=3), CoviewSettings(session_cap=3)
BRIDGE = BridgeSettings(partners=2)
BRIDGE_DAYS = 3
DAILY = {"copurchase": DAILY_EDGES, "coview": DAILY_EDGES, "user_items": DAILY_USER_ITEMS}
#: Days that stand in the compiled text for the first and last closing day.
FIRST, LAST = date(1801, 1, 2), date(1902, 2, 3)


@pytest.fixture(scope="module")
def con():
    return connect(threads=2)


def unbound(name, schema):
    return ibis.table(ibis.Schema.from_pyarrow(schema), name=name)


@functools.cache
def compiled(relation):
    """SQL of a relation: compiling takes longer than running it, so it is done once."""
    events = unbound("events", DAILY_EVENTS)
    daily = {name: unbound(name, schema) for name, schema in DAILY.items()}
    catalog = events.filter(events.channel != "receipts")
    made = {
        "copurchase": lambda: edges.copurchase_edges(
            events.filter(events.channel == "receipts"), BASKET
        ),
        "coview": lambda: edges.coview_edges(catalog, SESSION, FIRST, LAST),
        "user_items": lambda: edges.user_items(events),
        "edges": lambda: edges.edges_by_month(daily["copurchase"], daily["coview"]),
        "bridge": lambda: edges.bridge_edges(daily["user_items"], BRIDGE, BRIDGE_DAYS),
    }[relation]()
    return str(ibis.to_sql(made, dialect="duckdb"))


def query(con, relation, first=FIRST, last=LAST):
    """Rows of a relation, sorted."""
    text = compiled(relation)
    for stands, day in ((FIRST - DAY, first - DAY), (FIRST, first), (LAST, last)):
        text = text.replace(*(f"MAKE_DATE({d.year}, {d.month}, {d.day})" for d in (stands, day)))
    return sorted(con.con.sql(text).fetchall())


def make(con, events, days):
    """Rows by relation of the closing days ``days``, from no other events than they need."""
    first, last = days[0], days[-1]
    events_table(con, [e for e in events if first - DAY <= e.day <= last])
    found = {relation: query(con, relation, first, last) for relation in DAILY}
    return {name: [r for r in rows if first <= r[0] <= last] for name, rows in found.items()}


def months(con, daily):
    """``edges`` of daily rows by relation."""
    for name in ("copurchase", "coview"):
        table_of(con, name, daily[name], DAILY_EDGES)
    return query(con, "edges")


def with_sums(con, daily):
    """Daily rows by relation, and what is summed of them."""
    table_of(con, "user_items", daily["user_items"], DAILY_USER_ITEMS)
    return {**daily, "edges": months(con, daily), "bridge": query(con, "bridge")}


def expected_of(events):
    """All relations by the reference, at once."""
    copurchase = reference.copurchase(events, cap=3)
    coview = reference.coview(events, cap=3, gap=GAP)
    user_items = reference.user_items(events)
    return {
        "copurchase": copurchase,
        "coview": coview,
        "user_items": user_items,
        "edges": reference.by_month(copurchase, coview),
        "bridge": reference.bridge(user_items, BRIDGE_DAYS, BRIDGE.partners),
    }


def joined(parts):
    """Rows by relation of several runs."""
    return {name: sorted(row for part in parts for row in part[name]) for name in DAILY}


def days_of(events):
    """Every day of the events and the one after, in which the last sessions may close."""
    last = max((e.day for e in events), default=START) + DAY
    return [START + timedelta(days=n) for n in range((last - START).days + 1)]


def runs(days):
    """Days as runs without holes."""
    found = []
    for day in sorted(days):
        if found and found[-1][-1] == day - DAY:
            found[-1].append(day)
        else:
            found.append([day])
    return found


def grouped(days, cuts):
    """Days in runs, cut after the chosen positions."""
    bounds = [0, *sorted({cut % len(days) for cut in cuts} - {0}), len(days)]
    return [days[low:high] for low, high in itertools.pairwise(bounds)]


def arrivals(events, rng):
    """Day files as they come, a few at a time: {day: rows} of each time.

    Days come in any order. Some come in part, or are taken away, or come twice, before they are
    whole.
    """
    whole = {day: [e for e in events if e.day == day] for day in days_of(events)[:-1]}
    steps = []
    for day, rows in whole.items():
        part = [row for row in rows if rng.random() < 0.5]
        own = [v for v in (part, [], rows) if rng.random() < 0.4]
        times = sorted(rng.random() for _ in range(len(own) + 1))
        steps += [(when, day, found) for when, found in zip(times, [*own, rows], strict=True)]
    steps.sort(key=lambda step: step[0])
    while steps:
        taken = min(rng.choice((1, 2, 3)), len(steps))
        yield {day: rows for _, day, rows in steps[:taken]}
        steps = steps[taken:]


def arrive(con, events, rng):
    """All relations after files came as ``arrivals`` says; only what they touch is made again."""
    held, by_day, by_month = {}, {}, {}
    for come in arrivals(events, rng):
        held |= come
        seen = [row for rows in held.values() for row in rows]
        touched = {*come, *(day + DAY for day in come)}
        for run in runs(touched):
            made = make(con, seen, run)
            by_day |= {day: {n: [r for r in made[n] if r[0] == day] for n in DAILY} for day in run}
        for month in {f"{day:%Y-%m}" for day in touched}:
            own = [part for day, part in by_day.items() if f"{day:%Y-%m}" == month]
            by_month[month] = months(con, joined(own))
    found = with_sums(con, joined(by_day.values()))
    assert sorted(row for rows in by_month.values() for row in rows) == found["edges"]
    return found


def check_history(con, events, cuts, seed):
    days, expected = days_of(events), expected_of(events)
    assert with_sums(con, make(con, events, days)) == expected
    assert with_sums(con, joined([make(con, events, run) for run in grouped(days, cuts)])) == (
        expected
    )
    assert with_sums(con, joined([make(con, events, [day]) for day in days])) == expected
    if len(days) > 1:
        assert arrive(con, events, random.Random(seed)) == expected


#: Without shrinking: a failing example is small enough to read, and shrinking takes minutes.
CHECKS = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
}
CUTS = st.lists(st.integers(0, 9), max_size=3)


@settings(max_examples=3, **CHECKS)
@given(histories(users=20), CUTS, st.integers(0, 99))
def test_days_any_grouping_any_arrival_and_all_at_once_are_the_reference(con, events, cuts, seed):
    """30 histories."""
    check_history(con, events, cuts, seed)


@pytest.mark.slow
@settings(max_examples=25, **CHECKS)
@given(histories(users=20), CUTS, st.integers(0, 999))
def test_days_any_arrival_and_all_at_once_are_the_reference_at_length(con, events, cuts, seed):
    """250 histories."""
    check_history(con, events, cuts, seed)


def holds_what_the_law_is_about(events):
    """Sessions over midnight and longer than a day, sets over their cap, equal receipt lines."""
    sessions = reference.sessions(events, GAP)
    lines = [e[:-1] for e in events if e.channel == "receipts"]
    return (
        any(day > part[0].day for day, part in sessions)
        and any(part[-1].timestamp - part[0].timestamp > DAY - GAP * 2 for _, part in sessions)
        and any(len({e.item_id for e in part}) > SESSION.session_cap for _, part in sessions)
        and len(set(lines)) < len(lines)
        and len({e.channel for e in events}) == 4
    )


def test_generated_histories_hold_what_the_law_is_about():
    tries = settings(max_examples=10, **CHECKS)
    assert find(histories(users=20), holds_what_the_law_is_about, settings=tries)
