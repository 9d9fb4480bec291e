"""Whether the likeness part finds what is alike of items whose features are hidden."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row
from itememb_core.features.cold.inputs import Paths
from itememb_core.features.likeness.imputation import Parts
from itememb_core.features.likeness.measures import hubness, label_agreement, mean_likeness
from itememb_core.features.likeness.space import TELLING, fit_likeness
from itememb_core.intervals import bootstrap_intervals
from itememb_core.settings import FeatureModelSettings

#: Hidden items that are looked up, and items that neighbours are searched among, at most.
LOOKUPS, AMONG = 1_000, 20_000
#: Shares that are tried, and how much of the best one's gain is enough.
SHARES, NEARLY = (0.3, 0.5, 0.7, 0.9), 0.95
#: What the skew of hubs shall fall to, and warm items that it is measured on, at most about.
HALF, HUBS = 0.5, 5_000
#: Slice of the items whose features are hidden.
HIDDEN: Final = "hidden features"


class Likeness(NamedTuple):
    """What was chosen.

    Attributes:
        share: Of the likeness part in a cosine; 0: it does not help.
        rows: Of ``schemas.EVALUATION``: mean cosine of true features, agreement of the narrowest
            category, hubness.
    """

    share: float
    rows: list[Row]


def choose_likeness(
    parts: Parts,
    paths: Paths,
    warm: NDArray[np.int64],
    settings: FeatureModelSettings,
    rng: np.random.Generator,
) -> Likeness:
    """Hide features of half of the warm items, and look at their neighbours' true features.

    Of the blocks of such an item one is left, drawn at random; of the only one, none. The likeness
    part is used if vectors with it find items that are more alike than those of behaviour alone
    (the lower end of the mean gain's 95 % interval is above 0). Of the shares the least is taken
    that has 95 % of the largest gain and, if one of those does, halves the skew of hubs, which
    needs no ground truth: what behaviour can tell stays in.

    Args:
        parts: Vectors, domain and blocks of all nodes.
        paths: Their categories.
        warm: Nodes with features and interactions, int64 [n].
        settings: Width and share of the likeness part.
        rng: Draws the half, the blocks and the samples.
    """
    case = _case(parts, warm, settings, rng)
    shares = (settings.likeness_share,) if settings.likeness_share else SHARES
    tried = (0.0, *shares)
    alike = {share: case.alike(share) for share in tried}
    skew = {share: case.hubness(share) for share in tried}
    gains = {share: alike[share] - alike[0.0] for share in shares}
    chosen = _least(gains, skew)
    rows: list[Row] = [("queries", "n", HIDDEN, float(len(case.looked)), None, None)]
    for share in tried:
        name = f"likeness share {share:g}" if share else "behaviour"
        agree = label_agreement(case.vectors(share), paths.deepest, case.looked, case.among)
        rows += _rows(name, np.stack([alike[share], agree], axis=1), rng)
        rows.append((name, "hubness_skew@10", "warm items", skew[share], None, None))
    low, _ = bootstrap_intervals(gains[chosen][:, None], rng)
    helps = settings.likeness == "always" or bool(low[0] > 0)
    return Likeness(chosen if helps else 0.0, rows)


def _least(gains: dict[float, NDArray[np.float64]], skew: dict[float, float]) -> float:
    """The least share that is good enough by both measures; by gain alone where none is."""
    means = {share: float(gain.mean()) for share, gain in gains.items()}
    most = max(means.values())
    # Where all lose, nearly the best is what loses little more.
    good = [share for share, gain in means.items() if gain >= most - (1 - NEARLY) * abs(most)]
    even = [share for share in good if skew[share] <= HALF * skew[0.0]]
    return min(even or good)


class _Case(NamedTuple):
    """Vectors found without the hidden features, and what the items are truly like."""

    behaviour: NDArray[np.float32]
    found: NDArray[np.float32]
    truth: NDArray[np.float32]
    looked: NDArray[np.int64]
    among: NDArray[np.int64]

    def vectors(self, share: float) -> NDArray[np.float32]:
        """Both parts with a share of the second."""
        return joined(self.behaviour, self.found, share) if share else self.behaviour

    def alike(self, share: float) -> NDArray[np.float64]:
        """Mean cosine of each look-up's true features to those of its neighbours."""
        return mean_likeness(self.vectors(share), self.truth, self.looked, self.among)

    def hubness(self, share: float) -> float:
        """Skew of N_10 among some warm items, with all their features."""
        some = self.among[:: max(len(self.among) // HUBS, 1)]
        whole = joined(self.behaviour[some], self.truth[some], share)
        return hubness(whole, np.arange(len(some))).skew


def _case(
    parts: Parts,
    warm: NDArray[np.int64],
    settings: FeatureModelSettings,
    rng: np.random.Generator,
) -> _Case:
    half = np.sort(rng.choice(warm, len(warm) // 2, replace=False))
    looked = np.sort(rng.choice(half, min(LOOKUPS, len(half)), replace=False))
    among = np.sort(rng.choice(warm, min(AMONG, len(warm)), replace=False))
    hidden, blocks = parts, list(range(TELLING, len(parts.widths)))
    # Of the known blocks of an item the one of the largest draw is left.
    drawn = np.where(parts.known[half][:, blocks], rng.random((len(half), len(blocks))), -1.0)
    left = drawn.argmax(axis=1) if len(blocks) > 1 else np.full(len(half), -1)
    for number, block in enumerate(blocks):
        rows = np.zeros(len(parts.values), bool)
        rows[half[left != number]] = True
        hidden = hidden.without(rows, [block])
    truth = fit_likeness(parts, settings.likeness_dim).transform(parts)
    found = fit_likeness(hidden, settings.likeness_dim).transform(hidden)
    return _Case(parts.values[:, : parts.widths[0]], found, truth, looked, among)


def joined(
    behaviour: NDArray[np.float32], likeness: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Both parts of unit norm side by side, so that the second has a share of each cosine."""
    parts = [np.sqrt(1 - share) * behaviour, np.sqrt(share) * likeness]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _rows(name: str, values: NDArray[np.float64], rng: np.random.Generator) -> Iterator[Row]:
    """Means of the columns with their intervals."""
    low, high = bootstrap_intervals(values, rng)
    for column, metric in enumerate(("features_cosine@10", "category_agreement@10")):
        mean = float(values[:, column].mean())
        yield name, metric, HIDDEN, mean, float(low[column]), float(high[column])
