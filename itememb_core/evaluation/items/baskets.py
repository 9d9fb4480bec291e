"""Holdout baskets: the queries and targets of ``item_evaluation``."""

from datetime import date, timedelta
from typing import Final, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.edges.sessions import sessionize
from itememb_core.items.vocabulary import channel_codes, node_counts, node_index
from itememb_core.services import CHANNELS

#: Most queries of a channel; a seeded sample of its baskets.
QUERIES: Final = 4000
#: Most users of a channel whose next basket is predicted; a seeded sample of them.
USERS: Final = 400

Nodes = NDArray[np.int64]


class NextBaskets(NamedTuple):
    """One basket a user, all in one channel; arrays of its distinct items, ordered by user."""

    user: NDArray[np.int64]  # [users], as in the tables
    row: Nodes  # [items], position in ``user``
    node: Nodes  # [items]


def holdout_baskets(
    receipts: ir.Table, catalog_events: ir.Table, first_day: date, gap_minutes: int
) -> ir.Table:
    """The distinct items of each basket after the cut.

    Args:
        receipts: Clean receipts; a basket is (user, transaction, day).
        catalog_events: Clean events of the catalog channels; a basket is a session as of
            co-view edges. Of one that runs over the cut the part after it is kept.
        first_day: The first day of the holdout; rows before it are left out.
        gap_minutes: A longer gap starts a new session.

    Returns:
        ``channel``, ``user_id``, ``basket`` (unique within a channel), ``item_id`` and ``at``, the
        time of the item's first event there. Actions of strength 0 are left out.
    """
    bought = receipts.filter(receipts.day >= first_day)
    bought = bought.mutate(
        basket=_key(bought.user_id, bought.day, bought.transaction_hash.coalesce(ibis.literal("")))
    )
    near = catalog_events.filter(catalog_events.day >= first_day - timedelta(days=1))
    seen = sessionize(near, gap_minutes)
    seen = seen.filter(seen.day >= first_day).mutate(basket=_key(seen.user_id, seen.session))
    columns = ("channel", "user_id", "basket", "item_id", "timestamp", "strength")
    both = bought.select(*columns).union(seen.select(*columns), distinct=False)
    kept = both.filter(both.strength > 0)
    return kept.group_by("channel", "user_id", "basket", "item_id").agg(at=kept.timestamp.min())


def _key(*parts: ir.Value) -> ir.Value:
    texts = [part.cast("string") for part in parts]
    return ibis.literal("|").join(texts)


class _Rows(NamedTuple):
    """Basket items with training events in the basket's channel, ordered by channel and basket."""

    code: NDArray[np.int8]
    basket: Nodes
    user: NDArray[np.int64]
    at: NDArray[np.int64]
    node: Nodes


def _known(vocabulary: pa.Table, baskets: pa.Table) -> _Rows:
    order = baskets.sort_by([(name, "ascending") for name in ("channel", "basket", "item_id")])
    node = node_index(vocabulary, order["item_id"], order["channel"])
    code = channel_codes(order["channel"])
    # UNKNOWN, -1, indexes the row of zeros that is added at the end.
    seen = np.pad(node_counts(vocabulary), ((0, 1), (0, 0)))[node, code] > 0
    basket = np.unique(order["basket"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    user = order["user_id"].to_numpy()
    at = order["at"].to_numpy().astype("datetime64[us]").astype(np.int64)
    columns = (code, basket, user, at, node.astype(np.int64))
    return _Rows(*(column[seen] for column in columns))


def draw_pairs(
    vocabulary: pa.Table, baskets: pa.Table, rng: np.random.Generator
) -> dict[str, tuple[Nodes, Nodes]]:
    """One random ordered pair of each basket, as query and target nodes by channel.

    Items without a training event in the channel are left out, and channels without a basket of
    two. At most ``QUERIES`` a channel.
    """
    items = _known(vocabulary, baskets)
    lot = rng.random(len(items.node))
    pairs = {}
    for c in np.unique(items.code):
        rows = np.flatnonzero(items.code == c)
        rows = rows[np.lexsort((lot[rows], items.basket[rows]))]
        basket = items.basket[rows]
        first = np.flatnonzero(np.diff(basket, prepend=-1))
        first = first[first + 1 < len(rows)]
        first = first[basket[first] == basket[first + 1]]
        if len(first):
            first = np.sort(rng.permutation(first)[:QUERIES])
            pairs[CHANNELS[c]] = (items.node[rows[first]], items.node[rows[first + 1]])
    return pairs


def draw_next_baskets(
    vocabulary: pa.Table, baskets: pa.Table, rng: np.random.Generator
) -> dict[str, NextBaskets]:
    """The first holdout basket of each user in each channel, of at most ``USERS`` users a channel.

    Items without a training event in the channel are left out. Baskets that start at the same
    moment are ordered by their key.
    """
    items = _known(vocabulary, baskets)
    found = {}
    for c in np.unique(items.code):
        rows = np.flatnonzero(items.code == c)
        begun = np.full(int(items.basket.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(begun, items.basket[rows], items.at[rows])
        basket, user = items.basket[rows], items.user[rows]
        order = np.lexsort((basket, begun[basket], user))
        ids, first = np.unique(user[order], return_index=True)
        chosen = np.sort(rng.permutation(len(ids))[:USERS])
        place = np.searchsorted(ids[chosen], user)
        place = np.where(np.isin(user, ids[chosen]), place, -1)
        own = basket[order][first[chosen]]
        mine = np.flatnonzero((place >= 0) & (basket == own[place]))
        mine = mine[np.argsort(place[mine], kind="stable")]
        found[CHANNELS[c]] = NextBaskets(ids[chosen], place[mine], items.node[rows[mine]])
    return found
