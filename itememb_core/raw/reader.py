"""Rows of Parquet files as one canonical Ibis table: the only place where engines differ.

What does not belong here: which files and columns a layout has, how rows are validated.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.columns import Column, canonical_column, out_of_range, signature
from itememb_core.raw.files import RawFile, RawScan
from itememb_core.raw.listing import filesystem, is_local

#: What every layout's events come to, before cleaning. ``file_day``: the day the file claims, or
#: the row's own day in a file of many. ``status_timestamp``: since when the status is known.
RAW_EVENTS: Final = pa.schema(
    [
        ("timestamp", pa.timestamp("us")),
        ("user_id", pa.int64()),
        ("item_id", pa.string()),
        ("action", pa.string()),
        ("status", pa.string()),
        ("status_timestamp", pa.timestamp("us")),
        ("subdomain", pa.string()),
        ("os", pa.string()),
        ("count", pa.float64()),
        ("price", pa.float64()),
        ("brand_id", pa.int64()),
        ("transaction_hash", pa.string()),
        ("title", pa.string()),
        ("id_out_of_range", pa.bool_()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("file_day", pa.date32()),
    ]
)

Footers = dict[RawFile, pq.FileMetaData]


def scan_parquet(
    con: ibis.BaseBackend, scan: RawScan, files: Sequence[RawFile], names: Sequence[str]
) -> ir.Table:
    """Files of equal schema as the engine reads them, with ``source_file`` and ``source_row``.

    Args:
        con: DuckDB or Spark.
        scan: Where the files lie; Spark's workers reach them there.
        files: At least one; they have the same wanted columns and types.
        names: The wanted columns; a file's others are not read.

    Returns:
        The columns, the path relative to the root, and the row number in the file from 0.
        Nanoseconds, and durations of any unit, may be bare integers.

    Raises:
        ItemembError: The engine is not known here.
    """
    if con.name == "duckdb":
        return _scan_duckdb(con, scan, files, names)
    if con.name == "pyspark":
        return _scan_spark(con, scan, files, names)
    raise ItemembError(f"engine {con.name}: cannot read raw files, expected duckdb or spark")


def literal_for_duckdb(path: str) -> str:
    """A path as DuckDB's patterns (and those of fsspec) spell it, so that it matches itself alone.

    A set of one sign is that sign. What is no sign of a pattern stays as it is.
    """
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def literal_for_spark(path: str) -> str:
    """A path as Spark's patterns spell it, so that it matches itself alone."""
    return "".join(f"\\{sign}" if sign in "\\*?[]{}" else sign for sign in path)


def _scan_duckdb(
    con: Any, scan: RawScan, files: Sequence[RawFile], names: Sequence[str]
) -> ir.Table:
    if not is_local(scan.root):
        _connect_filesystem(con, scan.root)
    rows = con.read_parquet(
        [literal_for_duckdb(scan.url(file)) for file in files],
        filename="_raw_file",
        file_row_number=True,
        hive_partitioning=False,
    )
    root = filesystem(scan.root)[1] + "/"
    file = rows["_raw_file"]
    return rows.select(
        *names,
        source_file=file.substr(file.find(root) + len(root)),
        source_row=rows["file_row_number"].cast("int64"),
    )


