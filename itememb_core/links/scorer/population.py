"""Opaque items compared with held-out matches: their support, and the share without a match."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vocabulary import ALL_SIDE
from itememb_core.links.labels import HeldOut
from itememb_core.links.nodes import Support, support
from itememb_core.services import RECEIPT_DOMAIN

#: Lower ends of the bands of receipt lines; the last is open.
BANDS = np.array([1, 3, 10, 30, 100])

#: Groups of equal size in which scores are compared.
BINS = 12

#: Pseudo-count of items a band, half of them without a match.
PRIOR_ITEMS = 20.0

#: An example stands for at most so many times its share of the examples.
MOST_WEIGHT = 20.0


@dataclass(frozen=True)
class Population:
    """Opaque items by band of receipt lines.

    Attributes:
        items: Opaque items in each band, [bands].
        no_match: Share of each band's items without a true link among the candidates, [bands].
        estimated: Whether the shares were estimated; else they were set.
    """

    items: tuple[int, ...]
    no_match: tuple[float, ...]
    estimated: bool

    @property
    def share(self) -> float:
        """Share of all opaque items without a true link among the candidates."""
        total = sum(self.items)
        both = zip(self.items, self.no_match, strict=True)
        return sum(n * share for n, share in both) / total if total else float(self.no_match[0])


def band_of(receipts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Band of items with so many receipt lines, from 0."""
    return (np.digitize(receipts, BANDS) - 1).clip(min=0)


def opaque_nodes(vocabulary: pa.Table) -> NDArray[np.int64]:
    """Nodes of the opaque items with a receipt line, int64 [items]."""
    opaque = pc.and_(
        pc.equal(vocabulary["domain"], RECEIPT_DOMAIN), pc.equal(vocabulary["side"], ALL_SIDE)
    )
    return np.flatnonzero(opaque.to_numpy().astype(bool) & (support(vocabulary).receipts > 0))


def set_population(vocabulary: pa.Table, no_match_share: float) -> Population:
    """The opaque items, with a given share of no match in every band."""
    band = band_of(support(vocabulary).receipts[opaque_nodes(vocabulary)])
    items = np.bincount(band, minlength=len(BANDS))
    shares = (no_match_share,) * len(BANDS)
    return Population(tuple(int(n) for n in items), shares, False)


def no_match_shares(
    score: NDArray[np.float64],
    band: NDArray[np.int64],
    with_match: tuple[NDArray[np.float64], NDArray[np.int64]],
    without_match: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> tuple[float, ...]:
    """Maximum-likelihood share of no match in each band, given the scores of opaque items.

    The best scores of opaque items are a mixture: (1 - share) of those of lists with a true match
    and share of those of lists without one, in groups of equal size. The maximum of the likelihood
    of a mixture of known parts is found by expectation maximisation (Dempster, Laird & Rubin,
    JRSS B 39, 1977). Where the two have equal scores the share stays near a half.

    Args:
        score: Best score of each opaque list.
        band: Its band.
        with_match: The same of held-out lists whose true match is a candidate.
        without_match: The same of lists without one.
    """
    shares = []
    for number in range(len(BANDS)):
        own = score[band == number]
        parts = [each[0][each[1] == number] for each in (with_match, without_match)]
        shares.append(_share(own, *parts))
    return tuple(shares)


def _share(
    own: NDArray[np.float64], matched: NDArray[np.float64], unmatched: NDArray[np.float64]
) -> float:
    if not len(own) or not len(matched) or not len(unmatched):
        return 0.5
    edges = np.quantile(np.concatenate([matched, unmatched]), np.arange(1, BINS) / BINS)

    def histogram(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(np.searchsorted(edges, values), minlength=BINS).astype(np.float64)

    counts = histogram(own)
    densities = [
        (histogram(each) + 0.5) / (len(each) + 0.5 * BINS) for each in (matched, unmatched)
    ]
    share = 0.5
    for _ in range(200):
        from_none = share * densities[1]
        belongs = from_none / (from_none + (1.0 - share) * densities[0])  # [bins]
        share = (counts @ belongs + PRIOR_ITEMS / 2) / (counts.sum() + PRIOR_ITEMS)
    return float(share)


def example_weights(
    held: HeldOut, counts: Support, population: Population
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many opaque items each list, and its copy without the true match, stand for.

    Direct matches have more support than opaque items: unweighted, they would overstate precision.
    A match without an interaction on the catalog side has no candidate that is right: its own list
    is an example of no match.

    Returns:
        float64 [n] of the lists and [n] of the copies, together of mean 1.
    """
    band = band_of(counts.receipts[held.lists.receipt])
    items = np.array(population.items, np.float64)
    no_match = np.array(population.no_match)
    weights = []
    for examples, wanted in (
        (held.seen, items * (1.0 - no_match)),
        (np.ones(len(band), bool), items * no_match),
    ):
        there = np.bincount(band[examples], minlength=len(BANDS))
        weights.append(np.where(examples, (wanted / there.clip(min=1))[band], 0.0))
    total = sum(float(each.sum()) for each in weights)
    if not total:
        weights = [held.seen.astype(np.float64), np.ones(len(band))]
        total = float(held.seen.sum() + len(band))
    mean = total / (2 * max(len(band), 1))
    lists, copies = (np.minimum(each / mean, MOST_WEIGHT) for each in weights)
    return lists, copies
