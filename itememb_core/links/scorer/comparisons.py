"""Comparisons of a receipt item and a candidate: the scorer's features, from pool and counts.

Everything about CSLS is relative to the other candidates of the same list, so that r(x) of the
receipt item, which the removal of the true match would have changed, is in none of it; ranks are
taken anew within the list for the same reason. Counts are shares of their side's total, so that
what is learned on the backtest's days holds on more of them.

Texts have features of their own. What the text cannot tell apart, the users may: beside the text's
own comparisons stand those of the sum of both, the users' log-likelihood ratio less what the
letters take that the title does not explain.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.links.lists import PoolLists
from itememb_core.links.nodes import Support
from itememb_core.links.text.evidence import LETTER

#: Columns of the pool that the scorer takes as they are.
TAKEN: Final = (
    "users_llr",
    "users_llr_lead",
    "months_llr",
    "weeks_llr",
    "similarity",
    "weekly_correlation",
    "monthly_correlation",
    "price_gap_low",
    "price_gap",
    "price_gap_high",
    "brand",
    "first_gap",
    "last_gap",
)

#: Columns whose gap to the best other candidate, and rank, within the list are features.
RANKED: Final = ("users_llr", "csls", "months_llr", "weeks_llr", "weekly_correlation")

FEATURES: Final = (
    *TAKEN,
    *(f"{name}_gap" for name in RANKED),
    *(f"{name}_rank" for name in RANKED),
    "users_llr_log_softmax",
    "users_llr_logsumexp",
    "price_distance",
    "rank_reverse",
    "log_receipts",
    "log_catalog",
    "log_count_gap",
)

#: Columns of the pool that compare text and title, which the scorer takes as they are.
TEXT_TAKEN: Final = (
    "text_cosine",
    "text_skeleton",
    "text_explained",
    "text_missed",
    "title_explained",
    "text_numbers",
    "text_users_lead",
)

#: The columns of texts whose mean is the fit of a text and a title.
TEXT_FIT: Final = ("text_skeleton", "text_explained", "title_explained")

#: What the scorer takes where texts are compared.
WITH_TEXT: Final = (
    *FEATURES,
    *TEXT_TAKEN,
    "text_fit",
    "text_fit_gap",
    "text_fit_rank",
    "text_users",
    "text_users_gap",
    "text_users_rank",
    "text_users_log_softmax",
)


def candidate_features(
    lists: PoolLists, counts: Support, names: tuple[str, ...] = FEATURES
) -> NDArray[np.float32]:
    """Features of every candidate, float32 [n, size, len(names)]; NaN where not known.

    Args:
        lists: The candidates of n receipt items; without features of texts those that only the
            text found are none, and nothing is known of them.
        counts: Events behind every node of the vocabulary.
        names: ``FEATURES`` or ``WITH_TEXT``.
    """
    texts = len(names) > len(FEATURES)
    lists = lists if texts else lists.without_text()
    columns = _columns(lists, counts)
    if texts:
        columns |= _text_columns(lists)
    result = np.empty((*lists.valid.shape, len(names)), np.float32)
    for number, name in enumerate(names):
        result[:, :, number] = columns[name]
    result[~lists.valid] = np.nan
    return np.where(np.isfinite(result), result, np.float32("nan"))


def _columns(lists: PoolLists, counts: Support) -> dict[str, NDArray]:
    """``FEATURES``, [n, size] each."""
    valid = lists.valid  # [n, size]
    columns: dict[str, NDArray] = {name: lists.compared[name] for name in TAKEN}
    for name in RANKED:
        values = lists.score(name)
        columns[f"{name}_gap"] = lists.compared[name] - best_other(values)
        columns[f"{name}_rank"] = np.log1p(_places(values))
    ratio = lists.score("users_llr")
    total = _log_sum(ratio)[:, None]  # [n, 1]
    columns["users_llr_log_softmax"] = ratio - total
    columns["users_llr_logsumexp"] = np.broadcast_to(total, valid.shape)
    columns["price_distance"] = np.abs(lists.compared["price_gap"])
    columns["rank_reverse"] = np.log1p(lists.compared["rank_reverse"])
    receipts = _log_shares(counts.receipts)[lists.receipt][:, None]  # [n, 1]
    catalog = _log_shares(counts.catalog)[lists.catalog]  # [n, size]
    columns["log_receipts"] = np.broadcast_to(receipts, valid.shape)
    columns["log_catalog"] = catalog
    columns["log_count_gap"] = receipts - catalog
    return columns


def _text_columns(lists: PoolLists) -> dict[str, NDArray]:
    """What ``WITH_TEXT`` has more, [n, size] each."""
    columns: dict[str, NDArray] = {name: lists.compared[name] for name in TEXT_TAKEN}
    known = np.mean([lists.compared[name] for name in TEXT_FIT], axis=0)  # [n, size]
    fit = np.where(np.isnan(known), np.float32(-1.0), known.round(5))  # no title: fits least
    fit[~lists.valid] = -np.inf
    better = _places(fit)
    missed = lists.compared["text_missed"]
    count = np.maximum((~np.isnan(missed)).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(missed, axis=1, keepdims=True) / count  # where there is no title
    took = LETTER * np.where(np.isnan(missed), mean, missed)
    both = lists.score("users_llr") - took.astype(np.float32)
    total = _log_sum(both)[:, None]
    with np.errstate(invalid="ignore"):  # padding less padding
        columns |= {"text_fit": known, "text_fit_gap": known - best_other(fit)}
        columns |= {"text_users": both, "text_users_gap": both - best_other(both)}
    columns |= {"text_fit_rank": np.log1p(better), "text_users_rank": np.log1p(_places(both))}
    columns["text_users_log_softmax"] = both - total
    return columns


def best_other(values: NDArray) -> NDArray:
    """The best of the list without the candidate itself, [n, size].

    A list of one has no other: the candidate's own value stands in, a gap of 0.
    """
    size = values.shape[1]
    if size < 2:
        return values
    first = values.argmax(axis=1)[:, None]  # [n, 1]
    top = np.partition(values, (size - 2, size - 1), axis=1)[:, -2:]  # [n, 2]: second, first
    second = np.where(np.isfinite(top[:, :1]), top[:, :1], top[:, 1:])
    return np.where(np.arange(size) == first, second, top[:, 1:])


def _log_sum(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log of the sum of exponentials of each row, and of 1 for no match, float32 [n]."""
    best = values.max(axis=1, initial=0.0)
    total = np.exp(values - best[:, None]).sum(axis=1) + np.exp(-best)
    return best + np.log(total)


def _log_shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logarithms of counts as shares of all, float32 [nodes]."""
    return np.log(counts.clip(min=1) / max(int(counts.sum()), 1)).astype(np.float32)


def _places(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many candidates of the row score higher, [n, size]: equal ones share their rank."""
    order = np.argsort(-values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    number = np.arange(values.shape[1])[None]
    fresh = np.ones(values.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ranks = np.empty(values.shape, np.int64)
    shared = np.maximum.accumulate(np.where(fresh, number, 0), axis=1)
    np.put_along_axis(ranks, order, shared, axis=1)
    return ranks
