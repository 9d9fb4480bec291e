"""The loss of a batch and its gradients, written out by hand.

Sources: InfoNCE, van den Oord et al. 2018 (arXiv:1807.03748); log-q correction of in-batch
negatives, Bengio and Senecal 2008, Yi et al. 2019.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from itememb_core.items.training.batches import Batch

if TYPE_CHECKING:
    from torch import Tensor

#: Columns by which a factor is widened so that one product gives a sum beside it; whole tiles.
EXTRA: Final = 16


@dataclass(frozen=True)
class LossAndGradients:
    """Mean loss of a batch and its gradients, float32.

    Attributes:
        loss: The mean over pairs.
        rows: Gradient by the queries, then by the candidates ``[q + c, dim]``.
        bias: Gradient by the log of the weights, hence by a candidate's bias ``[c]``.
    """

    loss: float
    rows: "Tensor"
    bias: "Tensor"


def info_nce(
    query: "Tensor", candidate: "Tensor", weight: "Tensor", batch: Batch
) -> LossAndGradients:
    """InfoNCE over a batch of pairs with shared negatives.

    With s = query candidateᵀ and weights w of a candidate, the loss of pair (a, b) is
    -log(w_b exp s_ab / z), z = w_b exp s_ab + Σ_j k_j w_j exp s_aj over the negatives j other
    than a and b, each drawn k_j times: what is the query or the partner itself is no negative. A
    weight is exp(bias) / q of a candidate: q its chance to be drawn (log-q correction).

    Args:
        query: Vectors ``[q, dim]``; unit vectors over the temperature, or of any length.
            Products run in their type; float32 and bfloat16 both hold exp up to 88, so scores
            need no shift: cosines over a temperature above 0.02, context vectors shorter than 80.
        candidate: Vectors ``[c, dim]``, of the same type.
        weight: Weights ``[c]``, float32.
        batch: Which cells are pairs, how often each candidate was drawn.
    """
    e = (query @ candidate[: batch.negatives].T).exp_()  # [q, m]
    own = _own_cells(query, candidate, batch, e)
    e.view(-1).index_fill_(0, batch.same, 0)
    return _loss_and_gradients(query, candidate, weight, batch, e, own)


def _own_cells(query: "Tensor", candidate: "Tensor", batch: Batch, e: "Tensor") -> "Tensor":
    """The exp s_ab of pairs, float32 ``[batch]``: cells of E where the candidate is a negative."""
    import torch

    m = batch.negatives
    place = batch.pair_candidate.clamp_max(m - 1).add_(batch.pair_query, alpha=m)
    own = e.view(-1).take(place).float()
    if len(batch.apart):
        of_query = batch.pair_query.index_select(0, batch.apart)
        of_candidate = batch.pair_candidate.index_select(0, batch.apart)
        ends = query.index_select(0, of_query), candidate.index_select(0, of_candidate)
        own.index_copy_(0, batch.apart, torch.linalg.vecdot(*ends).float().exp_())
    return own


def _loss_and_gradients(
    query: "Tensor", candidate: "Tensor", weight: "Tensor", batch: Batch, e: "Tensor", own: "Tensor"
) -> LossAndGradients:
    """As :func:`info_nce`, from E = exp S ``[q, m]``, 0 at same nodes, and the pairs' own cells."""
    import torch

    (q, dim), m = query.shape, batch.negatives
    mass = (weight * batch.count).to(query.dtype)  # [c]
    # The widened factor's sums come with the product: Σ_j k_j w_j exp s_aj beside the gradient.
    found = e @ _widened(candidate[:m], mass[:m])  # [q, dim + EXTRA]
    of_pair = torch.stack([weight, mass.float()]).index_select(1, batch.pair_candidate)
    chosen, again = own * of_pair[0], own * (of_pair[1] - of_pair[0])  # [batch]
    z = found[:, dim].float().index_select(0, batch.pair_query) - again
    z = torch.maximum(z, chosen)
    share = 1 / (batch.pairs * z)
    by_query = z.new_zeros(q).index_add_(0, batch.pair_query, share).to(query.dtype)  # [q]
    # By s the gradient is share k w exp s, but at a pair's own cell, which ``back`` sets right.
    back = torch.addcmul(z.new_full((1,), -1 / batch.pairs), again, share, value=-1)  # [batch]
    # A product with Eᵀ is taken from its left, which suits the order of E in memory.
    mirrored = (_widened(query, by_query).T @ e).mul_(mass[:m])  # [dim + EXTRA, m]
    for_query = _bags(candidate, batch.pair_candidate, back, batch.query_starts)
    for_candidate = _candidate_bags(query, back, batch)
    for_candidate[:m] += mirrored[:dim].T
    rows = z.new_empty(q + len(candidate), dim)
    rows[:q] = for_query.addcmul_(found[:, :dim], by_query[:, None])
    rows[q:] = for_candidate
    bias = z.new_zeros(len(candidate)).index_add_(0, batch.pair_candidate, back)
    bias[:m] += mirrored[dim]
    return LossAndGradients(loss=float((z / chosen).log_().mean()), rows=rows, bias=bias)


def _widened(rows: "Tensor", scale: "Tensor") -> "Tensor":
    """Rows times their scale, then the scale itself and zeros: ``[rows, dim + EXTRA]``."""
    import torch

    dim = rows.shape[1]
    wide = rows.new_zeros(len(rows), dim + EXTRA)
    torch.mul(rows, scale[:, None], out=wide[:, :dim])
    wide[:, dim] = scale
    return wide


def _bags(rows: "Tensor", members: "Tensor", scale: "Tensor", starts: "Tensor") -> "Tensor":
    """Sum of ``scale`` times the rows of each bag's members ``[bags, dim]``."""
    from torch.nn.functional import embedding_bag

    scaled = scale.to(rows.dtype)
    return embedding_bag(members, rows, starts, mode="sum", per_sample_weights=scaled)


def _candidate_bags(query: "Tensor", scale: "Tensor", batch: Batch) -> "Tensor":
    members = batch.pair_query.index_select(0, batch.by_candidate)
    ordered = scale.index_select(0, batch.by_candidate)
    return _bags(query, members, ordered, batch.candidate_starts)


def with_norm(rows: "Tensor", norm: "Tensor | float") -> "tuple[Tensor, Tensor]":
    """Vectors ``[n, dim]`` of given norms along rows, and their scale by the rows ``[n, 1]``.

    Args:
        rows: ``[n, dim]``.
        norm: One norm, or one a row ``[n, 1]``.
    """
    import torch

    scale = norm / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
    return rows * scale, scale


def across(gradient: "Tensor", vectors: "Tensor", norm: "Tensor | float") -> "Tensor":
    """Take from a gradient by vectors what lies along them, in place ``[n, dim]``.

    With :func:`with_norm`, the gradient by the rows is the scale times what is left.
    """
    import torch

    along = torch.linalg.vecdot(gradient, vectors)[:, None] / norm**2  # [n, 1]
    return gradient.addcmul_(vectors, along, value=-1)
