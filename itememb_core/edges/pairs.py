"""Pairs inside one set of items (a basket, a session): the cap, the join, the sum.

Items are numbered in the order of their ids inside the expression: joins, sums and the order of the
rows work on small integers, and the ids come back at the end. Numbers are int32.
"""

from collections.abc import Sequence
from typing import Final, cast

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir

#: One observation of one pair, in the fixed point of every ``weight``: sums of integers are the
#: same in any order, on any engine.
FIXED_POINT: Final = 2**20


def int64(value: ir.Value) -> ir.IntegerScalar:
    """Cast a sum to a 64-bit integer in the engine.

    Ibis types a sum of int64 as int64 and so drops ``cast``, but DuckDB sums into 128 bits, which
    Parquet and Arrow then take for a float or a decimal.
    """
    return cast(ir.IntegerScalar, ops.Cast(value, dt.int64).to_expr())


def cap_stats(items: ir.Table, keys: Sequence[str], by: Sequence[str], cap: int) -> ir.Table:
    """What a cap cut, by the columns ``by``: ``sets``, ``capped`` and ``items_cut``, int64.

    A set counts when it has an item that could make a pair, alone or not.

    Args:
        items: One row an item of a set.
        keys: Columns that identify a set.
        by: Those of ``keys`` by which sets are counted.
        cap: Most items of a set.
    """
    sets = items.group_by(*keys).agg(size=items.count())
    over = (sets["size"] - cap).clip(lower=0)
    return sets.group_by(*by).agg(
        sets=sets.count(),
        capped=int64((over > 0).cast("int64").sum()),
        items_cut=int64(over.sum()),
    )


def capped_pairs(
    items: ir.Table,
    keys: Sequence[str],
    by: Sequence[str],
    order: Sequence[ir.Value | str],
    cap: int,
) -> ir.Table:
    """Sum the canonical pairs of all sets.

    A set of ``size`` kept items gives each of its pairs
    ``min(strength_a, strength_b) * (2**20 // size)``, so that a big set does not dominate.

    Args:
        items: One row an item of a set: ``keys``, ``item_id``, ``strength``, what ``order`` needs.
        keys: Columns that identify a set.
        by: Those of ``keys`` by which pairs are summed; the first is ``day``.
        order: Which items stay when a set is over the cap, the first ones; ties by item id.
        cap: Most items of a set; the others make no pair.

    Returns:
        ``by``, ``item_a < item_b``, ``weight`` (fixed point) and ``n`` (sets with the pair), int64;
        ``rank_a`` and ``rank_b`` (int32): within a day, rows ordered by them are ordered by the
        rest of ``by``, ``item_a`` and ``item_b``.
    """
    within = by[1:]
    ranks = _ranks(items, within)
    numbered = items.join(ranks, [*within, "item_id"]).drop("item_id")
    sums = _sums(_kept(numbered, keys, order, cap), keys, by[0])
    a = ranks.select(*within, rank_a="rank", item_a="item_id")
    b = ranks.select(rank_b="rank", item_b="item_id").view()
    return sums.join(a, "rank_a").join(b, "rank_b").select(
        *by, "item_a", "item_b", "weight", "n", "rank_a", "rank_b"
    )  # fmt: skip


def _ranks(items: ir.Table, within: Sequence[str]) -> ir.Table:
    """A number for each item: its place among all, by the columns ``within`` and its id."""
    found = items.select(*within, "item_id").distinct()
    place = ibis.row_number().over(order_by=[*within, "item_id"])
    return found.mutate(rank=place.cast("int32"))


def _kept(
    items: ir.Table, keys: Sequence[str], order: Sequence[ir.Value | str], cap: int
) -> ir.Table:
    """The numbered items of each set up to its cap, with the ``share`` of one pair."""
    sized = items.mutate(
        size=items.count().over(group_by=keys),
        place=ibis.row_number().over(group_by=keys, order_by=[*order, "rank"]),
    )
    kept = sized.filter(sized.place < cap)
    share = FIXED_POINT // ibis.least(kept["size"], cap)
    return kept.select(*keys, "rank", "strength", share=share)


def _sums(kept: ir.Table, keys: Sequence[str], day: str) -> ir.Table:
    """Summed pairs (day, rank_a, rank_b, weight, n)."""
    a = kept.select(*keys, "share", rank_a="rank", strength_a="strength")
    b = kept.select(*keys, rank_b="rank", strength_b="strength").view()
    both = a.join(b, [*keys, a.rank_a < b.rank_b])
    weight = ibis.least(both.strength_a, both.strength_b).cast("int64") * both.share
    pairs = both.select(day, "rank_a", "rank_b", pair_weight=weight)
    return pairs.group_by(day, "rank_a", "rank_b").agg(
        weight=int64(pairs.pair_weight.sum()), n=pairs.count()
    )
