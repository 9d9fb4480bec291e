"""Co-purchase edges: pairs of items in one basket of the receipts channel."""

from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.edges.pairs import cap_stats, capped_pairs
from itememb_core.services import RECEIPTS
from itememb_core.settings import CopurchaseSettings

_KEYS: Final = ("day", "user_id", "basket")


def copurchase_edges(
    receipts: ir.Table, settings: CopurchaseSettings, ranks: bool = False
) -> ir.Table:
    """Pairs of distinct items of one basket, summed by day.

    A basket is the lines of one user, day and transaction hash. Lines without a hash (null or
    empty) of one user and day make one basket of their own. Lines of strength 0 make no pair. Of a
    basket over the cap the items with the most lines stay, ties by item id.

    Args:
        receipts: Clean rows of the receipts channel, ``day`` and the columns of ``schemas.EVENTS``.
        settings: The cap.
        ranks: Whether to give ``rank_a`` and ``rank_b``, too: int32 that order a day's rows as
            ``item_a`` and ``item_b`` do, and faster.

    Returns:
        ``day`` and the columns of ``schemas.EDGES``, ``item_a < item_b``; a basket of ``size`` kept
        items adds ``2**20 // size`` to each pair's weight, ``n`` counts baskets.
    """
    most_lines = [ibis.desc("lines")]
    pairs = capped_pairs(_baskets(receipts), _KEYS, ("day",), most_lines, settings.basket_cap)
    pairs = pairs.mutate(channel=ibis.literal(RECEIPTS)).relocate("channel", after="day")
    return pairs if ranks else pairs.drop("rank_a", "rank_b")


def copurchase_stats(receipts: ir.Table, settings: CopurchaseSettings) -> ir.Table:
    """What the cap cut by day: ``day, baskets, capped, items_cut`` (int64 counts)."""
    stats = cap_stats(_baskets(receipts), _KEYS, ("day",), settings.basket_cap)
    return stats.select("day", "capped", "items_cut", baskets="sets").relocate(
        "baskets", after="day"
    )


def _baskets(receipts: ir.Table) -> ir.Table:
    """Distinct items of each basket."""
    lines = receipts.filter(receipts.strength > 0).select(
        "day", "user_id", "item_id", basket=receipts.transaction_hash.fill_null("")
    )
    items = lines.group_by(*_KEYS, "item_id").agg(lines=lines.count())
    return items.mutate(strength=ibis.literal(1, "int32"))
