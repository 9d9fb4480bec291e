"""What reads a user's events: one protocol and the GRU; the transformer is beside it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from itememb_core.learning.dropout import Dropout
from itememb_core.users.gru import gru

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import GRU


class Encoder(Protocol):
    """Events to states; a state depends on its event and those before it alone."""

    def make(self) -> "dict[str, Tensor]":
        """Fresh parameters by name, from torch's current random state."""

    def __call__(
        self,
        parameters: "dict[str, Tensor]",
        inputs: "Tensor",
        seconds: "Tensor",
        dropout: Dropout,
        last: "Tensor | None" = None,
    ) -> "Tensor":
        """States ``[batch, length, dim]``, or after one event of each row ``[batch, dim]``.

        Args:
            parameters: As :meth:`make` gives them.
            inputs: Events, padded at the end ``[batch, length, dim]``.
            seconds: Their times since any moment of the window, int32 ``[batch, length]``.
            dropout: Drops units in training.
            last: The event of each row after which a state is wanted ``[batch]``; None: all.
        """


class _Recurrent(NamedTuple):
    """The recurrent parameters by torch's names."""

    weight_hh_l0: "Tensor"
    bias_hh_l0: "Tensor"


@dataclass(frozen=True)
class Gru:
    """A gated recurrent layer beside its input (Hidasi et al., "GRU4Rec", ICLR 2016).

    The input is added to its output, so that the first states are the items themselves.
    """

    dim: int

    def make(self) -> "dict[str, Tensor]":
        """See :class:`Encoder`."""
        from torch import nn

        layer = nn.GRU(self.dim, self.dim)
        return {name: each.detach() for name, each in layer.named_parameters()}

    def __call__(
        self,
        parameters: "dict[str, Tensor]",
        inputs: "Tensor",
        seconds: "Tensor",
        dropout: Dropout,
        last: "Tensor | None" = None,
    ) -> "Tensor":
        """See :class:`Encoder`."""
        import torch
        from torch.nn.functional import linear

        first = inputs.transpose(0, 1)  # [length, batch, dim]
        gates = linear(first, parameters["weight_ih_l0"], parameters["bias_ih_l0"])
        layer = _Recurrent(parameters["weight_hh_l0"], parameters["bias_hh_l0"])
        states = gru(cast("GRU", layer), gates)
        if last is not None:
            rows = torch.arange(len(last))
            return first[last, rows] + dropout(states[last, rows])
        return (first + dropout(states)).transpose(0, 1)
