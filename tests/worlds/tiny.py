"""A tiny T-ECD raw folder with known truth, on which the whole pipeline runs in seconds.

Users have tastes that they keep in every channel, so the two names of a product (its opaque id on
receipts and its catalog id) are met by the same users and can be linked far better than by chance.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.services import CHANNELS, MARKETPLACE, OFFERS, RECEIPTS, RETAIL

DAY_S = 86_400
GROUPS = 12
FOLDERS = {
    RECEIPTS: "payments/receipts",
    RETAIL: "retail/events",
    MARKETPLACE: "marketplace/events",
    OFFERS: "offers/events",
}
#: Chance that a user comes to a channel on a day, and how many items a visit has.
VISIT_CHANCE = {RECEIPTS: 0.4, RETAIL: 0.35, MARKETPLACE: 0.25, OFFERS: 0.05}
VISIT_ITEMS = {RECEIPTS: 5, RETAIL: 5, MARKETPLACE: 4, OFFERS: 2}
#: Actions of a channel in the order of a shopper's resolve.
ACTIONS = {
    RETAIL: ("view", "click", "added-to-cart", "added_to_cart", "order"),
    MARKETPLACE: ("view", "click", "like", "clickout"),
    OFFERS: ("view", "click"),
}
TEXT, VECTOR, STAMP = pa.large_string(), pa.list_(pa.float32()), pa.duration("us")
EVENT_SCHEMA = pa.schema(
    [
        ("timestamp", STAMP),
        ("user_id", pa.uint64()),
        ("item_id", TEXT),
        ("subdomain", TEXT),
        ("action_type", TEXT),
        ("os", TEXT),
    ]
)
OFFER_SCHEMA = pa.schema([f for f in EVENT_SCHEMA if f.name not in ("subdomain", "os")])
RECEIPT_SCHEMA = pa.schema(
    [
        ("timestamp", STAMP),
        ("user_id", pa.uint64()),
        ("brand_id", pa.uint64()),
        ("approximate_item_id", TEXT),
        ("count", pa.float32()),
        ("price", pa.float32()),
        ("transaction_hash", TEXT),
    ]
)
SCHEMAS = {
    RECEIPTS: RECEIPT_SCHEMA,
    RETAIL: EVENT_SCHEMA,
    MARKETPLACE: EVENT_SCHEMA,
    OFFERS: OFFER_SCHEMA,
}

Row = dict[str, Any]


@dataclass(frozen=True)
class TinyWorld:
    """What was written. ``day`` and ``user`` numbers are those of the files.

    ``truth``: every opaque id, seen or not, and its catalog item, None where no catalog has it.
    ``direct``: the catalog ids that receipts use. ``untouched``: catalog items without any event.
    ``midnight``: user, day M and retail items of a session that starts on day M and goes on over
    midnight with gaps of minutes (the last two items are on day M + 1), alone in its hours.
    ``rows``: rows of every day file by its path inside ``raw``; ``bad``: how many of them are bad.
    """

    raw: Path
    first_day: int
    days: int
    users: int
    truth: dict[str, str | None]
    direct: tuple[str, ...]
    untouched: tuple[str, ...]
    midnight: tuple[int, int, tuple[str, ...]]
    rows: dict[str, int]
    bad: dict[str, int]


@dataclass(frozen=True)
class _Products:
    receipt_id: list[str]
    catalog_id: list[str | None]
    group: np.ndarray
    price: np.ndarray


def write_tiny_world(
    raw: Path,
    seed: int = 0,
    *,
    days: int = 28,
    users: int = 80,
    products: int = 120,
    direct: float = 0.3,
    receipts_only: float = 0.15,
    channels: tuple[str, ...] = CHANNELS,
    first_day: int = 0,
    bad: bool = False,
) -> TinyWorld:
    """Write a T-ECD raw folder and return its truth; equal arguments give equal bytes.

    ``bad`` adds, on day ``first_day + 1`` of every channel, one row each with no user, no item,
    an empty item, no timestamp, and a timestamp of another day.
    """
    rng = np.random.default_rng(seed)
    made = _products(rng, products, direct, receipts_only)
    taste = _tastes(rng, users, made.group)
    rows = _all_rows(rng, made, taste, range(first_day, first_day + days))
    midnight = _midnight_session(rows[RETAIL], made, first_day + min(3, max(days - 2, 0)))
    spoiled = _spoil(rows, first_day + 1) if bad else {}
    untouched = tuple(f"{prefix}90{k:02d}" for prefix in ("fmcg_", "nfmcg_") for k in range(3))
    written = _write(raw, rows, channels, range(first_day, first_day + days))
    _write_items(raw, made, untouched, users, channels)
    pairs = list(zip(made.receipt_id, made.catalog_id, strict=True))
    return TinyWorld(
        raw=raw,
        first_day=first_day,
        days=days,
        users=users,
        truth={name: match for name, match in pairs if name != match},
        direct=tuple(name for name, match in pairs if name == match),
        untouched=untouched,
        midnight=midnight,
        rows=written,
        bad={path: n for path, n in spoiled.items() if path in written},
    )


def _products(
    rng: np.random.Generator, count: int, direct: float, receipts_only: float
) -> _Products:
    """Two thirds of the products are retail's; kinds are drawn."""
    order = rng.permutation(count)
    none = set(order[: round(receipts_only * count)].tolist())
    same = set(order[len(none) : len(none) + round(direct * count)].tolist())
    names = [f"{'nfmcg_' if k % 3 == 2 else 'fmcg_'}{1000 + k}" for k in range(count)]
    opaque = rng.choice(16**6, count, replace=False)
    return _Products(
        receipt_id=[names[k] if k in same else f"{opaque[k]:06x}" for k in range(count)],
        catalog_id=[None if k in none else names[k] for k in range(count)],
        group=rng.integers(0, GROUPS, count),
        price=np.exp(rng.normal(1.0, 0.8, count)),
    )


