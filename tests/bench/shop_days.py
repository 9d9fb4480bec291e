"""Days of a made-up shop in the T-ECD raw layout, of any size: for measuring speed and memory.

``python -m tests.bench.shop_days RAW EVENTS [DAYS]`` writes a folder. Items are popular by Zipf's
law, sessions are heavy-tailed (up to 1,256 items), users meet several channels, and each user and
item belongs to a latent group.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.services import CHANNELS, OFFERS, RECEIPTS, RETAIL
from tests.worlds.tiny import ACTIONS, FOLDERS, SCHEMAS

DAY_US = 86_400_000_000
#: What an id begins with, by channel; a receipt's id is opaque.
PREFIXES = dict(zip(CHANNELS, ("r", "fmcg_", "nfmcg_", "offer_"), strict=True))
#: How much of the sessions a channel has, before its users' own taste.
SHARES = (0.3, 0.3, 0.35, 0.05)
#: The chance of a session of at least k items is k ** -TAIL, and none has more than LONGEST.
TAIL, LONGEST = 1.6, 1256
#: Events of one item in a session of a catalog channel, on average beyond the first.
AGAIN = 0.5
#: Chance that an item is drawn from the user's own group.
LOYAL = 0.7
STEP_US = 40_000_000


@dataclass(frozen=True)
class Shop:
    """How large the shop is.

    Attributes:
        events: About how many rows all day files have together.
        days: How many days.
        seed: Equal shops are equal files.
    """

    events: int
    days: int = 50
    seed: int = 0

    @property
    def users(self) -> int:
        """As many as have 500 events each."""
        return max(self.events // 500, 20)

    @property
    def items(self) -> int:
        """As many of a channel as have 1,000 events each, if all channels were one."""
        return max(self.events // 1000, 100)

    @property
    def groups(self) -> int:
        """Latent groups of users and items."""
        return max(min(self.items // 20, 50), 1)


def write_shop(raw: Path, shop: Shop) -> int:
    """Write the day files, the items and the users; return the events."""
    names = {channel: _names(shop, channel) for channel in CHANNELS}
    taste = _tastes(shop)
    carried: dict[str, dict[str, np.ndarray]] = {}
    written = 0
    for folder in FOLDERS.values():
        (raw / folder).mkdir(parents=True)
    for day in range(shop.days):
        drawn = _events(np.random.default_rng([shop.seed, day]), shop, taste, day)
        for code, channel in enumerate(CHANNELS):
            own = {name: values[drawn["channel"] == code] for name, values in drawn.items()}
            own = _joined(carried.get(channel), own)
            late = own["time"] >= (day + 1) * DAY_US
            carried[channel] = {name: values[late] for name, values in own.items()}
            rows = {name: values[~late] for name, values in own.items()}
            table = _table(channel, rows, names[channel])
            pq.write_table(table, raw / FOLDERS[channel] / f"{day:05}.pq")
            written += table.num_rows
    _write_ids(raw, shop, names)
    return written


def _names(shop: Shop, channel: str) -> pa.Array:
    """Every item id of a channel, one popular in group 0 first."""
    numbers = np.random.default_rng([shop.seed, 1 << 20]).permutation(shop.items)
    return pc.binary_join_element_wise(PREFIXES[channel], pa.array(numbers.astype(str)), "")


def _tastes(shop: Shop) -> np.ndarray:
    """Cumulated chance of each channel for each user, [users, channels]."""
    draw = np.random.default_rng([shop.seed, 1 << 21]).gamma(np.array(SHARES) * 3, 1.0, (
        shop.users, len(CHANNELS)
    ))  # fmt: skip
    return (draw / draw.sum(axis=1, keepdims=True)).cumsum(axis=1)


def _events(
    rng: np.random.Generator, shop: Shop, taste: np.ndarray, day: int
) -> dict[str, np.ndarray]:
    """Rows of the sessions that begin on a day, of all channels, by session."""
    sessions = _sizes_until(rng, shop.events // shop.days)
    count = sessions.size
    # The square makes some users ten times as busy as others.
    user = (shop.users * rng.random(count) ** 2).astype(np.int64)
    channel = (rng.random(count)[:, None] > taste[user]).sum(axis=1).clip(max=len(CHANNELS) - 1)
    hour = rng.normal(15, 5, count) % 24
    begin = day * DAY_US + (hour * 3_600_000_000).astype(np.int64)
    of = np.repeat(np.arange(count), sessions)
    catalog = channel[of] > 0
    again = np.where(catalog, rng.geometric(1 / (1 + AGAIN), of.size), 1)
    item = _items(rng, shop, user[of] % shop.groups)
    of, item = np.repeat(of, again), np.repeat(item, again)
    # Lines of one receipt have one time; events of a session follow each other.
    step = (rng.exponential(STEP_US, of.size) * (channel[of] > 0)).astype(np.int64)
    walked = step.cumsum()
    first = np.searchsorted(of, np.arange(count))
    time = begin[of] + walked - walked[first][of]
    return {
        "channel": channel[of],
        "time": time,
        "user": user[of],
        "item": item,
        "session": of + day * (1 << 32),
        "draw": rng.integers(0, 1 << 16, of.size),
    }


def _sizes_until(rng: np.random.Generator, events: int) -> np.ndarray:
    """Items of as many sessions as have so many events together."""
    mean = sum(k**-TAIL for k in range(1, LONGEST + 1)) * (1 + AGAIN * (1 - SHARES[0]))
    u = rng.random(max(int(events / mean), 1))
    return np.minimum((1 - u) ** (-1 / TAIL), LONGEST).astype(np.int64)


def _items(rng: np.random.Generator, shop: Shop, group: np.ndarray) -> np.ndarray:
    """Item numbers: Zipf over all items, or over those of a group (every ``groups``-th)."""
    own = shop.items // shop.groups
    size = np.where(rng.random(group.size) < LOYAL, own, shop.items)
    rank = np.exp(rng.random(group.size) * np.log(size + 1)).astype(np.int64) - 1
    return np.where(size == own, rank * shop.groups + group, rank)


def _joined(
    before: dict[str, np.ndarray] | None, own: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Rows of the day and those that sessions of the day before left, by time."""
    if before is not None:
        own = {name: np.concatenate([before[name], values]) for name, values in own.items()}
    order = np.argsort(own["time"], kind="stable")
    return {name: values[order] for name, values in own.items()}


