"""Relations as streams of batches, with their shares of the steps and their corrections."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Final

import numpy as np

from itememb_core.items.training.batches import Batch, plan
from itememb_core.items.training.data import TrainingData
from itememb_core.items.training.sampler import (
    BLOCK,
    BridgeSource,
    WithinSource,
    block_rng,
    bridge_sources,
    within_sources,
)
from itememb_core.services import CHANNELS
from itememb_core.settings import ItemModelSettings

#: Streams of validation draws start here, apart from those of training; batches of each.
VALIDATION_STREAM: Final = 1000
VALIDATION_BATCHES: Final = 2


class Relation:
    """One source of pairs, cut into batches."""

    def __init__(
        self,
        name: str,
        source: WithinSource | BridgeSource,
        share: float,
        *,
        seed: int,
        stream: int,
        batch: int,
        negatives: int,
        uniform: int,
        power: float,
        device: str,
    ) -> None:
        self.name, self.source, self.share = name, source, share
        self.bridge = isinstance(source, BridgeSource)
        self.steps = 0
        self._batch, self._negatives = batch, min(negatives, batch)
        self._uniform, self._power, self._device = uniform, power, device
        # Of either side: its nodes, from which further negatives are drawn, and their weights.
        self._nodes = [np.flatnonzero(side > 0) for side in (source.marginal.a, source.marginal.b)]
        self._weight_a = self._weights(source.marginal.a)
        self._weight_b = self._weights(source.marginal.b)
        self._seed, self._number = seed, stream
        self._stream = self._draw_blocks(0)

    def go_to(self, steps: int) -> None:
        """Go to after ``steps`` batches, without drawing them."""
        self.steps, self._stream = steps, self._draw_blocks(steps)

    def next_batch(self) -> Batch:
        """Return the next batch of an endless stream."""
        return next(self._stream)

    def validation(
        self, source: WithinSource | BridgeSource, rng: np.random.Generator
    ) -> list[Batch]:
        """Return ``VALIDATION_BATCHES`` batches of another source, corrected as in training."""
        return list(self._cut(*source.draw(rng, VALIDATION_BATCHES * self._batch), rng))

    def _weights(self, share: np.ndarray) -> np.ndarray:
        # Validation may draw nodes that training never does: they weigh like its rarest.
        drawn = share > 0
        if self._uniform:  # a negative is a pair's end or drawn evenly from its side
            even = (drawn / max(drawn.sum(), 1)).astype(np.float32)
            mixed = self._negatives * share + self._uniform * even
            share = mixed / np.float32(self._negatives + self._uniform)
        least = share[drawn].min(initial=1.0)
        scaled = np.maximum(share, least) * len(share)
        return (scaled**-self._power).astype(np.float32)  # [nodes]

    def _draw_blocks(self, first: int) -> Iterator[Batch]:
        """Batches from the ``first`` on, counted from 0."""
        each = max(BLOCK // self._batch, 1)
        for block in count(first // each):
            rng = block_rng(self._seed, self._number, block)
            batches = self._cut(*self.source.draw(rng, each * self._batch), rng)
            yield from islice(batches, max(first - block * each, 0), None)

    def _cut(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Iterator[Batch]:
        """Cut pairs into batches; the ends take turns as query, so the loss goes both ways."""
        a, b = a.reshape(-1, self._batch), b.reshape(-1, self._batch)
        turn = (np.arange(len(a)) % 2 == 1)[:, None]
        query, candidate = np.where(turn, b, a), np.where(turn, a, b)
        weights = [self._weight_a if swapped else self._weight_b for swapped in turn[:, 0]]
        if self._uniform:
            sides = (self._nodes[not swapped] for swapped in turn[:, 0])
            more = [side[rng.integers(len(side), size=self._uniform)] for side in sides]
            candidate = np.concatenate([candidate, np.stack(more)], axis=1)
        return plan(query, candidate, weights, self._device, self._negatives)


def relations_of(
    data: TrainingData, settings: ItemModelSettings, seed: int, device: str
) -> list[Relation]:
    """Return the relations to train on; shares sum to 1.

    Within a kind, a channel counts by its events and a bridge by its total weight; a kind without
    pairs leaves its share to the other.
    """
    within = within_sources(data.pairs, data.nodes)
    found = settings.bridge and settings.bridge_share > 0
    bags = data.training_bags
    bridge = bridge_sources(bags, settings.window_days, data.nodes) if found else {}
    events = {c: float(data.counts[:, CHANNELS.index(c)].sum()) for c in within}
    totals = {name: source.total for name, source in bridge.items()}
    share = settings.bridge_share if bridge else 0.0
    share = share if within else float(bool(bridge))
    named: list[tuple[str, WithinSource | BridgeSource, float]]
    named = [(n, s, (1 - share) * events[n] / sum(events.values())) for n, s in within.items()]
    named += [(n, s, share * totals[n] / sum(totals.values())) for n, s in bridge.items()]
    return [
        Relation(
            name, source, part, seed=seed, stream=i, batch=settings.batch_size,
            negatives=settings.negatives, uniform=settings.uniform_negatives,
            power=1.0 if isinstance(source, BridgeSource) else settings.context_correction,
            device=device,
        )
        for i, (name, source, part) in enumerate(named)
        if part > 0
    ]  # fmt: skip


def validation_batches(
    data: TrainingData, settings: ItemModelSettings, seed: int, relations: list[Relation]
) -> dict[str, list[Batch]]:
    """Return fixed batches of the validation days by relation.

    A bridge's first end lies in the validation days, its partner anywhere in the window: such a
    pair was never trained on. Their loss has the training relation's own corrections; those of the
    few validation days would be another loss, which rises while the vectors get better.
    """
    if data.validation_from is None:
        return {}
    found: dict[str, WithinSource | BridgeSource] = {}
    found |= within_sources(data.validation_pairs, data.nodes)
    if settings.bridge:
        since = data.validation_from
        found |= bridge_sources(data.bags, settings.window_days, data.nodes, since)
    validated = [r for r in relations if r.name in found]
    return {
        r.name: r.validation(found[r.name], block_rng(seed, VALIDATION_STREAM + i, 0))
        for i, r in enumerate(validated)
    }
