"""The two towers and the repeat term.

score(user, item) = user vector . item vector + bias(item); for a previously interacted item it is
share * score + repeat, both by frequency and recency.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from itememb_core.services import CHANNELS
from itememb_core.settings import UserModelSettings
from itememb_core.users.features import EVENT_FEATURES, REPEAT_FEATURES
from itememb_core.users.gru import gru
from itememb_core.users.shards import ACTIONS

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import GRU, ModuleDict, Sequential

_ACTION_DIM = 8
_CHANNEL_DIM = 4
_REPEAT_HIDDEN = 16

#: Initial weights of the repeat term: of log count and repeat rate, and the log odds of an item
#: with one interaction. The share starts at 0: the popularity of a previously interacted item
#: among other users adds little.
_REPEAT_START = {0: 1.0, 6: 1.5}
_REPEAT_LEVEL = -5.0


@dataclass(frozen=True)
class Towers:
    """All parameters, and the item vectors that both towers read.

    Attributes:
        layers: Dense parts: action, channel, gru, user, item, repeat.
        ids: Trained id rows ``[targets, id_dim]``.
        bias: Bias of each target ``[targets, 1]``.
        vectors: Item vectors by node + 1, zeros at row 0 for "none" ``[nodes + 1, item_dim]``.
        targets: Row of ``vectors`` of each target, int64 ``[targets]``.
    """

    layers: "ModuleDict"
    ids: "Tensor"
    bias: "Tensor"
    vectors: "Tensor"
    targets: "Tensor"

    def to(self, device: str) -> "Towers":
        """The same on a device: itself where it is there, else a copy."""
        if self.ids.device.type == device:
            return self
        layers = deepcopy(self.layers).to(device)
        tensors = (self.ids, self.bias, self.vectors, self.targets)
        return Towers(layers, *(each.to(device) for each in tensors))


def make_towers(
    item_vectors: NDArray[np.float32],
    targets: NDArray[np.int32],
    item_users: NDArray[np.int64],
    settings: UserModelSettings,
    seed: int,
) -> Towers:
    """Parameters before training, from the seed alone.

    Args:
        item_vectors: ``[nodes, item_dim]``.
        targets: Node of each target ``[targets]``.
        item_users: Users who interacted with each target ``[targets]``; logarithms are the first
            biases.
        settings: Sizes.
        seed: Of the random start.
    """
    import torch

    width = item_vectors.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _layers(width, settings)
        ids = torch.randn(len(targets), settings.id_dim) * 0.1
    vectors = torch.zeros(len(item_vectors) + 1, width)
    vectors[1:] = torch.tensor(item_vectors)
    bias = torch.from_numpy(np.log(np.maximum(item_users, 1) / max(item_users.sum(), 1)))
    rows = torch.from_numpy(targets.astype(np.int64)) + 1
    return Towers(layers, ids, bias.float()[:, None], vectors, rows)


def _layers(width: int, settings: UserModelSettings) -> "ModuleDict":
    """The dense parts, from torch's current random state; ``width`` is that of item vectors."""
    import torch
    from torch import nn

    inputs = width + _ACTION_DIM + _CHANNEL_DIM + EVENT_FEATURES
    layers: Any = nn.ModuleDict(
        {
            "action": nn.Embedding(len(ACTIONS) + 1, _ACTION_DIM),
            "channel": nn.Embedding(len(CHANNELS), _CHANNEL_DIM),
            "gru": nn.GRU(inputs, settings.hidden),
            "user": nn.Linear(settings.hidden + width, settings.dim),
            "item": _mlp(width + settings.id_dim, settings.item_hidden, settings.dim),
            "repeat": _mlp(REPEAT_FEATURES, _REPEAT_HIDDEN, 2),
            "repeat_line": nn.Linear(REPEAT_FEATURES, 2),
        }
    )
    with torch.no_grad():
        # The first scores are popularity, and mostly the own count for previously interacted items.
        layers["user"].weight.mul_(0.1)
        layers["user"].bias.zero_()
        layers["repeat"][2].weight.zero_()
        layers["repeat"][2].bias.zero_()
        layers["repeat_line"].weight.zero_()
        for feature, weight in _REPEAT_START.items():
            layers["repeat_line"].weight[0, feature] = weight
        layers["repeat_line"].bias.copy_(torch.tensor([_REPEAT_LEVEL, 0.0]))
    return layers


