"""Baselines of "what goes with this": popularity, co-occurrence counts, PPMI and an SVD."""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.items.training.data import Pairs
from itememb_core.items.training.start import ppmi, spectral_vectors, within_matrix
from itememb_core.items.vocabulary import UNKNOWN, channel_codes, node_index
from itememb_core.services import CHANNELS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Weights of popularity, in co-occurrences, that smoothed counts choose from.
SMOOTHING_WEIGHTS: Final = (100.0, 300.0, 1000.0, 3000.0)


class CountedPairs(NamedTuple):
    """Within-channel pairs of training, a row a month; arrays ``[pairs]``."""

    a: NDArray[np.int32]  # node
    b: NDArray[np.int32]  # node
    code: NDArray[np.int8]  # position in CHANNELS
    n: NDArray[np.float32]  # baskets or sessions with the pair
    weight: NDArray[np.float32]

    def of(self, channel: str) -> "CountedPairs":
        """Those of one channel."""
        own = self.code == CHANNELS.index(channel)
        return CountedPairs(*(column[own] for column in self))


def counted_pairs(vocabulary: pa.Table, edges: pa.Table) -> CountedPairs:
    """Look up the nodes of pairs; those of items that the vocabulary lacks are left out.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        edges: ``schemas.EDGES``, of training only.
    """
    a = node_index(vocabulary, edges["item_a"], edges["channel"])
    b = node_index(vocabulary, edges["item_b"], edges["channel"])
    n, weight = (edges[name].to_numpy().astype(np.float32) for name in ("n", "weight"))
    known = (a != UNKNOWN) & (b != UNKNOWN)
    code = channel_codes(edges["channel"])
    return CountedPairs(a[known], b[known], code[known], n[known], weight[known])


def cooccurrence(
    pairs: CountedPairs, queries: NDArray[np.int64], place: NDArray[np.int64]
) -> "csr_array":
    """How often each query occurs with each candidate.

    Args:
        pairs: Of one channel; ``n`` is summed over months.
        queries: Nodes, ``[queries]``, repeats allowed.
        place: Candidate that a node is, ``[nodes]``; UNKNOWN where it is none.

    Returns:
        Counts ``[queries, candidates]``, float32.
    """
    from scipy.sparse import csr_array

    distinct, row = np.unique(queries, return_inverse=True)
    query_row = np.full(len(place), UNKNOWN, np.int64)
    query_row[distinct] = np.arange(len(distinct))
    ends = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
    rows, columns = query_row[ends[0]], place[ends[1]]
    kept = np.flatnonzero((rows != UNKNOWN) & (columns != UNKNOWN))
    values = np.concatenate([pairs.n, pairs.n])[kept]
    shape = (len(distinct), int(place.max(initial=-1)) + 1)
    return csr_array((values, (rows[kept], columns[kept])), shape=shape)[row]


def popularity(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each candidate in its channel, ``[candidates]``."""
    return counts / max(int(counts.sum()), 1)


def ppmi_svd(
    pairs: CountedPairs, place: NDArray[np.int64], dim: int, seed: int
) -> NDArray[np.float32]:
    """Vectors of one channel's pairs alone: PPMI and a truncated SVD (Levy et al. 2015).

    Args:
        pairs: Of one channel.
        place: Candidate that a node is, ``[nodes]``; UNKNOWN where it is none.
        dim: Length of a vector.
        seed: Of the SVD's random subspace.

    Returns:
        ``[candidates, dim]``, unit rows; of candidates without a pair zeros.
    """
    a, b = place[pairs.a], place[pairs.b]
    kept = (a != UNKNOWN) & (b != UNKNOWN)
    own = Pairs(a[kept], b[kept], np.zeros(int(kept.sum()), np.int8), pairs.weight[kept])
    matrix = ppmi(within_matrix(own, 0, int(place.max(initial=-1)) + 1))
    rows = spectral_vectors(matrix, dim, seed)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
