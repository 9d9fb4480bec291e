"""A start for the vectors: smoothed PPMI over all relations and a randomised SVD of it.

What belongs here: relation matrices from pairs and bags, PPMI, the factorisation. What does not:
training, other starts. Sources: PPMI with smoothed contexts, Levy, Goldberg and Dagan 2015;
randomised subspace iteration, Halko, Martinsson and Tropp 2011.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from itememb_core.channels import CHANNELS
from itememb_core.model.data import Bags, Pairs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Power of the context's frequency in PMI: below 1 rare contexts weigh less.
SMOOTHING: Final = 0.75


def bridge_matrix(bags, channels, window_days, nodes):
    from scipy.sparse import csr_array
    window = bags.day // window_days
    key = bags.user.astype(np.int64) * (int(window.max(initial=0)) + 1) + window
    sides = []
    keys, group = np.unique(key, return_inverse=True)
    for channel in channels:
        rows = np.flatnonzero(bags.channel == channel)
        m = csr_array((np.ones(len(rows), np.float32), (group[rows], bags.node[rows])), shape=(len(keys), nodes))
        m.sum_duplicates(); m.data[:] = 1
        size = np.diff(m.indptr)
        m.data *= np.repeat(1 / np.sqrt(np.maximum(size, 1)), size).astype(np.float32)
        sides.append(m)
    out = (sides[0].T @ sides[1]).tocsr()
    return out


def within_matrix(pairs, channel, nodes):
    from scipy.sparse import csr_array
    rows = np.flatnonzero(pairs.channel == channel)
    a, b, w = pairs.a[rows], pairs.b[rows], pairs.weight[rows]
    m = csr_array((np.concatenate([w, w]), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(nodes, nodes))
    return m


def ppmi(m, shift=0.0):
    total = m.sum(); ra = np.asarray(m.sum(axis=1)).ravel(); cb = np.asarray(m.sum(axis=0)).ravel()
    def smooth(x):
        y = x ** SMOOTHING; return y / y.sum()
    la = np.log(np.maximum(ra / total, 1e-30)); lb = np.log(np.maximum(smooth(cb), 1e-30))
    rows = np.repeat(np.arange(m.shape[0]), np.diff(m.indptr))
    pmi = np.log(m.data / total) - la[rows] - lb[m.indices] - shift
    m = m.copy(); m.data = np.maximum(pmi, 0).astype(np.float32); m.eliminate_zeros()
    return m
