"""Baselines of a cold item's vectors: means over warm items that are known to be like it.

A baseline is a matrix of weights ``[cold, nodes]`` whose rows sum to 1; times any table by node
(vectors, contexts, biases, a tower's outputs) it gives the cold items' rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itememb_core.retrieval.exact import nearest_others

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Warm items whose mean a cold item takes.
NEIGHBOURS = 20

Nodes = NDArray[np.int64]


def category_weights(paths: Sequence[tuple[str, ...]], cold: Nodes, warm: Nodes) -> "csr_array":
    """Equal weights of the warm items below the deepest category that has one.

    Args:
        paths: Domain and categories of each node, the highest first, ``[nodes]``.
        cold: Nodes ``[cold]``.
        warm: Nodes that may stand in; a cold item whose domain has none gets all of them.
    """
    below: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for node in warm.tolist():
        for depth in range(len(paths[node]) + 1):
            below[paths[node][:depth]].append(node)
    lists = []
    for node in cold.tolist():
        path = paths[node]
        deepest = next(d for d in range(len(path), -1, -1) if path[:d] in below)
        lists.append(below[path[:deepest]])
    return mean_weights(lists, len(paths))


def neighbour_weights(
    rows: NDArray[np.float32], domains: NDArray[np.object_], cold: Nodes, warm: Nodes
) -> "csr_array":
    """Equal weights of the ``NEIGHBOURS`` nearest warm items of the same domain.

    Args:
        rows: Unit feature rows ``[nodes, dim]``; a cold item whose row is 0 gets its whole domain,
            and so does one of a domain with so few.
        domains: Of each node ``[nodes]``.
        cold: Nodes ``[cold]``.
        warm: Nodes that may stand in.
    """
    lists: dict[int, list[int]] = {}
    for domain in np.unique(domains[cold].astype(str)):
        mine = cold[domains[cold] == domain]
        among = warm[domains[warm] == domain]
        among = among if len(among) else warm
        known = (rows[mine] != 0).any(axis=1) & (len(among) > NEIGHBOURS)
        lists |= {int(node): among.tolist() for node in mine[~known]}
        if known.any():
            near = nearest_others(rows, mine[known], NEIGHBOURS, among)
            lists |= dict(zip(mine[known].tolist(), near.tolist(), strict=True))
    return mean_weights([lists[node] for node in cold.tolist()], len(rows))


def mean_weights(lists: Sequence[Sequence[int]], nodes: int) -> "csr_array":
    """A row for each list with the same weight for each of its nodes, ``[lists, nodes]``."""
    from scipy.sparse import csr_array

    sizes = np.array([len(each) for each in lists], np.int64)
    columns = np.concatenate([np.empty(0, np.int64), *(np.asarray(each) for each in lists)])
    values = np.repeat(1.0 / np.maximum(sizes, 1), sizes).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return csr_array((values, columns.astype(np.int64), starts), shape=(len(lists), nodes))
