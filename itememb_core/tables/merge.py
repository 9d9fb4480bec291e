"""Tables with one row an id: repeated ids are merged, vectors of a column have one width.

What does not belong here: which rules a table's rows must keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import ibis
import ibis.expr.types as ir

from itememb_core.errors import ItemembError
from itememb_core.tables.clean import SOURCE


@dataclass(frozen=True)
class MergedRows:
    """A table of one row an id, and what became of every row of its files.

    Attributes:
        rows: One row an id.
        rejected: Raw rows in canonical form, ``source_file``, ``source_row``, ``reason``.
        counts: ``source_file``, ``reason`` (null: clean), ``n``, as in
            :func:`itememb_core.tables.day_counts`; merged rows count as clean.
        duplicates: The id, ``n``: ids with several rows, whose last non-null values won.
    """

    rows: ir.Table
    rejected: ir.Table
    counts: ir.Table
    duplicates: ir.Table


def merged_rows(validated: ir.Table, key: str, columns: Sequence[str]) -> MergedRows:
    """Merge the clean ones of validated rows.

    Args:
        validated: ``columns``, ``source_file``, ``source_row`` and ``reason`` (null: clean).
        key: The id's column.
        columns: The table's columns, ``key`` among them.
    """
    clean = validated.filter(validated.reason.isnull())
    rows, duplicates = merge_duplicates(clean, key, columns)
    return MergedRows(
        rows=rows,
        rejected=validated.filter(validated.reason.notnull()),
        counts=validated.group_by("source_file", "reason").agg(n=validated.count()),
        duplicates=duplicates,
    )


def merge_duplicates(rows: ir.Table, key: str, columns: Sequence[str]) -> tuple[ir.Table, ir.Table]:
    """One row an id: of each column the last non-null value, by source file and row.

    Only repeated ids are grouped, so vectors of a large catalog are never held in a hash table.

    Args:
        rows: ``columns``, ``source_file``, ``source_row``.
        key: The id's column.
        columns: The columns wanted, ``key`` among them.

    Returns:
        The rows without their source, and ``key``, ``n`` of the repeated ids.
    """
    counted = rows.group_by(key).agg(n=rows.count())
    repeated = counted.filter(counted.n > 1)
    ordered = rows.semi_join(repeated, key)
    ordered = ordered.mutate(
        nth=ibis.row_number().over(group_by=key, order_by=[ordered[name] for name in SOURCE])
    )
    values = [name for name in columns if name != key]
    merged = ordered.group_by(key).agg(
        **{
            name: ordered[name].argmax(ordered.nth, where=ordered[name].notnull())
            for name in values
        }
    )
    single = rows.anti_join(repeated, key).select(key, *values)
    return single.union(merged.select(key, *values)), repeated


def check_widths(rows: ir.Table, vectors: Sequence[str]) -> None:
    """Every vector of a column has the same number of components, over all files.

    Raises:
        ItemembError: Naming the first file that differs, the column and both widths.
    """
    lengths = {name: cast(ir.ArrayValue, rows[name]).length() for name in vectors}
    widths = rows.group_by("source_file").agg(
        **{f"low_{name}": length.min() for name, length in lengths.items()},
        **{f"high_{name}": length.max() for name, length in lengths.items()},
    )
    files = widths.order_by("source_file").to_pyarrow().to_pylist()
    known: dict[str, int] = {}
    for file, name in product(files, vectors):
        for width in (file[f"low_{name}"], file[f"high_{name}"]):
            if width is not None and width != known.setdefault(name, width):
                raise ItemembError(
                    f"{file['source_file']}: column '{name}' has vectors of {known[name]} and of "
                    f"{width} numbers, expected one length"
                )
