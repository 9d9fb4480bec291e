"""Columns of the ``*_evaluation`` tables."""

from typing import Final

from itememb_core.schemas.column import FLOAT64, TEXT, Column

EVALUATION: Final = (
    Column("method", TEXT, "What is evaluated: a model, a baseline, or the ground truth itself."),
    Column("metric", TEXT, "The figure (hit@20, ndcg@100, precision, ...)."),
    Column("slice", TEXT, "Queries that it is over: all, a channel, a band of support, ..."),
    Column("value", FLOAT64, "The figure.", "of the metric: a share 0 to 1, or a count"),
    Column("low", FLOAT64, "Lower end of its 95 % interval; null: there is none.", "as value"),
    Column("high", FLOAT64, "Upper end of its 95 % interval; null: there is none.", "as value"),
)
