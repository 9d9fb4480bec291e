"""Users who buy hidden items: every hidden item's score for each user with one in the holdout.

Methods: ``warm`` and ``features``, the two lakes' user models (the second only where the model
lists hidden items as targets); ``tower_*``, stand-ins of the item tower's outputs in the cold
lake's user model; ``history_*``, the mean of the user's item vectors against a hidden item's own
vector in either lake (``history_warm``, ``history_features``) or its stand-in's.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import tied_ranks
from itememb_core.items.vocabulary import UNKNOWN, node_index
from itememb_core.services import CATALOG_CHANNELS
from itememb_core.users.items import ItemSpace, item_space
from itememb_core.users.model import StoredUserModel, UserModel
from itememb_core.users.scoring import item_matrix, model_scores, own_items, vectors_of_users
from itememb_core.users.shards import PackedHistories, pack_histories
from tests.bench.cold.figures import COLD, WARM, figures
from tests.bench.cold.lakes import BacktestLake, Floats, Nodes

#: Most users; a seeded sample of them.
USERS = 4000
#: Users whose scores for all targets are held at once.
BLOCK = 128

Scores = dict[str, Floats]


@dataclass(frozen=True)
class _Fitted:
    """A lake's user model with its items."""

    lake: BacktestLake
    items: ItemSpace
    model: UserModel

    @classmethod
    def load(cls, lake: BacktestLake) -> "_Fitted":
        links = lake.table("backtest", "cross_domain_links")
        items = item_space(lake.vocabulary, lake.embeddings, links)
        stored = StoredUserModel.load(lake.lake.version(("backtest", "user_model")))
        return cls(lake, items, stored.with_items(items))


def evaluate_users(
    lakes: tuple[BacktestLake, BacktestLake],
    weights: Mapping[str, Any],
    hidden: pa.Array,
    cut: date,
    seed: int,
) -> dict[str, Any]:
    """Figures by domain of the hidden items, of what is new to a user and of all.

    Args:
        lakes: That which saw the hidden items, and that which did not.
        weights: Stand-ins of the hidden items by baseline, in the order of ``hidden``.
        hidden: Their ids.
        cut: The holdout's first day.
        seed: Of the sample of users and of the bootstrap.
    """
    warm, cold = (_Fitted.load(lake) for lake in lakes)
    listed = _targets(cold, hidden) != UNKNOWN
    lines = [f"cold user model: {listed.sum():,} of {len(hidden):,} hidden items are targets"]
    user, item = _interactions(warm, hidden, cut)
    some = np.random.default_rng(seed).permutation(np.unique(user))[:USERS]
    users, with_model, own = _warm_scores(warm, np.sort(some), hidden)
    users, keep, cold_scores = _cold_scores(cold, users, hidden, weights, listed)
    scores = {name: values[keep] for name, values in with_model.items()} | cold_scores
    own = own[keep]
    mine = np.isin(user, users)
    truth = np.searchsorted(users, user[mine]), item[mine]
    domains = warm.lake.domains[_nodes(warm.lake, hidden)].astype(str)
    found: dict[str, Any] = {"note": "; ".join(lines), "users": len(users)}
    for channel in CATALOG_CHANNELS:
        among = np.flatnonzero((domains == channel) & _rankable(warm, hidden))
        for part in ("new", "all"):
            one = _figures(scores, truth, own if part == "new" else None, among, seed)
            if one:
                found[f"{channel}, {part}"] = one
    return found


def _nodes(lake: BacktestLake, hidden: pa.Array) -> Nodes:
    """Catalog node of each hidden item."""
    return lake.nodes(hidden, CATALOG_CHANNELS[0])


def _targets(fitted: _Fitted, hidden: pa.Array) -> NDArray[np.int32]:
    """Target of each hidden item, UNKNOWN where the model lists it not."""
    return fitted.items.targets_of(_nodes(fitted.lake, hidden).astype(np.int32))


