"""A trained network, and what it predicts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.features.cold.network import Behaviour, Outputs, Reader, Scale

if TYPE_CHECKING:
    from torch.nn import Module

#: Nodes that go through the network at once.
BLOCK: Final = 8_192


@dataclass(frozen=True)
class Trained:
    """A trained network and what its outputs mean.

    Attributes:
        network: ``make_network``.
        scale: Units of its outputs.
        categories: int64 [categories], row of each category of the inputs' paths; -1: none.
    """

    network: "Module"
    scale: Scale
    categories: NDArray[np.int64]

    def predict(
        self, inputs: NodeInputs, base: NDArray[np.float32], nodes: NDArray[np.int64]
    ) -> Behaviour:
        """Where behaviour would put nodes, by their features alone.

        Args:
            inputs: Features of all nodes.
            base: ``CategoryMeans.of`` the nodes, [n, 2 dim + 1].
            nodes: int64 [n].
        """
        import torch

        reader, parts = Reader(inputs, self.categories), []
        with torch.no_grad():
            for low in range(0, max(len(nodes), 1), BLOCK):
                values, rows = reader.read(torch.from_numpy(nodes[low : low + BLOCK]))
                means = torch.from_numpy(self.scale.down(base[low : low + BLOCK]))
                parts.append(_scaled(self.network(values, rows, means), self.scale))
        return Behaviour(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _scaled(found: Outputs, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The outputs in the units of the item model."""
    from torch.nn.functional import normalize

    embedding = normalize(found.embedding, dim=1).numpy()
    context = found.context.numpy() * np.float32(scale.context)
    bias = found.bias.numpy() * np.float32(scale.spread) + np.float32(scale.bias)
    return embedding, context, bias
