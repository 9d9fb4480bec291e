"""Losses of a batch and their gradients, written out by hand.

What belongs here: functions of a batch's vectors alone. What does not: drawing batches, tables,
updates. Products run in bfloat16 where ``half`` is set and in float32 elsewhere; sums over a
softmax are float32 always. Sources: InfoNCE, van den Oord et al. 2018 (arXiv:1807.03748); log-q
correction of in-batch negatives, Bengio and Senecal 2008, Yi et al. 2019.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LossAndGradients:
    """Mean loss of a batch and its gradient by each input, of the input's shape."""

    loss: float
    a: "Tensor"  # [batch, dim]
    b: "Tensor"  # [batch, dim]
    bias: "Tensor | None" = None  # [batch]


def info_nce(
    a: "Tensor",
    b: "Tensor",
    *,
    weight_a: "Tensor",
    weight_b: "Tensor",
    hits: "Tensor",
    temperature: float,
    half: bool,
) -> LossAndGradients:
    """InfoNCE both ways over a batch of pairs; every other pair's end is a negative.

    With s = a bᵀ / temperature and w = 1 / q, the correction for the chance q of a node, it is
    -½ log(wb_i exp s_ii / Σ_j wb_j exp s_ij) - ½ log(wa_i exp s_ii / Σ_j wa_j exp s_ji).

    Args:
        a: Unit vectors ``[batch, dim]``, float32.
        b: Unit vectors of their partners ``[batch, dim]``.
        weight_a: Correction weights of the a side ``[batch]``; ones for none.
        weight_b: Correction weights of the b side ``[batch]``.
        hits: Positions i * batch + j, i ≠ j, int64 ``[hits]``, that are no negatives.
        temperature: Divides the cosines.
        half: Whether products run in bfloat16.
    """
    batch = len(a)
    low_a, low_b, e = _exponentials(a / temperature, b, hits, half)
    z_row = (e @ weight_b.to(e.dtype)).float()[:, None]  # [batch, 1]
    z_col = (weight_a.to(e.dtype) @ e).float()[:, None]  # [batch, 1]
    own = (a * b).sum(dim=1) / temperature  # [batch]
    logs = z_row.log() + z_col.log() - (weight_a.log() + weight_b.log())[:, None]
    loss = float(logs.mean() / 2 - own.mean())
    # By s the gradient is diag(1 / z_row) E diag(wb) + diag(wa) E diag(1 / z_col) - 2 I, E = exp s.
    rows, columns = (1 / z_row, weight_a[:, None]), (weight_b[:, None], 1 / z_col)
    by_a = _scaled_product(e, low_b, rows, columns) / temperature
    by_b = _scaled_product(e.T, low_a, columns, rows)  # low_a is over the temperature already
    grad_a, grad_b = by_a - 2 * b / temperature, by_b - 2 * a / temperature
    return LossAndGradients(loss, grad_a / (2 * batch), grad_b / (2 * batch))


def _scaled_product(
    e: "Tensor",
    vectors: "Tensor",
    rows: "tuple[Tensor, Tensor]",
    columns: "tuple[Tensor, Tensor]",
) -> "Tensor":
    """Return Σ_k diag(rows_k) E diag(columns_k) vectors ``[batch, dim]``.

    Both terms share one product with E, so nothing but E is as large as batch².
    """
    import torch

    dim = vectors.shape[1]
    right = torch.cat([vectors * c for c in columns], dim=1).to(e.dtype)  # [batch, 2 dim]
    # A transposed E is multiplied from the left, which its memory order suits.
    product = (e @ right if e.is_contiguous() else (right.T.contiguous() @ e.T).T).float()
    return product[:, :dim] * rows[0] + product[:, dim:] * rows[1]


def goes_with(
    query: "Tensor",
    candidate: "Tensor",
    bias: "Tensor",
    *,
    weight: "Tensor",
    hits: "Tensor",
    half: bool,
) -> LossAndGradients:
    """Softmax of query · candidate + bias over the batch's candidates, one way.

    The mean over pairs i of -log(w_i exp s_ii / Σ_j w_j exp s_ij), s as above and w = 1 / q.

    Args:
        query: Context vectors ``[batch, dim]``, of any length, float32.
        candidate: Unit vectors of what was met with them ``[batch, dim]``.
        bias: Bias of each candidate ``[batch]``.
        weight: Correction weights of the candidates ``[batch]``.
        hits: As in :func:`info_nce`.
        half: Whether products run in bfloat16.

    Returns:
        The loss; gradients by ``query`` as ``a``, by ``candidate`` as ``b``.
    """
    import torch

    batch, dim = query.shape
    low_query, low_candidate, e = _exponentials(query, candidate, hits, half)
    v = (bias.exp() * weight)[:, None]  # [batch, 1]
    z = (e @ v.to(e.dtype)).float()  # [batch, 1]
    own = (query * candidate).sum(dim=1, keepdim=True)  # [batch, 1]
    by_query = (e @ (low_candidate * v).to(e.dtype)).float() / z  # [batch, dim]
    left = torch.cat([low_query / z, 1 / z], dim=1).to(e.dtype)  # [batch, dim + 1]
    by_candidate = (left.T.contiguous() @ e).T.float() * v  # [batch, dim + 1]
    return LossAndGradients(
        float((z.log() - own - v.log()).mean()),
        (by_query - candidate) / batch,
        (by_candidate[:, :dim] - query) / batch,
        (by_candidate[:, dim] - 1) / batch,
    )


def _exponentials(
    a: "Tensor", b: "Tensor", hits: "Tensor", half: bool
) -> "tuple[Tensor, Tensor, Tensor]":
    """Both sides in the precision of products, and exp(a bᵀ) ``[batch, batch]`` without hits.

    float32 and bfloat16 both hold exp up to 88: cosines over a temperature above 0.02, and
    context vectors shorter than 80, need no shift.
    """
    import torch

    dtype = torch.bfloat16 if half else torch.float32
    low_a, low_b = a.to(dtype), b.to(dtype)
    e = (low_a @ low_b.T).exp_()
    e.view(-1)[hits] = 0
    return low_a, low_b, e


def normalise(rows: "Tensor") -> "tuple[Tensor, Tensor]":
    """Unit vectors ``[batch, dim]`` and the lengths ``[batch, 1]`` they had."""
    lengths = rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return rows / lengths, lengths


def normalise_backward(gradient: "Tensor", unit: "Tensor", lengths: "Tensor") -> "Tensor":
    """Gradient by the rows from the gradient by their unit vectors, both ``[batch, dim]``."""
    along = (gradient * unit).sum(dim=1, keepdim=True)  # [batch, 1]
    return (gradient - along * unit) / lengths
