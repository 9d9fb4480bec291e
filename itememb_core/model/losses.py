"""The loss of a batch and its gradients, written out by hand.

What belongs here: functions of a batch's vectors alone. What does not: drawing batches, tables,
updates. Sources: InfoNCE, van den Oord et al. 2018 (arXiv:1807.03748); log-q correction of
in-batch negatives, Bengio and Senecal 2008, Yi et al. 2019.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LossAndGradients:
    """Mean loss of a batch and its gradients, float32.

    Attributes:
        loss: The mean over pairs.
        query: Gradient by the queries ``[batch, dim]``.
        candidate: Gradient by the candidates ``[batch, dim]``.
        bias: Gradient by the log of the weights, hence by a candidate's bias ``[batch]``; None
            where it was not asked for.
    """

    loss: float
    query: "Tensor"
    candidate: "Tensor"
    bias: "Tensor | None" = None


def info_nce(
    query: "Tensor", candidate: "Tensor", weight: "Tensor", hits: "Tensor", *, bias: bool = False
) -> LossAndGradients:
    """InfoNCE over a batch of pairs; every other pair's candidate is a negative.

    With s = query candidateᵀ and weights w it is the mean of -log(w_i exp s_ii / Σ_j w_j exp s_ij).
    A weight is exp(bias) / q of a candidate: q its chance to be drawn (log-q correction).

    Args:
        query: Vectors ``[batch, dim]``; unit vectors over the temperature, or of any length.
            Products run in their type; float32 and bfloat16 both hold exp up to 88, so scores
            need no shift: cosines over a temperature above 0.02, context vectors shorter than 80.
        candidate: Vectors of the partners ``[batch, dim]``, of the same type.
        weight: Weights ``[batch]``, float32.
        hits: Positions i * batch + j, i ≠ j, int64 ``[hits]``, that are no negatives.
        bias: Whether to return the gradient by the log of the weights.
    """
    batch, dtype = len(query), query.dtype
    e = (query @ candidate.T).exp_()  # [batch, batch]
    e.view(-1).index_fill_(0, hits, 0)
    z = (e @ weight.to(dtype)).float()  # [batch]
    own = e.diagonal().float()
    share = 1 / (batch * z)[:, None]  # [batch, 1]
    # By s the gradient is (E diag(w) / z - I) / batch. A product with Eᵀ is taken from its left,
    # which suits the order of E in memory.
    by_query = (e @ (candidate * weight[:, None]).to(dtype)) * share
    by_candidate = ((query * share).to(dtype).T.contiguous() @ e).T * weight[:, None]
    by_log_weight = (share[:, 0].to(dtype) @ e).float() * weight - 1 / batch if bias else None
    return LossAndGradients(
        loss=float((z.log() - own.log() - weight.log()).mean()),
        query=by_query.float().sub_(candidate, alpha=1 / batch),
        candidate=by_candidate.float().sub_(query, alpha=1 / batch),
        bias=by_log_weight,
    )


def normalise(rows: "Tensor") -> "tuple[Tensor, Tensor]":
    """Unit vectors ``[batch, dim]`` and the lengths ``[batch, 1]`` they had."""
    import torch

    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
    return rows / lengths, lengths


def normalise_backward(gradient: "Tensor", unit: "Tensor", lengths: "Tensor") -> "Tensor":
    """Gradient by the rows from the gradient by their unit vectors, both ``[batch, dim]``."""
    import torch

    along = torch.linalg.vecdot(gradient, unit)[:, None]  # [batch, 1]
    return torch.addcmul(gradient, along, unit, value=-1).div_(lengths)
