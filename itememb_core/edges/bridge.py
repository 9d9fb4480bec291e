"""Bridge edges: pairs of items of one user's interactions in two channels within a window.

Items are numbered inside the expression, so that joins and ranks work on small integers:
``id = rank of the item id * len(CHANNELS) + position of the channel``. Ids of one channel are in
the order of the item ids, and ``id % len(CHANNELS)`` is the channel. They are int32, which halves
the memory of the sum and holds for 134 million items.
"""

from collections.abc import Collection
from itertools import combinations

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.bags import bag_window
from itememb_core.edges.pairs import FIXED_POINT, int64
from itememb_core.services import CHANNELS, RECEIPTS
from itememb_core.settings import BridgeSettings


def bridge_edges(
    user_items: ir.Table, settings: BridgeSettings, window_days: int, ranks: bool = False
) -> ir.Table:
    """The best pairs of items of two channels, over all users and windows.

    Bags are those of :mod:`itememb_core.bags`. Each bag pair of a user and window gives every pair
    of items ``floor(2**20 / sqrt(size_a * size_b))``, so that a bag counts as one observation of
    length 1 a side however long it is.

    Args:
        user_items: ``day`` and the columns of ``schemas.USER_ITEMS``, any days.
        settings: How many partners of an item are kept.
        window_days: Length of a window, days: ``item_model.window_days``.
        ranks: Whether to give ``rank_channels``, ``rank_a`` and ``rank_b``, too: integers that
            order the rows as the channels (by name) and then the item ids do, and faster.

    Returns:
        The columns of ``schemas.BRIDGE_EDGES``, ``channel_a`` before ``channel_b`` in
        ``CHANNELS``. A row stays if it is among the best ``partners`` of ``item_a`` in
        ``channel_b`` or of ``item_b`` in ``channel_a`` (by weight, then by the partner's item id).
        An item seen in two channels is a row too: see ``drop_one_node``.
    """
    bags = bags_of(user_items, window_days)
    ids = _ids(bags)
    pairs = best_partners(_pairs(_numbered(bags, ids)), settings.partners)
    a = ids.select(id_a="id", channel_a="channel", item_a="item_id")
    b = ids.select(id_b="id", channel_b="channel", item_b="item_id").view()
    named = pairs.join(a, "id_a").join(b, "id_b")
    columns = ("channel_a", "item_a", "channel_b", "item_b", "weight", "n")
    if not ranks:
        return named.select(*columns)
    place_a, place_b = (_place_of_channel(named[name]) for name in ("id_a", "id_b"))
    return named.select(
        *columns,
        rank_channels=place_a * len(CHANNELS) + place_b,
        rank_a=named.id_a // len(CHANNELS),
        rank_b=named.id_b // len(CHANNELS),
    )


def drop_one_node(edges: pa.Table, held_out: Collection[str]) -> pa.Table:
    """Drop the rows whose two ends are one node of the vocabulary.

    An id seen in two channels (a direct match) is one node, so its row is a self-pair. Only the
    receipts side of a held-out match is a node apart: its row between receipts and another
    channel stays, because one user bought it in both, as with any two items (law 7).

    Args:
        edges: Columns of ``schemas.BRIDGE_EDGES``.
        held_out: Ids of the held-out direct matches; empty in the final fit.

    Returns:
        The other rows, in their order.
    """
    same = pc.equal(edges["item_a"], edges["item_b"])
    apart = pc.is_in(edges["item_a"], value_set=pa.array(sorted(held_out), edges["item_a"].type))
    two = pc.and_(apart, pc.equal(edges["channel_a"], RECEIPTS))
    return edges.filter(pc.or_(pc.invert(same), two))


def bags_of(user_items: ir.Table, window_days: int) -> ir.Table:
    """Bags of :mod:`itememb_core.bags`: distinct (user_id, channel, window, item_id)."""
    made = user_items.filter(user_items.strength > 0)
    return made.select(
        "user_id", "channel", "item_id", window=bag_window(made.day.epoch_days(), window_days)
    ).distinct()


