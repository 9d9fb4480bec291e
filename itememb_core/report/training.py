"""The plot of a fit's losses, a small PNG: of the item model's and of the user model's."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a fit's length is counted in: the first of these that is a column, and its words.
_LENGTHS: Final = {"step": "step", "epoch": "passes over the histories"}

#: Panels side by side.
COLUMNS: Final = 5

#: Columns of a fit with one loss, and their words.
_ONE_LOSS: Final = {"training, sampled": "loss", "validation users, all items": "validation_loss"}

#: The panel of a fit whose validation is a ranking.
_RANKING: Final = {"NDCG, validation users": {"NDCG": "validation"}}


def training_plot(history: pa.Table) -> bytes:
    """Losses of training beside those of validation by step or pass, as PNG.

    Args:
        history: ``step`` or ``epoch``, and ``loss`` and ``validation_loss``, or these two of each
            relation (``train_loss_<relation>``, ``validation_loss_<relation>``), which get a panel
            each; ``validation``, an NDCG, has a panel of its own. A column that is missing or null
            throughout is not drawn.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = _panels(history)
    length = next(name for name in _LENGTHS if name in history.column_names)
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(3.0 * columns, 4.5), 2.9 * rows), dpi=80)
    places = history[length].to_pylist()
    # One row of a fit of few steps or passes is a point, which a line does not show.
    marker = "o" if len(places) < 10 else None
    grid = figure.subplots(rows, columns, squeeze=False)
    _set_margins(figure)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
        for label, column in lines.items():
            axes.plot(places, history[column].to_pylist(), marker=marker, label=label)
        axes.set(title=title, xlabel=_LENGTHS[length])
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    for axes in grid[:, 0]:
        axes.set_ylabel("loss")
    if places and any(panels.values()):
        grid[0, 0].legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _set_margins(figure: "Figure") -> None:
    """Set margins in inches; a layout that looks for them draws everything twice."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.75 / width,
        right=1 - 0.1 / width,
        bottom=0.5 / height,
        top=1 - 0.3 / height,
        wspace=0.25,
        hspace=0.4,
    )


def _panels(history: pa.Table) -> Mapping[str, Mapping[str, str]]:
    """Columns by label, by title of the panel; at least one panel."""
    prefix = "train_loss_"
    relations = [c.removeprefix(prefix) for c in history.column_names if c.startswith(prefix)]
    panels = {
        name: {kind: f"{kind}_loss_{name}" for kind in ("train", "validation")}
        for name in relations
    } or {"": _ONE_LOSS}
    if "validation" in history.column_names:
        panels |= _RANKING
    return {title: _drawn(history, lines) for title, lines in panels.items()}


def _drawn(history: pa.Table, lines: Mapping[str, str]) -> dict[str, str]:
    """The lines whose column has a value."""
    return {
        label: column
        for label, column in lines.items()
        if column in history.column_names and history[column].null_count < len(history)
    }
