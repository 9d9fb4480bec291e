"""Pairs inside one set of items (a basket, a session): the cap, the join, the sum.

What belongs here: what co-purchase and co-view share. What does not: what makes a basket or a
session.
"""

from collections.abc import Sequence
from typing import Any, Final

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir

#: One observation of one pair, in the fixed point of every ``weight``: sums of integers are the
#: same in any order, on any engine.
FIXED_POINT: Final = 2**20


def int64(value: ir.Value) -> Any:
    """Cast a sum to a 64-bit integer, for real.

    Ibis types a sum of int64 as int64 and so leaves a plain ``cast`` out, but DuckDB sums into 128
    bits, which Parquet and Arrow then take for a float or a decimal.
    """
    return ops.Cast(value, dt.int64).to_expr()


def ranked_items(items: ir.Table, keys: Sequence[str], order: Sequence[Any]) -> ir.Table:
    """Number the items of each set in a total order.

    Args:
        items: One row an item of a set.
        keys: Columns that say which set.
        order: Columns that say which items stay when a set is over the cap; ties must end in the
            item id.

    Returns:
        ``items`` with ``size`` (items of the set) and ``rank`` (from 0), both int64.
    """
    ranked = items.mutate(
        size=items.count().over(group_by=keys),
        rank=ibis.row_number().over(group_by=keys, order_by=order),
    )
    return ranked


def cap_stats(ranked: ir.Table, by: Sequence[str], cap: int) -> ir.Table:
    """What a cap cut, by the columns ``by``: ``sets``, ``capped`` and ``items_cut``, int64.

    A set counts when it has an item that could make a pair, alone or not.
    """
    sets = ranked.filter(ranked["rank"] == 0)
    over = (sets["size"] - cap).clip(lower=0)
    return sets.group_by(*by).agg(
        sets=sets.count(),
        capped=int64((over > 0).cast("int64").sum()),
        items_cut=int64(over.sum()),
    )


def capped_pairs(ranked: ir.Table, keys: Sequence[str], by: Sequence[str], cap: int) -> ir.Table:
    """Sum the canonical pairs of all sets.

    A set of ``size`` kept items gives each of its pairs
    ``min(strength_a, strength_b) * (2**20 // size)``, so that a big set does not dominate.

    Args:
        ranked: What ``ranked_items`` returns, with ``item_id`` and ``strength``.
        keys: Columns that say which set.
        by: Those of ``keys`` by which pairs are summed.
        cap: Most items of a set; those of a higher rank make no pair.

    Returns:
        ``by``, ``item_a < item_b``, ``weight`` (fixed point) and ``n`` (sets with the pair), int64.
    """
    kept = ranked.filter(ranked["rank"] < cap)
    share = FIXED_POINT // ibis.least(kept["size"], cap)
    a = kept.select(*keys, share=share, item_a="item_id", strength_a="strength")
    b = kept.select(*keys, item_b="item_id", strength_b="strength").view()
    met = a.join(b, [*keys, a.item_a < b.item_b])
    weight = ibis.least(met.strength_a, met.strength_b).cast("int64") * met.share
    sums = met.select(*by, "item_a", "item_b", pair_weight=weight)
    return sums.group_by(*by, "item_a", "item_b").agg(
        weight=int64(sums.pair_weight.sum()), n=sums.count()
    )
