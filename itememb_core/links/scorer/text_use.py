"""Whether the scorer uses texts: with them and without, compared on held-out matches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itememb_core.intervals import bootstrap_intervals
from itememb_core.links.labels import HeldOut, is_top1


@dataclass(frozen=True)
class TextUse:
    """The scorer with texts against the one without, out of fold, on matches that have a text.

    Log loss is the mean of -log of the probability that the true match gets. Gains are differences,
    with less without, the ends of their 95 % interval by the paired bootstrap.

    Attributes:
        used: Whether texts are used: top-1 or log loss is better beyond chance, and neither worse.
        matches: Held-out matches seen on both sides whose receipts side has a text.
        top1: Share whose true match is top-1 with texts.
        top1_without: The same without.
        top1_gain_low: Lower end.
        top1_gain_high: Upper end.
        log_loss: With texts, natural log.
        log_loss_without: The same without.
        log_loss_gain_low: Lower end; negative is better.
        log_loss_gain_high: Upper end.
    """

    used: bool
    matches: int
    top1: float
    top1_without: float
    top1_gain_low: float
    top1_gain_high: float
    log_loss: float
    log_loss_without: float
    log_loss_gain_low: float
    log_loss_gain_high: float


def with_text(held: HeldOut) -> NDArray[np.bool_]:
    """Which matches seen on both sides have a text that is compared, bool [matches]."""
    if not held.lists.catalog.shape[1]:
        return np.zeros(len(held.place), bool)
    return held.seen & ~np.isnan(held.lists.compared["text_cosine"]).all(axis=1)


def found_without_text(held: HeldOut) -> int:
    """Matches whose true match is in the pool though no text is compared."""
    found = held.place >= 0
    others = held.lists.without_text().valid
    return int(others[np.flatnonzero(found), held.place[found]].sum())


def text_use(
    held: HeldOut, scores: NDArray[np.float64], scores_without: NDArray[np.float64], seed: int
) -> TextUse:
    """Compare the log odds of candidates, float64 [matches, size] each.

    Args:
        held: The matches, at least one with text.
        scores: Out of fold, by the models with texts.
        scores_without: By those without; very low where they have no such candidate.
        seed: Of the resamples.
    """
    rows = np.flatnonzero(with_text(held))
    place, lists = held.place[rows], held.lists.take(rows)
    candidates = np.unique(lists.catalog[lists.valid])
    both = scores[rows], scores_without[rows]
    top1 = [is_top1(each, place).astype(np.float64) for each in both]
    loss = [_log_losses(each, place, len(candidates)) for each in both]
    gains = np.stack([top1[0] - top1[1], loss[0] - loss[1]], axis=1)  # [matches, 2]
    low, high = bootstrap_intervals(gains, np.random.default_rng(seed))
    better, worse = low[0] > 0.0 or high[1] < 0.0, high[0] < 0.0 or low[1] > 0.0
    means = [float(each.mean()) for each in (*top1, *loss)]
    return TextUse(
        used=bool(better and not worse),
        matches=len(rows),
        top1=means[0],
        top1_without=means[1],
        top1_gain_low=float(low[0]),
        top1_gain_high=float(high[0]),
        log_loss=means[2],
        log_loss_without=means[3],
        log_loss_gain_low=float(low[1]),
        log_loss_gain_high=float(high[1]),
    )


def _log_losses(
    scores: NDArray[np.float64], place: NDArray[np.int64], candidates: int
) -> NDArray[np.float64]:
    """-log of the true match's probability in each list, float64 [lists].

    The list's probabilities are the softmax of the log odds and of 0 for no match. A true match
    that the list lacks must cost something finite: each list's probabilities are mixed with equal
    ones of all candidates, by the share of lists that lack theirs (one more, by Laplace's rule).
    """
    from scipy.special import logsumexp

    rows = np.arange(len(scores))
    total = logsumexp(np.concatenate([scores, np.zeros((len(scores), 1))], axis=1), axis=1)
    own = np.where(place >= 0, np.exp(scores[rows, place.clip(min=0)] - total), 0.0)
    lacking = ((own < 1e-12).sum() + 1) / (len(scores) + 2)
    return -np.log((1.0 - lacking) * own + lacking / candidates)
