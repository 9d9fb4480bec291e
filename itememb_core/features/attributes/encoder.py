"""Features of brand and attributes: which values an item has, reduced by a truncated SVD.

A column is a value that enough items have, ``other`` for an attribute's rarer values, or ``absent``
for items without the attribute.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.attributes.values import BRAND, Pairs, ValueCounts, pairs_of, with_any
from itememb_core.features.inputs import BLOCK, blocks, parts_of, sample
from itememb_core.features.reduction import Reduction, fit_svd
from itememb_core.items.vectors import vector_column
from itememb_core.model_files import read_json, read_parquet, read_tensors
from itememb_core.progress import Progress, silent
from itememb_core.settings import AttributeFeaturesSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["BRAND", "AttributeEncoder", "AttributeFacts", "fit_attributes"]

WEIGHTS_FILE: Final = "attributes.safetensors"
COLUMNS_FILE: Final = "attribute_columns.parquet"
KEPT_FILE: Final = "attributes.parquet"
FACTS_FILE: Final = "attributes.json"
MODEL: Final = "attribute_features"

VALUE, OTHER, ABSENT = "value", "other", "absent"

COLUMNS: Final = pa.schema(
    [("attribute", pa.string()), ("kind", pa.string()), ("value", pa.string()),
     ("items", pa.int64())]
)  # fmt: skip
KEPT: Final = pa.schema(
    [("attribute", pa.string()), ("items", pa.int64()), ("kept", pa.int64()), ("rare", pa.int64())]
)


class AttributeFacts(TypedDict):
    """What a fit saw and kept.

    ``items``: of the catalog; ``with_attributes``: those with a brand or an attribute; ``fitted``:
    those of them that the fit saw, which all further counts are of. ``kept`` and ``rare``: values
    that are a column, or share one. ``names_merged``: spellings of attributes' names beyond the
    first of each. ``nulls``: pairs without a name or a value. ``reason``: why there is no column;
    None otherwise.
    """

    items: int
    with_attributes: int
    fitted: int
    attributes: int
    kept: int
    rare: int
    columns: int
    names_merged: int
    nulls: int
    dim: int
    explained_variance: float
    reason: str | None


@dataclass(frozen=True)
class AttributeEncoder:
    """Columns of values, and what reduces them.

    Attributes:
        columns: Attribute, kind (value, other, absent), value (null but for the first kind) and
            items in the fit; one row a column.
        attributes: Items, kept values and rare ones of each attribute in the fit.
        reduction: Of the columns to ``dim``.
        facts: Counts and the explained variance.
    """

    columns: pa.Table
    attributes: pa.Table
    reduction: Reduction
    facts: AttributeFacts

    def transform(self, catalog: pa.Table, progress: Progress = silent) -> NDArray[np.float32]:
        """Features float32 [items, dim]; a zero row where an item has no attribute that is known.

        An encoder without a column gives zeros: ``facts["reason"]`` says why.

        Args:
            catalog: Columns ``brand_id`` and ``attributes``, either of which may be missing.
            progress: Called after each block of items.
        """
        n = catalog.num_rows
        made = np.zeros((n, self.facts["dim"]), np.float32)
        if not self.columns.num_rows:
            return made
        columns = ColumnsOf(self.columns, self.attributes)
        for first, block in blocks(catalog):
            rows = _sparse([columns.of(pairs_of(block))], columns.n)
            made[first : first + len(block)] = self.reduction.apply(rows)
            progress("attribute_features: items", min(first + BLOCK, n), n)
        return made

    def save(self, folder: Path) -> None:
        """Write the columns, the reduction and the facts into an existing folder."""
        from safetensors.numpy import save_file

        save_file({"components": self.reduction.components}, folder / WEIGHTS_FILE)
        pq.write_table(self.columns, folder / COLUMNS_FILE)
        pq.write_table(self.attributes, folder / KEPT_FILE)
        (folder / FACTS_FILE).write_text(json.dumps(self.facts, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "AttributeEncoder":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: A file is missing or damaged, or the files disagree.
        """
        facts = cast(AttributeFacts, read_json(folder / FACTS_FILE, MODEL))
        columns = read_parquet(folder / COLUMNS_FILE, MODEL, COLUMNS)
        attributes = read_parquet(folder / KEPT_FILE, MODEL, KEPT)
        tensors = read_tensors(folder / WEIGHTS_FILE, MODEL, ["components"])
        components = tensors["components"]
        if components.shape != (columns.num_rows, facts["dim"]):
            raise ItemembError(
                f"{MODEL}: {folder / WEIGHTS_FILE} has components {list(components.shape)}, "
                f"expected {[columns.num_rows, facts['dim']]}"
            )
        reduction = Reduction(components, None, facts["explained_variance"])
        return cls(columns, attributes, reduction, facts)


