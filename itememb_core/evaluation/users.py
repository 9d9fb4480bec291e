"""``user_evaluation``: interactions after the cut, ranked among all targets known before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row, evaluation_table
from itememb_core.evaluation.ranking import CUTOFFS, METRICS, first_ranks, ranking_metrics
from itememb_core.intervals import multinomial_intervals
from itememb_core.items.vocabulary import UNKNOWN, channel_codes, node_counts, node_index
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import best_columns, padded
from itememb_core.schemas import EVALUATION
from itememb_core.services import CHANNELS
from itememb_core.users.baselines import BASELINES, Baseline, Fitted, choose_all
from itememb_core.users.items import ItemSpace
from itememb_core.users.model import UserModel
from itememb_core.users.ranking.candidates import Block, blocks
from itememb_core.users.ranking.fit import SEQUENCE, TOWERS
from itememb_core.users.ranking.ranker import Ranker
from itememb_core.users.scoring import OwnItems
from itememb_core.users.shards import PackedHistories

if TYPE_CHECKING:
    from torch import Tensor

#: Ground truth: all distinct targets of the holdout, or those of the first time alone (one basket's
#: lines have one time); repeats too or new items only.
SLICES: Final = ("all_repeats", "all_new", "next_repeats", "next_new")

#: Classes of the number of a user's own events before the cut, by decades, from their least one.
HISTORIES: Final = {"history_1_9": 0, "history_10_99": 10, "history_100_up": 100}

#: The ranking that ships; its networks alone are methods beside it.
SHIPPED: Final = "user_model"

#: Methods that are also shown by history, and on the ground truth of each channel alone.
SLICED: Final = (
    SHIPPED,
    TOWERS,
    SEQUENCE,
    "own_most_frequent",
    "decayed_frequency",
    "tifu_knn",
    "up_cf",
)


class UserEvaluation(NamedTuple):
    """Figures.

    Attributes:
        table: ``schemas.EVALUATION``.
        users: Users evaluated.
        reason: Why there are no figures; None otherwise.
        chosen: Settings of the baselines that have any, by method.
    """

    table: pa.Table
    users: int
    reason: str | None
    chosen: Mapping[str, str]


class GroundTruth(NamedTuple):
    """Target interactions in the holdout, in time order by user."""

    user: NDArray[np.int64]  # [n], user id, ascending
    target: NDArray[np.int64]  # [n]
    time: NDArray[np.int64]  # [n], microseconds
    channel: NDArray[np.int8]  # [n], position in CHANNELS
    unknown: int  # target events whose item was not known before the cut


class _Metrics(NamedTuple):
    """Metrics of users by one method in one slice."""

    values: list[NDArray[np.float64]]  # each [users, METRICS]
    history: list[NDArray[np.int64]]  # each [users], own events before the cut
    listed: NDArray[np.bool_]  # [CUTOFFS, padded targets], whether listed


def user_evaluation(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    holdout: pa.Table,
    *,
    seed: int,
    validation_days: int = 7,
    progress: Progress = silent,
) -> UserEvaluation:
    """Evaluate the backtest's model beside its baselines.

    Args:
        model: Fitted on ``packed``.
        packed: Histories before the cut.
        items: The backtest's items.
        holdout: ``schemas.USER_HISTORIES`` of the events on and after the cut.
        seed: Of the bootstrap over users (percentiles of 300 resamples), and of the samples that
            baselines take.
        validation_days: Of the slice before the cut on which baselines choose their settings.
        progress: Called after each shard.

    Returns:
        Rows by method, metric (``METRICS``, ``coverage@10``, ``coverage@100``) and slice
        (``SLICES``), and of method ``ground_truth`` its size: users, events, events left out.
        Methods of ``SLICED`` have rows of each slice by ``HISTORIES`` (``all_new_history_1_9``),
        and of ``all_repeats`` and ``all_new`` by channel of the ground truth (``all_new_retail``).
        Users without a history, and targets not known before the cut, are left out.
    """
    truth = ground_truth(holdout, items)
    reason = _nothing_to_evaluate(packed, truth)
    if reason is not None:
        return UserEvaluation(EVALUATION.empty_table(), 0, reason, {})
    baselines = _baselines(model, packed, items, validation_days, seed)
    fitted = {name: each.fit(packed, items) for name, each in baselines.items()}
    metrics, users = _evaluate(model, packed, items, fitted, truth, progress)
    rows = _rows(metrics, truth, (users, len(items.targets)), seed)
    return UserEvaluation(evaluation_table(rows), users, None, _settings(baselines))


def _nothing_to_evaluate(packed: PackedHistories, truth: GroundTruth) -> str | None:
    """Why there are no figures; None: there are."""
    if not len(truth.user) or not packed.events:
        return "no user has both a history before the cut and a known target after it"
    if not any(np.isin(shard.user_ids, truth.user).any() for shard in packed.shards()):
        return "no user with a target after the cut has a history before it"
    return None


def _baselines(
    model: UserModel, packed: PackedHistories, items: ItemSpace, days: int, seed: int
) -> dict[str, Baseline]:
    """All baselines, with the settings that the model's ranking chose, or chosen now, by name."""
    rest = [each for each in BASELINES if each.name not in model.counts]
    chosen = choose_all(rest, packed, items, days, seed)
    return {
        each.name: chosen[each.name].baseline if each.name in chosen else model.counts[each.name]
        for each in BASELINES
    }


