"""Learning-rate schedule, choice of checkpoint and early stopping from validation losses."""

from typing import Final

#: The rate is halved after so many evaluations without a better loss; so many halvings end a fit,
#: and so many evaluations in a row that are worse than any that would be kept.
PATIENCE: Final = 2
HALVINGS: Final = 4
#: How much worse than the best a subsequent checkpoint's validation loss may be, as a share.
TOLERANCE: Final = 0.01


class Schedule:
    """Halves the rate on a plateau; keeps the latest evaluation within reach of the best.

    Next week's pairs are noisy: their loss is flat long before links stop improving, so the latest
    checkpoint is preferred until its loss is worse than the best by more than ``TOLERANCE``.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.best, self.best_step = rate, float("inf"), 0
        self.halvings = self.waited = self.lost = 0

    def observe(self, step: int, loss: float) -> bool:
        """Take an evaluation; return whether its checkpoint is the one to keep."""
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(loss, self.best)
        if self.waited >= PATIENCE:
            self.rate, self.waited, self.halvings = self.rate / 2, 0, self.halvings + 1
        if loss > self.best * (1 + TOLERANCE):
            self.lost += 1
            return False
        self.best_step, self.lost = step, 0
        return True

    @property
    def ended(self) -> bool:
        """Whether the rate was halved often enough, or evaluations stay worse than tolerated."""
        return self.halvings > HALVINGS or self.lost >= PATIENCE
