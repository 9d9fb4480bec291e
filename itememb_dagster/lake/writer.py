"""Parquet files of the lake: fixed row groups, a stamp in the footer, one file a segment.

Row groups are cut at fixed row counts whatever batches arrive, so that equal rows are equal bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_dagster.lake.seal import seal
from itememb_dagster.lake.stamps import FOOTER_KEY, Stamp
from itememb_dagster.lake.store import Key, Lake, rejected_key

ROW_GROUP: Final = 1 << 17


class StampedFile:
    """A Parquet file being written in row groups of ``ROW_GROUP`` rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._path, self._schema = path, schema
        self._waiting: list[pa.Table] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Take rows; whole row groups are written at once."""
        self.rows += table.num_rows
        self._waiting.append(table.select(self._schema.names).cast(self._schema))
        if sum(t.num_rows for t in self._waiting) >= ROW_GROUP:
            self._flush(whole=True)

    def _flush(self, whole: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        end = table.num_rows - table.num_rows % ROW_GROUP if whole else table.num_rows
        for start in range(0, end, ROW_GROUP):
            group = table.slice(start, min(ROW_GROUP, end - start)).combine_chunks()
            self._writer.write_table(group, row_group_size=ROW_GROUP)
        self._waiting = [table.slice(end)] if end < table.num_rows else []

    def close(self, stamp: Stamp | None) -> None:
        """Write what is left and the stamp, close the file and seal it."""
        self._flush(whole=False)
        if stamp is not None:
            self._writer.add_key_value_metadata({FOOTER_KEY.decode(): stamp.to_json()})
        self._writer.close()
        seal(self._path)

    def abort(self) -> None:
        """Close the file without a stamp (its staged name is removed by the caller)."""
        self._writer.close()


def write_file(lake: Lake, path: Path, batches: Iterable[pa.Table], schema: pa.Schema,
               stamp: Stamp | None) -> int:  # fmt: skip
    """Write one file through a staged name; return its rows."""
    with lake.staged(path) as staged:
        return _write(staged, batches, schema, stamp)


def _write(path: Path, batches: Iterable[pa.Table], schema: pa.Schema, stamp: Stamp | None) -> int:
    file = StampedFile(path, schema)
    try:
        for batch in batches:
            file.write(batch)
    except BaseException:
        file.abort()
        raise
    counts = {**(stamp.counts if stamp else {}), "rows": file.rows}
    file.close(replace(stamp, counts=counts) if stamp else None)
    return file.rows


def by_segment(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[str, pa.Table]]:
    """Cut batches that are sorted by ``column`` into runs of one value, as (value, rows)."""
    for batch in batches:
        if batch.num_rows == 0:
            continue
        table = pa.Table.from_batches([batch])
        values = table[column].cast(pa.string()).combine_chunks()
        starts = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
        edges = np.concatenate([[0], np.flatnonzero(starts) + 1, [table.num_rows]])
        for low, high in pairwise(edges.tolist()):
            yield values[low].as_py(), table.slice(low, high - low)


class SegmentWriter:
    """Writes one table by ``day=`` or ``month=``, one file each, in the order rows arrive.

    A segment that ``refuse`` has a reason against stays as it was and is listed in ``refused``.
    Rows with a non-null ``reason`` go whole to the ``<asset>_rejected`` table beside. What
    ``count_unknown`` finds in the clean rows of a segment is ``unknown`` among its counts.
    """

    def __init__(
        self,
        lake: Lake,
        key: Key,
        column: str,
        schema: pa.Schema,
        stamps: Callable[[str], Stamp],
        refuse: Callable[[list[pa.Table]], str | None] | None = None,
        count_unknown: Callable[[pa.Table], Mapping[str, int]] | None = None,
    ) -> None:
        self._refuse, self._count_unknown = refuse, count_unknown
        self._lake, self._key, self._column = lake, key, column
        self._schema, self._stamps = schema, stamps
        self.counts: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.failure: str | None = None

    def write(self, batches: Iterable[pa.RecordBatch], expected: Iterable[str]) -> None:
        """Write every segment of ``batches``, and an empty file for the other expected ones."""
        current: str | None = None
        rows: list[pa.Table] = []
        for value, table in by_segment(batches, self._column):
            if value != current and current is not None:
                self._segment(current, rows)
                rows = []
            current = value
            rows.append(table)
        if current is not None:
            self._segment(current, rows)
        for value in expected:
            if value not in self.counts and value not in self.refused:
                self._segment(value, [])

    def _segment(self, value: str, tables: list[pa.Table]) -> None:
        name = f"{self._column}={value}"
        stamp = self._stamps(value)
        why = self._refuse(tables) if self._refuse else None
        if why:
            self.refused[value] = why
            return
        clean, bad = tables, None
        counts: dict[str, Any] = dict(stamp.counts)
        if tables and "reason" in tables[0].column_names:
            clean = [t.filter(pc.is_null(t["reason"])) for t in tables]
            bad = pa.concat_tables(t.filter(pc.is_valid(t["reason"])) for t in tables)
        if "files" in counts:
            counts["files"] = _file_counts(counts["files"], tables)
            counts["rejected"] = _tally(bad)
        if self._count_unknown and clean:
            counts["unknown"] = dict(self._count_unknown(pa.concat_tables(clean)))
        with self._lake.staged(self._lake.part(self._key, name)) as staged:
            counts["rows"] = _write(staged, clean, self._schema, replace(stamp, counts=counts))
            if "files" in counts:  # before the day itself: its stamp says that both were written
                self._reject(name, bad)
        self.counts[value] = counts

    def _reject(self, name: str, bad: pa.Table | None) -> None:
        key = rejected_key(self._key)
        if bad is None or bad.num_rows == 0:
            self._lake.remove(key, name)
            return
        bad = bad.drop_columns([self._column])
        write_file(self._lake, self._lake.part(key, name), [bad], bad.schema, None)


def _tally(bad: pa.Table | None) -> dict[str, int]:
    """Count rejected rows by reason."""
    found = bad["reason"].value_counts().to_pylist() if bad is not None else []
    return {entry["values"]: entry["counts"] for entry in found}


def _file_counts(files: dict[str, Any], tables: list[pa.Table]) -> dict[str, Any]:
    """Add clean and rejected rows by source file to what the stamp knows of each file."""
    out = {name: {**facts, "clean": 0, "rejected": 0} for name, facts in files.items()}
    for table in tables:
        bad = pc.is_valid(table["reason"])
        for flag, label in ((False, "clean"), (True, "rejected")):
            rows = table.filter(bad if flag else pc.invert(bad))
            for entry in rows["source_file"].value_counts().to_pylist():
                out[entry["values"]][label] += entry["counts"]
    return out
