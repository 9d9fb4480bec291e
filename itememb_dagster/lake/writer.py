"""Parquet files of the lake: fixed row groups, a stamp in the footer, one file a segment.

Row groups are cut at fixed row counts whatever batches arrive, so that equal rows are equal bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.tables import most_frequent
from itememb_dagster.lake.seal import seal
from itememb_dagster.lake.stamps import FOOTER_KEY, Stamp
from itememb_dagster.lake.store import Key, Lake, rejected_key

ROW_GROUP: Final = 1 << 17

#: Columns by which a segment's rows are counted; ``refuse`` sees these and ``n``.
TALLIED: Final = ("day", "source_file", "reason")


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
    ``count_unknown`` finds in clean rows is summed, the most frequent are ``unknown`` among the
    segment's counts.
    """

    def __init__(
        self,
        lake: Lake,
        key: Key,
        column: str,
        schema: pa.Schema,
        stamps: Callable[[str], Stamp],
        refuse: Callable[[pa.Table], str | None] | None = None,
        count_unknown: Callable[[pa.Table], Mapping[str, int]] | None = None,
    ) -> None:
        self._refuse, self._count_unknown = refuse, count_unknown
        self._lake, self._key, self._column = lake, key, column
        self._schema, self._stamps = schema, stamps
        self.counts: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.failure: str | None = None

    def write(self, batches: Iterable[pa.RecordBatch], expected: Iterable[str]) -> None:
        """Write every segment of ``batches``, and an empty file for the other expected ones.

        Rows are written as they come: no segment is held whole.
        """
        for value, run in groupby(by_segment(batches, self._column), itemgetter(0)):
            self._segment(value, (table for _, table in run))
        for value in expected:
            if value not in self.counts and value not in self.refused:
                self._segment(value, ())

    def _segment(self, value: str, tables: Iterable[pa.Table]) -> None:
        name = f"{self._column}={value}"
        try:
            with self._lake.staged(self._lake.part(self._key, name)) as staged:
                file = StampedFile(staged, self._schema)
                try:
                    self.counts[value] = self._write(file, name, tables, self._stamps(value))
                except BaseException:
                    file.abort()
                    raise
        except _RefusedError as why:
            self.refused[value] = str(why)

    def _write(
        self, file: StampedFile, name: str, tables: Iterable[pa.Table], stamp: Stamp
    ) -> dict[str, Any]:
        """Write and close a segment's files; return its counts."""
        counts: dict[str, Any] = dict(stamp.counts)
        tally, words = _Tally(), Counter[str]()
        # The rejected rows are there before the day itself: its stamp says that both are.
        with self._rejects(name, stamp) if "files" in counts else nullcontext(_ignore) as reject:
            for table in tables:
                clean = table
                if "reason" in table.column_names:
                    tally.add(table)
                    clean = table.filter(pc.is_null(table["reason"]))
                    reject(table.filter(pc.is_valid(table["reason"])))
                if self._count_unknown:
                    words.update(self._count_unknown(clean))
                file.write(clean)
            if self._refuse and (why := self._refuse(tally.table())):
                raise _RefusedError(why)
            if "files" in counts:
                counts["files"] = tally.by_file(counts["files"])
                counts["rejected"] = tally.by_reason()
            if self._count_unknown and tally.rows:
                counts["unknown"] = most_frequent(words)
            counts["rows"] = file.rows
            file.close(replace(stamp, counts=counts))
        return counts

    @contextmanager
    def _rejects(self, name: str, stamp: Stamp) -> Iterator[Callable[[pa.Table], None]]:
        """Give what writes rejected rows, stamped as the segment is; without any, there is none."""
        key, found = rejected_key(self._key), list[StampedFile]()
        with ExitStack() as stack:

            def write(bad: pa.Table) -> None:
                if not bad.num_rows:
                    return
                bad = bad.drop_columns([self._column])
                if not found:
                    path = stack.enter_context(self._lake.staged(self._lake.part(key, name)))
                    found.append(StampedFile(path, bad.schema))
                    stack.callback(found[0].abort)
                found[0].write(bad)

            yield write
            for file in found:
                file.close(stamp)
        if not found:
            self._lake.remove(key, name)


class _RefusedError(Exception):
    """A segment is not to be written."""


def _ignore(_rows: pa.Table) -> None:
    """Rejected rows of a table that keeps none."""


class _Tally:
    """Rows of a segment by day, file and reason (null: clean), in the order of their coming."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[Any, ...]] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count some rows."""
        names = [name for name in TALLIED if name in table.column_names]
        groups = table.group_by(names, use_threads=False).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            self.rows[tuple(group.get(name) for name in TALLIED)] += group["count_all"]

    def table(self) -> pa.Table:
        """The columns ``TALLIED`` and ``n``."""
        rows = [dict(zip(TALLIED, group, strict=True)) | {"n": n} for group, n in self.rows.items()]
        kinds = (pa.date32(), pa.string(), pa.string(), pa.int64())
        schema = pa.schema(list(zip((*TALLIED, "n"), kinds, strict=True)))
        return pa.Table.from_pylist(rows, schema)

    def by_file(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Add clean and rejected rows to what a stamp knows of each file."""
        out = {name: {**facts, "clean": 0, "rejected": 0} for name, facts in files.items()}
        for (_, file, reason), n in self.rows.items():
            out[file]["clean" if reason is None else "rejected"] += n
        return out

    def by_reason(self) -> dict[str, int]:
        """Rejected rows by reason."""
        found: Counter[str] = Counter()
        for (_, _, reason), n in self.rows.items():
            if reason is not None:
                found[reason] += n
        return dict(found)
