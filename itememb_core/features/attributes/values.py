"""Brand and attributes of items as pairs of name and value, and how many items have each."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.features.inputs import blocks, column, spelled_codes

#: The attribute that an item's brand is.
BRAND: Final = "brand"


@dataclass(frozen=True)
class Pairs:
    """What the items of a block have: distinct triples of row, attribute and value.

    Attributes:
        items: Rows of the block.
        row: Row of each pair, int64 [pairs], ascending.
        name: Number of its attribute in ``names``, int64 [pairs].
        value: Number of its value in ``values``, int64 [pairs].
        names: Distinct spelled attributes.
        values: Distinct spelled values.
        spellings: Attributes as they came.
        nulls: Pairs left out for want of a name or a value.
    """

    items: int
    row: NDArray[np.int64]
    name: NDArray[np.int64]
    value: NDArray[np.int64]
    names: pa.Array
    values: pa.Array
    spellings: list[str]
    nulls: int


def pairs_of(block: pa.Table) -> Pairs:
    """The pairs of a block of the catalog, whose brand and attributes may both be missing."""
    rows, names, values = zip(_attributes(block), _brands(block), strict=True)
    row = np.concatenate(rows)
    as_is = pa.concat_arrays(names)
    named, name = spelled_codes(as_is)
    valued, value = spelled_codes(pa.concat_arrays(values))
    good = (name >= 0) & (value >= 0)
    spellings = pc.unique(as_is.filter(pa.array(good))).to_pylist()
    width, depth = max(len(named), 1), max(len(valued), 1)
    keys = np.unique((row[good] * width + name[good]) * depth + value[good])
    rest, value_of = np.divmod(keys, depth)
    row_of, name_of = np.divmod(rest, width)
    return Pairs(
        len(block), row_of, name_of, value_of, named, valued, spellings, int((~good).sum())
    )


def _attributes(block: pa.Table) -> tuple[NDArray[np.int64], pa.Array, pa.Array]:
    """Row, name and value of each entry of the column ``attributes``."""
    lists = column(block, "attributes")
    if pa.types.is_null(lists.type):
        nothing = pa.array([], pa.string())
        return np.empty(0, np.int64), nothing, nothing
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(lists)
    names, values = (pc.struct_field(flat, field).cast(pa.string()) for field in ("name", "value"))
    return np.repeat(np.arange(len(lists)), lengths), names, values


def _brands(block: pa.Table) -> tuple[NDArray[np.int64], pa.Array, pa.Array]:
    """Row, name and value of each brand."""
    brands = column(block, "brand_id").cast(pa.int64())
    known = brands.drop_null().cast(pa.string())
    return np.flatnonzero(_valid(brands)), pa.repeat(pa.scalar(BRAND), len(known)), known


def _valid(values: pa.Array) -> NDArray[np.bool_]:
    return values.is_valid().to_numpy(zero_copy_only=False)


def with_any(catalog: pa.Table) -> NDArray[np.int64]:
    """Rows that have a brand or list an attribute, int64 [rows], ascending."""
    found = [np.empty(0, np.int64)]
    for first, block in blocks(catalog):
        lists = column(block, "attributes")
        has = _valid(column(block, "brand_id"))
        if not pa.types.is_null(lists.type):
            lengths = pc.fill_null(pc.list_value_length(lists), 0)
            has = has | (lengths.to_numpy(zero_copy_only=False) > 0)
        found.append(first + np.flatnonzero(has))
    return np.concatenate(found)


class ValueCounts:
    """Items by attribute and by value, over blocks of distinct items."""

    def __init__(self) -> None:
        self.items = 0
        self.nulls = 0
        self._spellings: set[str] = set()
        self._names: list[pa.Table] = []
        self._values: list[pa.Table] = []

    @property
    def names_merged(self) -> int:
        """Spellings of attributes beyond the first of each."""
        return len(self._spellings) - self.names().num_rows

    def add(self, pairs: Pairs) -> None:
        """Count the items of a block."""
        self.items += len(np.unique(pairs.row))
        self.nulls += pairs.nulls
        self._spellings.update(pairs.spellings)
        by_item = np.unique(pairs.row * max(len(pairs.names), 1) + pairs.name)
        name, items = np.unique(by_item % max(len(pairs.names), 1), return_counts=True)
        self._names.append(
            pa.table({"attribute": pairs.names.take(pa.array(name)), "items": pa.array(items)})
        )
        keys, items = np.unique(
            pairs.name * max(len(pairs.values), 1) + pairs.value, return_counts=True
        )
        name, value = np.divmod(keys, max(len(pairs.values), 1))
        columns = [pairs.names.take(pa.array(name)), pairs.values.take(pa.array(value)), items]
        self._values.append(pa.table(columns, names=["attribute", "value", "items"]))

    def names(self) -> pa.Table:
        """Attribute and items, sorted."""
        return _summed(self._names, ["attribute"])

    def values(self) -> pa.Table:
        """Attribute, value and items, sorted."""
        return _summed(self._values, ["attribute", "value"])


def _summed(parts: list[pa.Table], keys: list[str]) -> pa.Table:
    """Items of each key over all parts, sorted by the key."""
    schema = pa.schema([*((key, pa.string()) for key in keys), ("items", pa.int64())])
    whole = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in parts)])
    summed = whole.group_by(keys).aggregate([("items", "sum")]).rename_columns(schema.names)
    return summed.select(schema.names).sort_by([(key, "ascending") for key in keys])
