"""The spectral start: relation matrices and PPMI by hand, the factorisation of a known matrix."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

from itememb_core.items.training import start
from itememb_core.items.training.data import Bags, Pairs
from itememb_core.items.training.start import (
    SMOOTHING,
    bags_over,
    bridge_matrix,
    ppmi,
    spectral_vectors,
    start_vectors,
    within_matrix,
)
from itememb_core.progress import silent
from itememb_core.settings import ItemModelSettings, Settings
from itememb_dagster.assets.items import _record
from itememb_dagster.factory.stage import StageContext
from tests.items.training.test_fit import WORLD
from tests.worlds.peak import STATUS, peak_mib


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


def few_bags():
    # Window 0: user 0 has {0, 1} in channel 0 and {2} in channel 1, item 0 twice; user 1 has {0}
    # and {2, 0}: the pair (0, 0) is one node. Window 1: user 0 has {1} and {2}.
    rows = [(0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 3, 1), (0, 0, 31, 1), (0, 1, 5, 0),
            (1, 0, 9, 2), (1, 0, 40, 2), (1, 1, 5, 0), (1, 1, 6, 2)]  # fmt: skip
    channel, user, day, node = np.array(sorted(rows), np.int32).T
    return Bags(user, day, channel.astype(np.int8), node)


def test_bridge_by_hand():
    found = bridge_matrix(few_bags(), (0, 1), ItemModelSettings(), 3).toarray()
    root = 1 / math.sqrt(2)
    expected = np.zeros((3, 3))
    expected[0, 2] = 2 * root
    expected[1, 2] = root + 1
    assert found == pytest.approx(expected, abs=1e-6)
    assert bags_over(few_bags(), ItemModelSettings()) == {}


def test_a_bag_over_the_cap_makes_no_pair_and_is_counted():
    # Two bags have two items: user 0 in channel 0 (one of them twice) and user 1 in channel 1.
    one = ItemModelSettings(bag_cap=1)
    found = bridge_matrix(few_bags(), (0, 1), one, 3)
    assert found.toarray().tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert found.nnz == 1
    assert bags_over(few_bags(), one) == {"bags capped": 2, "items cut": 4}
    assert bags_over(few_bags(), ItemModelSettings(bag_cap=2)) == {}
    assert bags_over(few_bags(), ItemModelSettings(bag_cap=1, bridge=False)) == {}


def test_a_fit_shows_what_its_cap_cut():
    settings = Settings(item_model=ItemModelSettings(bag_cap=1))
    ctx = StageContext(settings, (), None, None, None, None, silent)
    facts = {"steps": 1, "shares": {}, "reason": None}
    model = SimpleNamespace(facts=facts, picture=b"")
    _record(ctx, model, SimpleNamespace(training_bags=few_bags()))
    assert (ctx.metadata["bags capped"], ctx.metadata["items cut"]) == (2, 4)


@pytest.mark.parametrize("block", [1, 7])
def test_ppmi_by_part_is_that_of_the_whole(block, monkeypatch):
    rng = np.random.default_rng(0)
    matrix = csr_array(rng.random((20, 20), np.float32) * (rng.random((20, 20)) < 0.3))
    whole = ppmi(matrix)
    monkeypatch.setattr(start, "BLOCK", block)
    found = ppmi(matrix)
    assert (found.toarray() == whole.toarray()).all()
    assert 0 < found.nnz == whole.nnz


WIDE = """
import numpy as np
from itememb_core.items.training.data import Bags
from itememb_core.items.training.start import bridge_matrix, ppmi
from itememb_core.settings import ItemModelSettings
import scipy.sparse
node = np.arange(104_000, dtype=np.int32)  # one user's day: 100,000 items here, 4,000 there
channel = (node >= 100_000).astype(np.int8)
bags = Bags(np.zeros(len(node), np.int32), np.zeros(len(node), np.int32), channel, node)
"""


@pytest.mark.skipif(not STATUS.exists(), reason="the system has no such file")
def test_a_bag_of_100_000_items_has_no_spectral_start():
    work = "kept = ppmi(bridge_matrix(bags, (0, 1), ItemModelSettings(), len(node)))"
    assert peak_mib(WIDE, work) < 50  # its 400 million pairs would be 3 GB


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
