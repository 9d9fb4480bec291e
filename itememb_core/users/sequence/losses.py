"""Losses of targets against negatives, from their scores; each is a ``Loss``.

A negative that is none for a position has the score -inf.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from itememb_core.settings.sequence import SequenceSettings

if TYPE_CHECKING:
    from torch import Tensor

#: Below any score, and an exponential below any that counts.
_LEAST: Final = -1e30
_TINY: Final = 1e-30


class Losses(NamedTuple):
    """Losses of positions, and their gradients, which are written out.

    Scores are the largest arrays of a step; automatic gradients pass over them twice as often.
    """

    values: "Tensor"  # [positions, targets]
    by_target: "Tensor"  # [positions, targets]
    by_negative: "Tensor"  # [positions, negatives]


class Loss(Protocol):
    """What a target is compared with its negatives by."""

    @property
    def corrected(self) -> bool:
        """Whether log(times drawn / expected times) is added to the scores of negatives."""

    def __call__(self, target: "Tensor", negative: "Tensor", weight: "Tensor") -> Losses:
        """Weight times loss of each target, and the gradients of their sum.

        Args:
            target: Scores ``[positions, targets]``.
            negative: Scores ``[positions, negatives]``, -inf where one is none; overwritten.
            weight: Of each target ``[positions, targets]``.
        """


@dataclass(frozen=True)
class Softmax:
    """-log(exp t / (exp t + sum_j w_j exp s_j)), w_j = times drawn / expected times of j.

    The sum is, on average, that over all items that are negatives (Bengio and Senecal 2008);
    where all are negatives it is the full softmax.
    """

    corrected: bool = True

    def __call__(self, target: "Tensor", negative: "Tensor", weight: "Tensor") -> Losses:
        """See :class:`Loss`."""
        from torch.nn.functional import softplus

        most = negative.amax(dim=1, keepdim=True).clamp_min_(_LEAST)  # all may be none
        shares = negative.sub_(most).exp_()
        total = shares.sum(dim=1, keepdim=True).clamp_min_(_TINY)
        above = total.log() + most - target  # [positions, targets]
        lost = weight * above.sigmoid()
        shares.mul_(lost.sum(dim=1, keepdim=True).div_(total))
        return Losses(weight * softplus(above), -lost, shares)


@dataclass(frozen=True)
class Gbce:
    """Generalised binary cross-entropy: beta softplus(-t) + sum_j softplus(s_j), over their number.

    beta = alpha (t (1 - 1 / alpha) + 1 / alpha) with alpha the share of the items that are drawn:
    few negatives make scores too high, which beta undoes (Petrov and Macdonald, "gSASRec", RecSys
    2023).
    """

    share: float
    calibration: float = 0.75
    corrected: bool = False

    @property
    def beta(self) -> float:
        """Power of the target's probability."""
        return self.share * (self.calibration * (1 - 1 / self.share) + 1 / self.share)

    def __call__(self, target: "Tensor", negative: "Tensor", weight: "Tensor") -> Losses:
        """See :class:`Loss`."""
        from torch.nn.functional import softplus

        number = 1 + (negative > -math.inf).sum(dim=1, keepdim=True)
        total = softplus(negative).sum(dim=1, keepdim=True)
        scaled = weight / number
        values = scaled * (self.beta * softplus(-target) + total)
        by_negative = negative.sigmoid_().mul_(scaled.sum(dim=1, keepdim=True))
        return Losses(values, -scaled * self.beta * (-target).sigmoid(), by_negative)


@dataclass(frozen=True)
class Pairwise:
    """Mean over the negatives of log(1 + exp(s_j - t)) (BPR, Rendle et al. 2009)."""

    corrected: bool = False

    def __call__(self, target: "Tensor", negative: "Tensor", weight: "Tensor") -> Losses:
        """See :class:`Loss`."""
        import torch
        from torch.nn.functional import softplus

        scaled = weight / (negative > -math.inf).sum(dim=1, keepdim=True).clamp_min(1)
        values, by_target = torch.empty_like(target), torch.empty_like(target)
        by_negative = torch.zeros_like(negative)
        for nth in range(target.shape[1]):
            apart, own = negative - target[:, nth, None], scaled[:, nth]
            values[:, nth] = own * softplus(apart).sum(dim=1)
            by_pair = apart.sigmoid_().mul_(own[:, None])
            by_target[:, nth] = -by_pair.sum(dim=1)
            by_negative += by_pair
        return Losses(values, by_target, by_negative)


def loss_of(settings: SequenceSettings, targets: int, negatives: int) -> Loss:
    """The loss that settings name.

    Args:
        settings: Of the model.
        targets: Number of targets.
        negatives: Negatives of a batch.
    """
    if settings.loss == "softmax":
        return Softmax()
    if settings.loss == "pairwise":
        return Pairwise()
    return Gbce(min(1.0, negatives / max(targets - 1, 1)), settings.calibration)
