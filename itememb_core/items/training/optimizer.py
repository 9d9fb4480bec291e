"""Updates of the touched rows of a table; the cost of a step does not grow with the table.

Sources: Adagrad, Duchi et al. 2011, with one accumulator a row as in PyTorch-BigGraph (Lerer et al.
2019); Adam, Kingma and Ba 2015; stochastic rounding, Gupta et al. 2015.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class RowOptimizer:
    """Moves rows of a table against their gradients; rounded by chance where its type is short."""

    def __init__(self, table: "Tensor", **state: "Tensor") -> None:
        """Wrap a table ``[rows, dim]``, float32 or bfloat16, which is changed in place.

        ``state`` is what steps change beside the table, by name.
        """
        import torch

        self.rounded = torch.zeros((), dtype=torch.int64)  # changes so far: a seed
        self.state = {**state, "rounded": self.rounded}
        self._table, self._generator = table, torch.Generator(table.device)

    def step(
        self,
        rows: "Tensor",
        gradients: "Tensor",
        learning_rate: float,
        scale: "Tensor | None" = None,
    ) -> None:
        """Update rows.

        Args:
            rows: Rows, int64 ``[touched]``. A row may occur twice, once for each side of a batch.
            gradients: Gradient of each ``[touched, dim]``, overwritten.
            learning_rate: Step size.
            scale: Factor of each gradient ``[touched, 1]``; None: 1.
        """
        import torch

        factor = torch.ones_like(gradients[:, :1]) if scale is None else scale
        rows, change = self._change(rows, gradients, learning_rate, factor)
        if self._table.dtype != torch.float32:
            change = self._rounded(rows, change)
        self._table.index_add_(0, rows, change)

    def _change(
        self, rows: "Tensor", gradients: "Tensor", rate: float, scale: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Rows and what is added to each, from what :meth:`step` takes."""
        raise NotImplementedError

    def _rounded(self, rows: "Tensor", change: "Tensor") -> "Tensor":
        """Changes that lead to either bfloat16 around the sum, by chance as near as each lies.

        So steps too small for the type count on average. Exact where a value stays within a factor
        of two; a larger change is itself rounded to the nearest bfloat16.
        """
        import torch

        self.rounded += 1
        self._generator.manual_seed(int(self.rounded))
        before = self._table.index_select(0, rows).float()
        after = change.add_(before)
        # The upper half of a float32 is a bfloat16: a random lower half carries into it.
        bits = after.view(torch.int32)
        noise = torch.empty_like(bits).random_(1 << 16, generator=self._generator)
        bits.add_(noise).bitwise_and_(-1 << 16)
        return after.sub_(before).to(self._table.dtype)


class RowAdagrad(RowOptimizer):
    """Row-wise Adagrad: a row's step is divided by the root of its summed mean squares.

    The squares of a row that occurs twice are summed first; one whose gradient is 0 stays.
    """

    def __init__(self, table: "Tensor", epsilon: float = 1e-10) -> None:
        """As :class:`RowOptimizer`."""
        import torch

        self.sums = torch.zeros(len(table), device=table.device)  # [rows]
        self._epsilon = epsilon
        super().__init__(table, sums=self.sums)

    def _change(
        self, rows: "Tensor", gradients: "Tensor", rate: float, scale: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        import torch

        factor = scale[:, 0]  # [touched]
        squares = (torch.linalg.vector_norm(gradients, dim=1) * factor).square_()
        self.sums.index_add_(0, rows, squares, alpha=1 / gradients.shape[1])
        root = self.sums.index_select(0, rows).sqrt_() + self._epsilon
        return rows, gradients.mul_((-rate * factor / root)[:, None])


class RowAdam(RowOptimizer):
    """Lazy Adam: a row's moments and its count of steps move only when it is touched.

    The gradients of a row that occurs twice are summed first.
    """

    def __init__(
        self, table: "Tensor", betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ) -> None:
        """As :class:`RowOptimizer`."""
        import torch

        self.mean = torch.zeros(table.shape, device=table.device)  # [rows, dim]
        self.square = torch.zeros_like(self.mean)
        self.count = torch.zeros(len(table), device=table.device)  # [rows]
        self._betas, self._epsilon = betas, epsilon
        super().__init__(table, mean=self.mean, square=self.square, count=self.count)

    def _change(
        self, rows: "Tensor", gradients: "Tensor", rate: float, scale: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        distinct, place = rows.unique(return_inverse=True)
        total = gradients.new_zeros(len(distinct), gradients.shape[1])
        total.index_add_(0, place, gradients.mul_(scale))
        (first, second), count = self._betas, self.count[distinct] + 1
        mean = self.mean[distinct].mul_(first).add_(total, alpha=1 - first)
        square = self.square[distinct].mul_(second).addcmul_(total, total, value=1 - second)
        self.count[distinct], self.mean[distinct], self.square[distinct] = count, mean, square
        root = square.div_((1 - second**count)[:, None]).sqrt_().add_(self._epsilon)
        size = -rate / (1 - first**count)
        return distinct, mean.mul_(size[:, None]).div_(root)
