"""The rank-frequency plot of item popularity, a small PNG."""

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core.features.popularity import ZipfFit, mean_ranks
from itememb_core.schemas.features import EVERY_CHANNEL

#: Points drawn of a channel, evenly spaced in log rank: more cannot be told apart.
_POINTS = 400


def rank_frequency_plot(popularity: pa.Table, zipf: Mapping[str, ZipfFit]) -> bytes:
    """Interactions by rank of every channel with its fitted line, both axes logarithmic, as PNG.

    Args:
        popularity: ``schemas.POPULARITY_FEATURES``.
        zipf: The line of each channel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), dpi=80, layout="constrained")
    axes = figure.subplots()
    for color, (name, line) in enumerate(zipf.items()):
        if name == EVERY_CHANNEL or not line.units:
            continue
        rows = popularity.filter(pc.equal(popularity["channel"], name))
        n = np.rint(np.expm1(rows["log_count"].to_numpy())).astype(np.int64)
        rank = mean_ranks(n)
        order = np.argsort(rank, kind="stable")
        spots = np.unique(np.geomspace(1, len(order), _POINTS).astype(int)) - 1
        shown = order[spots]
        label = f"{name}: exponent {line.exponent:.2f}, R² {line.r2:.2f}"
        axes.plot(rank[shown], n[shown], ".", markersize=3, color=f"C{color}", label=label)
        axes.plot(
            rank[shown],
            np.exp(line.intercept) * rank[shown] ** -line.exponent,
            color=f"C{color}",
            linewidth=1,
        )
    axes.set(xscale="log", yscale="log", xlabel="rank of the item", ylabel="interactions")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