def _mlp(inputs: int, hidden: int, outputs: int) -> "Sequential":
    from torch import nn

    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def user_states(towers: Towers, batch: "dict[str, Tensor]", position: "Tensor") -> "Tensor":
    """State of the user tower after chosen events ``[positions, hidden + item_dim]``.

    The GRU's output beside the mean of the item vectors up to there. Both look back only, so
    padding at the end changes nothing before it.

    Args:
        towers: Parameters.
        batch: ``node``, ``action``, ``channel`` ``[batch, length]`` and ``features``.
        position: Flat places in the padded batch (row * length + step) ``[positions]``.
    """
    import torch
    from torch.nn.functional import linear

    layers = towers.layers
    node = batch["node"].T  # [length, batch]
    items = towers.vectors[node]  # [length, batch, item_dim]
    rest = [
        layers["action"](batch["action"].T),
        layers["channel"](batch["channel"].T),
        batch["features"].transpose(0, 1),
    ]
    layer, width = cast("GRU", layers["gru"]), items.shape[2]
    weight, bias = cast("Tensor", layer.weight_ih_l0), cast("Tensor", layer.bias_ih_l0)
    # One product each for the items, which need no gradient, and for the few other columns.
    gates = linear(items, weight[:, :width], bias)
    gates = gates + linear(torch.cat(rest, dim=2), weight[:, width:])
    states = gru(layer, gates)  # [length, batch, hidden]
    length = node.shape[0]
    step, row = position % length, position // length
    seen = torch.arange(1, length + 1, dtype=items.dtype, device=items.device)[:, None, None]
    mean = (items.cumsum(dim=0) / seen)[step, row]  # [positions, item_dim]
    return torch.cat([states[step, row], mean], dim=1)


def user_vectors(towers: Towers, states: "Tensor") -> "Tensor":
    """User vectors ``[n, dim]`` from chosen states ``[n, hidden + item_dim]``."""
    return towers.layers["user"](states)


def item_tower(towers: Towers, rows: "Tensor", ids: "Tensor") -> "Tensor":
    """Vectors of targets ``[n, dim]``: a two-layer MLP over item vector and id row.

    Args:
        towers: Parameters.
        rows: Targets ``[n]``.
        ids: Their id rows ``[n, id_dim]``.
    """
    import torch

    vectors = towers.vectors[towers.targets[rows]]  # [n, item_dim]
    return towers.layers["item"](torch.cat([vectors, ids], dim=1))


def repeated(towers: Towers, scores: "Tensor", features: "Tensor") -> "Tensor":
    """Scores ``[...]`` of previously interacted items, from those of new ones.

    Args:
        towers: Parameters.
        scores: User vector . item vector + bias ``[...]``.
        features: ``features.repeat_features`` ``[..., REPEAT_FEATURES]``.
    """
    layers = towers.layers
    both = layers["repeat"](features) + layers["repeat_line"](features)  # [..., 2]
    return both[..., 1] * scores + both[..., 0]


def towers_state(towers: Towers) -> "dict[str, Tensor]":
    """A copy of all that training changes, by name."""
    state = {name: each.clone() for name, each in towers.layers.state_dict().items()}
    return state | {"ids": towers.ids.clone(), "bias": towers.bias.clone()}


def set_towers_state(towers: Towers, state: "dict[str, Tensor]") -> None:
    """Set all that training changes to what :func:`towers_state` gave."""
    layers = {name: each for name, each in state.items() if name not in {"ids", "bias"}}
    towers.layers.load_state_dict(layers)
    towers.ids.copy_(state["ids"])
    towers.bias.copy_(state["bias"])
