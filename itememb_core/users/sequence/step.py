"""Loss and gradients of a batch, with the scores of negatives made a few positions at a time."""

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from itememb_core.learning.dropout import Dropout
from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence.losses import Loss, Losses
from itememb_core.users.sequence.network import ROWS, Network

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

#: Scores that are held at once: 1 MiB, about what a core's cache holds.
_SCORES: Final = 1 << 18

#: Products of rows that do not begin where a cache line does take twice as long.
_LINE: Final = 16


def batch_gradients(
    network: Network,
    batch: "Tensors",
    settings: SequenceSettings,
    loss: Loss,
    rng: np.random.Generator | None,
) -> "tuple[float, Tensors]":
    """The mean loss of a batch's targets, and gradients by parameter.

    Those of ``ROWS`` are of the batch's nodes alone ``[nodes, ...]``.

    Args:
        network: Parameters.
        batch: ``batches.make_batch`` as tensors.
        settings: Shares that are dropped.
        loss: Compares targets with negatives.
        rng: Draws what is dropped; None: nothing is.
    """
    import torch
    from torch.nn.functional import embedding

    rows = network.parameters["rows"].index_select(0, batch["nodes"]).requires_grad_()
    items = network.items(batch["nodes"], _some(rows, settings.id_dropout, rng))
    states = network.states(batch, items, Dropout(settings.dropout, rng))
    scored = {
        "users": network.users(embedding(batch["position"], states.flatten(0, 1))),
        "target": embedding(batch["target"], items),  # [positions, targets, dim]
        "negative": embedding(batch["negative"], items),  # [negatives, dim]
    }
    bias = network.parameters["bias"].index_select(0, batch["nodes"])
    leaves = {name: each.detach() for name, each in scored.items()}
    mean, gradients, by_bias = score_gradients(leaves, bias[:, 0], batch, loss)
    torch.autograd.backward(list(scored.values()), [gradients[name] for name in scored])
    found = {"rows": rows.grad, "bias": by_bias[:, None]}
    for name, parameter in network.parameters.items():
        if name not in ROWS:
            found[name], parameter.grad = parameter.grad, None
    return mean, {name: each for name, each in found.items() if each is not None}


def _some(rows: "Tensor", share: float, rng: np.random.Generator | None) -> "Tensor":
    """Trained rows, those of a share of the items left out: these are as if they were new."""
    import torch

    if not share or rng is None:
        return rows
    kept = (rng.random((len(rows), 1)) >= share).astype(np.float32)
    return rows * torch.from_numpy(kept)


def score_gradients(
    leaves: "Tensors", bias: "Tensor", batch: "Tensors", loss: Loss
) -> "tuple[float, Tensors, Tensor]":
    """The mean loss, and the gradients of what scores are made of.

    Scores of a few positions at a time stay in the cache; those of all would pass through memory
    many times.

    Args:
        leaves: ``users [positions, dim]``, ``target [positions, targets, dim]``,
            ``negative [negatives, dim]``.
        bias: Of the batch's nodes ``[nodes]``.
        batch: ``batches.make_batch`` as tensors.
        loss: Compares targets with negatives.

    Returns:
        The loss; gradients as ``leaves``; those of the biases ``[nodes]``.
    """
    import torch

    number = len(leaves["negative"])
    negative = torch.nn.functional.pad(leaves["negative"], (0, 0, 0, -number % _LINE))
    leaves = leaves | {"negative": negative}
    by = {name: torch.zeros_like(each) for name, each in leaves.items()}
    by["bias"] = bias.new_zeros(len(negative))
    right_bias, by_right = bias[batch["target"]], torch.empty_like(batch["weight"])
    base, weight = _base(bias, batch, len(negative), loss), batch["weight"]
    weight = weight / weight.sum()
    size, total = max(1, _SCORES // len(negative)), 0.0
    for low in range(0, len(weight), size):
        part = slice(low, low + size)
        scores = _begun(base, batch, part)
        found = _part(leaves, by, part, scores, right_bias[part], weight[part], loss)
        total += float(found.values.sum())
        by_right[part] = found.by_target
    by_bias = torch.zeros_like(bias)
    by_bias.index_add_(0, batch["target"].flatten(), by_right.flatten())
    by_bias.index_add_(0, batch["negative"], by.pop("bias")[:number])
    return total, by | {"negative": by["negative"][:number]}, by_bias


def _part(
    leaves: "Tensors",
    by: "Tensors",
    part: slice,
    scores: "Tensor",
    right_bias: "Tensor",
    weight: "Tensor",
    loss: Loss,
) -> Losses:
    """Losses of some positions; their gradients are added to ``by``.

    Args:
        leaves: As of :func:`score_gradients`, negatives padded.
        by: Gradients of them, and ``bias`` ``[negatives]``.
        part: The positions.
        scores: What the scores of their negatives begin with ``[part, negatives]``; overwritten.
        right_bias: Biases of their targets ``[part, targets]``.
        weight: Of their targets ``[part, targets]``.
        loss: Compares targets with negatives.
    """
    users, target, negative = leaves["users"][part], leaves["target"][part], leaves["negative"]
    scores.addmm_(users, negative.T)
    right = (target @ users[:, :, None])[..., 0] + right_bias
    found = loss(right, scores, weight)
    by["target"][part] = found.by_target[:, :, None] * users[:, None, :]
    by["users"][part] = (found.by_target[:, None, :] @ target)[:, 0]
    by["users"][part].addmm_(found.by_negative, negative)
    by["negative"].addmm_(found.by_negative.T, users)
    by["bias"] += found.by_negative.sum(dim=0)
    return found


def _begun(base: "Tensor", batch: "Tensors", part: slice) -> "Tensor":
    """What the scores of positions begin with: -inf where a negative is one of its targets."""
    import torch

    hits, bounds = batch["hit"], torch.tensor([part.start, part.stop])
    scores = base.index_select(0, batch["row"][part])
    first, last = torch.searchsorted(hits[0], bounds).tolist()
    scores[hits[0, first:last] - part.start, hits[1, first:last]] = -math.inf
    return scores


def _base(bias: "Tensor", batch: "Tensors", width: int, loss: Loss) -> "Tensor":
    """What the scores of negatives begin with, by row of events ``[batch, width]``.

    Bias and log weight; -inf for items of the user's own and for columns past the negatives.
    """
    own, number = batch["own"], len(batch["negative"])
    base = bias.new_full((len(own), width), -math.inf)
    base[:, :number] = bias[batch["negative"]]
    if loss.corrected:
        base[:, :number] += batch["log_weight"]
    base[:, :number].masked_fill_(own, -math.inf)
    return base
