"""``item_evaluation``: what the backtest's item vectors are worth, beside plain baselines."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.evaluation.figures import Row, evaluation_table, figure_rows, joined
from itememb_core.evaluation.items.baskets import NextBaskets, draw_next_baskets, draw_pairs
from itememb_core.evaluation.items.goes_with import Space, judge_pairs
from itememb_core.evaluation.items.next_basket import judge_next_baskets
from itememb_core.evaluation.items.probe import category_probe, mixing_figures

#: Slice of all users' next baskets.
NEXT_BASKET: Final = "next basket"

Nodes = NDArray[np.int64]


class ItemEvaluation(NamedTuple):
    """Figures of the backtest's vectors.

    Attributes:
        table: ``schemas.EVALUATION``; without later baskets it holds the probes alone.
        queries: Pairs asked about.
        reason: Why there are no figures on later baskets; ``None`` otherwise.
    """

    table: pa.Table
    queries: int
    reason: str | None


class Questions(NamedTuple):
    """What later baskets ask.

    Attributes:
        pairs: Query and answer nodes by channel.
        next_baskets: One basket a user, by channel.
        reason: Why there is nothing to ask; None otherwise.
    """

    pairs: dict[str, tuple[Nodes, Nodes]]
    next_baskets: dict[str, NextBaskets]
    reason: str | None

    @property
    def users(self) -> list[int]:
        """Whose histories are needed, in ascending order."""
        found = [basket.user for basket in self.next_baskets.values()]
        return np.unique(np.concatenate([np.empty(0, np.int64), *found])).tolist()


def draw_questions(vocabulary: pa.Table, baskets: pa.Table, seed: int) -> Questions:
    """Draw pairs and next baskets.

    Args:
        vocabulary: ``schemas.VOCABULARY`` of the backtest.
        baskets: What ``baskets.holdout_baskets`` gives.
        seed: Of the draws.
    """
    if not baskets.num_rows:
        return Questions({}, {}, "no baskets after the cut: nothing to judge on")
    pairs = draw_pairs(vocabulary, baskets, _rng(seed, 2))
    reason = None if pairs else "no later basket holds two items seen in training"
    return Questions(pairs, draw_next_baskets(vocabulary, baskets, _rng(seed, 3)), reason)


def item_evaluation(
    space: Space, questions: Questions, histories: pa.Table, catalog: pa.Table, seed: int
) -> ItemEvaluation:
    """Judge the backtest's vectors on later baskets and by what near items have in common.

    Args:
        space: Vectors and what training saw.
        questions: What later baskets ask (:func:`draw_questions`).
        histories: ``schemas.USER_ITEMS`` of ``questions.users``, all days before the cut.
        catalog: ``item_id`` and ``category``; other columns are ignored.
        seed: Of samples and intervals.

    Returns:
        Slices ``all``, the channels, ``head``, ``torso`` and ``tail`` (``goes_with``), ``next
        basket`` (``next_basket``), ``catalog`` and ``items`` (``probe``), the last ones by channel
        or domain, too.
    """
    rng = _rng(seed, 4)
    rows: list[Row] = []
    asked = judge_pairs(space, questions.pairs, seed)
    if asked:
        rows += figure_rows(joined(asked), "all", "queries", rng)
    later = judge_next_baskets(space, questions.next_baskets, histories)
    if later:
        rows += figure_rows(joined(later), NEXT_BASKET, "users", rng)
    for probed in (
        category_probe(space.embeddings, space.vocabulary, catalog, rng),
        mixing_figures(space.embeddings, space.vocabulary, rng),
    ):
        if probed is not None:
            rows += figure_rows(probed, None, "items", rng)
    return ItemEvaluation(evaluation_table(rows), sum(map(len, asked)), questions.reason)


def _rng(seed: int, part: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, part]))
