"""Within-channel edges by month."""

import ibis
import ibis.expr.types as ir

from itememb_core.edges.pairs import int64


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
