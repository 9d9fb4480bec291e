"""Negatives: their chances, and weights that make sums right on average."""

import numpy as np
import pytest

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.negatives import (
    All,
    InBatch,
    Popularity,
    Uniform,
    shared_negatives,
    sources_of,
)

SHARE = np.array([0.5, 0.3, 0.1, 0.1, 0.0])
MIXES = {
    "uniform": (Uniform(5, 4),),
    "uniform and popular": (Uniform(5, 2), Popularity(SHARE, 3)),
    "uniform and in batch": (Uniform(5, 2), InBatch(SHARE, 3)),
    "all": (All(5),),
}


@pytest.mark.parametrize("name", MIXES)
def test_weighted_draws_sum_to_all_items_on_average(name):
    values, total = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), []
    for seed in range(4000):
        rng = np.random.default_rng(seed)
        batch = rng.choice(5, 50, p=SHARE)
        items, log_weight = shared_negatives(MIXES[name], batch, rng)
        assert (np.diff(items) > 0).all()
        total.append((np.exp(log_weight) * values[items]).sum())
    error = np.std(total) / np.sqrt(len(total))
    assert np.mean(total) == pytest.approx(31.0, abs=4 * error + 1e-5)


def test_in_batch_draws_are_targets_of_the_batch():
    items, _ = shared_negatives((InBatch(SHARE, 50),), np.array([1, 3]), np.random.default_rng(0))
    assert items.tolist() == [1, 3]


def test_settings_name_the_sources():
    users, predicted = np.arange(1, 5001), np.ones(5000, np.int64)

    def made(**settings):
        settings = SequenceSettings(negatives=100, **settings)
        return [(type(s).__name__, s.draws) for s in sources_of(settings, users, predicted)]

    assert made() == [("Uniform", 100)]
    assert made(popularity_share=0.5, in_batch_share=0.25) == [
        ("Uniform", 25), ("Popularity", 50), ("InBatch", 25),
    ]  # fmt: skip
    assert made(popularity_share=1.0, in_batch_share=1.0) == [("Popularity", 100)]
    settings = SequenceSettings(all_up_to=5000)
    assert sources_of(settings, users, predicted) == (All(5000),)
    # As many draws as there are targets would be no fewer than all of them.
    assert sources_of(SequenceSettings(all_up_to=0, negatives=5000), users, predicted) == (
        All(5000),
    )
