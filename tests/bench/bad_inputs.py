"""Spoiled raw folders: what a run makes of each, and that nothing gets lost.

``python -m tests.bench.bad_inputs [N] [--seed S]`` spoils one file of a tiny world N times (500),
spread over every kind of file and of fault, and makes its day tables, its other tables and the
inventory without Dagster, as a run does. It ends with 1 if a case was a traceback, a hang of over a
minute, a silent loss (rows or values of files that no error names), or kept good days from being
made.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_core.raw import RawScan, scan, unclaimed
from itememb_core.raw.listing import printable
from itememb_core.settings import Settings
from itememb_core.tables import conservation_violations
from itememb_dagster.assets import STAGES
from itememb_dagster.assets.tables import CHANNEL_STAGES, OTHER_STAGES, raw_inventory
from itememb_dagster.factory.compute import make_stage
from itememb_dagster.factory.stage import Stage, StageContext
from itememb_dagster.lake import Lake
from itememb_dagster.lake.io_manager import LakeIOManager, save_days, save_whole
from itememb_dagster.lake.staleness import Planner
from itememb_dagster.runtime.engine import connect
from tests.worlds import layouts, spoil
from tests.worlds.tiny import write_tiny_world

EPOCH = date(2017, 1, 1)
HANG_S = 60.0
#: Names of files that are events of a channel.
DAILY = ("receipts", "retail", "marketplace", "offers")
#: Kind of file to one file of it, by world.
FILES = {
    "tecd": {
        "users": "users.pq",
        "brands": "brands.pq",
        **{f"{c} items": f"{c}/items.pq" for c in ("retail", "marketplace", "offers")},
        **{f"{c} events": f"{c}/events/00001.pq" for c in ("retail", "marketplace", "offers")},
        "receipts": "payments/receipts/00001.pq",
        "payments events": "payments/events/00001.pq",
        "reviews": "reviews/00001.pq",
    },
    "notebook": {
        "notebook receipts": "payments_receipts_clean.parquet",
        "notebook events": "retail_events_clean.parquet",
        "notebook items": "retail_items_clean.parquet",
    },
    "ozon": {
        "ozon orders": "orders/part-0.parquet",
        "ozon tracker": "tracker/part-1.parquet",
        "ozon items": "items/part-0.parquet",
        "ozon categories": "categories.parquet",
    },
}


#: The stage that reads a file.
READERS = {
    "users.pq": "users",
    "brands.pq": "brands",
    "payments/receipts/00001.pq": "receipts",
    "payments/events/00001.pq": "payments_events",
    "reviews/00001.pq": "reviews",
    "payments_receipts_clean.parquet": "receipts",
    "retail_events_clean.parquet": "retail_events",
    "retail_items_clean.parquet": "catalog",
    "orders/part-0.parquet": "marketplace_events",
    "tracker/part-1.parquet": "marketplace_events",
    "items/part-0.parquet": "catalog",
    "categories.parquet": "catalog",
    **{f"{c}/items.pq": "catalog" for c in ("retail", "marketplace", "offers")},
    **{f"{c}/events/00001.pq": f"{c}_events" for c in ("retail", "marketplace", "offers")},
}


@dataclass(frozen=True)
class Case:
    """A file to spoil, and how."""

    number: int
    world: str
    file: str
    kind: str
    which: int
    seed: int


@dataclass
class Result:
    """What became of a case: how it ended, and what was wrong."""

    case: Case
    ended: str = "harmless"
    did: str = ""
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Made:
    """What a lake holds of a raw folder."""

    found: RawScan
    errors: list[str]
    days: dict[tuple[str, date], pa.Table]
    tables: dict[str, pa.Table]
    inventory: pa.Table


def write_worlds(root: Path) -> None:
    """The worlds that are spoiled: small, with every kind of file."""
    small = {"days": 4, "users": 12, "products": 40}
    write_tiny_world(root / "tecd", **small)
    rng = np.random.default_rng(0)
    for day in range(4):
        times = pa.array(day * 86_400 + rng.integers(0, 86_400, 30), pa.int64())
        ids = pa.array(rng.integers(1, 12, 30), pa.uint64())
        review = {"user_id": ids, "brand_id": ids, "rating": rng.random(30)}
        pay = {"user_id": ids, "price": rng.random(30), "transaction_hash": [str(k) for k in ids]}
        stamp = {"timestamp": times.cast(pa.duration("s")).cast(pa.duration("us"))}
        for folder, rows in (("reviews", review), ("payments/events", pay)):
            (root / "tecd" / folder).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({**stamp, **rows}), root / "tecd" / folder / f"{day:05}.pq")
    layouts.write_notebook_world(root / "notebook", **small)
    shutil.rmtree(root / "notebook_days")
    layouts.write_ozon_world(root / "ozon", days=4, users=12, items=20)


def cases(count: int, seed: int) -> list[Case]:
    """Cases spread over all files and faults; each pair once before any comes again."""
    files = [(world, path) for world, found in FILES.items() for path in found.values()]
    faults = [(kind, k) for kind, those in spoil.FAULTS.items() for k in range(len(those))]
    pairs = list(product(files, faults))
    rng = np.random.default_rng(seed)
    order = [int(k) for _ in range(-(-count // len(pairs))) for k in rng.permutation(len(pairs))]
    return [
        Case(n, *pairs[at][0], *pairs[at][1], seed=seed * 1_000_003 + n)
        for n, at in enumerate(order[:count])
    ]


def make(root: Path, work: Path) -> Made:
    """Make the tables of a raw folder as a run does, without Dagster."""
    found = scan(root, EPOCH, strict=False)
    lake = Lake(work)
    lake.prepare(found.epoch, found.days)
    planner = Planner(STAGES, lake, found, Settings())
    planner.prune()
    bad = planner.bad_days(planner.days)
    errors = [*found.lost, *map(str, bad.values())]
    good = [day for day in planner.days if day not in bad]
    while good:
        refused, why = _days(lake, found, good)
        broken = planner.bad_days(refused, deep=True) if refused else {}
        errors += map(str, broken.values() if broken else why)
        good = [day for day in refused if day not in (broken or refused)]
    tables = _tables(lake, found, errors)
    inventory = _inventory(lake, found)
    return Made(found, list(dict.fromkeys(errors)), _day_tables(lake), tables, inventory)


def _context(lake: Lake, found: RawScan, days: Sequence[date]) -> StageContext:
    return StageContext(
        settings=Settings(),
        days=tuple(days),
        cut=None,
        scan=found,
        lake=lake,
        connect=lambda: connect("duckdb", lake.root),
        progress=lambda *_: None,
    )


def _days(lake: Lake, found: RawScan, days: list[date]) -> tuple[list[date], list[str]]:
    """Make days of all channels; give back those that a channel refused or failed for, and why."""
    failed: set[date] = set()
    why = []
    planner = Planner(STAGES, lake, found, Settings())
    stale = planner.stale_days(days)
    for stage in (s for s in CHANNEL_STAGES if s.key in stale):
        try:
            made = make_stage(stage, planner, _context(lake, found, stale[stage.key]), {})
            writer = save_days(lake, made, found.epoch)
            why += [*writer.refused.values(), *([writer.failure] if writer.failure else [])]
            failed |= {date.fromisoformat(day) for day in writer.refused}
        except ItemembError as error:
            why.append(str(error))
            failed |= set(stale[stage.key])
        except (duckdb.Error, pa.ArrowException) as error:  # a run looks for the file, then
            why.append(f"engine: {error}")
            failed |= set(stale[stage.key])
    return sorted(failed), why


def _tables(lake: Lake, found: RawScan, errors: list[str]) -> dict[str, pa.Table]:
    manager = LakeIOManager(root=str(lake.root))
    tables = {}
    for stage in OTHER_STAGES:
        planner = Planner(STAGES, lake, found, Settings())
        if planner.stamp(stage, None, planner.stored).recipe == planner.stored(stage, None):
            tables[stage.name] = _table(lake, stage)
            continue
        days = sorted({d for those in planner.months(stage).values() for d in those})
        inputs: dict[str, Any] = {}
        if stage.inputs:
            held = [d.isoformat() for d in planner.days if lake.stamp(("receipts",), f"day={d}")]
            if not held:
                continue
            inputs = {name: manager.load_ibis(("receipts",), held) for name in stage.inputs}
        try:
            made = make_stage(stage, planner, _context(lake, found, days), inputs)
            save_whole(lake, made)
        except ItemembError as error:
            errors.append(str(error))
            continue
        tables[stage.name] = _table(lake, stage)
    return tables


def _table(lake: Lake, stage: Stage) -> pa.Table:
    parts = sorted((lake.root / stage.name).rglob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(part).read() for part in parts])


def _day_tables(lake: Lake) -> dict[tuple[str, date], pa.Table]:
    return {
        (stage.name, date.fromisoformat(part.parent.name[4:])): pq.ParquetFile(part).read()
        for stage in CHANNEL_STAGES
        for part in (lake.root / stage.name).glob("day=*/part.parquet")
    }


def _inventory(lake: Lake, found: RawScan) -> pa.Table:
    """The inventory; what spoils no day would end its stage, and is an error already."""
    held = replace(found, files=tuple(file for file in found.files if not file.lost))
    inputs = {stage.name: None for stage in CHANNEL_STAGES}
    return raw_inventory.compute(_context(lake, held, held.days), **inputs)


def touched_files(before: Path, after: Path) -> set[str]:
    """Files that are not as they were, by their path: other ones, new ones, gone ones."""
    paths = [
        {
            printable(str(p.relative_to(top)))
            for p in top.rglob("*")
            if p.is_symlink() or not p.is_dir()
        }
        for top in (before, after)
    ]
    return (paths[0] ^ paths[1]) | {
        path
        for path in paths[0] & paths[1]
        if not (after / path).is_file()
        or (before / path).read_bytes() != (after / path).read_bytes()
    }


def _names(error: str, touched: set[str]) -> bool:
    """Whether an error names a file that was spoiled, or its folder."""
    return any(path in error or f"{path.rpartition('/')[0]}: " in error for path in touched)


def _rows(table: pa.Table | None, touched: set[str]) -> list[Any]:
    """Rows that are not of spoiled files, sorted."""
    if table is None:
        return []
    plain = table.filter(pc.invert(pc.is_in(table["source_file"], pa.array(sorted(touched)))))
    return sorted(map(str, plain.to_pylist()))


def judge(result: Result, base: Made, made: Made, root: Path, touched: set[str]) -> None:
    """Find what is wrong with a case, and how it ended."""
    result.errors = made.errors
    wrong = [f"names no spoiled file: {e}" for e in made.errors if not _names(e, touched)]
    wrong += conservation_violations(made.inventory)
    files = {file.path: file for file in (*base.found.files, *made.found.files)}
    anywhere = any(file.any_day for file in made.found.files)
    spans = [files[path].first_last for path in touched if path in files]
    spoiled = {d for d in base.found.days for s in spans if s and s[0] <= d <= s[1]}
    for (stage, day), table in base.days.items():
        if made.errors and (anywhere or day in spoiled):
            continue
        if _rows(table, touched) != _rows(made.days.get((stage, day)), touched):
            how = "differs" if (stage, day) in made.days else "is not made"
            wrong.append(f"{stage} of {day} {how}")
    wrong += _wrong_tables(base, made, {files[path].name for path in touched if path in files})
    wrong += _uncounted(made, root, spoiled if made.errors else set(), anywhere)
    told = unclaimed(made.found)
    known = {file.path for file in made.found.files}
    new = {path for path in touched if os.path.lexists(root / path)}
    for path in new - known:
        parts = path.split("/")
        above = any("/".join(parts[:n]) in known for n in range(1, len(parts)))
        hidden = parts[-1].startswith(("_", "."))
        if not above and not hidden and not any(path in line for line in told):
            wrong.append(f"{path} is read by nothing, and nobody says so")
    rejected = [sum(filter(None, m.inventory["rejected"].to_pylist())) for m in (base, made)]
    result.ended = (
        "error" if made.errors else "rejected rows" if rejected[1] > rejected[0]
        else "warning" if told else "harmless"
    )  # fmt: skip
    result.wrong = wrong


def _wrong_tables(base: Made, made: Made, names: set[str]) -> Iterator[str]:
    """Tables without days of files that nobody spoiled, which are not as they were."""
    of = {"users": {"users"}, "brands": {"brands"}, "reviews": {"reviews"},
          "payments_events": {"payments"}}  # fmt: skip
    for name, table in base.tables.items():
        spoiled = names & of[name] if name in of else [n for n in names if n not in DAILY]
        if spoiled:
            continue
        other = made.tables.get(name)
        if other is None:
            if name in of or made.days:
                yield f"{name} is not made"
            continue
        rows = [t.filter(t["listed"]) if name == "catalog" else t for t in (table, other)]
        if rows[0].to_pylist() != rows[1].to_pylist():
            yield f"{name} differs"


def _uncounted(made: Made, root: Path, spoiled: set[date], anywhere: bool) -> Iterator[str]:
    """Good files whose rows are not in the inventory as their footers say."""
    for row in made.inventory.to_pylist():
        file = next(f for f in made.found.files if f.path == row["file"])
        daily = file.name in DAILY
        if any(row["file"] in error for error in made.errors) or (made.errors and not daily):
            continue
        if daily and (anywhere or (file.first_last and spoiled & set(_between(file.first_last)))):
            continue
        there = pq.read_metadata(root / row["file"]).num_rows
        if row["rows"] != there and not (file.first_last is None and daily and there == 0):
            yield f"{row['file']}: {there} rows, the inventory has {row['rows']}"


def _between(span: tuple[date, date]) -> list[date]:
    return [span[0] + timedelta(days=k) for k in range((span[1] - span[0]).days + 1)]


def run_case(case: Case, worlds: Path, work: Path, bases: dict[str, Made]) -> Result:
    """Spoil a copy of a world, make its tables, and judge them."""
    begun, result = time.perf_counter(), Result(case)
    lake, root = work / "lake", work / f"raw{case.number}"  # an engine keeps what it read by path
    kept = work / f"lake_{case.world}"
    if case.world not in bases:
        bases[case.world] = make(worlds / case.world, lake)
        assert bases[case.world].errors == []
        lake.rename(kept)
    shutil.copytree(worlds / case.world, root)
    # Of the stage that reads the file nothing is made yet; what others have made is there.
    shutil.copytree(kept, lake, ignore=shutil.ignore_patterns(f"{READERS[case.file]}*"))
    change = spoil.FAULTS[case.kind][case.which]
    result.did = change(root / case.file, np.random.default_rng(case.seed))
    touched = touched_files(worlds / case.world, root) | {case.file}
    try:
        judge(result, bases[case.world], make(root, lake), root, touched)
    except ItemembError as error:
        result.ended, result.errors = "error", [str(error)]
        result.wrong = [f"nothing is made: {error}"]
    except Exception:  # noqa: BLE001 - it is what is looked for
        result.ended, result.wrong = "traceback", [traceback.format_exc()]
    shutil.rmtree(root)
    shutil.rmtree(lake, ignore_errors=True)
    result.seconds = time.perf_counter() - begun
    return result


def _serve(pipe: Connection, worlds: Path) -> None:
    """A child's work: cases come, results go."""
    bases: dict[str, Made] = {}
    with tempfile.TemporaryDirectory(prefix="bad_inputs") as work:
        while (case := pipe.recv()) is not None:
            pipe.send(run_case(case, worlds, Path(work), bases))


