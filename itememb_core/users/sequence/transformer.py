"""A causal transformer over events.

Sources: self-attention over a user's items, Kang and McAuley 2018 (SASRec); norms before each part,
Xiong et al. 2020; a learned bias of attention by the logarithm of the time between two events, Zhai
et al. 2024 (HSTU); gates on what a part adds, Borisyuk et al. 2024 (LiGR).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from itememb_core.users.sequence.encoders import Dropout

if TYPE_CHECKING:
    from torch import Tensor

#: Codes of the time between two events: floor(log2(1 + seconds)), 68 years at most.
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
    ) -> "Tensor":
        """See :class:`itememb_core.users.sequence.encoders.Encoder`."""
        states = inputs + parameters["position"][: inputs.shape[1]]
        codes = time_codes(seconds) if self.times else None
        for block in range(self.blocks):
            own = {
                name.removeprefix(f"{block}."): each
                for name, each in parameters.items()
                if name.startswith(f"{block}.")
            }
            states = self._attend(own, states, codes, dropout)
            states = self._transform(own, states, dropout)
        return states

    def _attend(
        self,
        own: "dict[str, Tensor]",
        states: "Tensor",
        codes: "Tensor | None",
        dropout: Dropout,
    ) -> "Tensor":
        """States with what attention adds."""
        from torch.nn.functional import scaled_dot_product_attention

        batch, length, dim = states.shape
        normed = _norm(states, own["attention_norm"])
        parts = (normed @ own["heads"]).view(batch, length, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [batch, heads, length, width]
        if codes is None:
            mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = _biased_attention(query, key, value, time_bias(codes, own["time"]))
        added = mixed.transpose(1, 2).reshape(batch, length, dim) @ own["joined"]
        return _add(states, added, own.get("attention_gate"), dropout)

    def _transform(self, own: "dict[str, Tensor]", states: "Tensor", dropout: Dropout) -> "Tensor":
        """States with what the layer of units adds."""
        import torch

        normed = _norm(states, own["units_norm"])
        flat = normed.flatten(0, 1)
        units = torch.nn.functional.gelu(torch.addmm(own["units_bias"], flat, own["units"]))
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


def time_bias(codes: "Tensor", table: "Tensor") -> "Tensor":
    """What is added to attention's scores ``[batch, heads, length, length]``; later events: -inf.

    Args:
        codes: :func:`time_codes` ``[batch, length, length]``.
        table: ``[heads, TIME_CODES]``.
    """
    import torch

    length, flat = codes.shape[1], codes.reshape(-1)
    bias = torch.stack([row.index_select(0, flat).view(codes.shape) for row in table], dim=1)
    later = torch.ones(length, length, dtype=torch.bool).triu_(1)
    return bias.masked_fill(later, -math.inf)


def _biased_attention(query: "Tensor", key: "Tensor", value: "Tensor", bias: "Tensor") -> "Tensor":
    """Attention whose scores get a trained bias, which torch's fused kernels cannot train."""
    import torch

    batch, heads, length, width = query.shape
    query, key, value = (each.reshape(batch * heads, length, width) for each in (query, key, value))
    scores = torch.baddbmm(
        bias.flatten(0, 1), query, key.transpose(1, 2), alpha=1 / math.sqrt(width)
    )
    return (scores.softmax(dim=2) @ value).view(batch, heads, length, width)