def _table(channel: str, rows: dict[str, np.ndarray], names: pa.Array) -> pa.Table:
    """Rows as the layout has them."""
    schema, draw = SCHEMAS[channel], rows["draw"]
    columns = {
        "timestamp": pa.array(rows["time"]).cast(pa.duration("us")),
        "user_id": pa.array(rows["user"]),
        "item_id": names.take(pa.array(rows["item"])),
    }
    if channel == RECEIPTS:
        columns["approximate_item_id"] = columns["item_id"]
        columns["brand_id"] = pa.array(rows["item"] % 1000)
        columns["count"] = pa.array((1 + draw % 3).astype(np.float32))
        columns["price"] = pa.array((10 + rows["item"] % 997).astype(np.float32))
        columns["transaction_hash"] = pa.array(rows["session"]).cast(pa.string())
    else:
        actions = ACTIONS[channel]
        # Weak actions are the frequent ones.
        action = (len(actions) * (draw / (1 << 16)) ** 3).astype(np.int64)
        columns["action_type"] = pa.array(actions).take(pa.array(action))
    if channel not in (RECEIPTS, OFFERS):
        places = pa.array(["catalog", "search"] if channel == RETAIL else ["u2i", "search"])
        columns["subdomain"] = places.take(pa.array(draw % 2))
        columns["os"] = pa.array(["android", "ios"]).take(pa.array(draw // 2 % 2))
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _write_ids(raw: Path, shop: Shop, names: dict[str, pa.Array]) -> None:
    """Write users and the catalogs' items."""
    pq.write_table(pa.table({"user_id": np.arange(shop.users).astype(np.uint64)}), raw / "users.pq")
    for channel in CHANNELS[1:]:
        items = pa.table({"item_id": names[channel].cast(pa.large_string())})
        pq.write_table(items, raw / FOLDERS[channel].replace("events", "items.pq"))


def main(arguments: list[str]) -> int:
    """Write a shop."""
    if len(arguments) not in (2, 3):
        print("usage: python -m tests.bench.shop_days RAW EVENTS [DAYS]")
        return 2
    shop = Shop(int(arguments[1]), *(int(days) for days in arguments[2:]))
    print(f"{write_shop(Path(arguments[0]), shop):,} events")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
