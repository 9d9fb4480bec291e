"""Faults of a file's bytes, its name and its place."""

import os
import shutil
from pathlib import Path

from tests.bench.bad_inputs.fault import Rng, fault, read, write


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
    if parent.name.startswith("raw"):  # the whole folder: that is no file's fault
        return folder(path, rng)
    shutil.rmtree(parent)
    parent.write_bytes(b"what?")
    return "a file in the folder's place"


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