def _ids(bags: ir.Table) -> ir.Table:
    """A number for each (channel, item_id) of the bags."""
    items = bags.select("item_id").distinct()
    ranked = items.mutate(rank=ibis.row_number().over(order_by="item_id"))
    nodes = bags.select("channel", "item_id").distinct().join(ranked, "item_id")
    code = nodes.channel.cases(*((name, code) for code, name in enumerate(CHANNELS)))
    return nodes.select(
        "channel", "item_id", id=(nodes["rank"] * len(CHANNELS) + code).cast("int32")
    )


def _place_of_channel(item: ir.IntegerColumn) -> ir.IntegerValue:
    """Place of a numbered item's channel among the channels in the order of their names."""
    places = [(code, sorted(CHANNELS).index(name)) for code, name in enumerate(CHANNELS)]
    return (item % len(CHANNELS)).cases(*places)


def _numbered(bags: ir.Table, ids: ir.Table) -> ir.Table:
    """Bags as (user_id, window, id, code, size)."""
    bag = ibis.window(group_by=["user_id", "channel", "window"])
    sized = bags.mutate(size=bags.count().over(bag))
    joined = sized.join(ids, ["channel", "item_id"])
    return joined.select("user_id", "window", "id", "size", code=joined.id % len(CHANNELS))


def _pairs(bags: ir.Table) -> ir.Table:
    """Summed pairs (id_a, id_b, weight, n) across channels."""
    # One join a pair of channels: pairs inside a channel are never made, not made and dropped.
    parts = []
    for low, high in combinations(range(len(CHANNELS)), 2):
        a = bags.filter(bags.code == low).select("user_id", "window", id_a="id", size_a="size")
        b = bags.filter(bags.code == high).select("user_id", "window", id_b="id", size_b="size")
        both = a.join(b, ["user_id", "window"])
        root = (both.size_a * both.size_b).cast("float64").sqrt()
        parts.append(both.select("id_a", "id_b", weight=(FIXED_POINT / root).floor().cast("int32")))
    every = ibis.union(*parts)
    return every.group_by("id_a", "id_b").agg(weight=int64(every.weight.sum()), n=every.count())


def best_partners(pairs: ir.Table, partners: int) -> ir.Table:
    """Rows that are among the best ``partners`` of either end (ties by the other end's number).

    Only the last kept row of each item is looked for by rank, on three narrow columns, and the
    wide rows are compared with it: ranking whole rows takes several times longer.
    """
    a = _last_partners(pairs, "id_a", "id_b", partners)
    b = _last_partners(pairs, "id_b", "id_a", partners)
    rows = pairs.mutate(end_a=_end(pairs.id_a, pairs.id_b), end_b=_end(pairs.id_b, pairs.id_a))
    rows = rows.left_join(a, rows.end_a == a.end_id_a).left_join(b, rows.end_b == b.end_id_b)
    kept = _inside(rows, "id_a", "id_b") | _inside(rows, "id_b", "id_a")
    return rows.filter(kept).select("id_a", "id_b", "weight", "n")


def _end(item: ir.IntegerColumn, partner: ir.IntegerColumn) -> ir.IntegerColumn:
    """One number for an item and its partner's channel."""
    return item * len(CHANNELS) + partner % len(CHANNELS)


def _last_partners(pairs: ir.Table, item: str, partner: str, partners: int) -> ir.Table:
    """The last kept row of each item that has more: (end, weight, partner), named by ``item``."""
    names = {"end": f"end_{item}", "weight": f"weight_{item}", "partner": f"partner_{item}"}
    narrow = pairs.select(
        **{
            names["end"]: _end(pairs[item], pairs[partner]),
            names["weight"]: pairs.weight,
            names["partner"]: pairs[partner],
        }
    )
    order = [ibis.desc(names["weight"]), names["partner"]]
    ranked = narrow.mutate(rank=ibis.row_number().over(group_by=names["end"], order_by=order))
    return ranked.filter(ranked["rank"] == partners - 1).drop("rank")


def _inside(rows: ir.Table, item: str, partner: str) -> ir.BooleanValue:
    """Whether a row ranks no lower than the last kept row of ``item``."""
    weight, last = rows[f"weight_{item}"], rows[f"partner_{item}"]
    level = (rows.weight == weight) & (rows[partner] <= last)
    return last.isnull() | (rows.weight > weight) | level
