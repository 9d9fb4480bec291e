"""Losses against hand-computed values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itememb_core.users.training.losses import pairwise_logistic, sampled_softmax

NONE = -math.inf


def test_softmax_by_hand():
    # exp: target 2; draws 1 with weight 3, and 4 with weight 0.5: -log(2 / (2 + 3 + 2)).
    loss = sampled_softmax(
        torch.tensor([[2.0]]).log(),
        torch.tensor([[1.0, 4.0]]).log(),
        torch.tensor([[3.0, 0.5]]).log(),
        torch.full((1, 1, 1), NONE),
        torch.ones(1, 1),
    )
    assert float(loss) == pytest.approx(math.log(7 / 2), rel=1e-5)


def test_a_draw_that_is_the_target_counts_once():
    # The same with a third draw, the target itself, of weight 5: it changes nothing.
    target = torch.tensor([[2.0]]).log()
    hit = torch.tensor([[[math.log(10.0)]]])
    loss = sampled_softmax(
        target,
        torch.tensor([[1.0, 4.0, 2.0]]).log(),
        torch.tensor([[3.0, 0.5, 5.0]]).log(),
        hit,
        torch.ones(1, 1),
    )
    assert float(loss) == pytest.approx(math.log(7 / 2), rel=1e-5)


def test_masked_draws_and_targets_have_no_weight():
    scores = torch.tensor([[0.0, 7.0]])
    loss = sampled_softmax(
        torch.tensor([[1.0, 5.0]]),
        scores,
        torch.tensor([[0.0, NONE]]),
        torch.full((1, 2, 1), NONE),
        torch.tensor([[1.0, 0.0]]),
    )
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 12))
def test_all_items_once_are_the_whole_softmax(seed, n):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(size=(1, n)), requires_grad=True)
    own = int(rng.integers(n))
    hit = scores[:, own].view(1, 1, 1)
    zeros = torch.zeros(1, n, dtype=torch.float64)
    loss = sampled_softmax(scores[:, own : own + 1], scores, zeros, hit, torch.ones(1, 1))
    plain = torch.nn.functional.cross_entropy(scores, torch.tensor([own]))
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    (ours,) = torch.autograd.grad(loss, scores, retain_graph=True)
    (theirs,) = torch.autograd.grad(plain, scores)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_pairwise_by_hand():
    # log(1 + exp(s - t)) of t = 1 against s = 0 and s = 3; the third draw does not count.
    loss = pairwise_logistic(
        torch.tensor([[1.0]]),
        torch.tensor([[0.0, 3.0, 9.0]]),
        torch.tensor([[[True, True, False]]]),
        torch.ones(1, 1),
    )
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
