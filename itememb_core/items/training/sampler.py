"""Sampling of pairs by weight, from the within-channel pairs and from the users' bags."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from itememb_core.items.training.data import Bags, Pairs
from itememb_core.services import CHANNELS

#: Pairs drawn at a time: sorted draws walk the weights once, which costs less than jumping.
BLOCK: Final = 1 << 17


@dataclass(frozen=True)
class Marginal:
    """How likely a draw puts each node on each side, float32 ``[nodes]``, each summing to 1."""

    a: np.ndarray
    b: np.ndarray


class PairSource(Protocol):
    """Something that pairs can be drawn from, again and again the same by block number."""

    marginal: Marginal

    def draw(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """``size`` independent pairs of nodes, int32 ``[size]`` each."""


class WeightedIndex:
    """Independent draws of positions in proportion to weights."""

    def __init__(self, weights: np.ndarray) -> None:
        self._cumulative = np.cumsum(weights, dtype=np.float64)  # [positions]

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Positions in ascending order, int64 ``[size]``; permuted, they are independent.

        Sorted uniforms come from cumulated exponential gaps (Devroye 1986, V.2), so the search,
        and whatever is looked up at the positions, walks forward through memory.
        """
        gaps = np.cumsum(rng.standard_exponential(size + 1))
        sorted_uniforms = gaps[:-1] / gaps[-1] * self._cumulative[-1]
        found = np.searchsorted(self._cumulative, sorted_uniforms, side="right")
        return np.minimum(found, len(self._cumulative) - 1)


class WithinSource:
    """Pairs of one channel by weight, either end first with equal chance."""

    def __init__(self, pairs: Pairs, channel: int, nodes: int) -> None:
        rows = np.flatnonzero(pairs.channel == channel)
        self._a, self._b = pairs.a[rows], pairs.b[rows]
        weight = pairs.weight[rows]
        self._index = WeightedIndex(weight)
        mass = np.bincount(self._a, weight, nodes) + np.bincount(self._b, weight, nodes)
        share = (mass / mass.sum()).astype(np.float32)  # [nodes]
        self.marginal = Marginal(share, share)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """``size`` independent pairs, int32 ``[size]`` each."""
        rows = self._index.draw(rng, size)
        order = rng.permutation(size)
        a, b = self._a[rows][order], self._b[rows][order]
        swap = rng.random(size) < 0.5
        return np.where(swap, b, a), np.where(swap, a, b)


