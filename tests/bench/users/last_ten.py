"""Each user's last ten events as ten queries: what came before ranks the one that came next.

What belongs here: the queries of a lake that has not seen them, and who ranks how. What does not:
writing raw, running the pipeline (``worlds``), methods of other packages (``other_packages``).
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from itememb_core.evaluation.ranking import first_ranks
from itememb_core.intervals import bootstrap_intervals
from itememb_core.retrieval.exact import padded
from itememb_core.schemas import USER_HISTORIES
from itememb_core.users.baselines import BASELINES, choose_all
from itememb_core.users.items import ItemSpace, item_space
from itememb_core.users.model import UserModel
from itememb_core.users.scoring import own_items
from itememb_core.users.shards import PackedHistories, Shard, pack_histories
from itememb_dagster.lake import Lake
from itememb_dagster.lake.reader import load_arrow

QUERIES: Final = 10
METRICS: Final = ("ndcg@10", "ndcg@100", "recall@10")
OURS: Final = "shipped"
_BLOCK: Final = 128

Scores = np.ndarray
#: From a shard, users and the ends of their histories to scores float32 ``[users, targets]``.
Method = Callable[[Shard, np.ndarray, np.ndarray], Scores]


@dataclass(frozen=True)
class Queries:
    """A lake, and histories with what it has not seen at their ends."""

    items: ItemSpace
    seen: PackedHistories
    whole: PackedHistories

    def blocks(self) -> Iterator[tuple[Shard, np.ndarray, np.ndarray, np.ndarray]]:
        """Shard, users, ends and the next target, the targets that the lake lacks left out."""
        for shard in self.whole.shards():
            for back in range(QUERIES, 0, -1):
                end = shard.start[1:] - back
                pair = shard.pair[end]
                users = np.flatnonzero((pair >= 0) & (end > shard.start[:-1]))
                target = shard.pair_key[pair[users]] % len(self.items.targets)
                for low in range(0, len(users), _BLOCK):
                    part = slice(low, low + _BLOCK)
                    yield shard, users[part], end[users][part], target[part]


def read_queries(lake: Path, held: pd.DataFrame, scratch: Path) -> Queries:
    """Histories of a lake, and the same with the events that it has not seen.

    Args:
        lake: Made with ``holdout_days=0`` up to ``user_model``.
        held: ``user``, ``item``, ``second`` of each user's last events, by user and time.
        scratch: An empty folder.
    """
    tables = {name: load_arrow(Lake(lake), (name,)) for name in ("vocabulary", "item_embeddings")}
    items = item_space(tables["vocabulary"], tables["item_embeddings"])
    known = load_arrow(Lake(lake), ("user_histories",)).select(USER_HISTORIES.names)
    seen = pack_histories([known], items, scratch / "seen")
    sizes = known.group_by("user_id").aggregate([("position", "count")]).to_pandas()
    before = dict(zip(sizes["user_id"], sizes["position_count"], strict=True))
    place = held.groupby("user").cumcount() + held["user"].map(before).fillna(0).astype("int64")
    rows = [
        {
            "user_id": user, "position": position, "item_id": item, "channel": "marketplace",
            "timestamp": datetime.fromtimestamp(second, UTC).replace(tzinfo=None),
            "action": "view", "strength": 1, "shard": 0,
        }
        for user, item, second, position in zip(
            held["user"], held["item"], held["second"], place, strict=True
        )
    ]  # fmt: skip
    later = pa.Table.from_pylist(rows, USER_HISTORIES)
    whole = pa.concat_tables([known.cast(USER_HISTORIES), later])
    return Queries(items, seen, pack_histories([whole], items, scratch / "whole"))


def shipped(lake: Path, queries: Queries) -> Method:
    """The ranking of the lake's user model."""
    pointer = json.loads((lake / "user_model" / "current.json").read_text())
    model = UserModel.load(lake / "_versions/user_model" / pointer["id"], queries.items)
    parts = model.parts(queries.seen, queries.items)

    def scores(shard: Shard, users: np.ndarray, end: np.ndarray) -> Scores:
        found = model.ranker.scores(parts, shard, users, end, without_own=True)
        return np.concatenate([each for _, each in found])

    return scores


def methods(lake: Path, queries: Queries) -> dict[str, Method]:
    """The shipped model and the baselines, which choose and see what the lake did."""
    chosen = choose_all(BASELINES, queries.seen, queries.items, 7, seed=0)
    fitted = {
        name: each.baseline.fit(queries.seen, queries.items).scores for name, each in chosen.items()
    }
    return {OURS: shipped(lake, queries), **fitted}


def rank_figures(ranks: np.ndarray) -> np.ndarray:
    """``METRICS`` of queries with one relevant item each ``[queries, METRICS]``."""
    gain = 1 / np.log2(ranks + 2)
    return np.stack([gain * (ranks < 10), gain * (ranks < 100), ranks < 10], axis=1)


def by_user(users: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    """Mean over each user's queries, users ascending ``[users, METRICS]``."""
    return pd.DataFrame(values, columns=list(METRICS)).groupby(np.asarray(users)).mean()


def measure(queries: Queries, method: Method) -> pd.DataFrame:
    """Figures of each user."""
    users, values = [], []
    for shard, rows, end, target in queries.blocks():
        scores = method(shard, rows, end)
        own = own_items(shard, rows, end, queries.whole.item_stats)
        scores[own.row, own.target] = -np.inf
        ranks = first_ranks(padded(scores), [np.array([one]) for one in target])
        users.append(shard.user_ids[rows])
        values.append(rank_figures(ranks))
    return by_user(np.concatenate(users), np.concatenate(values))


def compare(figures: Mapping[str, pd.DataFrame], seed: int = 0) -> str:
    """A table: means, and by how much ours is above, paired over users."""
    ours = figures[OURS]
    lines = [f"{'method':26}" + "".join(f"{m:>10}" for m in METRICS) + "  ours above, ndcg@10"]
    for name, found in figures.items():
        each = found.reindex(ours.index, fill_value=0.0)
        gap = (ours["ndcg@10"] - each["ndcg@10"]).to_numpy()[:, None]
        low, high = bootstrap_intervals(gap, np.random.default_rng(seed))
        means = "".join(f"{each[metric].mean():10.4f}" for metric in METRICS)
        above = "" if name == OURS else f"  {gap.mean():+.4f} [{low[0]:+.4f}, {high[0]:+.4f}]"
        lines.append(f"{name:26}{means}{above}")
    return "\n".join(lines)


def evaluate(lake: Path, held: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> str:
    """The table of a lake; ``others`` are figures by user of methods from elsewhere."""
    with tempfile.TemporaryDirectory() as scratch:
        queries = read_queries(lake, held, Path(scratch))
        found = {name: measure(queries, method) for name, method in methods(lake, queries).items()}
    return compare({**found, **others})
