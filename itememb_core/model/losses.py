"""The loss of a batch and its gradients, written out by hand.

What belongs here: functions of a batch's vectors alone. What does not: drawing batches, tables,
updates. Sources: InfoNCE, van den Oord et al. 2018 (arXiv:1807.03748); log-q correction of
in-batch negatives, Bengio and Senecal 2008, Yi et al. 2019.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from itememb_core.model.batches import Batch

if TYPE_CHECKING:
    from torch import Tensor

#: Columns by which a factor is widened so that one product gives a sum beside it; whole tiles.
EXTRA: Final = 16


@dataclass(frozen=True)
class LossAndGradients:
    """Mean loss of a batch and its gradients, float32.

    Attributes:
        loss: The mean over pairs.
        query: Gradient by the queries ``[q, dim]``.
        candidate: Gradient by the candidates ``[c, dim]``.
        bias: Gradient by the log of the weights, hence by a candidate's bias ``[c]``.
    """

    loss: float
    query: "Tensor"
    candidate: "Tensor"
    bias: "Tensor"


def info_nce(
    query: "Tensor", candidate: "Tensor", weight: "Tensor", batch: Batch
) -> LossAndGradients:
    """InfoNCE over a batch of pairs; every other pair's candidate is a negative.

    With s = query candidateᵀ, weights w and draws k of a candidate, the loss of pair (a, b) is
    -log(w_b exp s_ab / z), z = w_b exp s_ab + Σ_j k_j w_j exp s_aj over the candidates j other
    than a and b: what is the query or the partner itself is no negative. A weight is exp(bias) / q
    of a candidate: q its chance to be drawn (log-q correction).

    Args:
        query: Vectors ``[q, dim]``; unit vectors over the temperature, or of any length.
            Products run in their type; float32 and bfloat16 both hold exp up to 88, so scores
            need no shift: cosines over a temperature above 0.02, context vectors shorter than 80.
        candidate: Vectors ``[c, dim]``, of the same type.
        weight: Weights ``[c]``, float32.
        batch: Which cells are pairs, how often each candidate was drawn.
    """
    e = (query @ candidate.T).exp_()  # [q, c]
    cells = e.view(-1)
    own = cells.take(batch.pair_query * len(candidate) + batch.pair_candidate).float()  # [batch]
    cells.index_fill_(0, batch.same, 0)
    return _loss_and_gradients(query, candidate, weight, batch, e, own)


def _loss_and_gradients(
    query: "Tensor", candidate: "Tensor", weight: "Tensor", batch: Batch, e: "Tensor", own: "Tensor"
) -> LossAndGradients:
    """As :func:`info_nce`, from E = exp S ``[q, c]``, 0 at same nodes, and the pairs' own cells."""
    import torch

    dim = query.shape[1]
    mass = (weight * batch.count).to(query.dtype)  # [c]
    # The widened factor's sums come with the product: Σ_j k_j w_j exp s_aj beside the gradient.
    found = e @ _widened(candidate, mass)  # [q, dim + EXTRA]
    of_pair = torch.stack([weight, mass.float()]).index_select(1, batch.pair_candidate)
    chosen, again = own * of_pair[0], own * (of_pair[1] - of_pair[0])  # [batch]
    z = found[:, dim].float().index_select(0, batch.pair_query) - again
    z = torch.maximum(z, chosen)
    share = 1 / (batch.pairs * z)
    by_query = z.new_zeros(len(query)).index_add_(0, batch.pair_query, share)  # [q]
    by_query = by_query.to(query.dtype)
    # By s the gradient is share k w exp s, but at a pair's own cell, which ``back`` sets right.
    back = again * share + 1 / batch.pairs  # [batch]
    # A product with Eᵀ is taken from its left, which suits the order of E in memory.
    mirrored = (_widened(query, by_query).T.contiguous() @ e).mul_(mass)  # [dim + EXTRA, c]
    for_query = _bags(candidate, batch.pair_candidate, back, batch.query_starts)
    for_candidate = _candidate_bags(query, back, batch)
    return LossAndGradients(
        loss=float((z / chosen).log_().mean()),
        query=(found[:, :dim] * by_query[:, None]).float().sub_(for_query),
        candidate=mirrored[:dim].T.float().sub_(for_candidate),
        bias=mirrored[dim].float().index_add_(0, batch.pair_candidate, back, alpha=-1),
    )


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


def normalise(rows: "Tensor") -> "tuple[Tensor, Tensor]":
    """Unit vectors ``[batch, dim]`` and the lengths ``[batch, 1]`` they had."""
    import torch

    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
    return rows / lengths, lengths


def normalise_backward(gradient: "Tensor", unit: "Tensor", lengths: "Tensor") -> "Tensor":
    """Gradient by the rows from the gradient by their unit vectors, both ``[batch, dim]``."""
    import torch

    along = torch.linalg.vecdot(gradient, unit)[:, None]  # [batch, 1]
    return (gradient - unit * along).div_(lengths)
