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
        """Update the rows; gradients of a row that occurs more than once add up first.

        Args:
            rows: Rows, int64 ``[touched]``, repeats allowed.
            gradients: Gradient of each ``[touched, dim]``.
            learning_rate: Step size.
        """
        import torch

        unique, place = torch.unique(rows, return_inverse=True)
        total = gradients.new_zeros(len(unique), gradients.shape[1])
        total.index_add_(0, place, gradients)  # [unique, dim]
        sums = self.sums[unique] + total.square().mean(dim=1)
        self.sums[unique] = sums
        total *= (-learning_rate / (sums.sqrt() + self.epsilon))[:, None]
        self.table[unique] = self.table[unique] + total
