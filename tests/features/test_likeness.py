"""What is alike: conditional means, the space, hubness."""

import numpy as np

from itememb_core.features.likeness.imputation import Parts, filled, fit_normal
from itememb_core.features.likeness.measures import hubness, label_agreement, mean_likeness
from itememb_core.features.likeness.space import LikenessSpace


def linked(rows=4000, seed=0) -> Parts:
    """Two blocks of one column, the second twice the first and a little noise."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=rows)
    second = 2 * first + 0.1 * rng.normal(size=rows) + 3
    values = np.stack([first, second], axis=1).astype(np.float32)
    return Parts(values, np.ones((rows, 2), bool), (1, 1))


def test_a_block_that_lacks_is_its_conditional_mean():
    parts = linked()
    hidden = parts.without(np.arange(4000) < 10, [1])
    assert not hidden.known[:10, 1].any()
    assert hidden.values[0, 1] == 0
    assert parts.values[0, 1] != 0
    found = filled(hidden, fit_normal(hidden), [1])[:, 0]
    assert np.allclose(found[:10], 2 * parts.values[:10, 0], atol=0.1)
    mean = hidden.values[10:, 1].mean()
    assert np.allclose(found[10:], parts.values[10:, 1] - mean, atol=1e-5)


def test_nothing_known_lies_in_the_middle():
    parts = linked().without(np.arange(4000) < 5, [0, 1])
    assert not filled(parts, fit_normal(parts), [1])[:5].any()


def test_covariances_are_those_of_rows_that_have_both():
    parts = linked()
    expected = np.cov(parts.values.T, bias=True)
    found = fit_normal(parts).covariance
    assert np.allclose(found - np.diag(np.diag(found)), expected - np.diag(np.diag(expected)), 1e-3)


def test_unit_vectors_and_zeros_where_nothing_tells():
    parts = linked()
    three = Parts(
        np.concatenate(
            [parts.values[:, :1], np.ones((4000, 1), np.float32), parts.values[:, 1:]], 1
        ),
        np.ones((4000, 3), bool),
        (1, 1, 1),
    ).without(np.arange(4000) < 3, [0, 1, 2])
    space = LikenessSpace(fit_normal(three), np.ones((1, 1), np.float32), 1.0)
    found = space.transform(three)
    assert not found[:3].any()
    assert np.allclose(np.abs(found[3:]), 1)


def test_a_hub_is_skew_and_a_ring_is_none():
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    even = hubness(ring, np.arange(100))
    assert (even.skew, even.most, even.never) == (0.0, 10, 0.0)
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(300, 40)).astype(np.float32)
    crowd[:, 0] += np.linspace(0, 6, 300, dtype=np.float32) ** 1.5
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    assert hubness(crowd, np.arange(300)).skew > even.skew + 0.5
    assert hubness(ring, np.arange(1)) == (0.0, 0, 0.0)


def test_agreement_and_likeness_count_the_ten_nearest_but_itself():
    angles = np.concatenate([np.linspace(0, 0.1, 11), np.linspace(2, 2.1, 11)])
    values = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.repeat([0, 1], 11)
    every = np.arange(22)
    assert label_agreement(values, labels, every, every).tolist() == [1.0] * 22
    mixed = labels.copy()
    mixed[0] = 1
    assert label_agreement(values, mixed, np.array([0, 1]), every).tolist() == [0.0, 0.9]
    assert np.allclose(mean_likeness(values, values, np.array([5]), every), 1, atol=0.01)
