"""Within-channel edges by month, and how much an old month still counts.

What belongs here: the sum of daily edges into segments, the decay applied when they are read. What
does not: making the daily edges.
"""

from calendar import monthrange
from datetime import date

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.edges.pairs import int64
from itememb_core.errors import ItemembError


def edges_by_month(copurchase: ir.Table, coview: ir.Table) -> ir.Table:
    """Sum daily edges of both kinds into segments.

    Args:
        copurchase: ``day`` and the columns of ``schemas.EDGES``; its channel is ``receipts``.
        coview: The same of the catalog channels.

    Returns:
        ``month`` (``YYYY-MM``) and the columns of ``schemas.EDGES``.
    """
    columns = ("day", "channel", "item_a", "item_b", "weight", "n")
    daily = ibis.union(copurchase.select(*columns), coview.select(*columns))
    dated = daily.mutate(month=daily.day.strftime("%Y-%m"))
    sums = dated.group_by("month", "channel", "item_a", "item_b").agg(
        weight=int64(dated.weight.sum()), n=int64(dated.n.sum())
    )
    return sums.select("month", "channel", "item_a", "item_b", "weight", "n")


def decay(
    months: pa.Array | pa.ChunkedArray, reference: date, half_life_days: float
) -> NDArray[np.float64]:
    """How much edges of each month count on the reference day: ``2 ** (-age / half_life)``.

    A segment's age in days is measured from its month's last day, or from the reference day
    where the month is not over by then: the newest segment counts 1.

    Args:
        months: ``YYYY-MM`` of each edge. ``[edges]``
        reference: The last day of the data (in the backtest: the day of the cut).
        half_life_days: Age at which an edge counts half.

    Returns:
        Factors in (0, 1]. ``[edges]``

    Raises:
        ItemembError: A month starts after the reference day.
    """
    chunks = [months] if isinstance(months, pa.Array) else months.chunks
    whole = pa.concat_arrays([chunk.cast(pa.string()) for chunk in chunks] or [pa.array([], "str")])
    encoded = whole.dictionary_encode()
    factors = [
        _factor(month, reference, half_life_days) for month in encoded.dictionary.to_pylist()
    ]
    codes = encoded.indices.to_numpy(zero_copy_only=False)  # [edges]
    return np.asarray(factors, dtype=np.float64)[codes]  # [edges]


def _factor(month: str, reference: date, half_life_days: float) -> float:
    year, number = (int(part) for part in month.split("-"))
    if (year, number) > (reference.year, reference.month):
        raise ItemembError(
            f"edges: found month {month}, expected none after the reference day {reference}"
        )
    end = date(year, number, monthrange(year, number)[1])
    return float(2.0 ** (-max(0, (reference - end).days) / half_life_days))
