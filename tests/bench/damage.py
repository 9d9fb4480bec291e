"""A finished lake is damaged, a file at a time: ``python -m tests.bench.damage``.

A file of each kind is deleted, emptied, cut in half, changed in one byte, replaced by a folder.
The next run must say so or make it again, without ``--verify``, too, unless one byte of a file's
content changed; with it, always. It must leave the lake as it was, or be an error that names the
file. Prints a line for each mutation and what ``--verify`` costs, and exits 1 when one of them was
not noticed, not mended, or ended in a traceback.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.kills import (
    DAYS,
    PRODUCTS,
    SMALL,
    USERS,
    Ended,
    World,
    differences,
    in_child,
    nothing,
    tree,
    warm,
)  # fmt: skip
from tests.worlds.tiny import write_tiny_world

#: A file of each kind, as a pattern below the lake; the first match is taken.
KINDS = {
    "day": "receipts/day=2017-01-04/part.parquet",
    "rejected rows of a day": "receipts_rejected/day=*/part.parquet",
    "month": "edges/month=*/part.parquet",
    "table": "vocabulary/part.parquet",
    "vectors": "item_embeddings/part.parquet",
    "evaluation": "user_evaluation/part.parquet",
    "model": "_versions/item_model/*/model.safetensors",
    "model's settings": "_versions/item_model/*/settings.json",
    "model's history": "_versions/backtest/user_model/*/history.parquet",
    "list of a version's files": "_versions/item_model/*/contents.json",
    "scorer": "_versions/link_scorer/*/link_scorer.json",
    "index": "_versions/item_index/*/*.faiss",
    "pointer": "item_model/current.json",
    "stamp": "_stamps/edges.json",
    "verdict": "_checks/user_evaluation/recommendations_beat_popularity.json",
    "note": "lake.json",
}


def deleted(path: Path) -> None:
    """Remove it."""
    path.unlink()


def emptied(path: Path) -> None:
    """Leave nothing in it."""
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    """Leave half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """Change a byte in the first third: a page, where it is Parquet."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x55
    path.write_bytes(content)


def foldered(path: Path) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


MUTATIONS: tuple[Callable[[Path], None], ...] = (deleted, emptied, truncated, flipped, foldered)


def first(lake: Path, pattern: str) -> Path:
    """Return the first file of a pattern."""
    return min(path for path in lake.glob(pattern) if path.is_file())


def faults(
    world: World, lake: Path, before: dict[str, str], path: Path, told: Ended | int, deep: bool
) -> Iterator[str]:
    """Yield what is wrong with how a run took a damaged file."""
    if isinstance(told, int):
        yield f"ended by signal {told}"
        return
    name = path.relative_to(lake).as_posix()
    noticed = told.done > 0 or any(name in line for line in told.told)
    if not noticed:
        yield "not noticed with --verify" if deep else "not noticed"
    elif told.code and not any(name in line for line in told.told):
        yield f"an error that does not name it: {told.told}"
    elif not told.code and differences(tree(lake), before):
        yield f"not mended: {differences(tree(lake), before)[:3]}"


def mutate(
    world: World, made: Path, work: Path, pattern: str, change: Callable[[Path], None]
) -> str:
    """Damage a copy of a lake and run; return what happened."""
    shutil.copytree(made, work / "lake")
    lake, before = work / "lake", tree(made)
    path = first(lake, pattern)
    change(path)
    told = in_child(world, lake, nothing)
    wrong = list(faults(world, lake, before, path, told, deep=False))
    how = "noticed"
    content = path.suffix == ".parquet" or "_versions" in path.parts
    if wrong == ["not noticed"] and change is flipped and content:
        told, how = in_child(world, lake, nothing, verify=True), "noticed with --verify"
        wrong = list(faults(world, lake, before, path, told, deep=True))
    if "Traceback" in (work / "log").read_text():
        wrong.append("a traceback")
    return f"WRONG: {'; '.join(wrong)}" if wrong else f"{how}, {_end(told)}"


def _end(told: Ended | int) -> str:
    assert isinstance(told, Ended)
    return "an error that names it" if told.code else "mended"


def main() -> int:
    """Run all mutations; return the exit code."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="damage") as name:
        folder = Path(name)
        warm(folder)
        raw = write_tiny_world(
            folder / "raw", days=DAYS, users=USERS, products=PRODUCTS, bad=True
        ).raw
        world, made = World("damaged", raw, SMALL), folder / "made" / "lake"
        print(in_child(world, made, nothing))
        for verify in (False, True):
            began = time.perf_counter()
            assert in_child(world, made, nothing, verify) == Ended(0, 0, [])
            what = "with --verify" if verify else "without"
            print(f"nothing to do, {what}: {time.perf_counter() - began:.2f} s", flush=True)
        for kind, pattern in KINDS.items():
            for change in MUTATIONS:
                work = folder / f"{kind} {change.__name__}"
                end = mutate(world, made, work, pattern, change)
                wrong += end.startswith("WRONG")
                print(f"{kind}, {change.__name__}: {end}", flush=True)
                shutil.rmtree(work)
    print(f"{len(KINDS) * len(MUTATIONS)} mutations, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
