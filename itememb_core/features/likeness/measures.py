"""How alike neighbours are, and whether some items are everybody's neighbour."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.retrieval.exact import nearest_others

#: Neighbours that are looked at.
NEAREST = 10


class Hubness(NamedTuple):
    """How often items are among others' ten nearest.

    Attributes:
        skew: Skewness of N_10, the number of lists that an item is in (Radovanovic, Nanopoulos &
            Ivanovic, "Hubs in space", JMLR 11, 2010); 0 where all are in as many.
        most: The largest N_10.
        never: Share of items in no list.
    """

    skew: float
    most: int
    never: float


def hubness(values: NDArray[np.float32], rows: NDArray[np.int64]) -> Hubness:
    """Hubness of some rows of unit vectors among each other.

    Args:
        values: float32 [items, dim].
        rows: The items, int64 [n].
    """
    if len(rows) < 2:
        return Hubness(0.0, 0, 0.0)
    near = nearest_others(values, rows, NEAREST, rows)
    times = np.bincount(near.ravel(), minlength=len(values))[rows].astype(np.float64)
    off, spread = times - times.mean(), times.std()
    skew = float(np.mean(off**3) / spread**3) if spread > 0 else 0.0
    return Hubness(skew, int(times.max()), float(np.mean(times == 0)))


def label_agreement(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.int64],
    among: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Share of each query's ten nearest that have its label, float64 [queries].

    Args:
        values: Unit vectors, float32 [items, dim].
        labels: int64 [items].
        queries: Rows, int64 [n].
        among: Rows that may be neighbours.
    """
    near = nearest_others(values, queries, NEAREST, among)
    same = labels[near] == labels[queries][:, None]
    return same.mean(axis=1) if near.shape[1] else np.zeros(len(queries))


def mean_likeness(
    values: NDArray[np.float32],
    truth: NDArray[np.float32],
    queries: NDArray[np.int64],
    among: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Mean cosine of each query's true features to those of its ten nearest, float64 [queries].

    Args:
        values: Unit vectors that neighbours are found by, float32 [items, dim].
        truth: Unit vectors of what is really alike, float32 [items, dims].
        queries: Rows, int64 [n].
        among: Rows that may be neighbours.
    """
    near = nearest_others(values, queries, NEAREST, among)
    if not near.shape[1]:
        return np.zeros(len(queries))
    return np.einsum("nkd,nd->n", truth[near], truth[queries], dtype=np.float64) / near.shape[1]
