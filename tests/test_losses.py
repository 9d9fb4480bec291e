"""The loss against hand-computed values, hand-written gradients against autograd."""

import math

import pytest
import torch

from itememb_core.model.losses import info_nce, normalise, normalise_backward
from itememb_core.model.optimizer import RowAdagrad

NONE = torch.empty(0, dtype=torch.int64)
TEMPERATURE = 0.1


def test_info_nce_by_hand():
    # scores [[2, 0], [1.2, 1.6]]; the second candidate is drawn four times less often.
    query = torch.tensor([[2.0, 0.0], [1.2, 1.6]])
    candidate = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = info_nce(query, candidate, torch.tensor([1.0, 4.0]), NONE)
    first = [math.exp(2.0), 4 * math.exp(0.0)]
    second = [math.exp(1.2), 4 * math.exp(1.6)]
    expected = -(math.log(first[0] / sum(first)) + math.log(second[1] / sum(second))) / 2
    assert found.loss == pytest.approx(expected, abs=1e-6)
    assert found.bias is None


def test_a_masked_cell_takes_no_part():
    query = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    candidate = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = info_nce(query, candidate, torch.ones(2), torch.tensor([1, 2]))
    assert found.loss == pytest.approx(0.0, abs=1e-6)
    assert found.query.abs().max().item() == pytest.approx(0.0, abs=1e-6)


def random_batch(batch: int = 24, dim: int = 8) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    return {
        "query": normalise(rand(batch, dim))[0] / TEMPERATURE,
        "candidate": normalise(rand(batch, dim))[0],
        "bias": rand(batch),
        "weight": rand(batch).exp(),
        "hits": torch.tensor([1, 5, 2 * batch + 7, 9 * batch]),
    }


def test_gradients_equal_autograd():
    x = random_batch()
    query, candidate, bias = (x[n].clone().requires_grad_() for n in ("query", "candidate", "bias"))
    mask = torch.zeros(len(query) ** 2)
    mask[x["hits"]] = -torch.inf
    s = query @ candidate.T + mask.view(len(query), -1) + bias + x["weight"].log()
    loss = -torch.log_softmax(s, dim=1).diagonal().mean()
    loss.backward()
    weight = x["bias"].exp() * x["weight"]
    found = info_nce(x["query"], x["candidate"], weight, x["hits"], bias=True)
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(found.query, query.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.candidate, candidate.grad, atol=1e-5, rtol=0)
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
        info_nce(x["query"].to(kind), x["candidate"].to(kind), x["weight"], x["hits"])
        for kind in (torch.float32, torch.bfloat16)
    )
    assert low.loss == pytest.approx(exact.loss, abs=0.05)
    assert low.query.dtype == low.candidate.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(low.query, exact.query).min() > 0.98


def test_row_adagrad_by_hand():
    table = torch.zeros(3, 2)
    step = RowAdagrad(table)
    # Row 1 has mean square 5; row 2 is touched by nothing.
    step.step(torch.tensor([1, 2]), torch.tensor([[3.0, 1.0], [0.0, 0.0]]), 0.1)
    first = -0.1 / math.sqrt(5) * torch.tensor([3.0, 1.0])
    torch.testing.assert_close(table[1], first)
    # Then mean square 2 on top: the sum is 7.
    step.step(torch.tensor([1]), torch.tensor([[2.0, 0.0]]), 0.1)
    torch.testing.assert_close(table[1], first - 0.1 / math.sqrt(7) * torch.tensor([2.0, 0.0]))
    assert table[[0, 2]].abs().max() == 0