def _tastes(rng: np.random.Generator, users: int, group: np.ndarray) -> np.ndarray:
    """[users, products]: how likely a user is to take a product; the same in every channel."""
    likes = rng.dirichlet(np.full(GROUPS, 0.3), users)
    popularity = np.exp(rng.normal(0.0, 0.5, group.size))
    own = np.exp(rng.normal(0.0, 1.2, (users, group.size)))
    taste = (likes[:, group] + 0.01) * popularity * own
    return np.asarray(taste / taste.sum(axis=1, keepdims=True))


def _all_rows(
    rng: np.random.Generator, made: _Products, taste: np.ndarray, days: range
) -> dict[str, list[Row]]:
    """Draw every visit of every user, channel and day."""
    rows: dict[str, list[Row]] = {channel: [] for channel in CHANNELS}
    for channel in CHANNELS:
        names = _names(made, channel)
        able = np.array([k for k, name in enumerate(names) if name is not None])
        for user, day in np.argwhere(rng.random((len(taste), len(days))) < VISIT_CHANCE[channel]):
            weight = taste[user, able] / taste[user, able].sum()
            wanted = min(1 + rng.poisson(VISIT_ITEMS[channel] - 1), able.size)
            chosen = rng.choice(able, wanted, replace=False, p=weight)
            second = (days.start + int(day)) * DAY_S + int(rng.integers(DAY_S))
            visit = (int(user) + 1, second, chosen.tolist())
            if channel == RECEIPTS:
                rows[channel] += _receipt(rng, made, visit, days)
            else:
                rows[channel] += _session(rng, names, channel, visit)
    last = days.stop * DAY_S * 1_000_000
    return {name: [r for r in some if r["timestamp"] < last] for name, some in rows.items()}


def _names(made: _Products, channel: str) -> list[str | None]:
    """The id of every product in a channel, None where it is not sold there."""
    if channel == RECEIPTS:
        return list(made.receipt_id)
    if channel == OFFERS:  # one offer for each group of products
        return [f"offer_{100 + g}" for g in made.group.tolist()]
    prefix = "fmcg_" if channel == RETAIL else "nfmcg_"
    return [name if name and name.startswith(prefix) else None for name in made.catalog_id]


def _receipt(
    rng: np.random.Generator, made: _Products, visit: tuple[int, int, list[int]], days: range
) -> list[Row]:
    """One basket; now and then an item is scanned twice, as two equal lines."""
    user, second, chosen = visit
    basket = f"{user:04d}{second - days.start * DAY_S:010d}"
    scans = [k for k in chosen for _ in range(1 + int(rng.random() < 0.05))]
    return [
        {
            "timestamp": second * 1_000_000,
            "user_id": user,
            "brand_id": int(made.group[k]) + 1 if k % 4 == 0 else None,
            "approximate_item_id": made.receipt_id[k],
            "count": 1.0 + k % 2,
            "price": float(made.price[k] * 1.05) if k % 7 else None,
            "transaction_hash": basket,
        }
        for k in scans
    ]


def _session(
    rng: np.random.Generator,
    names: list[str | None],
    channel: str,
    visit: tuple[int, int, list[int]],
) -> list[Row]:
    """Events of one visit, one to three minutes apart; they may run over midnight."""
    user, second, chosen = visit
    actions = ACTIONS[channel]
    rows = []
    for k in chosen:
        second += int(rng.integers(60, 180))
        action = actions[int(rng.integers(len(actions)))]
        rows.append(_event(second, user, names[k], action))
    return rows


def _event(second: int, user: int, item: str | None, action: str) -> Row:
    """A catalog event; the subdomain is null exactly for likes, as in the real files."""
    return {
        "timestamp": second * 1_000_000,
        "user_id": user,
        "item_id": item,
        "subdomain": None if action == "like" else "catalog",
        "action_type": action,
        "os": "android" if user % 2 else "ios",
    }


