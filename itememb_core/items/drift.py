"""Alignment of a retrain with the previous version, and the drift that remains.

Source: orthogonal Procrustes, Schönemann 1966.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.model import ItemModel
from itememb_core.items.training.start import WarmStart
from itememb_core.items.vocabulary import node_counts
from itememb_core.model_files import read_parquet
from itememb_core.retrieval.exact import nearest_others

ITEMS: Final = "items.parquet"
DRIFT: Final = "drift.parquet"

#: The reason that a stored version without drift gives.
UNCOMPARED: Final = "no version before that it could be compared with"

#: Rows of a version, in the order of its vectors; ``count`` is over all channels.
ITEMS_SCHEMA: Final = pa.schema([("item_id", pa.string()), ("side", pa.string()),
                                 ("count", pa.int64())])  # fmt: skip
DRIFT_SCHEMA: Final = pa.schema(
    [
        ("band", pa.string()),
        ("items", pa.int64()),
        ("cosine", pa.float64()),
        ("cosine_unaligned", pa.float64()),
        ("overlap@10", pa.float64()),
        ("overlap@10_random", pa.float64()),
    ]
)
#: Quantiles of the shared items' counts that end the tail and the torso.
TAIL_END, TORSO_END = 0.90, 0.99
#: Neighbours compared, most queries of a band, most candidates: seeded samples.
NEIGHBOURS: Final = 10
QUERIES: Final = 500
CANDIDATES: Final = 100_000

_NODE: Final = ["item_id", "side"]

Vectors = NDArray[np.float32]
Nodes = NDArray[np.int64]


class Rows(NamedTuple):
    """Vectors of a version with the ids of their rows (``ITEMS_SCHEMA``)."""

    items: pa.Table
    embedding: Vectors  # [nodes, dim], unit norm
    context: Vectors  # [nodes, dim]
    bias: Vectors  # [nodes]

    @classmethod
    def load(cls, folder: Path) -> "Rows | None":
        """Read the vectors of a version; None where it was stored without ids.

        Raises:
            ItemembError: If its files cannot be read or their numbers of rows disagree.
        """
        return ModelVersion.load(folder).rows if (folder / ITEMS).exists() else None


class DriftReport(NamedTuple):
    """``table`` (``DRIFT_SCHEMA``) of a stored version."""

    table: pa.Table

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""
        pq.write_table(self.table, folder / DRIFT)

    @classmethod
    def load(cls, folder: Path) -> "DriftReport":
        """Read how far a version's items moved.

        Raises:
            ItemembError: The file is missing, damaged, or has other columns.
        """
        return cls(read_parquet(folder / DRIFT, "item_model", DRIFT_SCHEMA))


@dataclass(frozen=True)
class ModelVersion:
    """A fitted model as it is stored: with its rows' ids and its drift.

    Attributes:
        drift: ``DRIFT_SCHEMA``; empty without a previous version that it can be compared with.
        reason: Why it is empty; None otherwise.
    """

    model: ItemModel
    items: pa.Table
    drift: pa.Table
    reason: str | None

    @property
    def rows(self) -> Rows:
        """Its vectors with the ids of their rows."""
        return Rows(self.items, self.model.embedding, self.model.context, self.model.bias)

    def save(self, folder: Path) -> None:
        """Write the model, the ids and the drift into an existing folder."""
        self.model.save(folder)
        pq.write_table(self.items, folder / ITEMS)
        DriftReport(self.drift).save(folder)

    @classmethod
    def load(cls, folder: Path) -> "ModelVersion":
        """Read what :meth:`save` wrote; of the reason it tells only that there is one.

        Raises:
            ItemembError: As :meth:`ItemModel.load`; or the numbers of ids and vectors disagree.
        """
        model = ItemModel.load(folder)
        items = read_parquet(folder / ITEMS, "item_model", ITEMS_SCHEMA)
        if items.num_rows != len(model.embedding):
            raise ItemembError(
                f"item_model: {folder / ITEMS} holds {items.num_rows} ids, "
                f"expected {len(model.embedding)} (the vectors)"
            )
        drift = DriftReport.load(folder).table
        return cls(model, items, drift, None if drift.num_rows else UNCOMPARED)


def aligned(model: ItemModel, vocabulary: pa.Table, before: Rows | None, seed: int) -> ModelVersion:
    """Rotate a fit to the previous version, on the shared items with an interaction.

    Args:
        model: The fit, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY``.
        before: The previous version; None: the fit stays as it is.
        seed: Of the drift report's samples.

    Returns:
        The rotated fit with its drift. ``embedding`` and ``context`` turn together, so that
        cosines and goes-with scores stay what they were. A version of another dimension, or one
        without a shared item, leaves the fit as it is.
    """
    counts = node_counts(vocabulary).sum(axis=1)
    columns = [vocabulary[name].combine_chunks() for name in ("item_id", "side")]
    items = pa.Table.from_arrays([*columns, pa.array(counts)], schema=ITEMS_SCHEMA)
    nothing, dim = DRIFT_SCHEMA.empty_table(), model.embedding.shape[1]
    if before is None:
        return ModelVersion(model, items, nothing, "no previous version")
    if before.embedding.shape[1] != dim:
        found = before.embedding.shape[1]
        return ModelVersion(model, items, nothing, f"vectors of {found} before, of {dim} now")
    new, old = shared_rows(items, before.items)
    if not len(new):
        return ModelVersion(model, items, nothing, "no item shared with the previous version")
    turn = rotation(model.embedding[new], before.embedding[old])
    turned = replace(
        model,
        embedding=(model.embedding @ turn).astype(np.float32),
        context=(model.context @ turn).astype(np.float32),
    )
    ends = turned.embedding[new], before.embedding[old]
    unaligned = _cosines(model.embedding[new], before.embedding[old])
    return ModelVersion(turned, items, drift(*ends, counts[new], unaligned, seed), None)


def on_nodes(before: Rows, vocabulary: pa.Table) -> WarmStart:
    """Map the rows of a version to the nodes of a vocabulary, for a warm start."""
    new, old = _shared(_numbered(vocabulary), _numbered(before.items))
    known = np.zeros(vocabulary.num_rows, np.bool_)
    known[new] = True

    def rows(values: Vectors) -> Vectors:
        placed = np.zeros((len(known), *values.shape[1:]), np.float32)
        placed[new] = values[old]
        return placed

    return WarmStart(known, rows(before.embedding), rows(before.context), rows(before.bias))


def shared_rows(items: pa.Table, before: pa.Table) -> tuple[Nodes, Nodes]:
    """Rows, in both tables, of the nodes with an interaction in both (``ITEMS_SCHEMA``)."""
    touched = (_numbered(table).filter(pc.greater(table["count"], 0)) for table in (items, before))
    ours, theirs = touched
    return _shared(ours, theirs)


def _numbered(table: pa.Table) -> pa.Table:
    """The key of a node, and its row."""
    return table.select(_NODE).append_column("row", pa.array(np.arange(table.num_rows)))


def _shared(ours: pa.Table, theirs: pa.Table) -> tuple[Nodes, Nodes]:
    """Rows of the nodes that both have, in our order."""
    both = ours.join(theirs, _NODE, join_type="inner", right_suffix="_before").sort_by("row")
    return both["row"].to_numpy(), both["row_before"].to_numpy()


def rotation(moved: Vectors, fixed: Vectors) -> NDArray[np.float64]:
    """The orthogonal matrix R that brings ``moved @ R`` closest to ``fixed``, ``[dim, dim]``.

    Args:
        moved: ``[shared, dim]``.
        fixed: ``[shared, dim]``.
    """
    left, _, right = np.linalg.svd(moved.astype(np.float64).T @ fixed.astype(np.float64))
    return left @ right


def drift(
    new: Vectors, old: Vectors, counts: Nodes, unaligned: NDArray[np.float64], seed: int
) -> pa.Table:
    """How far shared items moved, of all and by how frequent they are now.

    Args:
        new: Unit vectors of the shared items, aligned ``[shared, dim]``.
        old: The same of the previous version.
        counts: Counts now ``[shared]``: the tail ends at their 90th percentile, the torso at the
            99th.
        unaligned: Cosine of each item with its old self before alignment ``[shared]``.
        seed: Of the items whose neighbours are compared, and of their candidates.

    Returns:
        ``DRIFT_SCHEMA``: mean cosine of an item with its old self, and the share of its ten nearest
        neighbours among the shared items that it had before, beside chance; ``items`` are those of
        the band. A band without items is left out.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    cosine, bands = _cosines(new, old), _bands(counts)
    some = np.sort(rng.permutation(len(new))[:CANDIDATES])
    chance = min(1.0, NEIGHBOURS / max(len(some) - 1, 1))
    rows = []
    for name, band in bands.items():
        queries = np.sort(rng.permutation(np.flatnonzero(band))[:QUERIES])
        means = (cosine[band].mean(), unaligned[band].mean(), _overlap(new, old, queries, some))
        rows.append((name, int(band.sum()), *map(float, means), chance))
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, DRIFT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=DRIFT_SCHEMA)


def _bands(counts: Nodes) -> dict[str, NDArray[np.bool_]]:
    low, high = np.quantile(counts, [TAIL_END, TORSO_END])
    bands = {
        "all": np.ones(len(counts), bool),
        "head": counts > high,
        "torso": (counts > low) & (counts <= high),
        "tail": counts <= low,
    }
    return {name: band for name, band in bands.items() if band.any()}


def _overlap(new: Vectors, old: Vectors, queries: Nodes, some: Nodes) -> float:
    """Mean share of the queries' neighbours among ``some`` that both versions agree on."""
    one, other = (nearest_others(rows, queries, NEIGHBOURS, some) for rows in (new, old))
    both = (one[:, :, None] == other[:, None, :]).any(axis=2)  # [queries, neighbours]
    return float(both.mean()) if both.size else 1.0


def _cosines(one: Vectors, other: Vectors) -> NDArray[np.float64]:
    return np.einsum("nd,nd->n", one, other, dtype=np.float64)
