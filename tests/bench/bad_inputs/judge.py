"""What is wrong with what became of a spoiled folder."""

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.raw import unclaimed
from itememb_core.raw.listing import printable
from itememb_core.tables import conservation_violations
from tests.bench.bad_inputs.case import Result
from tests.bench.bad_inputs.tables import Made

#: Faults after which no row of a file can be trusted.
NEVER_READ = ("case clashes", "cut", "folders", "no Parquet", "pipes and devices")
#: Names of files that are events of a channel.
DAILY = ("receipts", "retail", "marketplace", "offers")


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
    if made.errors == [] and (
        result.case.kind in NEVER_READ
        or (result.case.kind == "not UTF-8" and " " not in result.did)
    ):
        wrong.append("is read as if nothing were wrong with it")
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
