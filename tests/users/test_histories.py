"""The table of histories: order, ties, shards, the cut."""

from datetime import date, datetime

import ibis
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.schemas import EVENTS, USER_HISTORIES
from itememb_core.settings import UserHistoriesSettings
from itememb_core.users.histories import user_histories

SCHEMA = EVENTS.append(pa.field("day", pa.date32()))


def run(rows, shards=3, **cut):
    """Rows (user, day of January, hour, item, file, row)."""
    table = pa.Table.from_pylist(
        [
            {
                "user_id": user,
                "timestamp": datetime(2024, 1, day, hour),
                "day": date(2024, 1, day),
                "item_id": item,
                "channel": "retail",
                "action": "view",
                "strength": 0,
                "source_file": file,
                "source_row": row,
            }
            for user, day, hour, item, file, row in rows
        ],
        schema=SCHEMA,
    )
    settings = UserHistoriesSettings(shards=shards)
    return user_histories(ibis.memtable(table), settings, **cut).to_pyarrow()


def test_order_ties_and_shards():
    rows = [
        (7, 2, 5, "d", "b", 1),
        (7, 2, 5, "c", "a", 9),
        (7, 2, 5, "b", "a", 2),
        (7, 1, 9, "a", "z", 5),
        (-1, 3, 0, "e", "a", 0),
    ]
    result = run(rows)
    assert result.schema == USER_HISTORIES
    found = sorted(
        (row["user_id"], row["position"], row["item_id"], row["shard"])
        for row in result.to_pylist()
    )
    assert found == [
        (-1, 0, "e", 2),
        (7, 0, "a", 1),
        (7, 1, "b", 1),
        (7, 2, "c", 1),
        (7, 3, "d", 1),
    ]


def test_the_cut_parts_the_events():
    rows = [(1, day, 0, f"i{day}", "a", day) for day in (1, 2, 3, 4)]
    cut = date(2024, 1, 3)
    assert run(rows, before=cut)["item_id"].to_pylist() == ["i1", "i2"]
    after = run(rows, since=cut)
    assert sorted(
        zip(after["position"].to_pylist(), after["item_id"].to_pylist(), strict=True)
    ) == [
        (0, "i3"),
        (1, "i4"),
    ]


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-5, 5), st.integers(1, 3), st.integers(0, 2), st.sampled_from("xyz"),
            st.sampled_from("ab"), st.integers(0, 99),
        ),
        unique_by=lambda row: (row[4], row[5]),
        max_size=30,
    ),
    shards=st.integers(1, 4),
)  # fmt: skip
def test_every_event_once_in_time_order(rows, shards):
    result = run(rows, shards).to_pylist()
    assert len(result) == len(rows)
    by_user = {}
    for row in sorted(result, key=lambda row: (row["user_id"], row["position"])):
        by_user.setdefault(row["user_id"], []).append(row)
        assert row["shard"] == row["user_id"] % shards
    for own in by_user.values():
        assert [row["position"] for row in own] == list(range(len(own)))
        times = [row["timestamp"] for row in own]
        assert times == sorted(times)
