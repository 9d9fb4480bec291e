"""An Ozon-shaped raw folder from known truth: latent vectors make features and behaviour.

Every item has a latent vector: its leaf of a three-level category tree, and its own style. Names,
attributes and the picture's vector are noisy functions of it. A session has an *intent*: two points
of the latent space (things that complement each other); its items are drawn by nearness to either
and by a popularity that no feature tells. Users keep a few intents.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.worlds.layouts import CATEGORIES, ITEMS, ORDERS, START, TRACKER

LATENT = 16
TOPS, MIDS, LEAVES = 8, 5, 6
#: Spread of the levels' directions and of an item around its leaf.
SPREAD = (0.7, 0.6, 0.5)
STYLE = 0.6
#: Precision of the Gaussian around an intent's ends; share of items that follow no intent.
SHARPNESS, STRAY = 1.0, 0.15
#: Share of the items that are a variant of another, and how far they lie from it.
VARIANTS, VARIANT_STYLE = 0.2, 0.15
PICTURE, PICTURE_NOISE = 512, 0.15
BUCKETS = ("very low", "low", "middle", "high", "very high")
WIDGETS = ("search", "catalog", "recommendations")
ACTIONS = ("page_view", "view_description", "review_view", "favorite", "to_cart")
ACTION_SHARES = (0.5, 0.12, 0.1, 0.08, 0.2)
STATUSES = ("delivered_orders", "canceled_orders", "proccesed_orders")
DAY_US = 86_400_000_000
PART_ROWS = 200_000


@dataclass(frozen=True)
class OzonWorld:
    """How large it is; equal worlds are equal files."""

    items: int = 8000
    users: int = 6000
    days: int = 60
    sessions: int = 110_000
    intents: int = 600
    seed: int = 0


@dataclass(frozen=True)
class _Truth:
    latent: np.ndarray  # [items, LATENT]
    leaf: np.ndarray  # [items]
    model: np.ndarray  # [items]
    leaves: np.ndarray  # [leaves, LATENT]


def write_ozon(raw: Path, world: OzonWorld) -> int:
    """Write the folder; return the rows of tracker and orders."""
    rng = np.random.default_rng(world.seed)
    truth = _items(rng, world)
    raw.mkdir(parents=True)
    _write_items(raw, rng, truth)
    return _write_events(raw, rng, world, truth)


def _items(rng: np.random.Generator, world: OzonWorld) -> _Truth:
    levels = [rng.normal(0, s, (n, LATENT)) for s, n in zip(SPREAD, _sizes(), strict=True)]
    leaves = levels[2] + levels[1].repeat(LEAVES, axis=0) + levels[0].repeat(MIDS * LEAVES, axis=0)
    share = rng.dirichlet(np.full(len(leaves), 2.0))
    leaf = rng.choice(len(leaves), world.items, p=share)
    latent = leaves[leaf] + rng.normal(0, STYLE, (world.items, LATENT))
    model = np.arange(world.items)
    variant = np.flatnonzero(rng.random(world.items) < VARIANTS)
    model[variant] = rng.integers(0, world.items, len(variant))
    model = model[model]  # a variant of a variant is one of the same model, one step up
    leaf[variant] = leaf[model[variant]]
    noise = rng.normal(0, VARIANT_STYLE, (len(variant), LATENT))
    latent[variant] = latent[model[variant]] + noise
    return _Truth(latent, leaf, model, leaves)


def _sizes() -> tuple[int, int, int]:
    return TOPS, TOPS * MIDS, TOPS * MIDS * LEAVES


def _write_items(raw: Path, rng: np.random.Generator, truth: _Truth) -> None:
    n = len(truth.latent)
    words = _words(rng)
    brands, names = rng.normal(0, 1, (60, LATENT)), _words(rng)
    brand = (truth.latent @ brands.T + rng.gumbel(0, 2.0, (n, 60))).argmax(axis=1)
    styles = truth.latent @ rng.normal(0, 1, (LATENT, 8)) + rng.normal(0, 1.0, (n, 8))
    bucket = np.clip(np.searchsorted([-2.5, -0.8, 0.8, 2.5], styles), 0, 4)  # [items, 8]
    shown = rng.random((n, 8)) < 0.7
    color, country = rng.integers(0, 12, n), rng.integers(0, 20, n)
    picture = truth.latent @ rng.normal(0, 1 / np.sqrt(LATENT), (LATENT, PICTURE))
    picture += rng.normal(0, PICTURE_NOISE * np.sqrt(LATENT), picture.shape)
    picture /= np.linalg.norm(picture, axis=1, keepdims=True)
    rows = []
    for i in range(n):
        pairs = [("Brand", names[brand[i]]), ("Color", f"color {color[i]}")]
        pairs += [("Country", f"country {country[i]}")] * bool(country[i] % 3)
        pairs += [(f"Feature {k}", BUCKETS[bucket[i, k]]) for k in np.flatnonzero(shown[i])]
        told = [words[100 + 5 * k + bucket[i, k]] for k in np.flatnonzero(shown[i])[:3]]
        head = words[200 + truth.leaf[i]]
        rows.append(
            {
                "item_id": i + 1,
                "itemname": " ".join([head, names[brand[i]], *told, f"{rng.integers(1000)}"]),
                "attributes": [{"attribute_name": a, "attribute_value": b} for a, b in pairs],
                "fclip_embed": picture[i].astype(np.float32),
                "catalogid": 1000 + int(truth.leaf[i]),
                "variant_id": i + 1,
                "model_id": int(truth.model[i]) + 1,
            }
        )
    (raw / "items").mkdir()
    half = n // 2
    for part, some in enumerate((rows[:half], rows[half:])):
        pq.write_table(pa.Table.from_pylist(some, ITEMS), raw / f"items/part-{part}.parquet")
    pq.write_table(pa.Table.from_pylist(_categories(), CATEGORIES), raw / "categories.parquet")


def _categories() -> list[dict[str, object]]:
    """The tree as Ozon's table has it: ids from the category to the root's -1."""
    rows: list[dict[str, object]] = []
    for leaf in range(TOPS * MIDS * LEAVES):
        mid, top = leaf // LEAVES, leaf // (MIDS * LEAVES)
        ids = [1000 + leaf, 100 + mid, 1 + top]
        path = [f"top {top}", f"middle {mid}", f"leaf {leaf}"]
        new = [leaf % (MIDS * LEAVES) == 0, leaf % LEAVES == 0, True]
        rows += [
            {"catalogid": ids[2 - k], "catalogpath": "/".join(path[: k + 1]),
             "ids": [*ids[2 - k :], -1]}
            for k in range(3) if new[k]
        ]  # fmt: skip
    return rows


def _words(rng: np.random.Generator) -> list[str]:
    """500 made-up words of two to four syllables."""
    parts = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    return ["".join(rng.choice(parts, rng.integers(2, 5))) for _ in range(500)]


def _preferences(rng: np.random.Generator, world: OzonWorld, truth: _Truth) -> np.ndarray:
    """Cumulated chance of each item by intent, and in the last row by popularity alone."""
    ends = truth.latent[rng.integers(0, world.items, (2, world.intents))]
    ends = ends + rng.normal(0, STYLE / 2, ends.shape)
    popular = 1.0 / (1.0 + rng.permutation(world.items)) ** 0.8
    near = [
        -SHARPNESS / 2 * ((truth.latent[None] - end[:, None]) ** 2).sum(axis=2) for end in ends
    ]  # [intents, items] each
    logits = np.logaddexp(*near)
    chance = popular * np.exp(logits - logits.max(axis=1, keepdims=True))
    chance = np.concatenate([chance, popular[None]])
    return (chance / chance.sum(axis=1, keepdims=True)).cumsum(axis=1)


def _write_events(raw: Path, rng: np.random.Generator, world: OzonWorld, truth: _Truth) -> int:
    cumulated = _preferences(rng, world, truth)
    count = world.sessions
    own = rng.integers(0, world.intents, (world.users, 5))
    user = (world.users * rng.random(count) ** 1.5).astype(np.int64)  # some are busier
    intent = own[user, np.minimum(rng.geometric(0.4, count) - 1, 4)]
    day = rng.integers(0, world.days, count)
    begin = day * DAY_US + ((rng.normal(15, 4, count) % 23) * 3_600_000_000).astype(np.int64)
    size = np.minimum(1 + rng.geometric(0.22, count), 25)
    of = np.repeat(np.arange(count), size)
    row = np.where(rng.random(len(of)) < STRAY, world.intents, intent[of])
    item = np.empty(len(of), np.int64)
    for one in np.unique(row):
        mine = np.flatnonzero(row == one)
        item[mine] = np.searchsorted(cumulated[one], rng.random(len(mine)), "right")
    item = np.minimum(item, world.items - 1)
    step = rng.exponential(40_000_000, len(of)).astype(np.int64).cumsum()
    first = np.searchsorted(of, np.arange(count))
    time = begin[of] + step - step[first][of]
    action = rng.choice(len(ACTIONS), len(of), p=ACTION_SHARES)
    order = np.argsort(time, kind="stable")
    user, item, time, action = user[of][order], item[order] + 1, time[order], action[order]
    bought = np.flatnonzero((action == 4) & (rng.random(len(of)) < 0.4))
    _write_tracker(raw, rng, (item, user, time, action), world.days)
    _write_orders(raw, rng, (item[bought], user[bought], time[bought]), world.days)
    return len(item) + len(bought)


def _stamps(time: np.ndarray, days: int) -> pa.Array:
    """Microseconds since the start; what would be past the last day is of its last second."""
    since = int((START - datetime(1970, 1, 1)) / timedelta(microseconds=1))
    return pa.array(np.minimum(time, days * DAY_US - 1) + since).cast(pa.timestamp("us"))


def _write_tracker(
    raw: Path, rng: np.random.Generator, rows: tuple[np.ndarray, ...], days: int
) -> None:
    item, user, time, action = rows
    widget = pa.array(WIDGETS).take(pa.array(rng.integers(0, 3, len(item))))
    columns = [pa.array(item), pa.array(user), _stamps(time, days),
               pa.array(ACTIONS).take(pa.array(action)), widget]  # fmt: skip
    table = pa.Table.from_arrays(columns, schema=TRACKER)
    (raw / "tracker").mkdir()
    for part, start in enumerate(range(0, len(item), PART_ROWS)):
        some = table.slice(start, PART_ROWS)
        pq.write_table(some, raw / f"tracker/part-{part}.parquet")


def _write_orders(
    raw: Path, rng: np.random.Generator, rows: tuple[np.ndarray, ...], days: int
) -> None:
    item, user, time = rows
    status = rng.choice(3, len(item), p=(0.85, 0.1, 0.05))
    later = time + (rng.random(len(item)) * 3 * DAY_US).astype(np.int64)
    columns = [pa.array(item), pa.array(user), _stamps(time, days),
               pa.array(STATUSES).take(pa.array(status)), _stamps(later, days)]  # fmt: skip
    (raw / "orders").mkdir()
    table = pa.Table.from_arrays(columns, schema=ORDERS)
    pq.write_table(table, raw / "orders/part-0.parquet")
