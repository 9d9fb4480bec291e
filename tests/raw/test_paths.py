"""Paths are literal: no name of a folder or file is a pattern to an engine."""

from datetime import date
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw
from itememb_core.services import MARKETPLACE
from itememb_dagster.runtime.engine import connect, read_parts
from tests.raw.test_read import write_retail
from tests.worlds.layouts import put, tracked

EPOCH = date(2017, 1, 1)
#: A folder's name, and one that it would match were it a pattern (or a URL, or SQL).
SIBLINGS = {
    "w[ei]rd": "werd",
    "w*rd": "weird",
    "a?b": "axb",
    "b{x,y}": "bx",
    "p%20q": "p q",
    "h#i": "h",
    "pl+us": "pl us",
    "it's": "its",
    "größe 😀": "grosse",
    "day=2017-01-05": "day=2017-01-06",
    "back\\slash": "backslash",
}
ENGINES = ["duckdb", pytest.param("spark", marks=pytest.mark.slow)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SIBLINGS)
def test_a_raw_folder_beside_one_that_its_name_would_match(
    tmp_path: Path, name: str, engine: str
) -> None:
    for user, folder in enumerate((name, SIBLINGS[name])):
        for day in (0, 1):
            write_retail(tmp_path / folder, day, user_id=pa.array([user], pa.uint64()))
    con = connect(engine, tmp_path)
    for user, folder in enumerate((name, SIBLINGS[name])):
        scan = raw.scan(tmp_path / folder, EPOCH)
        rows = raw.read_events(con, scan, "retail", scan.days).order_by("source_file").to_pyarrow()
        assert rows["user_id"].to_pylist() == [user, user]
        assert rows["source_file"].to_pylist() == [f"retail/events/0000{day}.pq" for day in (0, 1)]


@pytest.mark.parametrize("engine", ENGINES)
def test_files_whose_names_would_match_others(tmp_path: Path, engine: str) -> None:
    names = ["[ab]", "a", "b", "a*", "?", "{a,b}", "100%25", "c d", "c%20d", "e+f", "g#h", "o'k"]
    for user, name in enumerate(names):
        put(tmp_path, f"tracker/{name}.parquet", [tracked(user=user)])
    scan = raw.scan(tmp_path, EPOCH)
    rows = raw.read_events(connect(engine, tmp_path), scan, MARKETPLACE, scan.days).to_pyarrow()
    found = dict(zip(rows["source_file"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    assert rows.num_rows == len(names)
    assert found == {f"tracker/{name}.parquet": user for user, name in enumerate(names)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SIBLINGS)
def test_a_lake_beside_one_that_its_name_would_match(
    tmp_path: Path, name: str, engine: str
) -> None:
    for n, folder in enumerate((name, SIBLINGS[name])):
        for table in ("users", "receipts/day=2017-01-01", "receipts/day=2017-01-02"):
            (tmp_path / folder / table).mkdir(parents=True)
            pq.write_table(pa.table({"n": [n]}), tmp_path / folder / table / "part.parquet")
    con = connect(engine, tmp_path)
    for n, folder in enumerate((name, SIBLINGS[name])):
        lake = tmp_path / folder
        whole = read_parts(con, [lake / "users/part.parquet"])
        assert whole.to_pyarrow().to_pylist() == [{"n": n}]
        days = [date(2017, 1, 1), date(2017, 1, 2)]
        daily = read_parts(con, [lake / f"receipts/day={day}/part.parquet" for day in days])
        rows = daily.order_by("day").to_pyarrow().to_pylist()
        assert rows == [{"n": n, "day": day} for day in days]
        one = daily.filter(daily.day.between(days[1], days[1])).to_pyarrow().to_pylist()
        assert one == [{"n": n, "day": days[1]}]


def test_remote_names_are_literal_too(tmp_path: Path) -> None:
    import fsspec

    remote = fsspec.filesystem("memory")
    body = write_retail(tmp_path, 0).read_bytes()
    for folder in ("odd/w[ei]rd", "odd/werd", "odd/a*b", "odd/aab"):
        remote.pipe(f"/{folder}/retail/events/00000.pq", body)
    for folder in ("odd/w[ei]rd", "odd/a*b"):
        scan = raw.scan(f"memory://{folder}", EPOCH)
        rows = raw.read_events(ibis.duckdb.connect(), scan, "retail", scan.days).to_pyarrow()
        assert rows["source_file"].to_pylist() == ["retail/events/00000.pq"]
