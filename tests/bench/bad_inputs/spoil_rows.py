"""Faults of a file's columns and values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.bench.bad_inputs.fault import Rng, changed, column, fault, read, write
from tests.bench.bad_inputs.spoil_bytes import flip_bytes

OTHER_TYPES: dict[str, Callable[[int], pa.Array]] = {
    "string": lambda n: pa.array([f"x{k}" for k in range(n)]),
    "digits": lambda n: pa.array([str(k) for k in range(n)]),
    "int64": lambda n: pa.array(range(n), pa.int64()),
    "int8": lambda n: pa.array([k % 100 for k in range(n)], pa.int8()),
    "double": lambda n: pa.array([k + 0.5 for k in range(n)]),
    "bool": lambda n: pa.array([bool(k % 2) for k in range(n)]),
    "null": pa.nulls,
    "list": lambda n: pa.array([[float(k)] * (k % 3) for k in range(n)]),
    "struct": lambda n: pa.array([{"a": k, "A": None} for k in range(n)]),
    "binary": lambda n: pa.array([b"\xff" * (k % 4) for k in range(n)]),
    "date": lambda n: pa.array(range(n), pa.int32()).cast(pa.date32()),
    "decimal": lambda n: pa.array(range(n)).cast(pa.decimal128(20, 0)).cast(pa.decimal128(22, 2)),
    "time": lambda n: pa.array(range(n), pa.int64()).cast(pa.time64("us")),
    "half": lambda n: pa.array(np.arange(n, dtype=np.float16)),
    "dictionary": lambda n: pa.array([f"d{k % 3}" for k in range(n)]).dictionary_encode(),
}


def _other_type(path: Path, rng: Rng) -> str:
    name, kind = column(path, rng), str(rng.choice(list(OTHER_TYPES)))
    changed(path, str(name), OTHER_TYPES[kind](read(path).num_rows))
    return f"{name} as {kind}"


for _ in range(4):
    fault("types")(_other_type)


@fault("columns missing")
def drop_column(path: Path, rng: Rng) -> str:
    name = column(path, rng)
    write(path, read(path).drop_columns([name]))
    return str(name)


@fault("columns missing")
def drop_most(path: Path, rng: Rng) -> str:
    table = read(path)
    keep = table.column_names[: int(rng.integers(0, 2))]
    write(path, table.select(keep))
    return f"all but {keep}"


@fault("columns renamed")
def rename(path: Path, rng: Rng) -> str:
    table, name = read(path), column(path, rng)
    other = str(
        rng.choice([f"{name}_x", "file_row_number", "source_file", "day", "reason", " ", ""])
    )
    write(path, table.rename_columns([other if c == name else c for c in table.column_names]))
    return f"{name} to {other!r}"


@fault("case clashes")
def rename_case(path: Path, rng: Rng) -> str:
    table, name = read(path), column(path, rng)
    write(path, table.rename_columns([c.upper() if c == name else c for c in table.column_names]))
    return f"{name} to {str(name).upper()}"


@fault("case clashes")
def twin(path: Path, rng: Rng) -> str:
    table, name = read(path), column(path, rng)
    at = int(rng.integers(0, table.num_columns + 1))
    field = table.schema.field(name).with_name(str(name).title())
    write(path, table.add_column(at, field, table[name][::-1]))
    return f"{field.name} beside {name}"


@fault("case clashes")
def same_twice(path: Path, rng: Rng) -> str:
    table, name = read(path), column(path, rng)
    write(path, table.append_column(name, table[name][::-1]))
    return f"{name} twice"


@fault("nulls")
def nulls(path: Path, rng: Rng) -> str:
    name = column(path, rng)
    values = read(path)[name]
    mask = pa.array(rng.random(len(values)) < rng.choice([0.3, 1.1]))
    changed(path, str(name), pc.if_else(mask, pa.scalar(None, values.type), values))
    return f"{mask.true_count} of {name}"


@fault("not UTF-8")
def not_utf8(path: Path, rng: Rng) -> str:
    name = column(path, rng, "text")
    if name is None:
        return flip_bytes(path, rng)
    values = [v and v.encode() for v in read(path)[name].to_pylist()]
    values[int(rng.integers(len(values)))] = (b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80")[
        int(rng.integers(3))
    ]
    bad = pa.array(values, pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(bad), bad.buffers(), bad.null_count, bad.offset)
    changed(path, name, text)
    return name


def _times(path: Path, rng: Rng, change: Callable[[np.ndarray], Any]) -> str:
    name = column(path, rng, "time")
    if name is None:
        return nulls(path, rng)
    values = read(path)[name]
    ticks = values.cast(pa.int64()).to_numpy().copy()
    changed(path, name, pa.array(change(ticks), pa.int64()).cast(values.type))
    return name


@fault("times")
def wrong_unit(path: Path, rng: Rng) -> str:
    by = int(rng.choice([1000, 1_000_000]))
    if rng.random() < 0.5:
        return f"divided by {by}: {_times(path, rng, lambda t: t // by)}"
    return f"times 1000: {_times(path, rng, lambda t: t * 1000)}"


@fault("times")
def far_time(path: Path, rng: Rng) -> str:
    years = int(rng.choice([13, -100, 2000, 200_000, -290_000]))
    far = years * 365 * 86_400 * 10**6
    whole = rng.random() < 0.3

    def change(ticks: np.ndarray) -> np.ndarray:
        ticks[slice(None) if whole else slice(0, 1)] += far
        return ticks

    return f"{years} years: {_times(path, rng, change)}"


@fault("times")
def other_day(path: Path, rng: Rng) -> str:
    days = int(rng.choice([1, -1, 3, 90]))
    share = float(rng.choice([0.2, 1.1]))

    def change(ticks: np.ndarray) -> np.ndarray:
        return ticks + (rng.random(len(ticks)) < share) * days * 86_400 * 10**6

    return f"{days} days: {_times(path, rng, change)}"


@fault("times")
def not_a_time(path: Path, rng: Rng) -> str:
    def change(ticks: np.ndarray) -> list[int | None]:
        return [None if rng.random() < 0.5 else int(t) for t in ticks]

    return f"NaT: {_times(path, rng, change)}"


def _ids(path: Path, rng: Rng, values: list[Any], kind: pa.DataType, *kinds: str) -> str:
    name = column(path, rng, *kinds)
    if name is None:
        return nulls(path, rng)
    old = read(path)[name].to_pylist()
    new = [values[k % len(values)] if rng.random() < 0.4 else v for k, v in enumerate(old)]
    changed(path, name, pa.array(new, kind))
    return name


@fault("ids")
def odd_text(path: Path, rng: Rng) -> str:
    odd = [
        "",
        " ",
        "\t\n",
        "x" * 100_000,
        "fmcg_",
        "nfmcg_1\0",
        "'; --",
        "\U0001f600",
        "NaN",
        "nul",
    ]
    return _ids(path, rng, odd, pa.string(), "text")


@fault("ids")
def huge(path: Path, rng: Rng) -> str:
    return _ids(path, rng, [2**63, 2**64 - 1, 0, 2**63 - 1], pa.uint64(), "integer")


@fault("ids")
def negative(path: Path, rng: Rng) -> str:
    return _ids(path, rng, [-1, -(2**63), 0], pa.int64(), "integer")


@fault("ids")
def floats(path: Path, rng: Rng) -> str:
    name = column(path, rng, "integer")
    if name is None:
        return nulls(path, rng)
    odd = [float("nan"), float("inf"), 1.5, 1e300, -0.0]
    old = read(path)[name].to_pylist()
    values = [odd[k % 5] if rng.random() < 0.4 else v and float(v) for k, v in enumerate(old)]
    changed(path, name, pa.array(values, pa.float64()))
    return f"{name} as floats"


@fault("ids")
def odd_numbers(path: Path, rng: Rng) -> str:
    odd = [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e300]
    return _ids(path, rng, odd, pa.float64(), "number")


@fault("duplicates")
def rows_twice(path: Path, rng: Rng) -> str:
    table = read(path)
    write(path, pa.concat_tables([table, table]))
    return "all rows"
