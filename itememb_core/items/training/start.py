"""Initial vectors: smoothed PPMI over all relations, factorised by a randomised SVD; warm start.

Sources: PPMI with smoothed contexts, Levy, Goldberg and Dagan 2015; randomised subspace iteration,
Halko, Martinsson and Tropp 2011.
"""

import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from itememb_core.bags import bag_window
from itememb_core.items.training.data import Bags, Pairs, TrainingData
from itememb_core.progress import Progress, silent
from itememb_core.services import CHANNELS
from itememb_core.settings import ItemModelSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Power of the context's frequency in PMI: below 1 rare contexts weigh less.
SMOOTHING: Final = 0.75
#: Extra columns of the subspace, and how often it is multiplied.
OVERSAMPLING: Final = 16
ITERATIONS: Final = 5
#: Random rows drawn, and entries of a matrix looked at, at a time.
BLOCK: Final = 1 << 18
#: Length of the random part added to every row, so that rows without a relation differ.
JITTER: Final = 0.05


def start_vectors(
    data: TrainingData, settings: ItemModelSettings, seed: int, progress: Progress = silent
) -> np.ndarray:
    """Return unit vectors ``[nodes, dim]`` that training starts from, float32.

    Random ones for rows of half precision are float16, so that they never take the full memory.

    Args:
        data: Pairs and bags; validation days are left out.
        settings: ``dim``, ``start``, ``row_type``, ``bridge`` and ``window_days``.
        seed: Of the random start and of the SVD's random subspace.
        progress: Called after each multiplication.
    """
    if settings.start == "random":
        half = settings.row_type != "float32"
        return _random_vectors(data.nodes, settings.dim, seed, np.float16 if half else np.float32)
    noise = _random_vectors(data.nodes, settings.dim, seed)
    matrix = relation_matrix(data, settings)
    if matrix.nnz == 0:
        return noise
    found = spectral_vectors(matrix, settings.dim, seed, progress)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    rows = found / np.maximum(lengths, 1e-12) + JITTER * noise  # [nodes, dim]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _random_vectors(
    nodes: int, dim: int, seed: int, dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """Return random unit vectors ``[nodes, dim]``."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    rows = np.empty((nodes, dim), dtype)
    for low in range(0, nodes, BLOCK):
        block = rng.standard_normal((min(BLOCK, nodes - low), dim), dtype=np.float32)
        rows[low : low + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


class WarmStart(NamedTuple):
    """Vectors of the previous version, on this fit's nodes; rows of unknown nodes are ignored.

    Attributes:
        known: Nodes of the previous version, bool ``[nodes]``.
        embedding: ``[nodes, dim]``, unit norm.
        context: ``[nodes, dim]``.
        bias: ``[nodes]``.
    """

    known: np.ndarray
    embedding: np.ndarray
    context: np.ndarray
    bias: np.ndarray


def start_from(data: TrainingData, warm_start: WarmStart, seed: int) -> np.ndarray:
    """Return unit vectors ``[nodes, dim]``: known nodes as they were, new ones by their partners.

    A new node starts at the mean of its known partners, by the weight of their within-channel
    pairs; one without any starts at random.
    """
    nodes, dim = warm_start.embedding.shape
    rows = _random_vectors(nodes, dim, seed)
    pairs, known = data.pairs, warm_start.known
    sums = np.zeros_like(rows)
    for new, partner in ((pairs.a, pairs.b), (pairs.b, pairs.a)):
        rows_of = np.flatnonzero(~known[new] & known[partner])
        part = warm_start.embedding[partner[rows_of]] * pairs.weight[rows_of, None]
        np.add.at(sums, new[rows_of], part)
    length = np.linalg.norm(sums, axis=1)
    reached = length > 0
    rows[reached] = sums[reached] / length[reached, None]
    rows[known] = warm_start.embedding[known]
    return rows


def relation_matrix(data: TrainingData, settings: ItemModelSettings) -> "csr_array":
    """Return the sum of the PPMI matrices of all relations ``[nodes, nodes]``.

    Only its symmetric part is used, so a bridge's block is on one side, doubled.
    """
    from scipy.sparse import csr_array

    total = csr_array((data.nodes, data.nodes), dtype=np.float32)
    for channel in np.unique(data.pairs.channel):
        total = total + ppmi(within_matrix(data.pairs, int(channel), data.nodes))
    bags = data.training_bags
    channels = [c for c in range(len(CHANNELS)) if (bags.channel == c).any()]
    for i, first in enumerate(channels):
        for second in channels[i + 1 :] if settings.bridge else []:
            pair = bridge_matrix(bags, (first, second), settings, data.nodes)
            block = ppmi(pair)
            del pair
            total = total + block * np.float32(2)
    return csr_array(total)


def within_matrix(pairs: Pairs, channel: int, nodes: int) -> "csr_array":
    """Return the symmetric weights of one channel's pairs ``[nodes, nodes]``."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(pairs.channel == channel)
    a, b, weight = pairs.a[rows], pairs.b[rows], pairs.weight[rows]
    ends = (np.concatenate([a, b]), np.concatenate([b, a]))
    return csr_array((np.concatenate([weight, weight]), ends), shape=(nodes, nodes))


