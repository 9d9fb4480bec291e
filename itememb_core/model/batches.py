"""Batches planned from drawn pairs: distinct rows, who uses them, same-id hits.

What belongs here: integer bookkeeping of many batches at once, so that a step only gathers,
multiplies and scatters. What does not: drawing pairs, vectors, losses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Members:
    """Which of a batch's pairs have each row at one end; all int64.

    Attributes:
        row: Place in ``Batch.rows`` of each pair's end ``[batch]``.
        pairs: Pairs ordered by that row ``[batch]``.
        starts: First position in ``pairs`` of each row ``[rows]``.
    """

    row: "Tensor"
    pairs: "Tensor"
    starts: "Tensor"

    def total(self, values: "Tensor") -> "Tensor":
        """Return the sum over the pairs of each row ``[rows, dim]`` of ``values [batch, dim]``."""
        from torch.nn.functional import embedding_bag

        return embedding_bag(self.pairs, values, self.starts, mode="sum")


@dataclass(frozen=True)
class Batch:
    """One step's pairs: a query, its partner, and the other pairs' partners as negatives.

    Attributes:
        rows: Distinct nodes of either end, ascending, int64 ``[rows]``.
        query: The ends that ask.
        candidate: The ends that are asked for.
        weight: 1 / chance of each candidate to be drawn, float32 ``[batch]``.
        hits: Positions i * batch + j, i ≠ j, int64 ``[hits]``: candidate j is the query or the
            partner of pair i and so no negative of it.
    """

    rows: "Tensor"
    query: Members
    candidate: Members
    weight: "Tensor"
    hits: "Tensor"


def plan(
    query: NDArray[np.integer],
    candidate: NDArray[np.integer],
    weight: NDArray[np.float32],
    device: str,
) -> Iterator[Batch]:
    """Plan batches.

    Args:
        query: Nodes ``[batches, batch]``.
        candidate: Nodes of their partners ``[batches, batch]``.
        weight: Correction weight of each candidate ``[batches, batch]``.
        device: Where the tensors go.
    """
    batch = query.shape[1]
    node, pair, asks = _sorted_ends(query, candidate)  # [batches, 2 batch] each
    new = np.ones(node.shape, np.bool_)
    np.not_equal(node[:, 1:], node[:, :-1], out=new[:, 1:])
    row = np.cumsum(new, axis=1) - 1
    query_side = _members(row, pair, new, asks)
    candidate_side = _members(row, pair, new, ~asks)
    for i, names in enumerate(node):
        found = _hits(row[i], pair[i], candidate_side[1][i], candidate_side[2][i], batch)
        yield Batch(
            rows=_tensor(names[new[i]], device),
            query=Members(*(_tensor(part[i], device) for part in query_side)),
            candidate=Members(*(_tensor(part[i], device) for part in candidate_side)),
            weight=_tensor(weight[i], device),
            hits=_tensor(found, device),
        )


def _sorted_ends(
    query: NDArray[np.integer], candidate: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Both ends of each batch sorted by node, then queries first: node, pair, whether it asks."""
    batch = query.shape[1]
    ends = np.concatenate([query, candidate], axis=1).astype(np.int64)
    # One number for node and position: plain sorting is several times faster than argsort.
    bits = (2 * batch - 1).bit_length()
    keys = np.sort((ends << bits) | np.arange(2 * batch), axis=1)
    place = keys & ((1 << bits) - 1)
    return keys >> bits, place % batch, place < batch


def _members(
    row: NDArray[np.int64],
    pair: NDArray[np.int64],
    new: NDArray[np.bool_],
    side: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """One side of every batch as in ``Members``; the starts of each batch apart."""
    shape = (len(row), row.shape[1] // 2)
    pairs = pair[side].reshape(shape)
    places = np.empty(shape, np.int64)
    np.put_along_axis(places, pairs, row[side].reshape(shape), axis=1)
    before: NDArray[np.int64] = np.cumsum(side, axis=1) - side
    return places, pairs, [before[i][first] for i, first in enumerate(new)]


def _hits(
    row: NDArray[np.int64],
    pair: NDArray[np.int64],
    candidates: NDArray[np.int64],
    starts: NDArray[np.int64],
    batch: int,
) -> NDArray[np.int64]:
    """Every end of a batch with the candidates of the same row, as in ``Batch.hits``."""
    count = np.diff(starts, append=batch)[row]  # [2 batch]
    i = np.repeat(pair, count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    j = candidates[np.repeat(starts[row], count) + within]
    return (i * batch + j)[i != j]


def _tensor(values: NDArray, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(values).to(device)