def _scan_spark(
    con: Any, scan: RawScan, files: Sequence[RawFile], names: Sequence[str]
) -> ir.Table:
    from pyspark.sql import functions as fn

    protocol = "file://" if is_local(scan.root) else ""
    # Spark gives the URL of a row's file; as in any URL, a space is %20, but a plus is a plus.
    url = fn.url_decode(fn.replace(fn.col("_metadata.file_path"), fn.lit("+"), fn.lit("%2B")))
    root = filesystem(scan.root)[1] + "/"
    path = fn.substr(url, fn.instr(url, root) + fn.lit(len(root)))
    view = ibis.util.gen_name("raw")
    row = fn.col("_metadata.row_index")
    paths = [protocol + literal_for_spark(scan.url(file)) for file in files]
    with _exact_names(con):
        rows = con._session.read.parquet(*paths)
        if len({column.casefold() for column in rows.columns}) < len(rows.columns):
            # A query, later, tells no case: it must not see those that are not wanted.
            kept = type(rows.schema)([field for field in rows.schema if field.name in names])
            rows = con._session.read.schema(kept).parquet(*paths)
        text = {field.name for field in rows.schema if field.dataType.typeName() == "string"}
        # Spark would read any bytes as text.
        wanted = [
            fn.validate_utf8(column).alias(name) if name in text else column
            for name in names
            for column in [fn.col(f"`{name}`")]
        ]
        rows = rows.select(*wanted, path.alias("source_file"), row.alias("source_row"))
        rows.createTempView(view)
    return con.table(view)


@contextmanager
def _exact_names(con: Any) -> Iterator[None]:
    """Let Spark tell names by their case while a file's columns are looked up."""
    name = "spark.sql.caseSensitive"
    before = con._session.conf.get(name)
    con._session.conf.set(name, "true")
    try:
        yield
    finally:
        con._session.conf.set(name, before)


def canonical_rows(
    con: ibis.BaseBackend,
    scan: RawScan,
    footers: Footers,
    columns: Sequence[Column],
) -> ir.Table:
    """All rows of checked files with canonical names and types; files of equal types at a time.

    Args:
        con: The engine.
        scan: Where the files lie.
        footers: At least one checked file with its footer.
        columns: The layout's columns.

    Returns:
        The columns' canonical names, ``id_out_of_range`` (a user or brand id does not fit into
        int64 and is null), ``source_file``, ``source_row``.
    """
    groups: dict[tuple[tuple[str, pa.DataType], ...], list[RawFile]] = {}
    for file, footer in footers.items():
        groups.setdefault(signature(footer, columns), []).append(file)
    parts = [
        _canonical_group(
            scan_parquet(con, scan, files, list(dict(types))), dict(types), columns, scan.epoch
        )
        for types, files in groups.items()
    ]
    return parts[0] if len(parts) == 1 else ibis.union(*parts)


def conform(rows: ir.Table, schema: pa.Schema) -> ir.Table:
    """Exactly the columns of ``schema``, in order, cast; null where ``rows`` lacks one."""
    wanted = ibis.Schema.from_pyarrow(schema)
    return rows.select(
        **{
            name: (rows[name] if name in rows.columns else ibis.null()).cast(kind)
            for name, kind in wanted.items()
        }
    )


def empty_table(schema: pa.Schema) -> ir.Table:
    """A table of no rows."""
    # To take a table that has none from memory, Spark needs a Python on its workers.
    nulls = {field.name: pa.nulls(1, field.type) for field in schema}
    return ibis.memtable(pa.table(nulls, schema)).filter(ibis.literal(False))


def _canonical_group(
    rows: ir.Table, found: dict[str, pa.DataType], columns: Sequence[Column], epoch: date
) -> ir.Table:
    """Rows of files of equal types with canonical names and types."""
    faults = [
        out_of_range(rows, column, found.get(column.source))
        for column in columns
        if column.kind in ("id", "integer")
    ]
    return rows.select(
        **{
            column.target: canonical_column(rows, column, found.get(column.source), epoch)
            for column in columns
        },
        id_out_of_range=ibis.or_(*faults),
        source_file=rows.source_file,
        source_row=rows.source_row,
    )


def _connect_filesystem(con: Any, root: str) -> None:
    """Let DuckDB read through the fsspec file system of a URL."""
    protocol = filesystem(root)[0].protocol
    name = protocol if isinstance(protocol, str) else protocol[0]
    if not con.con.filesystem_is_registered(name):
        con.con.register_filesystem(filesystem(root)[0])