def _settings(chosen: Mapping[str, Baseline]) -> dict[str, str]:
    """The settings that were chosen, for people, of the baselines that have any."""
    return {
        name: ", ".join(f"{field} {getattr(each, field)}" for field in each.ladder)
        for name, each in chosen.items()
        if each.ladder
    }


def _evaluate(
    model: UserModel,
    packed: PackedHistories,
    items: ItemSpace,
    fitted: Mapping[str, Fitted],
    truth: GroundTruth,
    progress: Progress,
) -> tuple[dict[tuple[str, str], _Metrics], int]:
    """Metrics of all users by method and slice, and how many users there are."""
    methods = {**model.networks(packed), **fitted}
    parts = model.parts(packed, items, methods)
    metrics: dict[tuple[str, str], _Metrics] = {}
    users = 0
    for number, shard in enumerate(packed.shards()):
        known = np.flatnonzero(np.isin(shard.user_ids, truth.user))
        users += len(known)
        end = np.asarray(shard.start[known + 1])
        for _, block in blocks(parts, shard, known, end):
            _evaluate_block(metrics, model.ranker, block, methods, truth)
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
    channel = channel_codes(table["channel"])
    unknown = _unknown_events(items, node)
    return GroundTruth(users[known], target[known], time[known], channel[known], unknown)


def _unknown_events(items: ItemSpace, node: NDArray[np.int32]) -> int:
    """Events on items without an interaction before the cut."""
    untouched = np.flatnonzero(node_counts(items.vocabulary).sum(axis=1) == 0)
    return int(((node == UNKNOWN) | np.isin(node, untouched)).sum())


class Interactions(NamedTuple):
    """One user's ground truth in time order."""

    target: NDArray[np.int64]
    time: NDArray[np.int64]
    channel: NDArray[np.int8]

    def all(self) -> NDArray[np.int64]:
        """Distinct targets."""
        return np.unique(self.target)

    def next(self) -> NDArray[np.int64]:
        """Distinct targets of the first time."""
        return np.unique(self.target[self.time == self.time[0]])

    def where(self, chosen: NDArray[np.bool_]) -> "Interactions":
        """Some of them."""
        return Interactions(self.target[chosen], self.time[chosen], self.channel[chosen])


@dataclass(frozen=True)
class _Ranking:
    """What a method ranks for some users, with repeats or new items only."""

    method: str
    kind: str
    scores: "Tensor"  # [users, padded targets]
    top: NDArray[np.int64]  # [users, listed], -1 where none
    truth: list[Interactions]  # each with a target
    history: NDArray[np.int64]  # [users]


def _evaluate_block(
    metrics: dict[tuple[str, str], _Metrics],
    ranker: Ranker,
    block: Block,
    others: Mapping[str, Fitted],
    truth: GroundTruth,
) -> None:
    """Add the metrics of a block of users by every method and slice."""
    shard, users = block.shard, block.users
    low = np.searchsorted(truth.user, shard.user_ids[users], side="left")
    high = np.searchsorted(truth.user, shard.user_ids[users], side="right")
    relevant = [
        Interactions(truth.target[a:b], truth.time[a:b], truth.channel[a:b])
        for a, b in zip(low, high, strict=True)
    ]
    history = np.asarray(shard.owned[block.end] - shard.owned[shard.start[users]])
    for method, *both in _methods(ranker, block, others):
        for kind, scores in zip(("repeats", "new"), both, strict=True):
            of_kind = _of_kind(relevant, block.own, kind)
            ranking = _ranking(method, kind, scores, of_kind, history)
            if ranking is not None:
                _evaluate_method(metrics, ranking)


