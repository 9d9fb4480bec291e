"""Faults of raw files: each takes a file of a small world and spoils it, drawn by a seed.

What does not belong here: what a run makes of it (``tests/bench/bad_inputs.py``).
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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


@fault("bytes flipped")
def flip_bytes(path: Path, rng: Rng) -> str:
    body = bytearray(path.read_bytes())
    places = rng.integers(0, len(body), int(rng.integers(1, 20)))
    for at in places:
        body[at] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(body))
    return f"{len(places)} bytes"


@fault("bytes flipped")
def flip_footer(path: Path, rng: Rng) -> str:
    body = bytearray(path.read_bytes())
    length = int.from_bytes(body[-8:-4], "little")
    at = len(body) - 8 - int(rng.integers(1, length))
    body[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(body))
    return f"a bit of the footer at {at}"


@fault("bytes flipped")
def flip_pages(path: Path, rng: Rng) -> str:
    body = bytearray(path.read_bytes())
    length = int.from_bytes(body[-8:-4], "little")
    for at in rng.integers(4, len(body) - 8 - length, 30):
        body[at] = int(rng.integers(256))
    path.write_bytes(bytes(body))
    return "30 bytes of pages"


@fault("cut")
def cut(path: Path, rng: Rng) -> str:
    keep = int(rng.integers(1, path.stat().st_size))
    path.write_bytes(path.read_bytes()[:keep])
    return f"to {keep} bytes"


@fault("cut")
def cut_front(path: Path, rng: Rng) -> str:
    drop = int(rng.integers(1, path.stat().st_size))
    path.write_bytes(path.read_bytes()[drop:])
    return f"the first {drop} bytes"


@fault("emptied")
def empty(path: Path, rng: Rng) -> str:
    path.write_bytes(b"")
    return "0 bytes"


@fault("emptied")
def no_rows(path: Path, rng: Rng) -> str:
    write(path, read(path).slice(0, 0))
    return "0 rows"


@fault("zeroed")
def zero(path: Path, rng: Rng) -> str:
    path.write_bytes(bytes(path.stat().st_size))
    return "all of it"


@fault("zeroed")
def zero_part(path: Path, rng: Rng) -> str:
    body = bytearray(path.read_bytes())
    first = int(rng.integers(4, len(body)))
    last = min(len(body), first + int(rng.integers(1, 4096)))
    body[first:last] = bytes(last - first)
    path.write_bytes(bytes(body))
    return f"{first} to {last}"


@fault("no Parquet")
def other_bytes(path: Path, rng: Rng) -> str:
    body = (rng.bytes(999), b"a,b\n1,2\n", b"PAR1", b"PAR1" * 2, b"PAR1\x00\x00\x00\x7fPAR1")
    path.write_bytes(body[int(rng.integers(len(body)))])
    return "other bytes"


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


@fault("links")
def dangling(path: Path, rng: Rng) -> str:
    path.unlink()
    path.symlink_to(path.with_name("gone.pq"))
    return "to nothing"


@fault("links")
def loop(path: Path, rng: Rng) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "to itself"


@fault("links")
def link_to_folder(path: Path, rng: Rng) -> str:
    path.unlink()
    path.symlink_to(path.parent)
    return "to its folder"


@fault("links")
def link_to_same(path: Path, rng: Rng) -> str:
    target = path.with_name(f"_{path.name}")
    path.rename(target)
    path.symlink_to(target)
    return "to its own content"


@fault("pipes and devices")
def pipe(path: Path, rng: Rng) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


@fault("pipes and devices")
def device(path: Path, rng: Rng) -> str:
    path.unlink()
    path.symlink_to(str(rng.choice(["/dev/zero", "/dev/null", "/dev/random"])))
    return "a device"


@fault("folders")
def folder(path: Path, rng: Rng) -> str:
    body = path.read_bytes()
    path.unlink()
    path.mkdir()
    if rng.random() < 0.7:
        (path / "part-0.parquet").write_bytes(body)
    return "in the file's place"


@fault("folders")
def parent_is_file(path: Path, rng: Rng) -> str:
    parent = path.parent
    shutil.rmtree(parent)
    parent.write_bytes(b"what?")
    return "a file in the folder's place"


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


@fault("duplicates")
def two_spellings(path: Path, rng: Rng) -> str:
    other = ".parquet" if path.suffix == ".pq" else ".pq"
    shutil.copy(path, path.with_suffix(other))
    return f"{path.stem}{other} too"


@fault("duplicates")
def another_name(path: Path, rng: Rng) -> str:
    stem = path.stem.lstrip("0") or "0"
    shutil.copy(path, path.with_name(f"{stem if path.stem != stem else path.stem + '0'}.parquet"))
    return "under another number"


ODD_NAMES = ("today.pq", "[ab].parquet", "a*.pq", "x y.pq", "9999-12-31.pq", "2030-01-01.pq",
             "1900-01-01.pq", "99999999.pq", "-1.pq", "1e3.pq", "٣.pq", "a\nb.pq", "00001.csv",
             "00001.PQ", "00001.pq.gz", "00001", "events.pq ", "größe.pq", "%2e.pq", "..pq",
             os.fsdecode(b"\xff.pq"))  # fmt: skip


@fault("odd names")
def odd_name(path: Path, rng: Rng) -> str:
    name = ODD_NAMES[int(rng.integers(len(ODD_NAMES)))]
    path.rename(path.with_name(name))
    return f"renamed to {name!r}"


@fault("odd names")
def odd_copy(path: Path, rng: Rng) -> str:
    name = ODD_NAMES[int(rng.integers(len(ODD_NAMES)))]
    shutil.copy(path, path.with_name(name))
    return f"{name!r} beside"


@fault("odd names")
def misspelt(path: Path, rng: Rng) -> str:
    name = f"{path.stem[:-1]}{path.suffix}" if rng.random() < 0.5 else path.name.upper()
    path.rename(path.with_name(name))
    return f"renamed to {name}"
