"""Whether the probabilities of links hold, on lists whose truth is known.

What belongs here: calibration by bootstrap, reliability by support, examples. What does not:
ranks, precision and coverage (``links``).
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.links.labels import HeldOut, stands_first
from itememb_core.links.scorer.acceptance import Judged

#: Resamples of the bootstrap, of matches: a list and its copy stay together.
RESAMPLES = 1000

#: Two-sided level of the test.
LEVEL = 0.01

#: Right and wrong examples shown.
EXAMPLES = 5

#: ``right`` says whether the first candidate is the item itself.
EXAMPLE = pa.schema(
    [
        ("receipt_item", pa.string()),
        ("catalog_item", pa.string()),
        ("probability", pa.float64()),
        ("right", pa.bool_()),
    ]
)


def calibration_gap(
    judged: Judged, mask: NDArray[np.bool_], seed: int
) -> tuple[float, float, float] | None:
    """Mean probability less share right of first candidates, and its 99 % bootstrap interval.

    Args:
        judged: Lists, then their copies without the twin; out-of-fold probabilities.
        mask: bool [2 n], the lists that count.
        seed: Of the resamples.

    Returns:
        The gap, low and high; ``None`` where no list that counts has weight.
    """
    n = len(judged.weight) // 2
    weight = np.where(mask, judged.weight, 0.0).reshape(2, n)
    if not weight.sum():
        return None
    wrong = weight * (judged.probability - judged.correct).reshape(2, n)
    mass, gap = weight.sum(axis=0), wrong.sum(axis=0)  # [n] a match
    rng = np.random.default_rng(seed)
    gaps = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        total = float(times @ mass)
        if total:
            gaps.append(float(times @ gap) / total)
    low, high = np.quantile(gaps, (LEVEL / 2, 1 - LEVEL / 2))
    return float(gap.sum() / mass.sum()), float(low), float(high)


def examples(held: HeldOut, scores: NDArray[np.float64], vocabulary: pa.Table) -> pa.Table:
    """The surest first candidates that are right and that are wrong, ``EXAMPLE``.

    Args:
        held: n matches.
        scores: Out-of-fold probabilities, float64 [n, size].
        vocabulary: The backtest's.
    """
    if not scores.size:
        return EXAMPLE.empty_table()
    first = scores.argmax(axis=1)
    probability = scores.max(axis=1)
    right = stands_first(scores, held.place)
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