def attribute_features(
    catalog: pa.Table, encoder: AttributeEncoder, progress: Progress = silent
) -> pa.Table:
    """Return ``schemas.attribute_features(dim)``, a row an item of the catalog.

    Args:
        catalog: ``item_id``, ``brand_id`` and ``attributes``.
        encoder: What was fitted on such a catalog.
        progress: Called after each block of items.
    """
    values = encoder.transform(catalog, progress)
    # What only lists blanks has no features either: zeros that stood for known would be believed.
    known = values.any(axis=1)
    columns = [catalog["item_id"], vector_column(values), pa.array(known)]
    return pa.Table.from_arrays(columns, schema=schemas.attribute_features(values.shape[1]))


def fit_attributes(
    catalog: pa.Table,
    settings: AttributeFeaturesSettings,
    seed: int,
    progress: Progress = silent,
) -> AttributeEncoder:
    """Choose the columns and reduce them, on a sample of the items that have any attribute.

    Args:
        catalog: Columns ``brand_id``, which counts as the attribute ``brand``, and ``attributes``
            of :data:`itememb_core.schemas.CATALOG`; either may be missing. One row an item.
        settings: Length of the features, fewest items of a value, size of the sample.
        seed: Of the sample and of the SVD.
        progress: Called after each block of items, and around the SVD.
    """
    rows = with_any(catalog)
    seen = sample(rows, settings.fit_rows, seed)
    counts = ValueCounts()
    for done, part in parts_of(catalog, seen):
        counts.add(pairs_of(part))
        progress("attribute_features: values", done, len(seen))
    columns, attributes = _columns(counts, settings)
    matrix = _matrix(catalog, seen, ColumnsOf(columns, attributes), progress)
    items = pa.array(matrix.getnnz(axis=0), pa.int64())
    columns = columns.append_column("items", items).cast(COLUMNS)
    progress("attribute_features: SVD", 0, 1)
    reduction = fit_svd(matrix, settings.dim, seed)
    progress("attribute_features: SVD", 1, 1)
    facts = _facts(catalog.num_rows, len(rows), counts, columns, attributes, reduction)
    return AttributeEncoder(columns, attributes, reduction, facts)


def _facts(
    items: int,
    with_attributes: int,
    counts: ValueCounts,
    columns: pa.Table,
    attributes: pa.Table,
    reduction: Reduction,
) -> AttributeFacts:
    """What the fit saw and kept."""
    return AttributeFacts(
        items=items,
        with_attributes=with_attributes,
        fitted=counts.items,
        attributes=attributes.num_rows,
        kept=pc.sum(attributes["kept"]).as_py() or 0,
        rare=pc.sum(attributes["rare"]).as_py() or 0,
        columns=columns.num_rows,
        names_merged=counts.names_merged,
        nulls=counts.nulls,
        dim=reduction.components.shape[1],
        explained_variance=reduction.explained,
        reason=None if columns.num_rows else "no item has a brand or an attribute",
    )


def _columns(counts: ValueCounts, settings: AttributeFeaturesSettings) -> tuple[pa.Table, pa.Table]:
    """The columns, still without items, and the attributes: :data:`KEPT`."""
    values, names = counts.values(), counts.names()
    kept = values["items"].to_numpy() >= settings.min_count
    of = pc.index_in(values["attribute"], names["attribute"]).to_numpy()  # [values] attribute
    kept_values, rare_values = (
        np.bincount(of[mask], minlength=names.num_rows) for mask in (kept, ~kept)
    )
    items = names["items"].to_numpy()
    common = np.argsort(-items, kind="stable")[: settings.absences]  # names are sorted
    absent = np.sort(common[items[common] < counts.items])
    parts = [
        (VALUE, values["attribute"].filter(pa.array(kept)), values["value"].filter(pa.array(kept))),
        (OTHER, names["attribute"].take(pa.array(np.flatnonzero(rare_values))), None),
        (ABSENT, names["attribute"].take(pa.array(absent)), None),
    ]
    columns = pa.concat_tables(
        pa.table(
            {
                "attribute": of_kind.cast(pa.string()),
                "kind": pa.repeat(pa.scalar(kind), len(of_kind)),
                "value": pa.nulls(len(of_kind), pa.string()) if value is None else value,
            }
        )
        for kind, of_kind, value in parts
    )
    attributes = names.append_column("kept", pa.array(kept_values, pa.int64()))
    return columns, attributes.append_column("rare", pa.array(rare_values, pa.int64())).cast(KEPT)


