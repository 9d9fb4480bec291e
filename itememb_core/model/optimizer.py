"""Updates of the touched rows of a table; the cost of a step does not grow with the table.

What belongs here: row-wise optimizers over a plain tensor. What does not: losses, learning-rate
schedules. Source: Adagrad, Duchi et al. 2011, with one accumulator a row as in
PyTorch-BigGraph (Lerer et al. 2019).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class RowAdagrad:
    """Row-wise Adagrad: a row's step is divided by the root of its summed mean squares."""

    def __init__(self, table: "Tensor", epsilon: float = 1e-10) -> None:
        """Wrap a table ``[rows, dim]``, which is changed in place."""
        self.table = table
        self.epsilon = epsilon
        self.sums = table.new_zeros(len(table))  # [rows]

    def step(self, rows: "Tensor", gradients: "Tensor", learning_rate: float) -> None:
        """Update rows.

        Args:
            rows: Distinct rows, int64 ``[touched]``.
            gradients: Gradient of each ``[touched, dim]``; a row whose gradient is 0 stays.
            learning_rate: Step size.
        """
        sums = self.sums.index_select(0, rows) + gradients.square().mean(dim=1)
        self.sums.index_copy_(0, rows, sums)
        scale = -learning_rate / (sums.sqrt() + self.epsilon)  # [touched]
        self.table.index_add_(0, rows, gradients * scale[:, None])