class BridgeSource:
    """Pairs of one user's items in two channels, at most half a window apart.

    The bridge of :mod:`itememb_core.bags` with a window around each entry in place of fixed ones.

    An entry of the first channel is drawn with weight sqrt(size_b / size_a), its partner evenly
    from the entries of the second channel within the window around it: a pair then weighs
    1 / sqrt(size_a * size_b), and a user's window counts by its geometric mean size. Pairs whose
    ends are one node are drawn again; entries without another node in reach are left out.
    """

    def __init__(
        self,
        bags: Bags,
        channels: tuple[int, int],
        window_days: int,
        nodes: int,
        since: int | None = None,
    ) -> None:
        """Find every entry's partners; ``since`` keeps entries of that day (since 1970) on."""
        first, second = (np.flatnonzero(bags.channel == channel) for channel in channels)
        keys_a, keys_b = _keys(bags, first), _keys(bags, second)
        reach = window_days // 2
        start, stop = _ranges(keys_a, keys_b, reach)
        own_start, own_stop = _ranges(keys_a, keys_a, reach)
        late = True if since is None else bags.day[first] >= since
        others = stop - start - _equal_nodes(bags, first, second, reach)
        anchors = np.flatnonzero((others > 0) & late)
        self._node_a = bags.node[first][anchors]
        self._node_b = bags.node[second]
        self._start = start[anchors]
        self._size = (stop - start)[anchors]
        weight = np.sqrt(self._size / (own_stop - own_start)[anchors])
        self._index = WeightedIndex(weight)
        self.total = float(weight.sum())
        self.marginal = self._marginal(weight, nodes)

    def __len__(self) -> int:
        """Entries of the first channel with a partner."""
        return len(self._node_a)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """``size`` independent pairs, int32 ``[size]`` each."""
        parts_a, parts_b, found = [], [], 0
        while found < size:  # every entry has another node in reach, so this ends
            a, b = self._draw_any(rng, size)
            keep = a != b
            parts_a.append(a[keep])
            parts_b.append(b[keep])
            found += int(keep.sum())
        return np.concatenate(parts_a)[:size], np.concatenate(parts_b)[:size]

    def _draw_any(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._index.draw(rng, size)
        offset = (rng.random(size) * self._size[rows]).astype(np.int64)
        order = rng.permutation(size)
        return self._node_a[rows][order], self._node_b[self._start[rows] + offset][order]

    def _marginal(self, weight: np.ndarray, nodes: int) -> Marginal:
        if not len(weight):
            empty = np.zeros(nodes, np.float32)
            return Marginal(empty, empty)
        mass_a = np.bincount(self._node_a, weight, nodes)
        # An anchor spreads its weight evenly over a range: add at its start, take back at its end.
        steps = np.zeros(len(self._node_b) + 1)
        each = weight / self._size
        np.add.at(steps, self._start, each)
        np.add.at(steps, self._start + self._size, -each)
        mass_b = np.bincount(self._node_b, np.maximum(np.cumsum(steps)[:-1], 0), nodes)
        return Marginal(
            (mass_a / mass_a.sum()).astype(np.float32), (mass_b / mass_b.sum()).astype(np.float32)
        )


def within_sources(pairs: Pairs, nodes: int) -> dict[str, WithinSource]:
    """One source for each channel that has pairs, by channel name."""
    present = np.unique(pairs.channel)
    return {CHANNELS[c]: WithinSource(pairs, int(c), nodes) for c in present}


def bridge_sources(
    bags: Bags, window_days: int, nodes: int, since: int | None = None
) -> dict[str, BridgeSource]:
    """One source for each two channels that share a user within a window, by ``first~second``.

    With ``since``, entries of the first channel are those of that day (since 1970-01-01) on;
    their partners may lie before it.
    """
    sources = {}
    for first in range(len(CHANNELS)):
        for second in range(first + 1, len(CHANNELS)):
            source = BridgeSource(bags, (first, second), window_days, nodes, since)
            if len(source):
                sources[f"{CHANNELS[first]}~{CHANNELS[second]}"] = source
    return sources


def block_rng(seed: int, stream: int, block: int) -> np.random.Generator:
    """Generator of one block of draws: any block can be made again without the ones before."""
    return np.random.default_rng(np.random.SeedSequence([seed, stream, block]))


def _equal_nodes(bags: Bags, first: np.ndarray, second: np.ndarray, reach: int) -> np.ndarray:
    """How many partners of each entry of ``first`` are its own node, ``[first]``."""
    equal = np.zeros(len(first), np.int64)
    both = np.intersect1d(bags.node[first], bags.node[second])
    a, b = (np.flatnonzero(np.isin(bags.node[side], both)) for side in (first, second))
    if not len(a) or not len(b):
        return equal
    # One number for (user, day) as elsewhere, with the node above it.
    keys_a, keys_b = _keys(bags, first[a]), _keys(bags, second[b])
    span = np.int64(max(keys_a.max(), keys_b.max()) + 2 * reach + 1)
    node_a = np.searchsorted(both, bags.node[first[a]]) * span
    node_b = np.searchsorted(both, bags.node[second[b]]) * span
    start, stop = _ranges(keys_a + node_a + reach, np.sort(keys_b + node_b + reach), reach)
    equal[a] = stop - start
    return equal


def _keys(bags: Bags, rows: np.ndarray) -> np.ndarray:
    """(user, day) as one ascending number; users lie far enough apart that no window joins two."""
    if not len(bags):
        return np.empty(0, np.int64)
    first_day = int(bags.day.min())
    span = 4 * (int(bags.day.max()) - first_day + 1) + 4 * 3650
    return bags.user[rows].astype(np.int64) * span + (bags.day[rows] - first_day)


def _ranges(keys: np.ndarray, within: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    start = np.searchsorted(within, keys - reach, side="left")
    return start, np.searchsorted(within, keys + reach, side="right")
