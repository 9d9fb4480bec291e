"""Plain answers to "what goes with this": popularity, co-occurrence counts, PPMI and an SVD.

What belongs here: baselines that see what training saw and fit nothing but one smoothing weight.
What does not: our own model, metrics.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.model.data import Pairs
from itememb_core.model.start import ppmi, spectral_vectors, within_matrix
from itememb_core.vocabulary import UNKNOWN, node_index

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Weights of popularity, in co-occurrences, that smoothed counts choose from.
SMOOTHING_WEIGHTS: Final = (30.0, 100.0, 300.0, 1000.0, 3000.0)


def cooccurrence(
    vocabulary: pa.Table, edges: pa.Table, channel: str, queries: NDArray[np.int64]
) -> "csr_array":
    """How often each query was met with each node in a channel.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        edges: ``schemas.EDGES``, of training only; ``n`` is summed over months.
        channel: The channel to count in.
        queries: Nodes to answer for, ``[queries]``, repeats allowed.

    Returns:
        Counts ``[nodes, nodes]``, float32; rows of nodes that are no query are empty. Pairs of
        items that the vocabulary lacks take no part.
    """
    from scipy.sparse import csr_array

    nodes = vocabulary.num_rows
    a, b, own = _ends(vocabulary, edges, channel)
    n = own["n"].to_numpy().astype(np.float32)
    asked = np.zeros(nodes, bool)
    asked[queries] = True
    from_a, from_b = asked[a], asked[b]
    rows = np.concatenate([a[from_a], b[from_b]])
    columns = np.concatenate([b[from_a], a[from_b]])
    values = np.concatenate([n[from_a], n[from_b]])
    return csr_array((values, (rows, columns)), shape=(nodes, nodes))


def _ends(
    vocabulary: pa.Table, edges: pa.Table, channel: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], pa.Table]:
    """Nodes of the channel's pairs whose items are both known, and those rows."""
    own = edges.filter(pc.equal(edges["channel"], channel))
    a = node_index(vocabulary, own["item_a"], channel)
    b = node_index(vocabulary, own["item_b"], channel)
    known = (a != UNKNOWN) & (b != UNKNOWN)
    return a[known], b[known], own.filter(pa.array(known))


def popularity(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each candidate in its channel, ``[candidates]``."""
    return counts / max(int(counts.sum()), 1)


def ppmi_svd(
    vocabulary: pa.Table, edges: pa.Table, channel: str, dim: int, seed: int
) -> NDArray[np.float32]:
    """Unit vectors of one channel's pairs alone: PPMI and a truncated SVD (Levy et al. 2015).

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        edges: ``schemas.EDGES``, of training only.
        channel: The channel.
        dim: Length of a vector.
        seed: Of the SVD's random subspace.

    Returns:
        ``[nodes, dim]``, unit rows; of nodes without a pair zeros.
    """
    a, b, own = _ends(vocabulary, edges, channel)
    code = np.zeros(len(a), np.int8)
    pairs = Pairs(a, b, code, own["weight"].to_numpy().astype(np.float32))
    matrix = ppmi(within_matrix(pairs, 0, vocabulary.num_rows))
    rows = spectral_vectors(matrix, dim, seed)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
