"""Connections to the relational engine and readers of the lake's files.

One DuckDB connection serves a process; results do not depend on its thread count.
"""

import atexit
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core.errors import ItemembError

ENGINES: Final = ("duckdb",)


def checked_engine(engine: str) -> str:
    """Return the engine.

    Raises:
        ItemembError: If it is not one of those there are.
    """
    if engine not in ENGINES:
        raise ItemembError(f"engine: found {engine!r}, expected one of {', '.join(ENGINES)}")
    return engine


@cache
def connect(engine: str) -> ibis.BaseBackend:
    """Return the process's connection to an engine.

    Raises:
        ItemembError: If the engine is unknown.
    """
    checked_engine(engine)
    # The order of rows is asked for where it matters; keeping it elsewhere costs memory.
    con = ibis.duckdb.connect(preserve_insertion_order=False)
    atexit.register(con.disconnect)
    return con


def stream(table: ir.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """Execute an expression and give its rows in order, about ``rows`` at a time."""
    con = table.get_backend()
    if con.name != "duckdb":
        yield from table.to_pyarrow_batches(chunk_size=rows)
        return
    # Ibis 12 streams through an API that DuckDB 2 no longer has.
    name = ibis.util.gen_name("stream")
    con.create_view(name, table)
    try:
        yield from con.con.sql(f'SELECT * FROM "{name}"').to_arrow_reader(rows)
    finally:
        con.raw_sql(f'DROP VIEW "{name}"')


def read_parts(con: ibis.BaseBackend, parts: list[Path]) -> ir.Table:
    """Read Parquet files of one table, with its folder's ``day`` or ``month`` as a column."""
    segment = parts[0].parent.name.partition("=")[0] if "=" in parts[0].parent.name else None
    table = con.read_parquet([str(p) for p in parts], hive_partitioning=segment is not None)
    if segment is not None:
        table = table.mutate(table[segment].cast("date" if segment == "day" else "string"))
    return table
