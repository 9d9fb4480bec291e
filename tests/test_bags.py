"""The two engines make the same bags of one table."""

import random
from collections import Counter
from datetime import date, timedelta

import pyarrow as pa
import pytest

from itememb_core import schemas
from itememb_core.edges.bridge import bags_of
from itememb_core.items.training.data import training_data
from itememb_core.items.training.start import users_windows
from itememb_core.services import CHANNELS
from itememb_core.settings import ItemModelSettings
from tests.worlds.edge_rows import DAILY_USER_ITEMS, connect, table_of
from tests.worlds.links import vocabulary_table

FIRST = date(2017, 1, 1)
ITEMS = [f"i{number}" for number in range(12)]


def random_rows(seed):
    """Rows (day, user, channel, item, n, strength): some of strength 0, some items twice."""
    rng = random.Random(seed)
    days = [FIRST + timedelta(days=rng.randrange(100)) for _ in range(600)]
    keys = {(d, rng.randrange(5, 9), rng.choice(CHANNELS), rng.choice(ITEMS)) for d in days}
    return [(*key, 1, rng.choice((0, 1, 4))) for key in sorted(keys)]


def of_ibis(rows, window_days):
    """What each user has within each window: (user, {(channel, item)})."""
    con = connect(threads=1)
    table_of(con, "user_items", rows, DAILY_USER_ITEMS)
    groups = {}
    for row in bags_of(con.table("user_items"), window_days).to_pyarrow().to_pylist():
        groups.setdefault((row["user_id"], row["window"]), []).append(
            (row["channel"], row["item_id"])
        )
    # A list, so that an item that is twice in a bag would be seen.
    return Counter((user, tuple(sorted(bag))) for (user, _), bag in groups.items())


def of_numpy(rows, window_days):
    """The same of the arrays that the item model is fitted on."""
    table = pa.Table.from_pylist(
        [dict(zip(DAILY_USER_ITEMS.names, row, strict=True)) for row in rows], DAILY_USER_ITEMS
    )
    vocabulary = vocabulary_table([(item, "all", "retail", 1, 1, 1, 1) for item in ITEMS])
    edges = pa.schema([("month", pa.string()), *schemas.EDGES]).empty_table()
    bags = training_data(
        vocabulary, edges, table, settings=ItemModelSettings(), last_day=date(2018, 1, 1)
    ).bags
    users = sorted({row[1] for row in rows if row[-1]})
    groups = {}
    entries = zip(users_windows(bags, window_days), bags.user, bags.channel, bags.node, strict=True)
    for group, user, channel, node in entries:
        own = groups.setdefault((users[user], int(group)), set())
        own.add((CHANNELS[channel], ITEMS[node]))
    return Counter((user, tuple(sorted(bag))) for (user, _), bag in groups.items())


@pytest.mark.parametrize("window_days", [1, 7, 30])
@pytest.mark.parametrize("seed", range(2))
def test_both_engines_make_the_same_bags(seed, window_days):
    rows = random_rows(seed)
    made = of_ibis(rows, window_days)
    assert made == of_numpy(rows, window_days)
    assert len(made) > 10
    assert made != of_ibis(rows, window_days + 1)
