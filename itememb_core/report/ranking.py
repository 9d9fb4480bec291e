"""A picture of what a ranking was chosen among."""

import io
from collections.abc import Mapping

from itememb_core.users.ranking.choice import Choice


def ranking_plot(choice: Choice, apart: Mapping[str, tuple[float, float]]) -> bytes:
    """NDCG of every order on the validation slice as bars, the best first, as PNG.

    Args:
        choice: What was tried.
        apart: Intervals of what each other order is above the one that ships, by its name.
    """
    from matplotlib.figure import Figure

    tried = sorted(choice.tried, key=lambda each: each.value)
    shipped = next(each.value for each in tried if each.kind == choice.kind)
    figure = Figure(figsize=(7, 0.35 * len(tried) + 1.2), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if each.kind == choice.kind else "tab:blue" for each in tried]
    axes.barh([each.kind for each in tried], [each.value for each in tried], color=colors)
    for row, each in enumerate(tried):
        if each.kind in apart:
            low, high = (shipped + end for end in apart[each.kind])
            axes.plot([low, high], [row, row], color="black", linewidth=1)
    axes.set_xlabel("mean of NDCG@10 and NDCG@100; lines: 95 % of the distance to what ships")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()
