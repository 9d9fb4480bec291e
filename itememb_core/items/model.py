"""A fitted item model: its tables, history and picture, as files and as the lake's table."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.schemas import item_embeddings

WEIGHTS: Final = "model.safetensors"
FACTS: Final = "settings.json"
HISTORY: Final = "history.parquet"
PICTURE: Final = "training_history.png"


@dataclass(frozen=True)
class ItemModel:
    """Vectors by node.

    Attributes:
        embedding: Unit vectors ``[nodes, dim]``: what is like this, and the candidate's side of
            what goes with it.
        context: The query's side ``[nodes, dim]``.
        bias: The candidate's bias ``[nodes]``.
        history: One row an evaluation: step, rate, losses by relation.
        facts: Settings, length, shares, libraries, and a reason where nothing was trained.
    """

    embedding: np.ndarray
    context: np.ndarray
    bias: np.ndarray
    history: pa.Table
    facts: dict[str, Any]

    @classmethod
    def of(cls, tables: Any, history: pa.Table, facts: dict[str, Any]) -> "ItemModel":
        """Take trained tensors; embeddings leave at unit norm."""
        rows, context, bias = (
            each.float().cpu().numpy() for each in (tables.embedding, tables.context, tables.bias)
        )
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return cls(unit, context, bias[:, 0], history, facts)

    def save(self, folder: Path) -> None:
        """Write safetensors, settings, history and its plot into an existing folder."""
        from safetensors.numpy import save_file

        arrays = {"embedding": self.embedding, "context": self.context, "bias": self.bias}
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS)
        (folder / FACTS).write_text(json.dumps(self.facts, indent=1, sort_keys=True) + "\n")
        pq.write_table(self.history, folder / HISTORY)
        (folder / PICTURE).write_bytes(training_plot(self.history))

    def table(self, vocabulary: pa.Table) -> pa.Table:
        """Return ``schemas.item_embeddings(dim)``, in the vocabulary's order.

        Raises:
            ItemembError: If the vocabulary has another number of nodes.
        """
        nodes, dim = self.embedding.shape
        if vocabulary.num_rows != nodes:
            raise ItemembError(
                f"item_model: {nodes} vectors, expected {vocabulary.num_rows} (the vocabulary)"
            )
        columns = [
            *(vocabulary[name].combine_chunks() for name in ("item_id", "side", "domain")),
            _fixed(self.embedding, dim),
            _fixed(self.context, dim),
            pa.array(self.bias),
        ]
        return pa.Table.from_arrays(columns, schema=item_embeddings(dim))


def _fixed(rows: np.ndarray, dim: int) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), dim)


def load_model(folder: Path) -> ItemModel:
    """Read what :meth:`ItemModel.save` wrote.

    Raises:
        ItemembError: If a file is missing, cut short, or the dims disagree.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(folder / WEIGHTS)
        facts = json.loads((folder / FACTS).read_text())
        history = pq.read_table(folder / HISTORY)
    except (OSError, SafetensorError, ValueError) as error:
        raise ItemembError(f"item_model: {folder} cannot be read ({error})") from error
    found, expected = arrays["embedding"].shape[1], facts["settings"]["dim"]
    if found != expected:
        raise ItemembError(f"item_model: {folder} has vectors of {found}, expected {expected}")
    return ItemModel(arrays["embedding"], arrays["context"], arrays["bias"], history, facts)


def history_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return evaluations as columns: step, rate, train_loss_<relation>, and likewise validation."""
    columns: dict[str, list[Any]] = {
        "step": [row["step"] for row in rows],
        "rate": [row["rate"] for row in rows],
    }
    for kind in ("train", "validation"):
        for name in sorted({name for row in rows for name in row[kind]}):
            columns[f"{kind}_loss_{name}"] = [row[kind].get(name) for row in rows]
    schema = pa.schema([(name, pa.int64() if name == "step" else pa.float64()) for name in columns])
    return pa.table(columns, schema=schema)


def training_plot(history: pa.Table) -> bytes:
    """Return a PNG: losses by step, one panel a relation, training beside validation."""
    import io

    from matplotlib.figure import Figure

    names = [c.removeprefix("train_loss_") for c in history.column_names if "train_loss_" in c]
    figure = Figure(figsize=(3.2 * max(len(names), 1), 2.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(len(names), 1)))
    steps = history["step"].to_pylist()
    for panel, name in zip(panels, names, strict=False):
        for kind in ("train", "validation"):
            column = f"{kind}_loss_{name}"
            if column in history.column_names:
                panel.plot(steps, history[column].to_pylist(), label=kind)
        panel.set(title=name, xlabel="step", ylabel="loss")
        panel.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
