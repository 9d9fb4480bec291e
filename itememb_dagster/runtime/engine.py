"""Connections to the relational engines, readers of the lake's files, results in order.

One connection an engine and lake serves a process; results do not depend on threads, workers,
memory or engine. What does not belong here: how a Spark session is started (``spark``).
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw.reader import literal_for_duckdb, literal_for_spark
from itememb_dagster.lake.lock import engine_scratch
from itememb_dagster.runtime.executor import worker_count
from itememb_dagster.runtime.place import SPARK, checked_engine
from itememb_dagster.runtime.spark import spark_session

#: What the embedded engines of a run may hold together unless ``ITEMEMB_MEMORY`` says what each
#: may; beyond it, they spill to the lake's disk.
MEMORY_MB: Final = 2_000

Scratch = Callable[[], AbstractContextManager[Path]]


def connect(engine: str, lake: Path) -> ibis.BaseBackend:
    """Return the process's connection to an engine, for the work on a lake.

    Raises:
        ItemembError: If the engine is unknown, or Spark cannot be started.
    """
    return _spark() if checked_engine(engine) == SPARK else _duckdb(lake.absolute())


@cache
def _spark() -> ibis.BaseBackend:
    session = spark_session()  # before Ibis imports pyspark, which needs a word to be quiet
    con = ibis.pyspark.connect(session)
    atexit.register(con.disconnect)
    return con


@cache
def _duckdb(lake: Path) -> ibis.BaseBackend:
    memory = os.environ.get("ITEMEMB_MEMORY") or f"{MEMORY_MB // worker_count()}MB"
    try:
        # The order of rows is requested where it matters; keeping it elsewhere costs memory.
        con = ibis.duckdb.connect(
            preserve_insertion_order=False,
            memory_limit=memory,
            temp_directory=str(engine_scratch(lake)),
        )
    except duckdb.ParserException as error:
        raise ItemembError(f"ITEMEMB_MEMORY: found {memory!r}, expected such as 2GB") from error
    # A worker has no main file, by which DuckDB takes it for a person's console.
    con.raw_sql("SET enable_progress_bar = false")
    atexit.register(con.disconnect)
    # A step's process ends without what ``atexit`` knows.
    Finalize(None, con.disconnect, exitpriority=1)
    return con


def stream(table: ir.Table, rows: int, scratch: Scratch) -> Iterator[pa.RecordBatch]:
    """Execute an expression and give its rows in order, about ``rows`` at a time.

    Args:
        table: The expression, ordered.
        rows: Rows of a batch.
        scratch: Gives an empty folder that the engine's workers reach, too.
    """
    con = table.get_backend()
    # Engines name the parts of a list differently and mark what cannot be null: neither is kept.
    fields = table.schema().to_pyarrow()
    schema = pa.schema([(field.name, field.type) for field in fields])
    if con.name == "duckdb":
        batches = _stream_duckdb(con, table, rows)
    else:
        batches = _stream_spark(con, table, rows, scratch)
    for batch in batches:
        yield batch.cast(schema)


def _stream_duckdb(con: Any, table: ir.Table, rows: int) -> Iterator[pa.RecordBatch]:
    # Ibis 12 streams through an API that DuckDB 2 no longer has.
    name = ibis.util.gen_name("stream")
    con.create_view(name, table)
    try:
        yield from con.con.sql(f'SELECT * FROM "{name}"').to_arrow_reader(rows)
    finally:
        con.raw_sql(f'DROP VIEW "{name}"')


def _stream_spark(
    con: Any, table: ir.Table, rows: int, scratch: Scratch
) -> Iterator[pa.RecordBatch]:
    """Let the workers write the result and read it here: the driver's Java never holds it."""
    with scratch() as folder:
        con.to_parquet(table, f"file://{folder.absolute()}/spark")
        # A total order comes as one file a range, numbered in the order of the ranges.
        parts = {int(p.name.split("-")[1]): p for p in folder.glob("spark/part-*")}
        for _number, part in sorted(parts.items()):
            with pq.ParquetFile(part) as file:
                yield from file.iter_batches(rows)


def read_parts(con: ibis.BaseBackend, parts: list[Path]) -> ir.Table:
    """Read Parquet files of one table, with its folder's ``day`` or ``month`` as a column."""
    folder = parts[0].parent
    segment = folder.name.partition("=")[0] if "=" in folder.name else None
    base = folder.parent if segment else folder
    read = _duckdb_parts if con.name == "duckdb" else _spark_parts
    table = read(con, parts, base, segment)
    if segment is not None:
        kind = "date" if segment == "day" else "string"
        table = table.mutate(**{segment: table[segment].cast(kind)})
    return table


def _duckdb_parts(con: Any, parts: list[Path], base: Path, segment: str | None) -> ir.Table:
    paths = [literal_for_duckdb(str(part)) for part in parts]
    if segment is None or "=" not in str(base):
        return con.read_parquet(paths, hive_partitioning=segment is not None)
    # A folder above the table's looks like a segment of it, and would be taken for one.
    table = con.read_parquet(paths, hive_partitioning=False, filename="_part_file")
    value = table["_part_file"].re_extract(f"/{segment}=([^/]*)/[^/]*$", 1)
    return table.mutate(**{segment: value}).drop("_part_file")


def _spark_parts(con: Any, parts: list[Path], base: Path, _segment: str | None) -> ir.Table:
    urls = [f"file://{literal_for_spark(str(part.absolute()))}" for part in parts]
    # The base is no pattern.
    rows = con._session.read.option("basePath", f"file://{base.absolute()}").parquet(*urls)
    name = ibis.util.gen_name("parts")
    rows.createTempView(name)
    return con.table(name)
