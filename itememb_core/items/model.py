"""A fitted item model: its tables, history and picture, as files and as the lake's table."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from itememb_core.errors import ItemembError
from itememb_core.items.vectors import FROM_BEHAVIOUR, vector_column
from itememb_core.model_files import existing, read_json, read_parquet
from itememb_core.schemas import item_embeddings

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS: Final = "model.safetensors"
FACTS: Final = "settings.json"
HISTORY: Final = "history.parquet"
PICTURE: Final = "training_history.png"


class Trained(Protocol):
    """Tensors of a fit: ``[nodes, dim]``, ``[nodes, dim]``, ``[nodes, 1]``."""

    embedding: "Tensor"
    context: "Tensor"
    bias: "Tensor"


class FitFacts(TypedDict):
    """What is stored beside the vectors: settings, length, shares of relations, libraries.

    ``reason``: why nothing was trained; None otherwise.
    """

    settings: dict[str, JsonValue]
    steps: int
    shares: dict[str, float]
    temperature: float
    products: str
    threads: int
    torch: str
    reason: str | None


class Interval(TypedDict):
    """An evaluation: the step, the rate up to it, losses by relation."""

    step: int
    rate: float
    train: dict[str, float]
    validation: dict[str, float]


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
    facts: FitFacts

    @classmethod
    def of(cls, tables: Trained, history: pa.Table, facts: FitFacts) -> "ItemModel":
        """Take trained tensors; embeddings leave at unit norm."""
        rows, context, bias = (
            each.float().cpu().numpy() for each in (tables.embedding, tables.context, tables.bias)
        )
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return cls(unit, context, bias[:, 0], history, facts)

    @cached_property
    def picture(self) -> bytes:
        """The losses of training and validation, as PNG."""
        from itememb_core.report.training import training_plot

        return training_plot(self.history)

    def save(self, folder: Path) -> None:
        """Write safetensors, settings, history and its plot into an existing folder."""
        from safetensors.numpy import save_file

        arrays = {"embedding": self.embedding, "context": self.context, "bias": self.bias}
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS)
        (folder / FACTS).write_text(json.dumps(self.facts, indent=1, sort_keys=True) + "\n")
        pq.write_table(self.history, folder / HISTORY)
        (folder / PICTURE).write_bytes(self.picture)

    @classmethod
    def load(cls, folder: Path) -> "ItemModel":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: If a file is missing, cut short, or the dims disagree.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        weights = existing(folder / WEIGHTS, "item_model")
        try:
            arrays = load_file(weights)
        except (OSError, SafetensorError, ValueError) as error:
            raise ItemembError(f"item_model: {weights} cannot be read ({error})") from error
        facts = cast(FitFacts, read_json(folder / FACTS, "item_model"))
        history = read_parquet(folder / HISTORY, "item_model")
        found, expected = arrays["embedding"].shape[1], facts["settings"]["dim"]
        if found != expected:
            raise ItemembError(f"item_model: {weights} has vectors of {found}, expected {expected}")
        return cls(arrays["embedding"], arrays["context"], arrays["bias"], history, facts)

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
            pa.array([FROM_BEHAVIOUR] * nodes, pa.string()),
            vector_column(self.embedding),
            vector_column(self.context),
            pa.array(self.bias),
        ]
        return pa.Table.from_arrays(columns, schema=item_embeddings(dim))


def history_table(rows: list[Interval]) -> pa.Table:
    """Return evaluations as columns: step, rate, train_loss_<relation>, and likewise validation."""
    columns: dict[str, list[int] | list[float] | list[float | None]] = {
        "step": [row["step"] for row in rows],
        "rate": [row["rate"] for row in rows],
    }
    losses = {"train": [row["train"] for row in rows],
              "validation": [row["validation"] for row in rows]}  # fmt: skip
    for kind, found in losses.items():
        for name in sorted({name for each in found for name in each}):
            columns[f"{kind}_loss_{name}"] = [each.get(name) for each in found]
    schema = pa.schema([(name, pa.int64() if name == "step" else pa.float64()) for name in columns])
    return pa.table(columns, schema=schema)
