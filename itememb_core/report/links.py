"""Plots of the link scorer's precision, coverage and reliability, small PNGs."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from itememb_core.links.scorer.acceptance import LabelledTop1

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Groups of lists.
BINS = 8


def precision_coverage_plot(methods: Mapping[str, LabelledTop1], target: float) -> bytes:
    """Precision over all accepted against the share accepted, one line a method, as PNG."""
    figure, axes = _axes("share of receipt items accepted", "precision over all accepted")
    for name, each in methods.items():
        order = np.argsort(-each.probability, kind="stable")
        order = order[each.weight[order] > 0.0]
        weight = each.weight[order]
        accepted = weight.cumsum()
        precision = (weight * each.correct[order]).cumsum() / accepted
        axes.plot(accepted / accepted[-1], precision, label=name)
    axes.axhline(target, color="gray", linestyle=":", label=f"target {target:g}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)
    return _png(figure)


def reliability_plot(parts: Mapping[str, LabelledTop1]) -> bytes:
    """Share right against mean probability of top-1 candidates, a line a part, as PNG.

    The lists of a part are in groups of equal size, by probability.
    """
    figure, axes = _axes("mean probability of the top-1 candidate", "share that is the true match")
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":", label="calibrated")
    for name, each in parts.items():
        order = np.argsort(each.probability, kind="stable")
        order = order[each.weight[order] > 0.0]
        groups = [group for group in np.array_split(order, BINS) if len(group)]
        expected = [np.average(each.probability[g], weights=each.weight[g]) for g in groups]
        found = [np.average(each.correct[g], weights=each.weight[g]) for g in groups]
        axes.plot(expected, found, marker="o", markersize=3, label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(fontsize=7)
    return _png(figure)


def _axes(x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.4), dpi=90, layout="tight")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
