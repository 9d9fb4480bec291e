"""What goes with hidden items: a warm item of a basket as the query, a hidden one as target.

Candidates are the hidden items of the channel alone and, beside, all of its items.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.evaluation.items.baskets import QUERIES
from itememb_core.evaluation.ranking import tied_ranks
from itememb_core.items.vocabulary import UNKNOWN, channel_codes, node_index
from itememb_core.services import CHANNELS
from tests.bench.cold.figures import figures
from tests.bench.cold.lakes import BacktestLake, Floats, Nodes

#: Queries whose scores are held at once.
ROWS = 256


class Pairs(NamedTuple):
    """Queries and targets of one channel, by id, ``[queries]`` each."""

    query: pa.Array
    target: pa.Array


class Vectors(NamedTuple):
    """What a method knows of items, by node of one lake."""

    context: Floats
    unit: Floats
    bias: Floats


def draw_pairs(
    warm: BacktestLake, cold: BacktestLake, baskets: pa.Table, hidden: pa.Array, seed: int
) -> dict[str, Pairs]:
    """One warm query and one hidden target of each basket that has both, by channel.

    Both need training events in the channel: the target in the warm lake, the query in either.
    At most ``QUERIES`` a channel.
    """
    rows = baskets.sort_by([(name, "ascending") for name in ("channel", "basket", "item_id")])
    ids = rows["item_id"].combine_chunks()
    code = channel_codes(rows["channel"])
    seen = [_seen(lake, ids, rows["channel"], code) for lake in (warm, cold)]
    is_target = pc.is_in(ids, value_set=hidden).to_numpy(zero_copy_only=False)
    names = rows["basket"].to_numpy(zero_copy_only=False).astype(str)
    basket = np.unique(names, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    lot, found = rng.random(len(code)), {}
    for c in np.unique(code):
        one = [
            _one_each(np.flatnonzero(fit & (code == c)), basket, lot)
            for fit in (seen[0] & seen[1] & ~is_target, seen[0] & is_target)
        ]
        both, *places = np.intersect1d(basket[one[0]], basket[one[1]], return_indices=True)
        if len(both):
            chosen = np.sort(rng.permutation(len(both))[:QUERIES])
            take = (pa.array(own[at[chosen]]) for own, at in zip(one, places, strict=True))
            found[CHANNELS[c]] = Pairs(*(ids.take(each) for each in take))
    return found


def _seen(
    lake: BacktestLake, ids: pa.Array, channels: pa.ChunkedArray, code: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Whether an item has training events in its channel; UNKNOWN, -1, is the row of zeros."""
    counts = np.pad(lake.counts, ((0, 1), (0, 0)))
    found = counts[node_index(lake.vocabulary, ids, channels), code] > 0
    return np.asarray(found)


def _one_each(rows: Nodes, basket: Nodes, lot: NDArray[np.float64]) -> Nodes:
    """One row of each basket, by the lowest lot."""
    rows = rows[np.lexsort((lot[rows], basket[rows]))]
    return rows[np.unique(basket[rows], return_index=True)[1]]


def evaluate_channel(
    lakes: tuple[BacktestLake, BacktestLake],
    weights: Mapping[str, Any],
    channel: str,
    pairs: Pairs,
    hidden: pa.Array,
    seed: int,
) -> dict[str, Any]:
    """Figures of one channel by candidates (``cold``: hidden ones alone; ``all``).

    Args:
        lakes: That which saw the hidden items, and that which did not.
        weights: Stand-ins of the hidden items by baseline, in the order of ``hidden``.
        channel: Its name.
        pairs: Queries and targets.
        hidden: Ids of all hidden items.
        seed: Of the bootstrap.
    """
    warm, cold = lakes
    own = warm.nodes(hidden, channel)
    used = own != UNKNOWN
    used &= warm.counts[own, CHANNELS.index(channel)] > 0
    every = np.flatnonzero(warm.counts[:, CHANNELS.index(channel)] > 0)
    # The receipts side of a held-out match is another node than the catalog's.
    ids = warm.vocabulary["item_id"].combine_chunks().take(pa.array(every))
    candidates = {"cold": hidden.filter(pa.array(used)), "all": ids}
    hidden_nodes = cold.nodes(hidden, channel)
    spaces = {"warm": (warm, Vectors(warm.context, warm.unit, warm.bias))}
    spaces |= {
        name: (cold, _replaced(cold, hidden_nodes, matrix))
        for name, matrix in {"features": None, **weights}.items()
    }
    found: dict[str, Any] = {"queries": len(pairs.query)}
    for among, names in candidates.items():
        ranks = {
            name: _ranks(lake, space, channel, pairs, names)
            for name, (lake, space) in spaces.items()
        }
        others = len(names) - (among == "all")
        found[among] = figures(ranks, others, seed)
    return found


def _replaced(lake: BacktestLake, nodes: Nodes, weights: Any) -> Vectors:
    """The lake's vectors with those of the hidden items replaced by weighted means."""
    if weights is None:
        return Vectors(lake.context, lake.unit, lake.bias)
    unit, bias = lake.unit.copy(), lake.bias.copy()
    unit[nodes], bias[nodes] = weights @ lake.unit, weights @ lake.bias
    return Vectors(lake.context, unit, bias)


def _ranks(
    lake: BacktestLake, space: Vectors, channel: str, pairs: Pairs, candidates: pa.Array
) -> NDArray[np.float64]:
    """Rank of each target among the candidates, the query left out, ``[queries]``."""
    nodes, query = lake.nodes(candidates, channel), lake.nodes(pairs.query, channel)
    place = pc.index_in(pairs.target, value_set=candidates).to_numpy()
    excluded = pc.index_in(pairs.query, value_set=candidates).fill_null(UNKNOWN).to_numpy()
    columns, bias = np.ascontiguousarray(space.unit[nodes].T), space.bias[nodes]
    parts = []
    for start in range(0, len(query), ROWS):
        part = slice(start, start + ROWS)
        scores = space.context[query[part]] @ columns + bias
        among = excluded[part] if (excluded >= 0).all() else None
        parts.append(tied_ranks(scores, place[part].astype(np.int64), among))
    return np.concatenate(parts)