def _rankable(fitted: _Fitted, hidden: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(_targets(fitted, hidden) != UNKNOWN)


def _interactions(warm: _Fitted, hidden: pa.Array, cut: date) -> tuple[Nodes, Nodes]:
    """Distinct pairs of user and hidden item (place in ``hidden``) after the cut, by user."""
    later = warm.lake.table("user_histories").select(["user_id", "item_id", "channel", "timestamp"])
    after = pc.greater_equal(later["timestamp"].cast(pa.timestamp("us")), pa.scalar(cut).cast(
        pa.timestamp("us")
    ))  # fmt: skip
    later = later.filter(pc.and_(after, pc.is_in(later["item_id"], value_set=hidden)))
    node = node_index(warm.lake.vocabulary, later["item_id"], later["channel"])
    known = warm.items.targets_of(node) != UNKNOWN
    place = pc.index_in(later["item_id"].combine_chunks(), value_set=hidden).to_numpy()
    pairs = np.stack([later["user_id"].to_numpy(), place], axis=1)[known]
    pairs = np.unique(pairs, axis=0)
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


def _packed(fitted: _Fitted, users: Nodes, folder: Path) -> PackedHistories:
    """Histories before the cut of these users alone."""
    rows = fitted.lake.table("backtest", "user_histories")
    rows = rows.filter(pc.is_in(rows["user_id"], value_set=pa.array(users)))
    shards = pc.unique(rows["shard"]).to_pylist()
    tables = (rows.filter(pc.equal(rows["shard"], shard)) for shard in sorted(shards))
    return pack_histories(tables, fitted.items, folder)


@dataclass(frozen=True)
class _Block:
    """Some users of a shard: ids, vectors, previously interacted items, mean item vector."""

    ids: Nodes
    vectors: Floats
    own: Any
    mean: Floats


def _blocks(fitted: _Fitted, users: Nodes) -> Iterator[_Block]:
    """Users with a history, by shard."""
    # Repeat rates are of the sample's users; the model saw all, which differs by little.
    with tempfile.TemporaryDirectory() as folder:
        packed = _packed(fitted, users, Path(folder))
        for shard in packed.shards():
            for low in range(0, len(shard.user_ids), BLOCK):
                rows = np.arange(low, min(low + BLOCK, len(shard.user_ids)))
                end = shard.start[rows + 1]
                towers, settings = fitted.model.towers, fitted.model.settings
                values = vectors_of_users(towers, shard, rows, end, settings)
                own = own_items(shard, rows, end, packed.item_stats)
                spans = [shard.node[shard.start[r] : shard.start[r + 1]] for r in rows]
                unit = fitted.lake.unit
                mean = [unit[s[s >= 0]].sum(axis=0) / max(len(s), 1) for s in spans]
                yield _Block(shard.user_ids[rows], values, own, np.stack(mean))


def _warm_scores(
    warm: _Fitted, users: Nodes, hidden: pa.Array
) -> tuple[Nodes, Scores, NDArray[np.bool_]]:
    """Scores of the hidden items by the warm lake, and which a user had interacted with before."""
    target = _targets(warm, hidden)
    columns = np.where(target == UNKNOWN, 0, target)
    unit = warm.lake.unit[_nodes(warm.lake, hidden)]
    base = item_matrix(warm.model.towers)
    ids, model, history, own = [], [], [], []
    for block in _blocks(warm, users):
        for _, scores in model_scores(warm.model.towers, block.vectors, base, block.own):
            model.append(scores.numpy()[:, columns].copy())
        seen = np.zeros((len(block.ids), len(base)), bool)
        seen[block.own.row, block.own.target] = True
        own.append(seen[:, columns] & (target != UNKNOWN))
        history.append(block.mean @ unit.T)
        ids.append(block.ids)
    order = np.argsort(np.concatenate(ids))
    joined = {WARM: np.concatenate(model), "history_warm": np.concatenate(history)}
    joined = {name: values[order] for name, values in joined.items()}
    return np.concatenate(ids)[order], joined, np.concatenate(own)[order]


def _cold_scores(
    cold: _Fitted,
    users: Nodes,
    hidden: pa.Array,
    weights: Mapping[str, Any],
    listed: NDArray[np.bool_],
) -> tuple[Nodes, Nodes, Scores]:
    """Users with a history here, too; their places in ``users``; scores of the hidden items."""
    base = item_matrix(cold.model.towers)
    by_node = np.zeros((len(cold.lake.unit), base.shape[1]), np.float32)
    by_node[cold.items.targets] = base
    nodes, unit = _nodes(cold.lake, hidden), cold.lake.unit
    towers = {f"tower_{name}": matrix @ by_node for name, matrix in weights.items()}
    if listed.any():
        # One that the model lists not is last.
        rows = by_node[nodes]
        rows[~listed, -1] = -np.inf
        towers[COLD] = rows
    items = {f"history_{name}": matrix @ unit for name, matrix in weights.items()}
    items["history_features"] = unit[nodes]
    ids: list[Nodes] = []
    parts: dict[str, list[Floats]] = {name: [] for name in (*towers, *items)}
    for block in _blocks(cold, users):
        ids.append(block.ids)
        for name, rows in towers.items():
            parts[name].append(block.vectors @ rows[:, :-1].T + rows[:, -1])
        for name, rows in items.items():
            parts[name].append(block.mean @ rows.T)
    found = np.concatenate(ids)
    order = np.argsort(found)
    scores = {name: np.concatenate(each)[order] for name, each in parts.items()}
    return found[order], np.searchsorted(users, found[order]), scores


def _figures(
    scores: Scores,
    truth: tuple[Nodes, Nodes],
    own: NDArray[np.bool_] | None,
    among: Nodes,
    seed: int,
) -> dict[str, Any] | None:
    """Figures among some hidden items, by user; ``own`` are left out of lists and truth."""
    row, item = truth
    used = np.isin(item, among)
    if own is not None:
        used &= ~own[row, item]
    if not used.any():
        return None
    users, unit = np.unique(row[used], return_inverse=True)
    target = np.searchsorted(among, item[used])
    ranks = {}
    for name, values in scores.items():
        mine = values[np.ix_(users, among)].copy()
        if own is not None:
            mine[own[np.ix_(users, among)]] = -np.inf
        ranks[name] = tied_ranks(mine, target, rows=unit)
    return {"users": len(users), "pairs": int(used.sum()),
            **figures(ranks, len(among), seed, unit)}  # fmt: skip
