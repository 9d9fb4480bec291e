"""``item_evaluation``: item vectors of the backtest on holdout baskets, and their baselines."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row, evaluation_table, figure_rows, joined
from itememb_core.evaluation.items.baskets import NextBaskets, draw_next_baskets, draw_pairs
from itememb_core.evaluation.items.goes_with import Space, evaluate_pairs
from itememb_core.evaluation.items.next_basket import evaluate_next_baskets
from itememb_core.evaluation.items.probe import category_probe, mixing_figures

#: Slice of all users' next baskets.
NEXT_BASKET: Final = "next basket"

Nodes = NDArray[np.int64]


class ItemEvaluation(NamedTuple):
    """Figures of the backtest's vectors.

    Attributes:
        table: ``schemas.EVALUATION``; without holdout baskets it holds the probes alone.
        queries: Goes-with pairs.
        reason: Why there are no figures on holdout baskets; ``None`` otherwise.
    """

    table: pa.Table
    queries: int
    reason: str | None


class HoldoutQueries(NamedTuple):
    """Queries from holdout baskets.

    Attributes:
        pairs: Query and target nodes by channel.
        next_baskets: One basket a user, by channel.
        reason: Why there are none; None otherwise.
    """

    pairs: dict[str, tuple[Nodes, Nodes]]
    next_baskets: dict[str, NextBaskets]
    reason: str | None

    @property
    def users(self) -> list[int]:
        """Whose histories are needed, in ascending order."""
        found = [basket.user for basket in self.next_baskets.values()]
        return np.unique(np.concatenate([np.empty(0, np.int64), *found])).tolist()


def draw_queries(vocabulary: pa.Table, baskets: pa.Table, seed: int) -> HoldoutQueries:
    """Draw pairs and next baskets.

    Args:
        vocabulary: ``schemas.VOCABULARY`` of the backtest.
        baskets: What ``baskets.holdout_baskets`` gives.
        seed: Of the draws.
    """
    if not baskets.num_rows:
        return HoldoutQueries({}, {}, "no baskets after the cut: nothing to evaluate on")
    pairs = draw_pairs(vocabulary, baskets, _rng(seed, 2))
    reason = None if pairs else "no holdout basket has two items seen in training"
    return HoldoutQueries(pairs, draw_next_baskets(vocabulary, baskets, _rng(seed, 3)), reason)


def item_evaluation(
    space: Space,
    queries: HoldoutQueries,
    histories: pa.Table,
    catalog: pa.Table,
    seed: int,
    hidden: Iterable[Row] = (),
) -> ItemEvaluation:
    """Evaluate the backtest's vectors on holdout baskets and by what near items have in common.

    Args:
        space: Vectors and training data.
        queries: From holdout baskets (:func:`draw_queries`).
        histories: ``schemas.USER_ITEMS`` of ``queries.users``, all days before the cut.
        catalog: ``item_id`` and ``category``; other columns are ignored.
        seed: Of samples and intervals.
        hidden: Figures of items hidden from a feature model, which its fit made.

    Returns:
        Slices ``all``, the channels, ``head``, ``torso`` and ``tail`` (``goes_with``), ``next
        basket`` (``next_basket``), ``catalog`` and ``items`` (``probe``), the last ones by channel
        or domain, too; those of ``hidden``.
    """
    rng = _rng(seed, 4)
    rows: list[Row] = []
    goes_with = evaluate_pairs(space, queries.pairs, seed)
    if goes_with:
        rows += figure_rows(joined(goes_with), "all", "queries", rng)
    next_baskets = evaluate_next_baskets(space, queries.next_baskets, histories)
    if next_baskets:
        rows += figure_rows(joined(next_baskets), NEXT_BASKET, "users", rng)
    for probed in (
        category_probe(space.embeddings, space.vocabulary, catalog, rng),
        mixing_figures(space.embeddings, space.vocabulary, rng),
    ):
        if probed is not None:
            rows += figure_rows(probed, None, "items", rng)
    rows += hidden
    return ItemEvaluation(evaluation_table(rows), sum(map(len, goes_with)), queries.reason)


def _rng(seed: int, part: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, part]))
