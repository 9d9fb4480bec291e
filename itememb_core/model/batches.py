"""Batches planned from drawn pairs: distinct nodes of each side, who uses them, same-node cells.

What belongs here: integer bookkeeping of many batches at once, so that a step only gathers,
multiplies and scatters. What does not: drawing pairs, vectors, losses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: Sides are padded to whole blocks: few shapes, each of which the matrix library plans only once.
BLOCK: Final = 64


@dataclass(frozen=True)
class Batch:
    """One step's pairs, ordered by query, over the distinct nodes of each side.

    The scores of q queries and c candidates are one matrix ``[q, c]``, however often a node was
    drawn; a candidate drawn k times counts k times as a negative. Padding repeats the first node
    of its side, has no pair and counts 0 times. All int64 but ``count`` and ``weight``.

    Attributes:
        query: Distinct nodes that ask ``[q]``.
        candidate: Distinct nodes that are asked for, and extra negatives ``[c]``.
        count: How often each candidate was drawn, float32 ``[c]``.
        weight: Correction weight of each candidate, float32 ``[c]``.
        pair_query: Place of each pair's query, ascending ``[batch]``.
        pair_candidate: Place of each pair's candidate ``[batch]``.
        query_starts: First pair of each query ``[q]``.
        by_candidate: Pairs ordered by candidate ``[batch]``.
        candidate_starts: First place in ``by_candidate`` of each candidate ``[c]``.
        same: Cells i * c + j whose query and candidate are one node, which is no negative of
            itself ``[cells]``.
    """

    query: "Tensor"
    candidate: "Tensor"
    count: "Tensor"
    weight: "Tensor"
    pair_query: "Tensor"
    pair_candidate: "Tensor"
    query_starts: "Tensor"
    by_candidate: "Tensor"
    candidate_starts: "Tensor"
    same: "Tensor"

    @property
    def pairs(self) -> int:
        """Pairs of the batch."""
        return len(self.pair_query)


def plan(
    query: NDArray[np.integer],
    candidate: NDArray[np.integer],
    weights: Sequence[NDArray[np.float32]],
    device: str,
) -> Iterator[Batch]:
    """Plan batches.

    Args:
        query: Nodes ``[batches, batch]``.
        candidate: Nodes of their partners, then extra negatives ``[batches, batch + extra]``.
        weights: Of each batch, the correction weight of every node ``[nodes]``: 1 / its chance to
            be drawn as a candidate.
        device: Where the tensors go.
    """
    pairs = query.shape[1]
    node, place, asks = _sorted_ends(query, candidate)  # [batches, 2 batch + extra] each
    new = np.ones(node.shape, np.bool_)
    np.not_equal(node[:, 1:], node[:, :-1], out=new[:, 1:])
    after_query = np.zeros(node.shape, np.bool_)
    after_query[:, 1:] = asks[:, :-1]
    # Queries stand before candidates of the same node.
    first_query, first_candidate = asks & new, ~asks & (new | after_query)
    at_query, at_candidate = first_query.cumsum(axis=1) - 1, first_candidate.cumsum(axis=1) - 1
    both = first_candidate & ~new
    for i in range(len(node)):
        yield _batch(
            node[i], place[i], asks[i], (first_query[i], first_candidate[i], both[i]),
            (at_query[i], at_candidate[i]), weights[i], pairs, device,
        )  # fmt: skip


def _sorted_ends(
    query: NDArray[np.integer], candidate: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """All ends of each batch sorted by node, queries first: node, place on its side, if it asks."""
    batch = query.shape[1]
    ends = np.concatenate([query, candidate], axis=1).astype(np.int64)
    # One number for node and position: plain sorting is several times faster than argsort.
    bits = (ends.shape[1] - 1).bit_length()
    keys = np.sort((ends << bits) | np.arange(ends.shape[1]), axis=1)
    place = keys & ((1 << bits) - 1)
    asks = place < batch
    return keys >> bits, np.where(asks, place, place - batch), asks


def _batch(
    node: NDArray[np.int64],
    place: NDArray[np.int64],
    asks: NDArray[np.bool_],
    first: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    weight: NDArray[np.float32],
    pairs: int,
    device: str,
) -> Batch:
    """One batch from its sorted ends; arguments as in :func:`plan`, without the first axis."""
    paired = ~asks & (place < pairs)
    by_query, by_candidate = place[asks], place[paired]  # pair numbers as drawn
    order = np.empty(pairs, np.int64)
    order[by_query] = np.arange(pairs)
    of_candidate = np.empty(pairs, np.int64)
    of_candidate[by_candidate] = at[1][paired]
    queries, candidates = (_pad(part, part[0]) for part in (node[first[0]], node[first[1]]))
    drawn = np.bincount(at[1][~asks], minlength=len(candidates)).astype(np.float32)
    query_starts: NDArray[np.int64] = (np.cumsum(asks) - asks)[first[0]]
    candidate_starts: NDArray[np.int64] = (np.cumsum(paired) - paired)[first[1]]
    cells = at[0][first[2]] * len(candidates) + at[1][first[2]]
    parts = (
        queries, candidates, drawn, weight[candidates],
        at[0][asks], of_candidate[by_query], _pad(query_starts, pairs),
        order[by_candidate], _pad(candidate_starts, pairs), cells,
    )  # fmt: skip
    return Batch(*(_tensor(part, device) for part in parts))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _pad(values: NDArray[np.int64], value: int) -> NDArray[np.int64]:
    out = np.full(_padded(len(values)), value, np.int64)
    out[: len(values)] = values
    return out


def _tensor(values: NDArray, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(values).to(device)
