"""``user_evaluation``: interactions after the cut, ranked among all targets known before it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import CUTOFFS, METRICS, first_ranks, ranking_metrics
from itememb_core.evaluation.user_baselines import Statistics, baseline_scores, statistics
from itememb_core.intervals import multinomial_intervals
from itememb_core.items.vocabulary import UNKNOWN, node_counts, node_index
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import GROUP, best_columns
from itememb_core.schemas import EVALUATION
from itememb_core.users.items import ItemSpace
from itememb_core.users.model import UserModel
from itememb_core.users.scoring import (
    OwnItems,
    item_matrix,
    model_scores,
    own_items,
    vectors_of_users,
)
from itememb_core.users.shards import PackedHistories, Shard

if TYPE_CHECKING:
    from torch import Tensor

#: Ground truth: all distinct targets of the holdout, or those of the first time alone (one basket's
#: lines have one time); repeats too or new items only.
SLICES: Final = ("all_repeats", "all_new", "next_repeats", "next_new")

#: Users whose scores for all targets are held at once.
_BLOCK: Final = 128

Row = tuple[str, str, str, float, float | None, float | None]


class UserEvaluation(NamedTuple):
    """Figures.

    Attributes:
        table: ``schemas.EVALUATION``.
        users: Users evaluated.
        reason: Why there are no figures; None otherwise.
    """

    table: pa.Table
    users: int
    reason: str | None


class GroundTruth(NamedTuple):
    """Target interactions in the holdout, in time order by user."""

    user: NDArray[np.int64]  # [n], user id, ascending
    target: NDArray[np.int64]  # [n]
    time: NDArray[np.int64]  # [n], microseconds
    unknown: int  # target events whose item was not known before the cut


class _Metrics(NamedTuple):
    """Metrics of users by one method in one slice."""

    values: list[NDArray[np.float64]]  # each [users, METRICS]
    listed: NDArray[np.bool_]  # [CUTOFFS, padded targets], whether listed


def user_evaluation(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    holdout: pa.Table,
    *,
    seed: int,
    progress: Progress = silent,
) -> UserEvaluation:
    """Evaluate the backtest's model beside its baselines.

    Args:
        model: Fitted on ``packed``.
        packed: Histories before the cut.
        items: The backtest's items.
        holdout: ``schemas.USER_HISTORIES`` of the events on and after the cut.
        seed: Of the bootstrap over users (percentiles of 300 resamples).
        progress: Called after each shard.

    Returns:
        Rows by method, metric (``METRICS``, ``coverage@10``, ``coverage@100``) and slice
        (``SLICES``), and of method ``ground_truth`` its size: users, events, events left out.
        Users without a history, and targets not known before the cut, are left out.
    """
    truth = ground_truth(holdout, items)
    if not len(truth.user) or not packed.events:
        reason = "no user has both a history before the cut and a known target after it"
        return UserEvaluation(EVALUATION.empty_table(), 0, reason)
    metrics, users = _evaluate(model, packed, items, truth, progress)
    if not users:
        reason = "no user with a target after the cut has a history before it"
        return UserEvaluation(EVALUATION.empty_table(), 0, reason)
    rows = _rows(metrics, truth, (users, len(items.targets)), seed)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(each, kind) for each, kind in zip(columns, EVALUATION.types, strict=True)]
    return UserEvaluation(pa.Table.from_arrays(arrays, schema=EVALUATION), users, None)


def _evaluate(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    truth: GroundTruth,
    progress: Progress,
) -> tuple[dict[tuple[str, str], _Metrics], int]:
    """Metrics of all users by method and slice, and how many users there are."""
    stats = statistics(packed, items)
    base = item_matrix(model.towers)
    metrics: dict[tuple[str, str], _Metrics] = {}
    users = 0
    for number, shard in enumerate(packed.shards()):
        known = np.flatnonzero(np.isin(shard.user_ids, truth.user))
        users += len(known)
        for low in range(0, len(known), _BLOCK):
            block = known[low : low + _BLOCK]
            own = _Block(model, packed, items, shard, block)
            _evaluate_block(metrics, own, stats, base, truth)
        progress("user evaluation", number + 1, len(packed.names))
    return metrics, users


def ground_truth(holdout: pa.Table, items: ItemSpace) -> GroundTruth:
    """Target events of the holdout; opaque items, linked or not, do not count."""
    table = holdout.sort_by([("user_id", "ascending"), ("position", "ascending")])
    node = node_index(items.vocabulary, table["item_id"], table["channel"])
    target = items.targets_of(node).astype(np.int64)
    known = target != UNKNOWN
    users = table["user_id"].to_numpy()
    time = table["timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return GroundTruth(users[known], target[known], time[known], _unknown_events(items, node))


def _unknown_events(items: ItemSpace, node: NDArray[np.int32]) -> int:
    """Events on items without an interaction before the cut."""
    untouched = np.flatnonzero(node_counts(items.vocabulary).sum(axis=1) == 0)
    return int(((node == UNKNOWN) | np.isin(node, untouched)).sum())


class Interactions(NamedTuple):
    """One user's ground truth in time order."""

    target: NDArray[np.int64]
    time: NDArray[np.int64]

    def all(self) -> NDArray[np.int64]:
        """Distinct targets."""
        return np.unique(self.target)

    def next(self) -> NDArray[np.int64]:
        """Distinct targets of the first time."""
        return np.unique(self.target[self.time == self.time[0]])


