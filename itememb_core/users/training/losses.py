"""Losses of a batch, from the scores of targets and of negatives.

Sources: sampled softmax with log-q correction, Bengio and Senecal 2008, Yi et al. 2019 (RecSys);
pairwise logistic loss, Rendle et al. 2009 (BPR).
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

#: A batch without any weight has the loss 0.
_TINY: Final = 1e-12


def sampled_softmax(
    target: "Tensor",
    negative: "Tensor",
    log_weight: "Tensor",
    hit: "Tensor",
    weight: "Tensor",
) -> "Tensor":
    """Mean of -log(exp t / (exp t + sum_j w_j exp s_j)), the target left out of the sum.

    With w_j = 1 / (draws * chance of j) the sum is, on average, that over all items: log q is
    subtracted from the scores of the draws.

    Args:
        target: Scores of the targets ``[positions, targets]``.
        negative: Scores of the draws ``[positions, draws]``.
        log_weight: log w_j ``[positions, draws]``, -inf where a draw is none.
        hit: log(w_j exp s_j) of draws that are the target itself, -inf elsewhere
            ``[positions, targets, hits]``.
        weight: Weight of each target, 0 where there is none ``[positions, targets]``.
    """
    import torch

    total = torch.logsumexp(negative + log_weight, dim=1, keepdim=True)  # [positions, 1]
    share = torch.exp(hit - total[:, :, None]).sum(dim=2)  # [positions, targets]
    rest = total + torch.log1p(-share.clamp(max=1 - 1e-6))  # all draws may be hits: not log 0
    losses = torch.logaddexp(target, rest) - target  # [positions, targets]
    return (losses * weight).sum() / weight.sum().clamp_min(_TINY)


def pairwise_logistic(
    target: "Tensor", negative: "Tensor", valid: "Tensor", weight: "Tensor"
) -> "Tensor":
    """Mean of log(1 + exp(s_j - t)) over the valid negatives of each target.

    Args:
        target: Scores of the targets ``[positions, targets]``.
        negative: Scores of the draws ``[positions, draws]``.
        valid: Whether a draw counts for a target ``[positions, targets, draws]`` (or broadcast).
        weight: Weight of each target, 0 where there is none ``[positions, targets]``.
    """
    import torch

    pairs = torch.nn.functional.softplus(negative[:, None, :] - target[:, :, None])
    mean = (pairs * valid).sum(dim=2) / valid.expand_as(pairs).sum(dim=2).clamp_min(1)
    return (mean * weight).sum() / weight.sum().clamp_min(_TINY)
