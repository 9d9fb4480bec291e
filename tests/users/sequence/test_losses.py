"""Losses and their gradients, by hand and against automatic ones."""

import math

import pytest
import torch

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.losses import Gbce, Pairwise, Softmax, loss_of

NONE = -math.inf
ONE = torch.ones(1, 1)


def value(loss, target, negative, weight=ONE):
    found = loss(torch.tensor(target), torch.tensor(negative), weight)
    return found.values.sum().item()


def test_softmax_by_hand():
    # exp: target 2, negatives 1 and 5, one is none: -log(2 / (2 + 1 + 5)).
    scores = [[math.log(1.0), math.log(5.0), NONE]]
    assert value(Softmax(), [[math.log(2.0)]], scores) == pytest.approx(math.log(4))


def test_gbce_by_hand():
    # share 1/2, t = 1: beta = 1/2 (1 (1 - 2) + 2) = 1/2. softplus(0) = log 2.
    loss = Gbce(share=0.5, calibration=1.0)
    assert loss.beta == pytest.approx(0.5)
    expected = (0.5 * math.log(2) + 2 * math.log(2)) / 3
    assert value(loss, [[0.0]], [[0.0, 0.0, NONE]]) == pytest.approx(expected)
    assert Gbce(share=0.5, calibration=0.0).beta == pytest.approx(1.0)  # plain cross-entropy


def test_pairwise_by_hand():
    # Differences 0 and log 3: (log 2 + log 4) / 2.
    scores = [[1.0, 1.0 + math.log(3), NONE]]
    assert value(Pairwise(), [[1.0]], scores) == pytest.approx(1.5 * math.log(2))


def plain_softmax(target, negative):
    every = torch.cat([target[:, :, None], negative[:, None].expand(-1, target.shape[1], -1)], 2)
    return torch.logsumexp(every, dim=2) - target


def plain_gbce(target, negative):
    loss, sigmoid = Gbce(0.25, 0.75), torch.sigmoid
    number = (negative > NONE).sum(dim=1, keepdim=True)
    wrong = torch.log(1 - sigmoid(negative)).sum(dim=1, keepdim=True)
    return -(torch.log(sigmoid(target) ** loss.beta) + wrong) / (number + 1)


def plain_pairwise(target, negative):
    number = (negative > NONE).sum(dim=1, keepdim=True)
    return -torch.log(torch.sigmoid(target[:, :, None] - negative[:, None])).sum(dim=2) / number


@pytest.mark.parametrize(
    ("loss", "plain"),
    [(Softmax(), plain_softmax), (Gbce(0.25, 0.75), plain_gbce), (Pairwise(), plain_pairwise)],
    ids=["softmax", "gbce", "pairwise"],
)
def test_written_gradients_are_the_automatic_ones(loss, plain):
    chance = torch.Generator().manual_seed(0)
    target = torch.randn(4, 3, generator=chance, dtype=torch.float64).requires_grad_()
    negative = torch.randn(4, 6, generator=chance, dtype=torch.float64)
    negative[0, 2] = negative[3, 0] = NONE
    negative.requires_grad_()
    weight = torch.rand(4, 3, generator=chance, dtype=torch.float64)
    expected = plain(target, negative) * weight
    by_target, by_negative = torch.autograd.grad(expected.sum(), [target, negative])
    found = loss(target.detach(), negative.detach().clone(), weight)
    assert torch.allclose(found.values, expected.detach())
    assert torch.allclose(found.by_target, by_target)
    assert torch.allclose(found.by_negative, by_negative)


@pytest.mark.parametrize("loss", [Softmax(), Gbce(0.5), Pairwise()])
def test_a_position_without_negatives_is_finite(loss):
    found = loss(torch.tensor([[2.0]]), torch.full((1, 3), NONE), ONE)
    assert all(each.isfinite().all() for each in found)
    assert (found.by_negative == 0).all()


def test_settings_name_the_loss():
    assert loss_of(SequenceSettings(loss="softmax"), 101, 20) == Softmax()
    assert loss_of(SequenceSettings(loss="pairwise"), 101, 20) == Pairwise()
    assert loss_of(SequenceSettings(loss="gbce", calibration=0.5), 101, 20) == Gbce(0.2, 0.5)
