"""A causal transformer over events.

Sources: self-attention over a user's items, Kang and McAuley 2018 (SASRec); norms before each part,
Xiong et al. 2020; a learned bias of attention by the logarithm of the time between two events, Zhai
et al. 2024 (HSTU); gates on what a part adds, Borisyuk et al. 2024 (LiGR).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from itememb_core.learning.dropout import Dropout

if TYPE_CHECKING:
    from torch import Tensor

#: Codes of the time between two events: floor(log2(1 + seconds)), 68 years at most. The next code
#: is that of no attention.
TIME_CODES: Final = 32


@dataclass(frozen=True)
class Transformer:
    """Blocks of attention and a layer of as many units; an ``encoders.Encoder``."""

    dim: int
    blocks: int
    heads: int
    window: int
    gated: bool
    times: bool

    def make(self) -> "dict[str, Tensor]":
        """See :class:`itememb_core.users.sequence.encoders.Encoder`."""
        import torch

        made = {"position": torch.randn(self.window, self.dim) * 0.02}
        for block in range(self.blocks):
            made |= {f"{block}.{name}": each for name, each in self._block().items()}
        return made

    def _block(self) -> "dict[str, Tensor]":
        """Parameters of a block."""
        import torch

        dim = self.dim
        made = {
            "attention_norm": torch.ones(dim),
            "units_norm": torch.ones(dim),
            "heads": _matrix(dim, 3 * dim),
            "joined": _matrix(dim, dim),
            "units": _matrix(dim, dim),
            "units_bias": torch.zeros(dim),
            "out": _matrix(dim, dim),
            "out_bias": torch.zeros(dim),
        }
        if self.gated:
            made |= {"attention_gate": _matrix(dim, dim), "units_gate": _matrix(dim, dim)}
        if self.times:
            made["time"] = torch.zeros(self.heads, TIME_CODES)
        return made

    def __call__(
        self,
        parameters: "dict[str, Tensor]",
        inputs: "Tensor",
        seconds: "Tensor",
        dropout: Dropout,
        last: "Tensor | None" = None,
    ) -> "Tensor":
        """See :class:`itememb_core.users.sequence.encoders.Encoder`."""
        import torch

        states = inputs + parameters["position"][: inputs.shape[1]]
        codes = time_codes(seconds) if self.times else torch.zeros_like(seconds)[:, None]
        codes = _only_earlier(codes.expand(-1, inputs.shape[1], -1))
        rows = torch.arange(len(states))
        for block in range(self.blocks):
            own = {
                name.removeprefix(f"{block}."): each
                for name, each in parameters.items()
                if name.startswith(f"{block}.")
            }
            queries = states
            if last is not None and block == self.blocks - 1:  # no later block reads the others
                queries, codes = states[rows, last][:, None], codes[rows, last][:, None]
            states = self._attend(own, states, queries, codes, dropout)
            states = self._transform(own, states, dropout)
        return states if last is None else states[:, 0]

    def _attend(
        self,
        own: "dict[str, Tensor]",
        states: "Tensor",
        queries: "Tensor",
        codes: "Tensor",
        dropout: Dropout,
    ) -> "Tensor":
        """Queries ``[batch, queries, dim]`` with what attention to the states adds.

        ``codes`` ``[batch, queries, length]`` are of the times between them.
        """
        import torch

        dim, width = self.dim, self.dim // self.heads
        table = own["time"] if self.times else states.new_zeros(self.heads, TIME_CODES)
        table = torch.cat([table, table.new_full((self.heads, 1), -math.inf)], dim=1)
        normed = _norm(states, own["attention_norm"])
        if queries is states:
            query, key, value = (normed @ own["heads"]).split(dim, dim=2)
        else:
            query = _norm(queries, own["attention_norm"]) @ own["heads"][:, :dim]
            key, value = (normed @ own["heads"][:, dim:]).split(dim, dim=2)
        flat, mixed = codes.reshape(-1), []
        for head in range(self.heads):  # one by one, columns need not be copied
            bias = table[head].index_select(0, flat).view(codes.shape)
            q, k, v = (each[..., head * width : (head + 1) * width] for each in (query, key, value))
            scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=1 / math.sqrt(width))
            mixed.append(scores.softmax(dim=2) @ v)
        added = torch.cat(mixed, dim=2) @ own["joined"]
        return _add(queries, added, own.get("attention_gate"), dropout)

    def _transform(self, own: "dict[str, Tensor]", states: "Tensor", dropout: Dropout) -> "Tensor":
        """States with what the layer of units adds."""
        import torch

        flat = _norm(states, own["units_norm"]).flatten(0, 1)
        units = torch.addmm(own["units_bias"], flat, own["units"]).relu_()
        added = torch.addmm(own["out_bias"], units, own["out"]).view_as(states)
        return _add(states, added, own.get("units_gate"), dropout)


def _matrix(inputs: int, outputs: int) -> "Tensor":
    """Normal, with the variance 1 / inputs."""
    import torch

    return torch.randn(inputs, outputs) / math.sqrt(inputs)


def _norm(states: "Tensor", weight: "Tensor") -> "Tensor":
    from torch.nn.functional import layer_norm

    return layer_norm(states, (states.shape[-1],), weight)


def _add(states: "Tensor", added: "Tensor", gate: "Tensor | None", dropout: Dropout) -> "Tensor":
    """The residual sum, behind a gate where there is one."""
    import torch

    if gate is not None:
        added = added * torch.sigmoid(states @ gate)
    return states + dropout(added)


def time_codes(seconds: "Tensor") -> "Tensor":
    """floor(log2(1 + time from each later event back to each earlier one)).

    Args:
        seconds: int32 ``[batch, length]``, ascending.

    Returns:
        int32 ``[batch, length, length]``, 0 where the second event is the later one.
    """
    import torch

    apart = (seconds[:, :, None] - seconds[:, None, :]).clamp_min_(0)
    # The exponent of a float32 is the floor of its logarithm.
    return (apart.float().add_(1.0).view(torch.int32) >> 23).sub_(127).clamp_max_(TIME_CODES - 1)


def _only_earlier(codes: "Tensor") -> "Tensor":
    """The codes ``[batch, length, length]``, TIME_CODES (no attention) where an event is later."""
    import torch

    length = codes.shape[1]
    later = torch.ones(length, length, dtype=torch.bool).triu_(1)
    return codes.masked_fill(later, TIME_CODES)
