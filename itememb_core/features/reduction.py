"""Fewer columns that tell nearly as much: truncated SVD of sparse rows, PCA of dense ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itememb_core.features.inputs import NO_NORM

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Reduction:
    """A linear map onto ``dim`` columns, of which the last are zero where fewer were needed.

    Attributes:
        components: float32 [columns, dim], orthonormal but for the columns that are zero.
        mean: Subtracted first, float32 [columns]; None: nothing is.
        explained: Share of the variance of the rows fitted on that is kept; 1 where they have none.
    """

    components: NDArray[np.float32]
    mean: NDArray[np.float32] | None
    explained: float

    def apply(self, rows: "NDArray[np.float32] | csr_matrix") -> NDArray[np.float32]:
        """The rows in the new columns, float32 [rows, dim]."""
        made = np.asarray(rows @ self.components, np.float32)
        return made if self.mean is None else made - self.mean @ self.components


def fit_svd(rows: "csr_matrix", dim: int, seed: int) -> Reduction:
    """Truncated SVD: randomised (Halko, Martinsson and Tropp 2011), in float32, not centred.

    With at most ``dim`` columns there is nothing to leave out: they stay as they are.
    """
    n, columns = rows.shape
    if columns <= dim:
        return Reduction(np.eye(columns, dim, dtype=np.float32), None, 1.0)
    from sklearn.decomposition import TruncatedSVD

    model = TruncatedSVD(min(dim, n), random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        model.fit(rows)
    return Reduction(
        _padded(model.components_, dim), None, _share(model.explained_variance_ratio_.sum())
    )


def fit_pca(rows: NDArray[np.float32], dim: int, seed: int) -> Reduction:
    """Principal components: exact where the width is small, else randomised."""
    n, columns = rows.shape
    if n == 0:
        return Reduction(np.zeros((columns, dim), np.float32), np.zeros(columns, np.float32), 1.0)
    from sklearn.decomposition import PCA

    # A mean summed in float32 is off by more than rounding, over many rows.
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    model = PCA(min(dim, n, columns), random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        model.fit(rows - mean)
    share = _share(model.explained_variance_ratio_.sum())
    return Reduction(_padded(model.components_, dim), mean, share)


def _padded(components: NDArray[np.floating], dim: int) -> NDArray[np.float32]:
    """Components as columns, with zeros up to ``dim``: float32 [columns, dim]."""
    made = np.zeros((components.shape[1], dim), np.float32)
    made[:, : len(components)] = components.T
    return made


def _share(explained: float) -> float:
    """The share as a plain number; rows without variance have none to lose."""
    return min(float(explained), 1.0) if np.isfinite(explained) else 1.0


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows at norm 1; zero where there is no direction, which is up to ``NO_NORM``."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > NO_NORM, rows / np.maximum(norms, NO_NORM), np.float32(0))


def directed(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows are not zero, bool [rows]."""
    return np.asarray(rows.any(axis=1))
