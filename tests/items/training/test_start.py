"""The spectral start: relation matrices and PPMI by hand, the factorisation of a known matrix."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from itememb_core.items.training.data import Bags, Pairs
from itememb_core.items.training.start import (
    SMOOTHING,
    bridge_matrix,
    ppmi,
    spectral_vectors,
    start_vectors,
    within_matrix,
)
from itememb_core.settings import ItemModelSettings
from tests.items.training.test_fit import WORLD


def test_ppmi_by_hand():
    matrix = csr_array(np.array([[4.0, 1.0], [1.0, 2.0]], np.float32))
    smooth = np.array([5.0, 3.0]) ** SMOOTHING
    smooth /= smooth.sum()
    share = np.array([5.0, 3.0]) / 8
    expected = {
        (i, j): math.log(value / 8 / (share[i] * smooth[j]))
        for (i, j), value in {(0, 0): 4, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items()
    }
    found = ppmi(matrix)
    dense = found.toarray()
    for (i, j), value in expected.items():
        assert dense[i, j] == pytest.approx(max(value, 0), abs=1e-6)
    assert dense[0, 1] == 0
    assert found.nnz == 2


def test_bridge_by_hand():
    # Window 0: user 0 has {0, 1} in channel 0 and {2} in channel 1, item 0 twice; user 1 has {0}
    # and {2, 0}: the pair (0, 0) is one node. Window 1: user 0 has {1} and {2}.
    rows = [(0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 3, 1), (0, 0, 31, 1), (0, 1, 5, 0),
            (1, 0, 9, 2), (1, 0, 40, 2), (1, 1, 5, 0), (1, 1, 6, 2)]  # fmt: skip
    channel, user, day, node = np.array(sorted(rows), np.int32).T
    bags = Bags(user, day, channel.astype(np.int8), node)
    found = bridge_matrix(bags, (0, 1), 30, 3).toarray()
    root = 1 / math.sqrt(2)
    expected = np.zeros((3, 3))
    expected[0, 2] = 2 * root
    expected[1, 2] = root + 1
    assert found == pytest.approx(expected, abs=1e-6)


def test_within_is_symmetric_and_sums_repeats():
    pairs = Pairs(
        np.array([0, 0, 1], np.int32),
        np.array([1, 1, 2], np.int32),
        np.array([0, 0, 1], np.int8),
        np.array([1.0, 2.0, 9.0], np.float32),
    )
    found = within_matrix(pairs, 0, 3).toarray()
    assert found.tolist() == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]


def test_a_low_rank_matrix_is_found_again():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((60, 4)).astype(np.float32)
    vectors = spectral_vectors(csr_array(factor @ factor.T), 8, seed=1)
    assert vectors.shape == (60, 8)
    assert vectors @ vectors.T == pytest.approx(factor @ factor.T, abs=1e-3)


def test_more_components_than_nodes_leave_zeros():
    vectors = spectral_vectors(csr_array(np.eye(3, dtype=np.float32)), 5, seed=1)
    assert vectors[:, 3:].tolist() == [[0, 0]] * 3


def test_start_vectors_have_unit_norm_and_a_seed():
    settings = ItemModelSettings(dim=16)
    found = start_vectors(WORLD, settings, 0)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (found == start_vectors(WORLD, settings, 0)).all()
    random = start_vectors(WORLD, settings.model_copy(update={"start": "random"}), 0)
    assert np.abs(found - random).max() > 0.1
