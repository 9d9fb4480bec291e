"""Items whose features tell where behaviour puts them, some of them without interactions."""

import numpy as np

from itememb_core.features.cold.fit import FeatureData
from itememb_core.features.cold.inputs import NodeInputs, Paths
from itememb_core.features.cold.network import Behaviour
from itememb_core.items.training.data import Pairs
from itememb_core.settings import FeatureModelSettings

DIM = 8
SETTINGS = FeatureModelSettings(steps=300, batch_size=64, hidden=32, category_dim=8, likeness_dim=6)


def feature_world(items=400, cold=40, groups=8, seed=0) -> FeatureData:
    """Items whose group, which features and categories tell, is all of their behaviour."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, items)
    axes = np.eye(DIM, dtype=np.float32)[:groups]
    values = axes[group] + 0.2 * rng.normal(size=(items, DIM)).astype(np.float32)
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    own = Behaviour(unit, 5 * unit, np.full(items, -5.0, np.float32))
    counts = np.zeros((items, 4), np.int64)
    counts[: items - cold, 1] = 30
    features = np.eye(groups, dtype=np.float32)[group]
    features += 0.3 * rng.normal(size=features.shape).astype(np.float32)
    names = ["retail", *(f"retail\x1f{number}" for number in range(groups))]
    parent = np.array([-1, *[0] * groups])
    # Half of the categories say nothing: their items have the domain alone.
    paths = Paths(names, parent, np.where(group % 2, group + 1, 0))
    inputs = NodeInputs(features, np.ones((items, 1), bool), {"attributes": groups}, paths)
    warm = np.arange(items - cold)
    a, b = rng.choice(warm, (2, 20_000))
    same = (group[a] == group[b]) & (a != b)
    a, b = a[same], b[same]
    pairs = Pairs(
        a.astype(np.int32), b.astype(np.int32), np.ones(len(a), np.int8),
        np.ones(len(a), np.float32),
    )  # fmt: skip
    none = Pairs(*(each[:0] for each in (pairs.a, pairs.b, pairs.channel, pairs.weight)))
    catalog = np.ones(items, bool)
    domain, matches = np.zeros(items, np.int64), np.empty((0, 2), np.int64)
    return FeatureData(own, counts, catalog, domain, inputs, pairs, none, matches)
