"""The plot of a search: what each strategy was worth by the length of its fit."""

import io

import pyarrow as pa
import pyarrow.compute as pc


def strategies_plot(table: pa.Table) -> bytes:
    """Value of each strategy by steps, the winner in front, as PNG.

    Args:
        table: ``schemas.TARGET_STRATEGIES``.
    """
    from matplotlib.figure import Figure

    winner = table.filter(pc.field("chosen"))["strategy"].to_pylist()
    tried = table.filter(pc.is_valid(pc.field("value"))).to_pandas()
    figure = Figure(figsize=(6.5, 3.6), dpi=80, layout="constrained")
    axes = figure.subplots()
    for name, rows in tried.groupby("strategy", sort=False):
        width = 2.5 if name in winner else 1.0
        axes.plot(rows["steps"], rows["value"], marker="o", linewidth=width, label=name)
    axes.set(xlabel="steps of the fit", ylabel="NDCG, mean of @10 and @100",
             title=f"chosen: {', '.join(winner)}")  # fmt: skip
    if len(tried):
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
