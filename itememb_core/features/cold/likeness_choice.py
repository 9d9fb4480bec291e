"""Whether the likeness part finds what is alike of items whose features are hidden."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
#: Slice of the items whose features are hidden.
HIDDEN: Final = "hidden features"

Row = tuple[str, str, str, float, float | None, float | None]


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
    """Hide all features of half of the warm items, and look at their neighbours' true features.

    The likeness part is used if vectors with it find items that are more alike than those of
    behaviour alone (the lower end of the mean gain's 95 % interval is above 0). Of the shares the
    least with 95 % of the largest gain is taken: what behaviour can tell stays in.

    Args:
        parts: Vectors, domain and blocks of all nodes.
        paths: Their categories.
        warm: Nodes with features and interactions, int64 [n].
        settings: Width and share of the likeness part.
        rng: Draws the half and the samples.
    """
    case = _case(parts, warm, settings, rng)
    shares = (settings.likeness_share,) if settings.likeness_share else SHARES
    alike = {share: case.alike(share) for share in (0.0, *shares)}
    gains = {share: alike[share] - alike[0.0] for share in shares}
    most = max(float(gain.mean()) for gain in gains.values())
    chosen = next(share for share in shares if gains[share].mean() >= NEARLY * most)
    rows: list[Row] = [("queries", "n", HIDDEN, float(len(case.looked)), None, None)]
    for share in (0.0, *shares):
        name = f"likeness share {share:g}" if share else "behaviour"
        agree = label_agreement(case.vectors(share), paths.deepest, case.looked, case.among)
        rows += _rows(name, np.stack([alike[share], agree], axis=1), rng)
        if share in {0.0, chosen}:
            skew = hubness(case.vectors(share), case.among[::2]).skew
            rows.append((name, "hubness_skew@10", "warm items", skew, None, None))
    low, _ = bootstrap_intervals(gains[chosen][:, None], rng)
    helps = settings.likeness == "always" or bool(low[0] > 0)
    return Likeness(chosen if helps else 0.0, rows)


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


def _case(
    parts: Parts,
    warm: NDArray[np.int64],
    settings: FeatureModelSettings,
    rng: np.random.Generator,
) -> _Case:
    half = np.sort(rng.choice(warm, len(warm) // 2, replace=False))
    blank = np.zeros(len(parts.values), bool)
    blank[half] = True
    hidden = parts.without(blank, list(range(TELLING, len(parts.widths))))
    truth = fit_likeness(parts, settings.likeness_dim).transform(parts)
    found = fit_likeness(hidden, settings.likeness_dim).transform(hidden)
    looked = np.sort(rng.choice(half, min(LOOKUPS, len(half)), replace=False))
    among = np.sort(rng.choice(warm, min(AMONG, len(warm)), replace=False))
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
