"""The loss against hand-computed values, hand-written gradients against autograd."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itememb_core.items.training.batches import Batch, plan
from itememb_core.items.training.losses import LossAndGradients, across, info_nce, with_norm
from itememb_core.items.training.optimizer import RowAdagrad, RowAdam


def batch_of(query: list[int], candidate: list[int], shared: int | None = None) -> Batch:
    """A batch of few pairs, with weights 1."""
    ones = np.ones(1 + max(*query, *candidate), np.float32)
    (batch,) = plan(np.array([query]), np.array([candidate]), [ones], "cpu", shared)
    return batch


def by_node(query: torch.Tensor, candidate: torch.Tensor, weight: torch.Tensor, batch: Batch):
    """The loss of vectors and weights given by node."""
    rows = query[batch.query], candidate[batch.candidate], weight[batch.candidate]
    return info_nce(*rows, batch)


def test_info_nce_by_hand():
    # Pairs (0, 2) and (1, 3): scores [[2, 0], [1.2, 1.6]]; 3 is drawn four times less often.
    vectors = torch.tensor([[2.0, 0.0], [1.2, 1.6], [1.0, 0.0], [0.0, 1.0]])
    weight = torch.tensor([1.0, 1.0, 1.0, 4.0])
    found = by_node(vectors, vectors, weight, batch_of([0, 1], [2, 3]))
    first = [math.exp(2.0), 4 * math.exp(0.0)]
    second = [math.exp(1.2), 4 * math.exp(1.6)]
    expected = -(math.log(first[0] / sum(first)) + math.log(second[1] / sum(second))) / 2
    assert found.loss == pytest.approx(expected, abs=1e-6)
    # By the bias of 3: its share in either row, less its own pair.
    share = (first[1] / sum(first) + second[1] / sum(second) - 1) / 2
    assert found.bias[1].item() == pytest.approx(share, abs=1e-6)


def test_what_is_the_query_or_the_partner_is_no_negative():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # Each pair's only other candidate is its own query.
    found = by_node(vectors, vectors, torch.ones(2), batch_of([0, 1], [1, 0]))
    assert found.loss == pytest.approx(0.0, abs=1e-6)
    assert found.rows.abs().max().item() == pytest.approx(0.0, abs=1e-6)
    # Or its own partner, drawn twice more as an extra negative.
    found = by_node(vectors, vectors, torch.ones(2), batch_of([0], [1, 1, 1]))
    assert found.loss == pytest.approx(0.0, abs=1e-6)


def dense_loss(query, candidate, bias, weight, ends, shared):
    """The loss over every drawn pair and negative, one cell each."""
    a, b = ends
    s = query[a] @ candidate[b].T + bias[b] + weight[b].log()
    none = (b[None, :] == a[:, None]) | (b[None, :] == b[: len(a), None])
    none[:, shared : len(a)] = True
    none[torch.arange(len(a)), torch.arange(len(a))] = False
    log_share = torch.log_softmax(s.masked_fill(none, -torch.inf), dim=1)
    return -log_share[:, : len(a)].diagonal().mean()


def random_ends(pairs: int, extra: int, nodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of two different nodes each, then extra negatives."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(nodes, size=pairs), rng.integers(nodes, size=pairs + extra)
    b[:pairs] = np.where(a == b[:pairs], (a + 1) % nodes, b[:pairs])
    return a, b


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(0, 9),
    st.integers(2, 60),
    st.integers(1, 50),
    st.integers(0, 2**31),
)
@example(37, 2, 2, 37, 1)  # all cancels
def test_gradients_equal_autograd(pairs, extra, nodes, shared, seed):
    draw = torch.Generator().manual_seed(seed)
    leaves = [torch.randn(nodes, 8, generator=draw) for _ in range(2)]
    leaves = [part.requires_grad_() for part in (*leaves, torch.randn(nodes, generator=draw))]
    weight = torch.rand(nodes, generator=draw) + 0.2
    a, b = random_ends(pairs, extra, nodes, seed)
    loss = dense_loss(*leaves, weight, (torch.from_numpy(a), torch.from_numpy(b)), shared)
    loss.backward()
    (batch,) = plan(a[None], b[None], [weight.numpy()], "cpu", shared)
    query, candidate, bias = (part.detach() for part in leaves)
    found = by_node(query, candidate, bias.exp() * weight, batch)
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    # A gradient is a difference of means of the other side: as exact as those rows are large.
    largest = max(1.0, query.abs().max().item(), candidate.abs().max().item())
    for leaf, gradient in zip(leaves, of_nodes(found, batch, nodes), strict=True):
        torch.testing.assert_close(gradient, leaf.grad, atol=1e-5 * largest, rtol=0)


def of_nodes(found: LossAndGradients, batch: Batch, nodes: int) -> list[torch.Tensor]:
    """Gradients by query, candidate and bias, summed by node; padding adds nothing."""
    by_query, by_candidate = found.rows.split([len(batch.query), len(batch.candidate)])
    parts = (by_query, batch.query), (by_candidate, batch.candidate), (found.bias, batch.candidate)
    return [
        torch.zeros(nodes, *gradient.shape[1:]).index_add_(0, rows, gradient)
        for gradient, rows in parts
    ]


@pytest.mark.parametrize("norm", [1.0, torch.tensor([[10.0], [0.5]])])
def test_gradients_by_rows_of_vectors_with_a_norm_equal_autograd(norm):
    rows = torch.tensor([[3.0, 4.0], [0.1, -0.2]], requires_grad=True)
    upstream = torch.tensor([[1.0, -2.0], [0.5, 0.25]])
    vectors, scale = with_norm(rows, norm)
    vectors.backward(upstream)
    assert torch.allclose(vectors.norm(dim=1, keepdim=True), torch.as_tensor(norm))
    found = across(upstream.clone(), vectors.detach(), norm) * scale.detach()
    torch.testing.assert_close(found, rows.grad)


@pytest.mark.parametrize("shared", [8, 40])
def test_bfloat16_products_stay_close(shared):
    draw = torch.Generator().manual_seed(0)
    query, candidate = (with_norm(torch.randn(60, 8, generator=draw), 1.0)[0] for _ in range(2))
    weight = torch.rand(60, generator=draw) + 0.2
    batch = batch_of(*(part.tolist() for part in random_ends(40, 5, 60, 0)), shared)
    exact, low = (
        by_node((query / 0.1).to(kind), candidate.to(kind), weight, batch)
        for kind in (torch.float32, torch.bfloat16)
    )
    assert low.loss == pytest.approx(exact.loss, abs=0.05)
    assert low.rows.dtype == low.bias.dtype == torch.float32
    used = exact.rows.norm(dim=1) > 0
    assert torch.cosine_similarity(low.rows, exact.rows)[used].min() > 0.98


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


def test_a_row_on_both_sides_sums_its_squares_first():
    table = torch.zeros(2, 2)
    gradients = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    RowAdagrad(table).step(torch.tensor([1, 1]), gradients, 0.1)
    # Mean squares 5 and 1.
    torch.testing.assert_close(table[1], -0.1 / math.sqrt(6) * torch.tensor([4.0, 2.0]))


def test_half_precision_rows_move_by_small_steps_on_average():
    table = torch.ones(4000, 2, dtype=torch.bfloat16)
    step = RowAdagrad(table)
    # The first step of a row is as long as the rate: an eighth of the way to the next bfloat16.
    step.step(torch.arange(4000), torch.ones(4000, 2), -(2**-7) / 8)
    assert sorted(table.unique().tolist()) == [1.0, 1 + 2**-7]
    moved = (table > 1).float().mean().item()
    assert moved == pytest.approx(1 / 8, abs=0.02)
    # Rows that occur twice take both steps.
    one = torch.zeros(1, 1, dtype=torch.bfloat16)
    RowAdagrad(one).step(torch.tensor([0, 0]), torch.tensor([[1.0], [1.0]]), -1.0)
    assert one.item() == pytest.approx(2**0.5, rel=2**-6)


def test_lazy_adam_is_torchs_on_the_rows_that_are_touched():
    table, theirs = torch.zeros(3, 2), torch.nn.Parameter(torch.zeros(1, 2))
    ours, adam = RowAdam(table), torch.optim.Adam([theirs], lr=0.1)
    for gradient in ([1.0, -2.0], [0.5, 3.0], [-1.0, 0.0]):
        # Row 1 occurs twice with a half each; rows 0 and 2 are not touched.
        halves = torch.tensor([gradient, gradient]) / 4
        ours.step(torch.tensor([1, 1]), halves, 0.1, torch.full((2, 1), 2.0))
        theirs.grad = torch.tensor([gradient])
        adam.step()
        torch.testing.assert_close(table[1:2], theirs.detach())
    assert table[[0, 2]].abs().max() == 0
    # A row that comes later starts like the first, whatever others did before.
    ours.step(torch.tensor([2]), torch.tensor([[5.0, -5.0]]), 0.1)
    torch.testing.assert_close(table[2], torch.tensor([-0.1, 0.1]))
