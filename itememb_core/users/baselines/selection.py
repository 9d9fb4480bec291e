"""Settings of the baselines, chosen by the lake itself on its validation slice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.ranking import CUTOFFS, METRICS, ranking_metrics
from itememb_core.retrieval.exact import best_columns, padded
from itememb_core.users.baselines.protocol import Baseline, Fitted
from itememb_core.users.items import ItemSpace
from itememb_core.users.scoring import own_items
from itememb_core.users.shards import PackedHistories
from itememb_core.users.validation import ValidationSlice, sampled, validation_slice

#: Users of the validation slice that a setting is judged on at most.
JUDGES: Final = 300

#: Users whose scores for all targets are held at once.
_BLOCK: Final = 128


@dataclass(frozen=True)
class Chosen:
    """A baseline with the settings that were best.

    Attributes:
        baseline: With these settings.
        ndcg: What they got on the validation slice; None: nothing was there to choose by.
    """

    baseline: Baseline
    ndcg: float | None


def choose(
    baseline: Baseline, packed: PackedHistories, items: ItemSpace, held: ValidationSlice
) -> Chosen:
    """Choose one setting after the other, each the best with those before it (the first of equals).

    Args:
        baseline: Its settings are those that the search starts from.
        packed: Histories.
        items: Targets.
        held: What settings are judged on; nothing after its ends is seen.
    """
    if not baseline.ladder or not held.users:
        return Chosen(baseline, None)
    seen: dict[Baseline, float] = {}
    last: tuple[Baseline, Fitted] | None = None
    for name, values in baseline.ladder.items():
        tried = [_with(baseline, name, value) for value in values]
        for each in tried:
            if each not in seen:
                if last is not None and _fits_alike(last[0], each):
                    fitted = _with_settings(last[1], each)
                else:
                    fitted = each.fit(packed, items, held.ends)
                last = each, fitted
                seen[each] = mean_ndcg(fitted, packed, held)
        baseline = max(tried, key=seen.__getitem__)
    return Chosen(baseline, seen[baseline])


def _with(baseline: Baseline, name: str, value: float) -> Baseline:
    whole: Any = baseline  # a dataclass, which no protocol can say
    changed: Baseline = replace(whole, **{name: value})
    return changed


def _fits_alike(one: Baseline, other: Baseline) -> bool:
    """Whether two of one kind differ in nothing that ``fit`` reads."""
    fitted = set(one.ladder) - one.scoring
    return all(getattr(one, name) == getattr(other, name) for name in fitted)


def _with_settings(fitted: Fitted, baseline: Baseline) -> Fitted:
    whole: Any = fitted
    changed: Fitted = replace(whole, settings=baseline)
    return changed


def choose_all(
    baselines: Sequence[Baseline], packed: PackedHistories, items: ItemSpace, days: int, seed: int
) -> dict[str, Chosen]:
    """Choose the settings of all, by name, on one sample of the validation slice.

    Args:
        baselines: With the settings that the search starts from.
        packed: Histories.
        items: Targets.
        days: ``validation_days``.
        seed: Of the sample.
    """
    held = sampled(validation_slice(packed, days), JUDGES, seed)
    return {each.name: choose(each, packed, items, held) for each in baselines}


def mean_ndcg(fitted: Fitted, packed: PackedHistories, held: ValidationSlice) -> float:
    """Mean of :func:`user_ndcg` over users."""
    return float(user_ndcg(fitted, packed, held).mean())


def user_ndcg(
    fitted: Fitted, packed: PackedHistories, held: ValidationSlice
) -> NDArray[np.float64]:
    """(NDCG@10 + NDCG@100) / 2 of each user, all targets of the slice relevant ``[users]``.

    Where nothing comes again, what the user had is left out.
    """
    columns = [METRICS.index(f"ndcg@{k}") for k in CUTOFFS]
    values = [np.empty(0)]
    for name, each in held.shards.items():
        if not len(each.users):
            continue
        shard, truth = packed.shard(name), [own.all() for own in each.truth()]
        for low in range(0, len(each.users), _BLOCK):
            part = slice(low, low + _BLOCK)
            scores = fitted.scores(shard, each.users[part], each.end[part])
            if not held.repeats:
                own = own_items(shard, each.users[part], each.end[part], packed.item_stats)
                scores[own.row, own.target] = -np.inf
            top = best_columns(padded(scores), min(CUTOFFS[-1], scores.shape[1]))[0]
            first = np.zeros(len(top))  # of the reciprocal rank, which is not looked at
            found = ranking_metrics(top, truth[part], first)
            values.append(found[:, columns].mean(axis=1))
    return np.concatenate(values)