class Child:
    """A process that makes cases, so that a hang or a crash is its own."""

    def __init__(self, worlds: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, worlds), daemon=True)
        self.process.start()
        other.close()

    def result(self, case: Case) -> Result:
        """What became of a case; the child has gone after a hang or a crash."""
        self.pipe.send(case)
        try:
            if self.pipe.poll(HANG_S):
                return self.pipe.recv()
            ended = "hang"
        except EOFError:
            self.process.join()
            ended = f"crash ({self.process.exitcode})"
        self.close()
        return Result(case, ended, wrong=[ended])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def table_of(results: Sequence[Result]) -> str:
    """Cases by kind of fault and how they ended, as Markdown."""
    ends = ("error", "rejected rows", "warning", "harmless")
    lines = [f"| fault | cases | {' | '.join(ends)} | wrong |", f"| --- |{' ---: |' * 6}"]
    kinds = [*spoil.FAULTS, "all"]
    for kind in kinds:
        own = [r for r in results if kind in (r.case.kind, "all")]
        count = Counter(r.ended for r in own)
        cells = [len(own), *(count[end] for end in ends), sum(bool(r.wrong) for r in own)]
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the cases and print the table, and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case")
    options = parser.parse_args(arguments)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="bad_worlds") as folder:
        write_worlds(Path(folder))
        child = None
        for case in cases(options.count, options.seed):
            if options.only is not None and case.number != options.only:
                continue
            child = child if child and child.process.is_alive() else Child(Path(folder))
            results.append(child.result(case))
            if results[-1].wrong:
                print(
                    f"{case}: {results[-1].did}\n    " + "\n    ".join(results[-1].wrong),
                    flush=True,
                )
            elif options.only is not None:
                print(results[-1])
            elif len(results) % 50 == 0:
                print(f"{len(results)} cases", flush=True)
        if child:
            child.close()
    print(table_of(results))
    slow = max(result.seconds for result in results)
    bad = sum(bool(result.wrong) for result in results)
    print(f"\n{len(results)} cases, {bad} wrong; the slowest took {slow:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
