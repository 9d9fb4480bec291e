"""Batches planned from drawn pairs: distinct nodes of each side, their pairs, same-node cells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: Sides are padded to whole blocks: few shapes, each of which the matrix library plans only once.
BLOCK: Final = 64


@dataclass(frozen=True)
class Batch:
    """One step's pairs, ordered by query, over the distinct nodes of each side.

    The scores of q queries and the m candidates that are negatives are one matrix ``[q, m]``,
    however often a node was drawn; one drawn k times as a negative counts k times. Padding repeats
    the first node of its side, has no pair and counts 0 times. All int64 but ``count`` and
    ``weight``.

    Attributes:
        negatives: m.
        query: Distinct query nodes ``[q]``.
        candidate: Distinct candidate nodes, and extra negatives ``[c]``; those that are negatives
            come first.
        count: How often each candidate was drawn as a negative, float32 ``[c]``.
        weight: Correction weight of each candidate, float32 ``[c]``.
        pair_query: Place of each pair's query, ascending ``[batch]``.
        pair_candidate: Place of each pair's candidate ``[batch]``.
        query_starts: First pair of each query ``[q]``.
        by_candidate: Pairs ordered by candidate ``[batch]``.
        candidate_starts: First place in ``by_candidate`` of each candidate ``[c]``.
        same: Cells i * m + j whose query and candidate are one node, which is no negative of
            itself ``[cells]``.
        apart: Pairs whose candidate is no negative ``[apart]``.
    """

    negatives: int
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
    apart: "Tensor"

    @property
    def pairs(self) -> int:
        """Pairs of the batch."""
        return len(self.pair_query)


def plan(
    query: NDArray[np.integer],
    candidate: NDArray[np.integer],
    weights: Sequence[NDArray[np.float32]],
    device: str,
    shared: int | None = None,
) -> Iterator[Batch]:
    """Plan batches.

    Args:
        query: Nodes ``[batches, batch]``.
        candidate: Nodes of their partners, then extra negatives ``[batches, batch + extra]``.
        weights: Of each batch, the correction weight of every node ``[nodes]``: 1 / its chance to
            be drawn as a negative.
        device: Where the tensors go.
        shared: Partners of the first so many pairs are negatives of all pairs; None: all are.
    """
    pairs = query.shape[1]
    sizes = pairs if shared is None else min(shared, pairs), pairs
    node, place, is_query = _sorted_ends(query, candidate)  # [batches, 2 batch + extra] each
    new = np.ones(node.shape, np.bool_)
    np.not_equal(node[:, 1:], node[:, :-1], out=new[:, 1:])
    after_query = np.zeros(node.shape, np.bool_)
    after_query[:, 1:] = is_query[:, :-1]
    # Queries come before candidates of the same node.
    first_query, first_candidate = is_query & new, ~is_query & (new | after_query)
    side = np.where(is_query, first_query.cumsum(axis=1), first_candidate.cumsum(axis=1)) - 1
    also_query = first_candidate & ~new
    parts = (node, place, is_query, side, first_query, first_candidate, also_query)
    for i, weight in enumerate(weights):
        yield _batch(_Ends(*(part[i] for part in parts)), weight, sizes, device)


class _Ends(NamedTuple):
    """The drawn ends of a batch, ordered by node, queries first ``[2 batch + extra]`` each."""

    node: NDArray[np.int64]
    place: NDArray[np.int64]  # number of the draw on its side
    is_query: NDArray[np.bool_]
    side: NDArray[np.int64]  # which of the distinct nodes of its side it is
    first_query: NDArray[np.bool_]  # the first query of its node
    first_candidate: NDArray[np.bool_]
    also_query: NDArray[np.bool_]  # the first candidate of a node that is a query as well


def _sorted_ends(
    query: NDArray[np.integer], candidate: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """All ends of each batch by node, queries first: node, place on its side, if it is a query."""
    batch = query.shape[1]
    ends = np.concatenate([query, candidate], axis=1).astype(np.int64)
    # One number for node and position: plain sorting is several times faster than argsort.
    bits = (ends.shape[1] - 1).bit_length()
    keys = np.sort((ends << bits) | np.arange(ends.shape[1]), axis=1)
    place = keys & ((1 << bits) - 1)
    is_query = place < batch
    return keys >> bits, np.where(is_query, place, place - batch), is_query


def _batch(ends: _Ends, weight: NDArray[np.float32], sizes: tuple[int, int], device: str) -> Batch:
    """One batch; ``sizes``: pairs whose partners are negatives, and pairs."""
    pairs = sizes[1]
    # Index arrays throughout: taking by flags costs several times as much.
    query_ends, candidate_ends = np.flatnonzero(ends.is_query), np.flatnonzero(~ends.is_query)
    to, drawn = ends.side[candidate_ends], ends.place[candidate_ends]
    nodes = ends.node[np.flatnonzero(ends.first_candidate)]
    counted = (drawn < sizes[0]) | (drawn >= pairs)
    count = np.bincount(to, counted, len(nodes)).astype(np.float32)
    new, candidates, negatives = _negatives_first(nodes, count > 0)
    paired = np.flatnonzero(drawn < pairs)
    by_candidate, of_pair = drawn[paired], new[to[paired]]
    if negatives < len(candidates):
        moved = np.argsort(of_pair >= negatives, kind="stable")
        by_candidate, of_pair = by_candidate[moved], of_pair[moved]
    by_query = ends.place[query_ends]  # pairs as drawn, in the order of their queries
    order, of_candidate = np.empty((2, pairs), np.int64)
    order[by_query], of_candidate[by_candidate] = np.arange(pairs), of_pair
    of_query = of_candidate[by_query]
    queries = np.flatnonzero(ends.first_query)
    uses, of_new = np.bincount(of_pair, minlength=len(candidates)), np.zeros(len(candidates))
    of_new[new] = count
    arrays = (
        _pad(ends.node[queries], ends.node[queries[0]]), candidates,
        of_new.astype(np.float32), weight[candidates], ends.side[query_ends], of_query,
        _pad(np.searchsorted(query_ends, queries), pairs), order[by_candidate],
        np.cumsum(uses) - uses, _same(ends, new, count, negatives),
        np.flatnonzero(of_query >= negatives),
    )  # fmt: skip
    return Batch(negatives, *(_tensor(each, device) for each in arrays))


def _negatives_first(
    nodes: NDArray[np.int64], negative: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """New places of candidates, the candidates there, and how many places negatives take."""
    there = negative.cumsum()
    size = _padded(int(there[-1]))
    new = np.where(negative, there - 1, size + np.arange(len(nodes)) - there)
    candidates = np.full(size + _padded(len(nodes) - int(there[-1])), nodes[0])
    candidates[new] = nodes
    return new, candidates, size


def _same(
    ends: _Ends, new: NDArray[np.int64], count: NDArray[np.float32], negatives: int
) -> NDArray[np.int64]:
    """Cells whose query and candidate are one node, of the candidates that are negatives."""
    first = np.flatnonzero(ends.also_query)
    first = first[count[ends.side[first]] > 0]
    query = ends.side[first - 1]  # the last query of the same node
    return query * negatives + new[ends.side[first]]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _pad(values: NDArray[np.int64], value: int) -> NDArray[np.int64]:
    out = np.full(_padded(len(values)), value, np.int64)
    out[: len(values)] = values
    return out


def _tensor(values: NDArray, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(values).to(device)
