"""Blocks that an item lacks, by the best linear prediction from those it has.

The blocks of an item are taken as one draw of a normal distribution: what is not known has the
conditional mean given what is (Anderson, "An introduction to multivariate statistical analysis",
section 2.5). It needs means and covariances alone, one pass over the items, and an item of which
little is known comes to lie near the middle, not anywhere.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Rows whose products are made at once.
BLOCK = 16_384


class Parts(NamedTuple):
    """Blocks side by side.

    Attributes:
        values: float32 [items, width]; zeros where a block is not known.
        known: bool [items, blocks].
        widths: Width of each block.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    widths: tuple[int, ...]

    @property
    def columns(self) -> list[slice]:
        """Columns of each block."""
        ends = np.cumsum([0, *self.widths]).tolist()
        return [slice(low, high) for low, high in pairwise(ends)]

    def without(self, rows: NDArray[np.bool_], blocks: list[int]) -> "Parts":
        """The same with some blocks of some rows not known."""
        values, known, columns = self.values.copy(), self.known.copy(), self.columns
        for block in blocks:
            values[rows, columns[block]] = 0.0
            known[rows, block] = False
        return Parts(values, known, self.widths)


class Normal(NamedTuple):
    """Means float32 [width] and covariances float32 [width, width] of the blocks' columns."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]


def fit_normal(parts: Parts) -> Normal:
    """Means of the rows that have a block, covariances of those that have both.

    The diagonal is raised by ``width / rows`` of the mean variance: so much the eigenvalues of a
    covariance are off by chance (Marchenko & Pastur, 1967).
    """
    columns, width = parts.columns, parts.values.shape[1]
    mean, covariance = np.zeros(width), np.zeros((width, width))
    for block, own in enumerate(columns):
        rows = np.flatnonzero(parts.known[:, block])
        if len(rows):
            mean[own] = parts.values[rows, own].mean(axis=0, dtype=np.float64)
    for block, own in enumerate(columns):
        for other in range(block, len(columns)):
            rows = np.flatnonzero(parts.known[:, block] & parts.known[:, other])
            found = _products(parts.values, rows, (own, columns[other]), mean)
            covariance[own, columns[other]] = found
            covariance[columns[other], own] = found.T
    rows = parts.known.any(axis=1).sum()
    ridge = np.trace(covariance) / max(width, 1) * width / max(int(rows), 1)
    covariance[np.diag_indices(width)] += max(ridge, 1e-9)
    return Normal(mean.astype(np.float32), covariance.astype(np.float32))


def filled(parts: Parts, normal: Normal, wanted: list[int]) -> NDArray[np.float32]:
    """The wanted blocks, known or predicted, less their means, float32 [items, their widths]."""
    columns = parts.columns
    places = np.concatenate([np.arange(c.start, c.stop) for c in columns] or [np.empty(0, int)])
    block_of = np.repeat(np.arange(len(columns)), parts.widths)
    target = places[np.isin(block_of, wanted)].astype(np.int64)
    result = parts.values[:, target] - normal.mean[target]
    code = parts.known @ (1 << np.arange(len(columns), dtype=np.int64))
    for pattern in np.unique(code):
        rows = np.flatnonzero(code == pattern)
        has = parts.known[rows[0]][block_of]  # [width]
        lacks = np.flatnonzero(~has[target])
        if not len(lacks):
            continue
        given = np.flatnonzero(has)
        if not len(given):
            result[np.ix_(rows, lacks)] = 0.0
            continue
        weights = np.linalg.solve(
            normal.covariance[np.ix_(given, given)].astype(np.float64),
            normal.covariance[np.ix_(given, target[lacks])].astype(np.float64),
        ).astype(np.float32)
        for low in range(0, len(rows), BLOCK):
            part = rows[low : low + BLOCK]
            centred = parts.values[np.ix_(part, given)] - normal.mean[given]
            result[np.ix_(part, lacks)] = centred @ weights
    return result


def _products(
    values: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: tuple[slice, slice],
    mean: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean products of two blocks' columns, less their means, over some rows."""
    own, other = columns
    total = np.zeros((own.stop - own.start, other.stop - other.start))
    for low in range(0, len(rows), BLOCK):
        part = rows[low : low + BLOCK]
        left = values[part, own] - mean[own].astype(np.float32)
        right = values[part, other] - mean[other].astype(np.float32)
        total += left.T @ right
    return total / max(len(rows), 1)
