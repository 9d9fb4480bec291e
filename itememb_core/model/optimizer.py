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
        """Wrap a table ``[rows, dim]``, float32 or bfloat16, which is changed in place."""
        import torch

        self.table = table
        self.epsilon = epsilon
        self.sums = torch.zeros(len(table), device=table.device)  # [rows]
        self.steps = torch.zeros((), dtype=torch.int64)  # a seed; a tensor, for checkpoints
        self._generator = torch.Generator(table.device)

    def step(
        self,
        rows: "Tensor",
        gradients: "Tensor",
        learning_rate: float,
        scale: "Tensor | None" = None,
    ) -> None:
        """Update rows.

        Args:
            rows: Rows, int64 ``[touched]``. A row may stand twice, once for each side of a batch:
                its squares are summed first.
            gradients: Gradient of each ``[touched, dim]``, overwritten; a row whose gradient is 0
                stays.
            learning_rate: Step size.
            scale: Factor of each gradient ``[touched, 1]``; None: 1.
        """
        import torch

        factor = torch.ones_like(gradients[:, 0]) if scale is None else scale[:, 0]  # [touched]
        squares = (torch.linalg.vector_norm(gradients, dim=1) * factor).square_()
        self.sums.index_add_(0, rows, squares, alpha=1 / gradients.shape[1])
        factor = -learning_rate * factor / (self.sums.index_select(0, rows).sqrt_() + self.epsilon)
        change = gradients.mul_(factor[:, None])
        if self.table.dtype != torch.float32:
            change = self._rounded(rows, change)
        self.table.index_add_(0, rows, change)

    def _rounded(self, rows: "Tensor", change: "Tensor") -> "Tensor":
        """Change of bfloat16 rows to either neighbour, by chance as near as each lies.

        So steps too small for the type count on average (stochastic rounding, Gupta et al. 2015).
        """
        import torch

        self.steps += 1
        self._generator.manual_seed(int(self.steps))
        before = self.table.index_select(0, rows).float()
        after = change.add_(before)
        # The upper half of a float32 is a bfloat16: a random lower half carries into it.
        bits = after.view(torch.int32)
        bits.add_(
            torch.randint(
                1 << 16,
                bits.shape,
                dtype=torch.int32,
                device=bits.device,
                generator=self._generator,
            )
        )
        bits.bitwise_and_(-1 << 16)
        return after.sub_(before).to(self.table.dtype)