class _Block(NamedTuple):
    """Some users of a shard, and what they are scored with."""

    model: UserModel
    packed: PackedHistories
    items: ItemSpace
    shard: Shard
    users: NDArray[np.int64]


def _evaluate_block(
    metrics: dict[tuple[str, str], _Metrics],
    block: _Block,
    stats: Statistics,
    base: NDArray[np.float32],
    truth: GroundTruth,
) -> None:
    """Add the metrics of a block of users by every method and slice."""
    end = np.asarray(block.shard.start[block.users + 1])
    own = own_items(block.shard, block.users, end, block.packed.item_stats)
    low = np.searchsorted(truth.user, block.shard.user_ids[block.users], side="left")
    high = np.searchsorted(truth.user, block.shard.user_ids[block.users], side="right")
    bounds = zip(low, high, strict=True)
    relevant = [Interactions(truth.target[a:b], truth.time[a:b]) for a, b in bounds]
    for method, scores in _methods(block, stats, base, own, end):
        for kind in ("repeats", "new"):
            if kind == "new":
                scores[own.row, own.target] = -np.inf
            _evaluate_method(metrics, method, kind, scores, _of_kind(relevant, own, kind))


def _methods(
    block: _Block,
    stats: Statistics,
    base: NDArray[np.float32],
    own: OwnItems,
    end: NDArray[np.int64],
) -> "Iterator[tuple[str, Tensor]]":
    """Scores of each method ``[users, padded targets]``."""
    import torch

    model, shard, users = block.model, block.shard, block.users
    values = vectors_of_users(model.towers, shard, users, end, model.settings)
    for name, without in (("two_towers", False), ("two_towers_no_repeat_term", True)):
        blocks = model_scores(model.towers, values, base, own.nothing() if without else own)
        yield name, torch.cat([scores.clone() for _, scores in blocks])
    for name, baseline in baseline_scores(stats, shard, users, own, block.items).items():
        width = -(-baseline.shape[1] // GROUP) * GROUP
        scores = torch.full((len(baseline), width), -torch.inf)
        scores[:, : baseline.shape[1]] = torch.from_numpy(baseline)
        yield name, scores


def _of_kind(relevant: list[Interactions], own: OwnItems, kind: str) -> list[Interactions]:
    """Ground truth of each user in time order, with or without previously interacted items."""
    if kind == "repeats":
        return relevant
    bounds = np.searchsorted(own.row, np.arange(len(relevant) + 1))
    previous = [own.target[a:b] for a, b in pairwise(bounds)]
    new = [~np.isin(each.target, old) for each, old in zip(relevant, previous, strict=True)]
    return [Interactions(r.target[k], r.time[k]) for r, k in zip(relevant, new, strict=True)]


def _evaluate_method(
    metrics: dict[tuple[str, str], _Metrics],
    method: str,
    kind: str,
    scores: "Tensor",
    relevant: list[Interactions],
) -> None:
    """Add the metrics of one method with repeats or with new items only."""
    some = np.array([row for row, each in enumerate(relevant) if len(each.target)], np.int64)
    if not len(some):
        return
    chosen = scores if len(some) == len(relevant) else scores[some]
    top, best = best_columns(chosen, min(CUTOFFS[-1], chosen.shape[1]))
    top = np.where(np.isfinite(best), top, UNKNOWN)
    ranks = (top, chosen)
    _add(metrics, method, f"all_{kind}", ranks, [relevant[row].all() for row in some])
    _add(metrics, method, f"next_{kind}", ranks, [relevant[row].next() for row in some])


def _add(
    metrics: dict[tuple[str, str], _Metrics],
    method: str,
    name: str,
    ranks: "tuple[NDArray[np.int64], Tensor]",
    truth: list[NDArray[np.int64]],
) -> None:
    top, scores = ranks
    width = scores.shape[1]
    entry = metrics.setdefault(
        (method, name), _Metrics([], np.zeros((len(CUTOFFS), width), np.bool_))
    )
    first = first_ranks(scores, truth)
    entry.values.append(ranking_metrics(top, truth, first))
    for row, k in enumerate(CUTOFFS):
        listed = top[:, :k]
        entry.listed[row, listed[listed != UNKNOWN]] = True


def _rows(
    metrics: dict[tuple[str, str], _Metrics], truth: GroundTruth, sizes: tuple[int, int], seed: int
) -> list[Row]:
    """Every figure with its interval; ``sizes`` are the numbers of users and of targets."""
    users, targets = sizes
    rows: list[Row] = [
        ("ground_truth", "users", "all", float(users), None, None),
        ("ground_truth", "events", "all", float(len(truth.user)), None, None),
        ("ground_truth", "events_on_unknown_items", "all", float(truth.unknown), None, None),
    ]
    for (method, name), each in metrics.items():
        values = np.concatenate(each.values)  # [users, METRICS]
        low, high = multinomial_intervals(values, seed)
        for column, metric in enumerate(METRICS):
            mean = float(values[:, column].mean())
            rows.append((method, metric, name, mean, float(low[column]), float(high[column])))
        for row, k in enumerate(CUTOFFS):
            share = float(each.listed[row].sum()) / targets
            rows.append((method, f"coverage@{k}", name, share, None, None))
    return rows
