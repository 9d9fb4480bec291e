"""A tiny world for the fit: each product has a node on receipts and one in retail."""

import hashlib
from dataclasses import replace

import numpy as np

from itememb_core.items.model import ItemModel
from itememb_core.items.training.data import Bags, Pairs, TrainingData
from itememb_core.settings import ItemModelSettings

PRODUCTS, USERS, DAYS = 40, 150, 60
SETTINGS = ItemModelSettings(
    dim=16, batch_size=64, negatives=48, uniform_negatives=8, max_steps=500, bridge_share=0.7
)


def two_channel_world(seed: int = 0) -> TrainingData:
    """Products with a receipts node p and a retail node PRODUCTS + p; users repeat a few."""
    rng = np.random.default_rng(seed)
    taste = np.stack([rng.choice(PRODUCTS, 4, replace=False) for _ in range(USERS)])
    rows, a, b, channel = set(), [], [], []
    for user, day in ((u, d) for u in range(USERS) for d in range(0, DAYS, 6)):
        for side in (0, 1):
            basket = sorted({side * PRODUCTS + int(p) for p in rng.choice(taste[user], 3)})
            rows |= {(side, user, day, node) for node in basket}
            for i, first in enumerate(basket):
                for second in basket[i + 1 :]:
                    a.append(first)
                    b.append(second)
                    channel.append(side)
    code, user_of, day_of, node = np.array(sorted(rows), np.int32).T
    counts = np.zeros((2 * PRODUCTS, 4), np.int64)
    np.add.at(counts, (node, code), 1)
    weight = np.ones(len(a), np.float32)
    late = rng.random(len(a)) < 0.1
    ends = np.array(a, np.int32), np.array(b, np.int32), np.array(channel, np.int8), weight
    return TrainingData(
        counts=counts,
        pairs=Pairs(*(x[~late] for x in ends)),
        bags=Bags(user_of, day_of, code.astype(np.int8), node),
        validation_pairs=Pairs(*(x[late] for x in ends)),
        validation_from=DAYS - 6,
    )


WORLD = two_channel_world()


def digest(model: ItemModel) -> str:
    """Return the SHA-256 of a model's tables and history."""
    tables = (model.embedding, model.context, model.bias)
    parts = b"".join(table.tobytes() for table in tables)
    return hashlib.sha256(parts + repr(model.history.to_pylist()).encode()).hexdigest()


def final(data: TrainingData) -> TrainingData:
    """The same without a validation slice, as the final fit has it."""
    empty = data.validation_pairs
    none = Pairs(empty.a[:0], empty.b[:0], empty.channel[:0], empty.weight[:0])
    return replace(data, validation_from=None, validation_pairs=none)
