"""A GRU over padded sequences whose backward pass is written out.

Torch's own layer records a dozen small operations a step; with the factors of the gradient made for
all steps at once, a step of the backward pass is one product and three element-wise operations,
which is what a CPU needs at these sizes. Source: Cho et al. 2014, in the form of ``torch.nn.GRU``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import GRU


def gru(layer: "GRU", gates: "Tensor") -> "Tensor":
    """Hidden states after each step ``[length, batch, hidden]``, starting from zeros.

    Args:
        layer: Holder of the recurrent parameters: one layer, one direction.
        gates: Input part of each gate, the input bias with it ``[length, batch, 3 hidden]``, time
            first.
    """
    import torch

    class Recurrence(torch.autograd.Function):
        """The part of the layer that goes step by step."""

        @staticmethod
        def forward(ctx: Any, gates: "Tensor", weight: "Tensor", bias: "Tensor") -> "Tensor":
            with _one_thread():
                states, *factors = _forward(gates, weight, bias)
            ctx.save_for_backward(states, *factors, weight)
            return states[1:]

        @staticmethod
        def backward(ctx: Any, gradient: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
            with _one_thread():
                return _backward(gradient, *ctx.saved_tensors)

    if not torch.is_grad_enabled():  # what the gradient needs takes as long as the states
        with _one_thread():
            weight, bias = cast("Tensor", layer.weight_hh_l0), cast("Tensor", layer.bias_hh_l0)
            return _run(gates, weight, bias)[0][1:]
    return Recurrence.apply(gates, layer.weight_hh_l0, layer.bias_hh_l0)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Steps are too small to share: on busy cores threads wait for each other at every one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _forward(
    gates: "Tensor", weight: "Tensor", bias: "Tensor"
) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """States, and what their gradient needs.

    Args:
        gates: Inputs of reset, update and new gate ``[length, batch, 3 hidden]``.
        weight: ``[3 hidden, hidden]``.
        bias: ``[3 hidden]``.

    Returns:
        States with the zeros before the first ``[length + 1, batch, hidden]``; factors by which a
        state's gradient becomes that of the recurrent reset, update and new gates
        ``[length, batch, 3, hidden]`` and of the new gate's input ``[length, batch, hidden]``;
        update gates ``[length, batch, hidden]``.
    """
    import torch

    hidden = weight.shape[1]
    states, both, recurrent, new = _run(gates, weight, bias)
    reset, update = both[..., :hidden], both[..., hidden:]
    by_new = (1 - update) * (1 - new.square())  # through tanh
    by_reset = by_new * recurrent[..., 2 * hidden :] * reset * (1 - reset)
    by_update = (states[:-1] - new) * update * (1 - update)
    factors = torch.stack([by_reset, by_update, by_new * reset], dim=2)
    return states, factors, by_new, update


def _run(
    gates: "Tensor", weight: "Tensor", bias: "Tensor"
) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """States ``[length + 1, ...]``, reset and update gates, recurrent parts and new gates."""
    import torch

    length, batch, _ = gates.shape
    hidden = weight.shape[1]
    states = gates.new_zeros(length + 1, batch, hidden)
    both = gates.new_empty(length, batch, 2 * hidden)  # reset, update
    recurrent = gates.new_empty(length, batch, 3 * hidden)
    new = gates.new_empty(length, batch, hidden)
    transposed = weight.T.contiguous()
    low = 2 * hidden
    reset, update = both[..., :hidden], both[..., hidden:]
    # Views of every step are made at once: one by one they take as long as the arithmetic.
    inputs = (gates[..., :low], gates[..., low:])
    own_parts = (recurrent, recurrent[..., :low], recurrent[..., low:])
    steps = (*inputs, *own_parts, both, reset, update, new, states[:-1], states[1:])
    for g, g_new, own, own_gates, own_new, gate, r, z, n, before, after in zip(
        *(each.unbind(0) for each in steps), strict=True
    ):
        torch.addmm(bias, before, transposed, out=own)
        torch.add(g, own_gates, out=gate).sigmoid_()
        torch.addcmul(g_new, r, own_new, out=n).tanh_()
        torch.lerp(n, before, z, out=after)
    return states, both, recurrent, new


def _backward(
    gradient: "Tensor",
    states: "Tensor",
    factors: "Tensor",
    by_new: "Tensor",
    update: "Tensor",
    weight: "Tensor",
) -> "tuple[Tensor, Tensor, Tensor]":
    """Gradients of gates, weight and bias from that of the states ``[length, batch, hidden]``."""
    import torch

    length, batch, _, hidden = factors.shape
    by_own = torch.empty_like(factors)  # [length, batch, 3, hidden]
    ahead = gradient.clone()  # [length, batch, hidden], becomes the gradient of each whole state
    steps = (ahead, ahead.unsqueeze(2), factors, by_own, by_own.flatten(2), update)
    later = None
    for whole, broad, factor, out, flat, z in zip(
        *(reversed(each.unbind(0)) for each in steps), strict=True
    ):
        if later is not None:
            whole.add_(later)
        torch.mul(broad, factor, out=out)
        later = torch.mul(whole, z).addmm_(flat, weight)
    own = by_own.view(length * batch, 3 * hidden)
    by_weight = own.T @ states[:-1].reshape(length * batch, hidden)
    by_input = torch.cat([by_own[:, :, :2].flatten(2), ahead * by_new], dim=2)
    return by_input, by_weight, own.sum(dim=0)
