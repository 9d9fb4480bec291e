"""What a network must beat: means by category, and means of the nearest by content."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.cold.inputs import NodeInputs, Paths
from itememb_core.features.cold.network import Behaviour
from itememb_core.retrieval.exact import top_k

#: Neighbours by content whose behaviour is averaged.
NEIGHBOURS: Final = 20
#: Items that the mean of the category above counts as: the fewest that have a spread.
PRIOR: Final = 2.0


def category_means(
    paths: Paths,
    behaviour: Behaviour,
    weight: NDArray[np.float32],
    known: NDArray[np.int64],
    nodes: NDArray[np.int64],
) -> Behaviour:
    """The mean of the warm items of each node's category, drawn towards the parent's mean.

    A category's mean counts as many items as their weights add up to, its parent's as ``PRIOR``.

    Args:
        paths: Categories of all nodes.
        behaviour: Of all nodes.
        weight: float32 [nodes], how far each node's own place can be believed.
        known: Warm nodes that may be averaged, int64 [n].
        nodes: Nodes that want a vector, int64 [m].
    """
    lineage = paths.lineage()
    columns = [behaviour.embedding, behaviour.context, behaviour.bias[:, None]]
    joined = np.concatenate(columns, axis=1)
    categories, width = len(paths.parent), joined.shape[1]
    total, mass = np.zeros((categories, width)), np.zeros(categories)
    values = joined[known].astype(np.float64) * weight[known, None]
    for level in lineage[paths.deepest[known]].T:
        there = level >= 0
        np.add.at(total, level[there], values[there])
        np.add.at(mass, level[there], weight[known][there])
    means = np.empty((categories, width))
    every = values.sum(axis=0) / max(float(weight[known].sum()), 1e-12)
    for number, above in enumerate(paths.parent):  # parents come first
        prior = means[above] if above >= 0 else every
        means[number] = (total[number] + PRIOR * prior) / (mass[number] + PRIOR)
    return _behaviour(means[paths.deepest[nodes]])


def content_means(
    inputs: NodeInputs, behaviour: Behaviour, known: NDArray[np.int64], nodes: NDArray[np.int64]
) -> Behaviour:
    """The mean of the warm items that are nearest by cosine of the features.

    Args:
        inputs: Features of all nodes.
        behaviour: Of all nodes.
        known: Warm nodes that may be averaged, int64 [n].
        nodes: Nodes that want a vector, int64 [m].
    """
    norms = np.linalg.norm(inputs.values, axis=1, keepdims=True)
    unit = (inputs.values / np.maximum(norms, 1e-12)).astype(np.float32)
    joined = np.concatenate(
        [behaviour.embedding, behaviour.context, behaviour.bias[:, None]], axis=1
    )
    if not len(known) or not unit.shape[1]:
        return _behaviour(np.zeros((len(nodes), joined.shape[1])))
    near, _ = top_k(unit[nodes], np.ascontiguousarray(unit[known]), min(NEIGHBOURS, len(known)))
    return _behaviour(np.stack([joined[known[row]].mean(axis=0) for row in near])
                      if len(near) else np.zeros((0, joined.shape[1])))  # fmt: skip


def _behaviour(joined: NDArray) -> Behaviour:
    """Joined columns taken apart again; the embedding at norm 1."""
    dim = (joined.shape[1] - 1) // 2
    embedding = joined[:, :dim]
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    return Behaviour(
        unit.astype(np.float32),
        joined[:, dim : 2 * dim].astype(np.float32),
        joined[:, -1].astype(np.float32),
    )