class ColumnsOf:
    """Which columns a block's items have."""

    def __init__(self, columns: pa.Table, attributes: pa.Table) -> None:
        self.n = columns.num_rows
        kind = columns["kind"].to_numpy()
        own, self._other, self._absent = (
            np.flatnonzero(kind == each) for each in (VALUE, OTHER, ABSENT)
        )
        values = columns.take(pa.array(own))
        self._values = _joined(values["attribute"], values["value"])
        self._others, self._absents = (
            columns["attribute"].take(pa.array(which)) for which in (self._other, self._absent)
        )
        self._names = attributes["attribute"]

    def of(self, pairs: Pairs) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Columns of each item in turn, ascending, and how many it has: int64 [items].

        An item without any known attribute has none, not even those of absence.
        """
        keys, inverse = np.unique(
            pairs.name.astype(np.int64) * max(len(pairs.values), 1) + pairs.value,
            return_inverse=True,
        )
        name, value = np.divmod(keys, max(len(pairs.values), 1))
        joined = _joined(pairs.names.take(pa.array(name)), pairs.values.take(pa.array(value)))
        column = _found(joined, self._values)[inverse]  # [pairs]; values are the first columns
        other = _positions(_found(pairs.names, self._others), self._other)[pairs.name]
        column = np.where(column >= 0, column, other)
        rows, columns = pairs.row[column >= 0], column[column >= 0]
        missing_rows, missing = self._missing(pairs)
        every = np.concatenate([rows * self.n + columns, missing_rows * self.n + missing])
        rows, columns = np.divmod(np.unique(every), max(self.n, 1))
        return columns.astype(np.int32), np.bincount(rows, minlength=pairs.items)

    def _missing(self, pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of attributes that an item lacks, of items that have a known one."""
        known = np.zeros(pairs.items, bool)
        known[pairs.row[_found(pairs.names, self._names)[pairs.name] >= 0]] = True
        lacks = np.repeat(known[:, None], len(self._absent), axis=1)  # [items, absences]
        which = _found(pairs.names, self._absents)[pairs.name]  # [pairs]
        lacks[pairs.row[which >= 0], which[which >= 0]] = False
        rows, missing = np.nonzero(lacks)
        return rows, self._absent[missing]


def _joined(attributes: pa.Array, values: pa.Array) -> pa.Array:
    """Attribute and value as one string; spelled words have no NUL."""
    return pc.binary_join_element_wise(attributes, values, "\0")


def _found(words: pa.Array, among: pa.Array) -> NDArray[np.int64]:
    """Where each word is among others; -1: nowhere."""
    found = pc.fill_null(pc.index_in(words, value_set=among), -1)
    return found.to_numpy(zero_copy_only=False).astype(np.int64)


def _positions(found: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions of what was found; -1 where nothing was."""
    return np.append(positions, -1)[found]


def _matrix(
    catalog: pa.Table, seen: NDArray[np.int64], columns: ColumnsOf, progress: Progress
) -> "csr_matrix":
    """The sampled items' columns."""
    made = []
    for done, part in parts_of(catalog, seen):
        made.append(columns.of(pairs_of(part)))
        progress("attribute_features: columns", done, len(seen))
    return _sparse(made, columns.n)


def _sparse(parts: list[tuple[NDArray[np.int32], NDArray[np.int64]]], columns: int) -> "csr_matrix":
    """Ones in the given columns of each row, float32 [rows, columns]."""
    from scipy.sparse import csr_matrix

    nothing = [(np.empty(0, np.int32), np.empty(0, np.int64))]
    indices, counts = (np.concatenate(each) for each in zip(*(parts or nothing), strict=True))
    ends = np.concatenate([[0], np.cumsum(counts)])
    ends = ends.astype(np.int32 if ends[-1] < 2**31 else np.int64)
    ones = np.ones(len(indices), np.float32)
    return csr_matrix((ones, indices, ends), shape=(len(counts), columns))
