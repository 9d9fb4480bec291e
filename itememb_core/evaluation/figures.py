"""From metrics by query to rows of an evaluation table: means, intervals, slices."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.intervals import bootstrap_intervals
from itememb_core.schemas import EVALUATION

#: Method, metric, slice, value, low, high.
Row = tuple[str, str, str, float, float | None, float | None]
Values = NDArray[np.float64]


class QueryMetrics(NamedTuple):
    """Metrics by query.

    Attributes:
        values: ``[queries]`` by method and metric.
        exact: The same for figures known without drawing (chance): they get no interval.
        slices: Which queries belong to a slice beside ``all``, bool ``[queries]``.
    """

    values: Mapping[tuple[str, str], Values]
    exact: Mapping[tuple[str, str], Values]
    slices: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """Number of queries."""
        return len(next(iter(self.values.values())))


def joined(parts: Iterable[QueryMetrics]) -> QueryMetrics:
    """The queries of all parts, which have the same methods; a slice that a part lacks is empty."""
    parts = list(parts)
    names = dict.fromkeys(name for part in parts for name in part.slices)
    empty = [np.zeros(len(part), bool) for part in parts]
    return QueryMetrics(
        {key: np.concatenate([p.values[key] for p in parts]) for key in parts[0].values},
        {key: np.concatenate([p.exact[key] for p in parts]) for key in parts[0].exact},
        {
            name: np.concatenate([p.slices.get(name, e) for p, e in zip(parts, empty, strict=True)])
            for name in names
        },
    )


def figure_rows(
    metrics: QueryMetrics, whole: str | None, counted: str, rng: np.random.Generator
) -> Iterator[Row]:
    """Means of each slice that holds a query, with 95 % intervals.

    Args:
        metrics: Values by query.
        whole: Name of the slice of all queries; None: it is left out.
        counted: The method whose ``n`` is the number of queries.
        rng: Draws the resamples.
    """
    everything = {whole: np.ones(len(metrics), bool)} if whole else {}
    for name, inside in {**everything, **metrics.slices}.items():
        if not inside.any():
            continue
        columns = np.stack([values[inside] for values in metrics.values.values()], axis=1)
        low, high = bootstrap_intervals(columns, rng)
        means = columns.mean(axis=0)
        for i, (method, metric) in enumerate(metrics.values):
            yield method, metric, name, float(means[i]), float(low[i]), float(high[i])
        for (method, metric), values in metrics.exact.items():
            yield method, metric, name, float(values[inside].mean()), None, None
        yield counted, "n", name, float(inside.sum()), None, None


def evaluation_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as ``schemas.EVALUATION``."""
    columns = list(zip(*rows, strict=True)) or [()] * len(EVALUATION)
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, EVALUATION, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=EVALUATION)