def _midnight_session(
    rows: list[Row], made: _Products, day: int
) -> tuple[int, int, tuple[str, ...]]:
    """Plant a session of user 1 from 23:50 to 00:12, and clear twelve hours around it."""
    user, midnight = 1, (day + 1) * DAY_S
    near = range((midnight - DAY_S // 2) * 1_000_000, (midnight + DAY_S // 2) * 1_000_000)
    rows[:] = [r for r in rows if r["user_id"] != user or r["timestamp"] not in near]
    items = tuple(name for name in _names(made, RETAIL) if name is not None)[:4]
    for item, offset in zip(items, (-600, -120, 300, 720), strict=True):
        rows.append(_event(midnight + offset, user, item, "click"))
    return user, day, items


def _spoil(rows: dict[str, list[Row]], day: int) -> dict[str, int]:
    """Add one bad row of each kind to a day of every channel; return bad rows by file."""
    bad = {}
    noon = (day * DAY_S + DAY_S // 2) * 1_000_000
    for channel, some in rows.items():
        key = "approximate_item_id" if channel == RECEIPTS else "item_id"
        good = {**some[0], "timestamp": noon}
        wrong: list[Row] = [
            {"user_id": None},
            {key: None},
            {key: ""},
            {"timestamp": None},
            {"timestamp": noon + 5 * DAY_S * 1_000_000},
        ]
        some += [{**good, **change, "_file_day": day} for change in wrong]
        bad[f"{FOLDERS[channel]}/{day:05}.pq"] = len(wrong)
    return bad


def _write(
    raw: Path, rows: dict[str, list[Row]], channels: tuple[str, ...], days: range
) -> dict[str, int]:
    """Write the day files (none for a day without rows); return rows by file."""
    written = {}
    for channel in channels:
        by_day: dict[int, list[Row]] = defaultdict(list)
        for row in rows[channel]:
            day = row["_file_day"] if "_file_day" in row else row["timestamp"] // 1_000_000 // DAY_S
            by_day[day].append(row)
        (raw / FOLDERS[channel]).mkdir(parents=True, exist_ok=True)
        for day in days:
            if by_day[day]:
                table = pa.Table.from_pylist(by_day[day], SCHEMAS[channel])
                pq.write_table(table, raw / FOLDERS[channel] / f"{day:05}.pq")
                written[f"{FOLDERS[channel]}/{day:05}.pq"] = table.num_rows
    return written


def _write_items(
    raw: Path,
    made: _Products,
    untouched: tuple[str, ...],
    users: int,
    channels: tuple[str, ...],
) -> None:
    """Write users, brands and the items of the channels' catalogs."""
    user = pa.table(
        {
            "user_id": pa.array(range(1, users + 1), pa.uint64()),
            "socdem_cluster": pa.array([k % 5 or None for k in range(users)], pa.uint8()),
            "region": pa.nulls(users, pa.uint8()),
        }
    )
    pq.write_table(user, raw / "users.pq")
    brand = {"brand_id": pa.array(range(1, GROUPS + 1), pa.uint64())}
    pq.write_table(pa.table(brand | {"embedding": pa.nulls(GROUPS, VECTOR)}), raw / "brands.pq")
    for channel, prefix in ((RETAIL, "fmcg_"), (MARKETPLACE, "nfmcg_")):
        if channel in channels:
            _write_catalog(raw / channel, made, prefix, untouched)
    if OFFERS in channels:
        ids = pa.array([f"offer_{100 + g}" for g in range(GROUPS)], TEXT)
        offer = {"item_id": ids, **brand, "embedding": pa.nulls(GROUPS, VECTOR)}
        pq.write_table(pa.table(offer), raw / "offers/items.pq")


def _write_catalog(folder: Path, made: _Products, prefix: str, untouched: tuple[str, ...]) -> None:
    """Write one catalog's items; the untouched ones have nothing but an id."""
    items: list[Row] = [
        {
            "item_id": name,
            "brand_id": int(made.group[k]) + 1,
            "category": f"group {made.group[k]}",
            "subcategory": None if k % 3 == 0 else f"shelf {k % 5}",
            "price": float(made.price[k]),
            "title": f"product {k}",
        }
        for k, name in enumerate(made.catalog_id)
        if name is not None and name.startswith(prefix)
    ]
    items += [{"item_id": name} for name in untouched if name.startswith(prefix)]
    schema = pa.schema(
        [
            ("item_id", TEXT),
            ("brand_id", pa.uint64()),
            ("category", TEXT),
            ("subcategory", TEXT),
            ("price", pa.float64()),
            ("embedding", VECTOR),
            ("title", TEXT),
        ]
    )
    pq.write_table(pa.Table.from_pylist(items, schema), folder / "items.pq")
