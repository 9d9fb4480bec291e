"""The Poincaré ball of curvature -1 and, beside it for comparison, flat space.

What belongs here: distances, their gradients, and steps that stay in the space, on arrays. What
does not: nodes and losses. Formulas: Nickel and Kiela 2017 (distance, gradient), Ganea et al. 2018
(Möbius addition, exponential and logarithmic maps).
"""

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Curvature's size: the ball's radius is 1 / sqrt(CURVATURE).
CURVATURE: Final = 1.0
#: Largest distance from the origin: of a float64 point there, distances still hold 3 digits.
MAX_RADIUS: Final = 30.0
#: Below it a number counts as 0: what is divided by it stays finite.
_LEAST: Final = 1e-100
_LARGEST_NORM: Final = float(np.tanh(MAX_RADIUS / 2))


class Near(NamedTuple):
    """Queries against others: distances and what their gradients are made of.

    The gradient of a distance by the query x is ``pull * ((x - y) + square * by_query * x)``, by
    the other y ``pull * ((y - x) + square * by_other * y)``.

    Attributes:
        distance: ``[queries, others]``.
        square: Squared Euclidean distance, ``[queries, others]``.
        pull: ``[queries, others]``; 0 of a point with itself.
        by_query: ``[queries]``.
        by_other: ``[others]``.
    """

    distance: Floats
    square: Floats
    pull: Floats
    by_query: Floats
    by_other: Floats


class Space(Protocol):
    """What the trainer needs of a space."""

    def near(self, queries: Floats, others: Floats) -> Near:
        """Distances between all queries ``[queries, dim]`` and others ``[others, dim]``."""

    def direction(self, points: Floats, gradient: Floats) -> Floats:
        """The gradient in tangent vectors of unit speed at each point, ``[points, dim]``."""

    def moved(self, points: Floats, by: Floats) -> Floats:
        """Points after a way of the length and direction of ``by``, ``[points, dim]``."""


class Ball:
    """The Poincaré ball."""

    def near(self, queries: Floats, others: Floats) -> Near:
        """See :class:`Space`."""
        from scipy.spatial.distance import cdist

        square = cdist(queries, others, "sqeuclidean")
        by_query, by_other = 1 / _gap(queries), 1 / _gap(others)
        scale = (2 * by_query)[:, None] * by_other
        z = square * scale
        root = np.sqrt(z * (z + 2))
        # arcosh(1 + z), which loses no digits where z is small
        distance = np.log1p(z + root)
        pull = np.where(root > _LEAST, 2 * scale / np.maximum(root, _LEAST), 0.0)
        return Near(distance, square, pull, by_query, by_other)

    def direction(self, points: Floats, gradient: Floats) -> Floats:
        """See :class:`Space`: the Riemannian gradient, its length as the metric has it."""
        # gradient / conformal ** 2 is the tangent vector; its length is conformal times as much
        return gradient * (_gap(points) / 2)[:, None]

    def moved(self, points: Floats, by: Floats) -> Floats:
        """See :class:`Space`: along geodesics, and not beyond ``MAX_RADIUS``."""
        length = np.linalg.norm(by, axis=1, keepdims=True)
        local = by * (np.tanh(length / 2) / np.maximum(length, _LEAST))
        return inside(added(points, local))


class Flat:
    """Euclidean space."""

    def near(self, queries: Floats, others: Floats) -> Near:
        """See :class:`Space`."""
        from scipy.spatial.distance import cdist

        square = cdist(queries, others, "sqeuclidean")
        distance = np.sqrt(square)
        pull = np.where(distance > _LEAST, 1 / np.maximum(distance, _LEAST), 0.0)
        return Near(distance, square, pull, np.zeros(len(queries)), np.zeros(len(others)))

    def direction(self, points: Floats, gradient: Floats) -> Floats:
        """See :class:`Space`."""
        return gradient

    def moved(self, points: Floats, by: Floats) -> Floats:
        """See :class:`Space`."""
        return points + by


def distance(x: Floats, y: Floats) -> Floats:
    """Poincaré distances, ``[...]``: arcosh(1 + 2 |x - y|² / ((1 - |x|²) (1 - |y|²))).

    Args:
        x: Points inside the unit ball, ``[..., dim]``.
        y: As many, or one for all.
    """
    z = 2 * ((x - y) ** 2).sum(-1) / (_gap(x) * _gap(y))
    return np.log1p(z + np.sqrt(z * (z + 2)))


def added(x: Floats, y: Floats) -> Floats:
    """Möbius addition: y moved by what takes the origin to x, ``[..., dim]``."""
    xy = (x * y).sum(-1, keepdims=True)
    xx, yy = (x * x).sum(-1, keepdims=True), (y * y).sum(-1, keepdims=True)
    return ((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy)


def inside(points: Floats) -> Floats:
    """Points, those beyond ``MAX_RADIUS`` drawn back to it, ``[..., dim]``."""
    norm = np.linalg.norm(points, axis=-1, keepdims=True)
    return points * np.minimum(1.0, _LARGEST_NORM / np.maximum(norm, _LEAST))


def log_at_origin(points: Floats) -> Floats:
    """Points of the ball as vectors of the tangent space at the origin, ``[..., dim]``.

    (2 / sqrt(c)) artanh(sqrt(c) |x|) x / |x|: a vector is as long as its point is far from the
    origin. (Ganea et al. 2018 give half of it, since they measure it by the metric at the origin.)
    """
    norm = np.linalg.norm(points, axis=-1, keepdims=True)
    root = np.sqrt(CURVATURE)
    return points * (2 / root * np.arctanh(root * norm) / np.maximum(norm, _LEAST))


def _gap(points: Floats) -> Floats:
    """1 - |x|² of points, ``[...]``; as (1 - |x|) (1 + |x|), which near the edge is exacter."""
    norm = np.linalg.norm(points, axis=-1)
    return (1 - norm) * (1 + norm)
