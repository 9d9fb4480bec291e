"""Losses against hand-computed values, hand-written gradients against autograd."""

import math

import numpy as np
import pytest
import torch

from itememb_core.model.losses import goes_with, info_nce, normalise, normalise_backward
from itememb_core.model.optimizer import RowAdagrad
from itememb_core.model.relations import _matches

NONE = torch.empty(0, dtype=torch.int64)


def test_info_nce_by_hand():
    # cosines [[1, 0], [0.6, 0.8]], temperature 0.5; the second pair is drawn twice as often.
    a = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    b = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weight = torch.tensor([1.0, 0.5])
    found = info_nce(a, b, weight_a=weight, weight_b=weight, hits=NONE, temperature=0.5, half=False)
    e = [[math.exp(2.0), 1.0], [math.exp(1.2), math.exp(1.6)]]
    rows = [e[0][0] / (e[0][0] + 0.5 * e[0][1]), 0.5 * e[1][1] / (e[1][0] + 0.5 * e[1][1])]
    columns = [e[0][0] / (e[0][0] + 0.5 * e[1][0]), 0.5 * e[1][1] / (e[0][1] + 0.5 * e[1][1])]
    expected = -sum(math.log(p) for p in rows + columns) / 4
    assert found.loss == pytest.approx(expected, abs=1e-6)


def test_a_masked_cell_takes_no_part():
    a = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    b = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    ones = torch.ones(2)
    found = info_nce(
        a, b, weight_a=ones, weight_b=ones, hits=torch.tensor([1, 2]), temperature=0.5, half=False
    )
    assert found.loss == pytest.approx(0.0, abs=1e-6)
    assert found.a.abs().max().item() == pytest.approx(0.0, abs=1e-6)


def test_goes_with_by_hand():
    query = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    candidate = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    bias, weight = torch.tensor([0.5, -0.5]), torch.tensor([1.0, 4.0])
    found = goes_with(query, candidate, bias, weight=weight, hits=NONE, half=False)
    first = [math.exp(2.5), 4 * math.exp(-0.5)]
    second = [math.exp(0.5), 4 * math.exp(0.5)]
    expected = -(math.log(first[0] / sum(first)) + math.log(second[1] / sum(second))) / 2
    assert found.loss == pytest.approx(expected, abs=1e-6)


def random_batch(batch: int = 24, dim: int = 8) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    return {
        "a": normalise(rand(batch, dim))[0],
        "b": normalise(rand(batch, dim))[0],
        "wa": rand(batch).exp(),
        "wb": rand(batch).exp(),
        "bias": rand(batch),
        "hits": torch.tensor([1, 5, 2 * batch + 7, 9 * batch]),
    }


def reference_logits(scores: torch.Tensor, hits: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(scores.numel())
    mask[hits] = -torch.inf
    return scores + mask.view_as(scores)


def test_info_nce_gradients_equal_autograd():
    x = random_batch()
    a, b = x["a"].clone().requires_grad_(), x["b"].clone().requires_grad_()
    s = reference_logits(a @ b.T / 0.1, x["hits"])
    rows = torch.log_softmax(s + x["wb"].log(), dim=1).diagonal()
    columns = torch.log_softmax(s.T + x["wa"].log(), dim=1).diagonal()
    loss = -(rows + columns).mean() / 2
    loss.backward()
    found = info_nce(
        x["a"], x["b"], weight_a=x["wa"], weight_b=x["wb"], hits=x["hits"],
        temperature=0.1, half=False,
    )  # fmt: skip
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(found.a, a.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.b, b.grad, atol=1e-5, rtol=0)


def test_goes_with_gradients_equal_autograd():
    x = random_batch()
    query = (3 * x["a"]).requires_grad_()
    candidate, bias = x["b"].clone().requires_grad_(), x["bias"].clone().requires_grad_()
    s = reference_logits(query @ candidate.T, x["hits"]) + bias + x["wb"].log()
    loss = -torch.log_softmax(s, dim=1).diagonal().mean()
    loss.backward()
    found = goes_with(query.detach(), x["b"], x["bias"], weight=x["wb"], hits=x["hits"], half=False)
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(found.a, query.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.b, candidate.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.bias, bias.grad, atol=1e-5, rtol=0)


def test_normalise_backward_equals_autograd():
    rows = torch.tensor([[3.0, 4.0], [0.1, -0.2]], requires_grad=True)
    upstream = torch.tensor([[1.0, -2.0], [0.5, 0.25]])
    unit, lengths = normalise(rows)
    unit.backward(upstream)
    assert lengths[0, 0].item() == pytest.approx(5.0)
    found = normalise_backward(upstream, unit.detach(), lengths.detach())
    torch.testing.assert_close(found, rows.grad)


def test_bfloat16_products_stay_close():
    x = random_batch()
    exact, low = (
        info_nce(
            x["a"], x["b"], weight_a=x["wa"], weight_b=x["wb"], hits=x["hits"],
            temperature=0.1, half=half,
        )
        for half in (False, True)
    )  # fmt: skip
    assert low.loss == pytest.approx(exact.loss, abs=0.05)
    assert torch.nn.functional.cosine_similarity(low.a, exact.a).min() > 0.98


def test_hits_are_the_equal_ids_off_the_diagonal():
    x, y = np.array([4, 7, 4, 9]), np.array([7, 7, 1, 4])
    expected = [i * 4 + j for i in range(4) for j in range(4) if x[i] == y[j] and i != j]
    assert sorted(_matches(x, y)) == expected


def test_row_adagrad_by_hand():
    table = torch.zeros(3, 2)
    step = RowAdagrad(table)
    # Row 1 occurs twice: its gradients add up to (3, 1), mean square 5.
    step.step(torch.tensor([1, 1]), torch.tensor([[1.0, 1.0], [2.0, 0.0]]), 0.1)
    first = -0.1 / math.sqrt(5) * torch.tensor([3.0, 1.0])
    torch.testing.assert_close(table[1], first)
    # Then mean square 2 on top: the sum is 7.
    step.step(torch.tensor([1]), torch.tensor([[2.0, 0.0]]), 0.1)
    torch.testing.assert_close(table[1], first - 0.1 / math.sqrt(7) * torch.tensor([2.0, 0.0]))
    assert table[[0, 2]].abs().max() == 0
