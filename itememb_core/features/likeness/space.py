"""The space of what is alike: the main directions of all blocks, known or predicted."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.inputs import NodeInputs
from itememb_core.features.likeness.imputation import Normal, Parts, filled, fit_normal

#: Blocks that tell of the others but are no likeness themselves: the vectors, and the domain.
TELLING: Final = 2


@dataclass(frozen=True)
class LikenessSpace:
    """What an item is like, in ``dim`` directions.

    Attributes:
        normal: Means and covariances of the vectors, the domain and all blocks.
        axes: Orthonormal directions of the blocks, float32 [blocks' width, dim], the widest first.
        explained: Share of the blocks' variance that they hold.
    """

    normal: Normal
    axes: NDArray[np.float32]
    explained: float

    def transform(self, parts: Parts) -> NDArray[np.float32]:
        """Unit vectors float32 [items, dim]; zeros where nothing tells of an item."""
        wanted = list(range(TELLING, len(parts.widths)))
        found = filled(parts, self.normal, wanted) @ self.axes
        norms = np.sqrt(np.einsum("nd,nd->n", found, found, dtype=np.float64))
        found[norms > 0] /= norms[norms > 0, None]
        found[norms <= 0] = 0.0
        return found


def likeness_parts(
    embedding: NDArray[np.float32],
    warm: NDArray[np.bool_],
    domain: NDArray[np.int64],
    inputs: NodeInputs,
) -> Parts:
    """The vectors, the domain, then the blocks of features, side by side.

    Args:
        embedding: float32 [nodes, dim].
        warm: bool [nodes], which vectors interactions made.
        domain: int64 [nodes], from 0.
        inputs: Features of the same nodes.
    """
    domains = np.eye(int(domain.max(initial=0)) + 1, dtype=np.float32)[domain]
    values = np.concatenate([np.where(warm[:, None], embedding, 0.0), domains, inputs.values], 1)
    every = np.ones(len(values), bool)
    known = np.concatenate([np.stack([warm, every], axis=1), inputs.known], axis=1)
    widths = (embedding.shape[1], domains.shape[1], *inputs.dims.values())
    return Parts(values.astype(np.float32), known, widths)


def fit_likeness(parts: Parts, dim: int) -> LikenessSpace:
    """Find the directions: the eigenvectors of the blocks' covariance.

    Args:
        parts: :func:`likeness_parts`.
        dim: Directions; fewer where the blocks are narrower.
    """
    normal = fit_normal(parts)
    start = sum(parts.widths[:TELLING])
    size, axes = np.linalg.eigh(normal.covariance[start:, start:].astype(np.float64))
    size = size.clip(min=0.0)
    order = np.argsort(-size)[:dim]
    total = float(size.sum())
    explained = float(size[order].sum() / total) if total else 1.0
    return LikenessSpace(normal, axes[:, order].astype(np.float32), explained)
