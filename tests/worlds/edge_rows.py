"""Events of the reference as Ibis tables, results as sorted rows, and generated histories."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from hypothesis import strategies as st

from itememb_core import schemas
from tests.worlds.reference import CHANNELS, Event

START = date(2017, 1, 30)
GAP = timedelta(minutes=30)
SECOND = timedelta(seconds=1)

DAILY_EVENTS = pa.schema([("day", pa.date32()), *schemas.EVENTS])
DAILY_USER_ITEMS = pa.schema([("day", pa.date32()), *schemas.USER_ITEMS])
DAILY_EDGES = pa.schema([("day", pa.date32()), *schemas.EDGES])

#: Time between two events: around the gap, and such that some days hold no longer one.
STEPS = (
    timedelta(0),
    SECOND,
    timedelta(minutes=10),
    GAP - SECOND,
    GAP,
    GAP + timedelta(microseconds=1),
    timedelta(hours=3),
    timedelta(hours=20),
)


def event(
    when: datetime,
    item: str,
    user: int = 1,
    channel: str = "retail",
    strength: int = 1,
    basket: str | None = None,
    row: int = 0,
) -> Event:
    return Event(when, user, item, channel, strength, basket, row)


def at(hours: float, day: int = 0) -> datetime:
    """A time of a day, counted from the first."""
    return datetime.combine(START + timedelta(days=day), time()) + timedelta(hours=hours)


def events_table(con: Any, events: Sequence[Event], name: str = "events") -> ir.Table:
    """Events as a cleaned table: all columns, the irrelevant ones null."""
    columns: dict[str, list[Any]] = {field: [] for field in DAILY_EVENTS.names}
    known = set(Event._fields)
    for row in events:
        for field, values in columns.items():
            values.append(getattr(row, field) if field in known else None)
        columns["day"][-1], columns["source_file"][-1] = row.day, "file"
    return _register(con, name, pa.table(columns, schema=DAILY_EVENTS))


def table_of(con: Any, name: str, rows: Iterable[tuple], schema: pa.Schema) -> ir.Table:
    """A table of rows in the schema's order."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    data = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    return _register(con, name, data)


def _register(con: Any, name: str, data: pa.Table) -> ir.Table:
    # As a view: quicker than to create a table, and tests make hundreds.
    con.con.register(name, data)
    return con.table(name)


def rows_of(expression: ir.Table) -> list[tuple]:
    """Rows of a result, sorted."""
    table = expression.to_pyarrow()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def connect(threads: int) -> Any:
    return ibis.duckdb.connect(threads=threads)


#: A run of events: the step between them, how many, and what item, strength and basket they are.
#: Long runs of small steps fill whole days without a gap.
_RUN = st.tuples(
    st.sampled_from([(step, n) for step in STEPS[3:6] for n in (1, 2, 60, 110)]
                    + [(step, n) for step in STEPS[:3] for n in (2, 5)]
                    + [(step, 2) for step in STEPS[6:]]),
    st.integers(1, 6),
    st.integers(0, 3),
)  # fmt: skip
_USER = st.fixed_dictionaries(
    {
        channel: st.tuples(st.integers(0, 3 * 24 * 60), st.lists(_RUN, max_size=2))
        for channel in CHANNELS
    }
)


def _of_user(user: int, runs_by_channel: dict[str, Any]) -> Iterable[Event]:
    row = 0
    for channel, (minutes, runs) in runs_by_channel.items():
        clock = at(0) + timedelta(minutes=minutes)
        for (step, count), stride, offset in runs:
            for k in range(count):
                # Two users share their items, so that their pairs are summed.
                item = f"{user // 2}-i{k * stride % 7}"
                basket = (None, "", "x", "y")[k % 4] if channel == "receipts" else None
                strength = (0, 1, 2, 8)[(k // stride + offset) % 4]
                for _ in range(1 + (channel == "receipts" and k % 3 == 0)):  # scanned twice
                    yield Event(clock, user, item, channel, strength, basket, row)
                    row += 1
                clock += step


def histories(users: int) -> st.SearchStrategy[list[Event]]:
    """Events of several users over a few days, as one list: one query then checks many users."""
    return st.lists(_USER, min_size=users, max_size=users).map(
        lambda drawn: [row for user, runs in enumerate(drawn) for row in _of_user(user, runs)]
    )
