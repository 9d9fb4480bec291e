"""Faults by kind: each spoils a file, drawn by a generator of random numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Rng = np.random.Generator
#: Spoils a file and tells what it did.
Fault = Callable[[Path, Rng], str]

FAULTS: dict[str, tuple[Fault, ...]] = {}


def fault(kind: str) -> Callable[[Fault], Fault]:
    """Put a fault under a kind."""

    def register(function: Fault) -> Fault:
        FAULTS[kind] = (*FAULTS.get(kind, ()), function)
        return function

    return register


def read(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def changed(path: Path, name: str, values: Any) -> None:
    """Put other values in a column's place."""
    table = read(path)
    at = table.schema.get_field_index(name)
    write(path, table.set_column(at, name, values))


def column(path: Path, rng: Rng, *kinds: str) -> str | None:
    """A column of the file, of one of some kinds, drawn; None where it has none."""
    schema = read(path).schema
    fits = {
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
        "time": lambda t: pa.types.is_duration(t) or pa.types.is_timestamp(t),
        "integer": pa.types.is_integer,
        "number": pa.types.is_floating,
    }
    names = [f.name for f in schema if not kinds or any(fits[k](f.type) for k in kinds)]
    return str(rng.choice(names)) if names else None
