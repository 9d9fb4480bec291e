"""Updates of the touched rows of a table; the cost of a step does not grow with the table.

What belongs here: row-wise optimizers over a plain tensor. What does not: losses, learning-rate
schedules. Sources: Adagrad, Duchi et al. 2011, with one accumulator a row as in PyTorch-BigGraph
(Lerer et al. 2019); Adam, Kingma and Ba 2015; stochastic rounding, Gupta et al. 2015.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class RowOptimizer(Protocol):
    """Moves rows of a table against their gradients."""

    @property
    def state(self) -> "dict[str, Tensor]":
        """What steps change beside the table, by name."""

    def step(
        self,
        rows: "Tensor",
        gradients: "Tensor",
        learning_rate: float,
        scale: "Tensor | None" = None,
    ) -> None:
        """Update rows.

        Args:
            rows: Rows, int64 ``[touched]``. A row may stand twice, once for each side of a batch.
            gradients: Gradient of each ``[touched, dim]``, overwritten.
            learning_rate: Step size.
            scale: Factor of each gradient ``[touched, 1]``; None: 1.
        """


class RowAdagrad:
    """Row-wise Adagrad: a row's step is divided by the root of its summed mean squares.

    The squares of a row that stands twice are summed first; one whose gradient is 0 stays.
    """

    def __init__(self, table: "Tensor", epsilon: float = 1e-10) -> None:
        """Wrap a table ``[rows, dim]``, float32 or bfloat16, which is changed in place."""
        import torch

        self.sums = torch.zeros(len(table), device=table.device)  # [rows]
        self._rows, self._epsilon = _Rows(table), epsilon

    @property
    def state(self) -> "dict[str, Tensor]":
        """As :class:`RowOptimizer` has it."""
        return {"sums": self.sums, "rounded": self._rows.rounded}

    def step(
        self,
        rows: "Tensor",
        gradients: "Tensor",
        learning_rate: float,
        scale: "Tensor | None" = None,
    ) -> None:
        """As :class:`RowOptimizer` has it."""
        import torch

        factor = torch.ones_like(gradients[:, 0]) if scale is None else scale[:, 0]  # [touched]
        squares = (torch.linalg.vector_norm(gradients, dim=1) * factor).square_()
        self.sums.index_add_(0, rows, squares, alpha=1 / gradients.shape[1])
        root = self.sums.index_select(0, rows).sqrt_() + self._epsilon
        self._rows.add(rows, gradients.mul_((-learning_rate * factor / root)[:, None]))


class RowAdam:
    """Lazy Adam: a row's moments and its count of steps move only when it is touched.

    The gradients of a row that stands twice are summed first.
    """

    def __init__(
        self, table: "Tensor", betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ) -> None:
        """Wrap a table ``[rows, dim]``, float32 or bfloat16, which is changed in place."""
        import torch

        self.mean = torch.zeros(table.shape, device=table.device)  # [rows, dim]
        self.square = torch.zeros_like(self.mean)
        self.count = torch.zeros(len(table), device=table.device)  # [rows]
        self._rows, self._betas, self._epsilon = _Rows(table), betas, epsilon

    @property
    def state(self) -> "dict[str, Tensor]":
        """As :class:`RowOptimizer` has it."""
        moments = {"mean": self.mean, "square": self.square, "count": self.count}
        return {**moments, "rounded": self._rows.rounded}

    def step(
        self,
        rows: "Tensor",
        gradients: "Tensor",
        learning_rate: float,
        scale: "Tensor | None" = None,
    ) -> None:
        """As :class:`RowOptimizer` has it."""
        distinct, place = rows.unique(return_inverse=True)
        total = gradients.new_zeros(len(distinct), gradients.shape[1])
        total.index_add_(0, place, gradients if scale is None else gradients.mul_(scale))
        (first, second), count = self._betas, self.count[distinct] + 1
        mean = self.mean[distinct].mul_(first).add_(total, alpha=1 - first)
        square = self.square[distinct].mul_(second).addcmul_(total, total, value=1 - second)
        self.count[distinct], self.mean[distinct], self.square[distinct] = count, mean, square
        root = square.div_((1 - second**count)[:, None]).sqrt_().add_(self._epsilon)
        size = -learning_rate / (1 - first**count)
        self._rows.add(distinct, mean.mul_(size[:, None]).div_(root))


class _Rows:
    """A table to whose rows changes are added, rounded by chance where its type is short."""

    def __init__(self, table: "Tensor") -> None:
        import torch

        self.table = table
        self.rounded = torch.zeros((), dtype=torch.int64)  # changes so far: a seed
        self._generator = torch.Generator(table.device)

    def add(self, rows: "Tensor", change: "Tensor") -> None:
        """Add changes ``[n, dim]``, overwritten, to rows ``[n]``."""
        import torch

        if self.table.dtype != torch.float32:
            change = self._rounded(rows, change)
        self.table.index_add_(0, rows, change)

    def _rounded(self, rows: "Tensor", change: "Tensor") -> "Tensor":
        """Changes that lead to either bfloat16 around the sum, by chance as near as each lies.

        So steps too small for the type count on average. Exact where a value stays within a factor
        of two; a larger change is itself rounded to the nearest bfloat16.
        """
        import torch

        self.rounded += 1
        self._generator.manual_seed(int(self.rounded))
        before = self.table.index_select(0, rows).float()
        after = change.add_(before)
        # The upper half of a float32 is a bfloat16: a random lower half carries into it.
        bits = after.view(torch.int32)
        noise = torch.empty_like(bits).random_(1 << 16, generator=self._generator)
        bits.add_(noise).bitwise_and_(-1 << 16)
        return after.sub_(before).to(self.table.dtype)
