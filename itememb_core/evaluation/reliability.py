"""Calibration of link probabilities on labelled lists: the gap, its interval, examples."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.intervals import ratio_interval
from itememb_core.links.labels import HeldOut, is_top1
from itememb_core.links.scorer.acceptance import LabelledTop1

#: Two-sided level of the test.
LEVEL = 0.01

#: Right and wrong examples shown.
EXAMPLES = 5

#: ``right``: whether the top-1 candidate is the item itself.
EXAMPLE = pa.schema(
    [
        ("receipt_item", pa.string()),
        ("catalog_item", pa.string()),
        ("probability", pa.float64()),
        ("right", pa.bool_()),
    ]
)


def calibration_gap(
    top1: LabelledTop1, mask: NDArray[np.bool_], seed: int
) -> tuple[float, float, float] | None:
    """Mean probability less share right of top-1 candidates, and its 99 % bootstrap interval.

    Matches are resampled: a list and its copy stay together.

    Args:
        top1: Of lists, then of their copies without the true match; out-of-fold probabilities.
        mask: bool [2 n], the lists that count.
        seed: Of the resamples.

    Returns:
        The gap, low and high; ``None`` where no list that counts has weight.
    """
    n = len(top1.weight) // 2
    weight = np.where(mask, top1.weight, 0.0).reshape(2, n)
    if not weight.sum():
        return None
    wrong = weight * (top1.probability - top1.correct).reshape(2, n)
    mass, gap = weight.sum(axis=0), wrong.sum(axis=0)  # [n] a match
    return ratio_interval(gap, mass, seed, level=LEVEL)


def examples(held: HeldOut, scores: NDArray[np.float64], vocabulary: pa.Table) -> pa.Table:
    """The most probable top-1 candidates that are right and that are wrong, ``EXAMPLE``.

    Args:
        held: n matches.
        scores: Out-of-fold probabilities, float64 [n, size].
        vocabulary: The backtest's.
    """
    if not scores.size:
        return EXAMPLE.empty_table()
    first = scores.argmax(axis=1)
    probability = scores.max(axis=1)
    right = is_top1(scores, held.place)
    order = np.argsort(-probability, kind="stable")
    rows = np.concatenate([order[right[order]][:EXAMPLES], order[~right[order]][:EXAMPLES]])
    node = held.lists.catalog[rows, first[rows]]
    columns = [
        held.ids.take(pa.array(rows)),
        vocabulary["item_id"].combine_chunks().take(pa.array(node)),
        pa.array(probability[rows]),
        pa.array(right[rows]),
    ]
    return pa.Table.from_arrays(columns, schema=EXAMPLE)