def _methods(
    ranker: Ranker, block: Block, others: Mapping[str, Fitted]
) -> "Iterator[tuple[str, Tensor, Tensor]]":
    """Scores of each method, repeats allowed and new items only ``[users, padded targets]``."""
    ranked, new = (padded(ranker.of_block(block, without_own=each)) for each in (False, True))
    yield SHIPPED, ranked, new
    for name, fitted in others.items():
        known = block.scores.get(name)
        found = fitted.scores(block.shard, block.users, block.end) if known is None else known
        scores = padded(found)
        without = scores.clone()
        without[block.own.row, block.own.target] = -np.inf
        yield name, scores, without


def _of_kind(relevant: list[Interactions], own: OwnItems, kind: str) -> list[Interactions]:
    """Ground truth of each user in time order, with or without previously interacted items."""
    if kind == "repeats":
        return relevant
    bounds = np.searchsorted(own.row, np.arange(len(relevant) + 1))
    previous = [own.target[a:b] for a, b in pairwise(bounds)]
    return [r.where(~np.isin(r.target, old)) for r, old in zip(relevant, previous, strict=True)]


def _ranking(
    method: str,
    kind: str,
    scores: "Tensor",
    relevant: list[Interactions],
    history: NDArray[np.int64],
) -> _Ranking | None:
    """Lists of the users with anything relevant; None without any such user."""
    some = np.array([row for row, each in enumerate(relevant) if len(each.target)], np.int64)
    if not len(some):
        return None
    chosen = scores if len(some) == len(relevant) else scores[some]
    top, best = best_columns(chosen, min(CUTOFFS[-1], chosen.shape[1]))
    top = np.where(np.isfinite(best), top, UNKNOWN)
    return _Ranking(method, kind, chosen, top, [relevant[row] for row in some], history[some])


def _evaluate_method(metrics: dict[tuple[str, str], _Metrics], ranking: _Ranking) -> None:
    """Add the metrics of one method with repeats or with new items only."""
    kind, truth = ranking.kind, ranking.truth
    _add(metrics, f"all_{kind}", ranking, [each.all() for each in truth])
    _add(metrics, f"next_{kind}", ranking, [each.next() for each in truth])
    if ranking.method in SLICED:
        for code, channel in enumerate(CHANNELS):
            parts = [each.where(each.channel == code).all() for each in truth]
            _add(metrics, f"all_{kind}_{channel}", ranking, parts)


def _add(
    metrics: dict[tuple[str, str], _Metrics],
    name: str,
    ranking: _Ranking,
    truth: list[NDArray[np.int64]],
) -> None:
    """Add the metrics of the users with anything relevant in one slice."""
    some = np.array([row for row, own in enumerate(truth) if len(own)], np.int64)
    if not len(some):
        return
    width = ranking.scores.shape[1]
    entry = metrics.setdefault(
        (ranking.method, name), _Metrics([], [], np.zeros((len(CUTOFFS), width), np.bool_))
    )
    own, top = [truth[row] for row in some], ranking.top[some]
    entry.values.append(ranking_metrics(top, own, first_ranks(ranking.scores, own, some)))
    entry.history.append(ranking.history[some])
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
        rows += _means(method, name, values, seed)
        for row, k in enumerate(CUTOFFS):
            share = float(each.listed[row].sum()) / targets
            rows.append((method, f"coverage@{k}", name, share, None, None))
        if method in SLICED and name in SLICES:
            of_class = np.digitize(np.concatenate(each.history), list(HISTORIES.values())) - 1
            for place, history in enumerate(HISTORIES):
                rows += _means(method, f"{name}_{history}", values[of_class == place], seed)
    return rows


def _means(method: str, name: str, values: NDArray[np.float64], seed: int) -> list[Row]:
    """Means of the metrics with their intervals; none of no user."""
    if not len(values):
        return []
    low, high = multinomial_intervals(values, seed)
    return [
        (method, metric, name, float(mean), float(low[column]), float(high[column]))
        for column, (metric, mean) in enumerate(zip(METRICS, values.mean(axis=0), strict=True))
    ]
