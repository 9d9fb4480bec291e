"""Plots of a fit's losses, small PNGs."""

import io

import pyarrow as pa


def training_plot(history: pa.Table) -> bytes:
    """Loss of training and of the validation users by pass, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.4), dpi=90, layout="tight")
    axes = figure.subplots()
    epochs = history["epoch"].to_pylist()
    axes.plot(epochs, history["loss"].to_pylist(), marker="o", label="training, sampled")
    validation = history["validation_loss"]
    if validation.null_count < len(validation):
        axes.plot(epochs, validation.to_pylist(), marker="o", label="validation users, all items")
    axes.set_xlabel("passes over the histories")
    axes.set_ylabel("loss")
    axes.set_xticks(epochs)
    if epochs:
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
