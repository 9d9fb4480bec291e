"""Plain answers to "what goes with this": popularity and co-occurrence counts.

What belongs here: baselines that see what training saw and fit nothing but one smoothing weight.
What does not: our own model, metrics.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.vocabulary import UNKNOWN, node_index

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Weights of popularity, in co-occurrences, that smoothed counts choose from.
SMOOTHING_WEIGHTS: Final = (100.0, 300.0, 1000.0, 3000.0)


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
    own = edges.filter(pc.equal(edges["channel"], channel))
    a = node_index(vocabulary, own["item_a"], channel)
    b = node_index(vocabulary, own["item_b"], channel)
    n = own["n"].to_numpy().astype(np.float32)
    asked = np.zeros(nodes + 1, bool)  # the last row stands for unknown items
    asked[queries] = True
    known = (a != UNKNOWN) & (b != UNKNOWN)
    from_a, from_b = known & asked[a], known & asked[b]
    rows = np.concatenate([a[from_a], b[from_b]])
    columns = np.concatenate([b[from_a], a[from_b]])
    values = np.concatenate([n[from_a], n[from_b]])
    return csr_array((values, (rows, columns)), shape=(nodes, nodes))


def popularity(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Share of each candidate in its channel, ``[candidates]``."""
    return (counts / max(int(counts.sum()), 1)).astype(np.float32)
