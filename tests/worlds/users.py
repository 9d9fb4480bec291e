"""Small histories for the tests of the user stages."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from itememb_core.schemas import USER_HISTORIES
from itememb_core.settings import UserModelSettings
from itememb_core.users.items import item_space
from itememb_core.users.shards import pack_histories
from itememb_core.users.training.fit import fit_user_model
from tests.worlds.links import embeddings_table, unit, vocabulary_table

START = datetime(2024, 1, 1)  # a Monday

SMALL = UserModelSettings(
    dim=8, hidden=8, item_hidden=16, id_dim=4, window=10, stride=8, negatives=16, own_negatives=4,
    targets=2, batch_size=8, max_epochs=2, workers=0,
)  # fmt: skip


def items_of(ids, *, links=None, counts=None, seed=0, dim=6, sides=None):
    """Random unit vectors; the domain is that of the prefix, counts are retail's."""
    kinds = {"fmcg": "retail", "nfmcg": "marketplace", "offer": "offers"}
    domains = [kinds.get(item.split("_")[0], "receipt") for item in ids]
    sides = sides or ["all"] * len(ids)
    counts = counts or [1] * len(ids)
    rows = [
        (item, side, domain, 0, count, 0, 0)
        for item, side, domain, count in zip(ids, sides, domains, counts, strict=True)
    ]
    values = unit(np.random.default_rng(seed).normal(size=(len(ids), dim)))
    vectors = embeddings_table(values, ids, sides=sides, domains=domains)
    return item_space(vocabulary_table(rows), vectors, links)


def histories(rows):
    """``schemas.USER_HISTORIES`` from (user, hours since START, item[, channel]), in time order."""
    position, table = {}, []
    for user, hours, item, *channel in rows:
        place = position[user] = position.get(user, -1) + 1
        opaque = not item.startswith(("fmcg_", "nfmcg_", "offer_"))
        table.append(
            {
                "user_id": user,
                "position": place,
                "timestamp": START + timedelta(hours=hours),
                "channel": channel[0] if channel else ("receipts" if opaque else "retail"),
                "item_id": item,
                "action": "purchase" if opaque else "order",
                "strength": 8,
                "shard": 0,
            }
        )
    return pa.Table.from_pylist(table, schema=USER_HISTORIES)


def pack(tmp_path, rows, items):
    """One shard of these rows."""
    return pack_histories([histories(rows)], items, tmp_path)


def habits(users=40, weeks=12, favourites=3, n_items=30, seed=0):
    """Each week a user buys one or two of his own few items, seldom another."""
    rng = np.random.default_rng(seed)
    ids = [f"fmcg_{number:02d}" for number in range(n_items)] + ["opaque"]
    rows = []
    for user in range(users):
        own = rng.choice(n_items, favourites, replace=False)
        for week in range(weeks):
            for _ in range(2):
                item = rng.choice(own) if rng.random() < 0.8 else rng.integers(n_items)
                rows.append((user, 168 * week + user % 24, ids[item]))
            rows.append((user, 168 * week + user % 24, "opaque"))
    return ids, rows


def fitted(tmp_path, *, settings=SMALL, rows=None, ids=None, seed=0, epochs=None):
    """A model on :func:`habits` or on ``rows``: (model, packed, items)."""
    if rows is None:
        ids, rows = habits()
    items = items_of(ids)
    packed = pack(tmp_path, rows, items)
    return fit_user_model(packed, items, settings, seed=seed, epochs=epochs), packed, items