def bridge_matrix(
    bags: Bags, channels: tuple[int, int], settings: ItemModelSettings, nodes: int
) -> "csr_array":
    """Return weights between two channels ``[nodes, nodes]``: 1 / sqrt(size a · size b) a bag.

    Bags are those of :mod:`itememb_core.bags`; one over ``settings.bag_cap`` makes no pair here: it
    makes size a · size b of them, of a weight that vanishes. A pair whose ends are one node makes
    no entry.
    """
    group = users_windows(bags, settings.window_days)
    first, second = (_bag_rows(bags, group, c, nodes, settings.bag_cap) for c in channels)
    matrix = (first.T @ second).tocsr()
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return matrix


def users_windows(bags: Bags, window_days: int) -> np.ndarray:
    """Return a number for the user and window of each entry, from 0 without gaps ``[entries]``."""
    window = bag_window(bags.day, window_days)
    key = bags.user.astype(np.int64) * (int(window.max(initial=0)) + 1) + window
    return np.unique(key, return_inverse=True)[1]


def bags_over(bags: Bags, settings: ItemModelSettings) -> dict[str, int]:
    """Return how many bags are over ``settings.bag_cap`` and their items; empty: none is."""
    if not len(bags) or not settings.bridge or settings.start == "random":
        return {}
    group = users_windows(bags, settings.window_days)
    key = np.unique(np.stack([group * len(CHANNELS) + bags.channel, bags.node]), axis=1)[0]
    size = np.unique(key, return_counts=True)[1]
    over = size[size > settings.bag_cap]
    return {"bags capped": len(over), "items cut": int(over.sum())} if len(over) else {}


def _bag_rows(bags: Bags, group: np.ndarray, channel: int, nodes: int, most: int) -> "csr_array":
    """Return one row a bag, 1 / sqrt(distinct items) at its items ``[bags, nodes]``.

    Rows of bags with more than ``most`` items are empty.
    """
    from scipy.sparse import csr_array

    rows = np.flatnonzero(bags.channel == channel)
    ones = np.ones(len(rows), np.float32)
    shape = (int(group.max(initial=-1)) + 1, nodes)
    matrix = csr_array((ones, (group[rows], bags.node[rows])), shape=shape)
    matrix.sum_duplicates()
    size = np.diff(matrix.indptr)
    weight = np.where(size > most, 0.0, 1 / np.sqrt(np.maximum(size, 1)))
    matrix.data = np.repeat(weight, size).astype(np.float32)
    if (size > most).any():
        matrix.eliminate_zeros()
    return matrix


def ppmi(matrix: "csr_array") -> "csr_array":
    """Return positive pointwise mutual information max(0, log p(a, b) / (p(a) p'(b))).

    p' is the frequency of b to the power ``SMOOTHING``, normalised. Zeros are dropped.
    """
    total = float(matrix.sum())
    if total <= 0:
        return matrix
    by_row = np.asarray(matrix.sum(axis=1)).ravel()
    smooth = np.asarray(matrix.sum(axis=0)).ravel() ** SMOOTHING
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(by_row / total), np.log(smooth / smooth.sum())
    out = matrix.copy()
    out.data = np.empty(matrix.nnz, np.float32)
    for low in range(0, matrix.nnz, BLOCK):  # an entry takes more in work than it does stored
        part = slice(low, min(low + BLOCK, matrix.nnz))
        rows = np.searchsorted(matrix.indptr, np.arange(low, part.stop), side="right") - 1
        pmi = np.log(matrix.data[part] / total) - log_a[rows] - log_b[matrix.indices[part]]
        out.data[part] = np.maximum(pmi, 0)
    out.eliminate_zeros()
    return out


def spectral_vectors(
    matrix: "csr_array", dim: int, seed: int, progress: Progress = silent
) -> np.ndarray:
    """Return U sqrt(max(λ, 0)) of the leading eigenpairs of (M + Mᵀ) / 2, ``[nodes, dim]``."""
    import torch

    both = ((matrix + matrix.T) * np.float32(0.5)).tocsr()
    rank = min(dim + OVERSAMPLING, both.shape[0])
    # Only products with 32-bit indices run on all threads.
    index = np.int32 if both.nnz < 2**31 else np.int64
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        sparse = torch.sparse_csr_tensor(
            torch.from_numpy(both.indptr.astype(index)),
            torch.from_numpy(both.indices.astype(index)),
            torch.from_numpy(both.data),
            size=both.shape,
            check_invariants=False,
        )
    basis = torch.randn(both.shape[0], rank, generator=torch.Generator().manual_seed(seed))
    for i in range(ITERATIONS):
        basis = torch.linalg.qr(sparse @ basis)[0]  # [nodes, rank]
        progress("spectral start", i + 1, ITERATIONS)
    small = basis.T @ (sparse @ basis)  # [rank, rank]
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    best = torch.argsort(values, descending=True)[:dim]
    scaled = (basis @ vectors[:, best]) * values[best].clamp_min(0).sqrt()  # [nodes, best]
    out = np.zeros((both.shape[0], dim), np.float32)
    out[:, : len(best)] = scaled.numpy()
    return out
