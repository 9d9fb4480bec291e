"""Portions of days and the engine's memory: how much is done at once changes no file."""

from pathlib import Path
from typing import Any

import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.factory import compute as make
from itememb_dagster.lake import Lake
from itememb_dagster.runtime.engine import connect, stream
from tests.conftest import place_for
from tests.pipeline.test_pipeline import tree
from tests.worlds.two_months import HOLDOUT, date_of

DAILY = '+key:"copurchase_edges" or +key:"coview_edges" or key:"user_items"'


def test_days_in_portions_are_the_same_files(months_raw, months_lake, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "ROWS_AT_ONCE", 200)
    portions, made = make._portions, []
    monkeypatch.setattr(make, "_portions", lambda *args: made.append(portions(*args)) or made[-1])
    place = place_for(months_raw, tmp_path / "lake")
    settings = parse_settings((HOLDOUT,))
    assert Runner(Request(place, settings, select=DAILY, end=date_of(5))).run().errors == []
    days = {f"day={date_of(day)}" for day in range(6)}
    whole = {
        name: digest for name, digest in tree(months_lake).items() if days & {*name.split("/")}
    }
    assert {n: d for n, d in tree(tmp_path / "lake").items() if "day=" in n} == whole
    assert {len(found) for found in made} > {1, 2}


def test_the_engine_spills_to_the_lake_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ITEMEMB_MEMORY", "60MB")
    con = connect("duckdb", tmp_path)
    con.raw_sql("SET threads = 1")
    assert spilled(con, tmp_path) > 10_000_000
    con.disconnect()
    assert list(tmp_path.iterdir()) == []


def spilled(con: Any, lake: Path) -> int:
    """Bytes on the lake's disk while the first rows of a sort come."""
    con.raw_sql("CREATE VIEW numbers AS SELECT i, i * 7919 % 3000017 AS k FROM range(3000000) r(i)")
    texts = con.table("numbers").mutate(text=lambda t: t.i.cast("string"))
    batches = stream(texts.order_by("k"), 1 << 17, Lake(lake).scratch)
    next(batches)
    found = sum(path.stat().st_size for path in lake.glob("_scratch*/*"))
    batches.close()
    return found


def test_memory_that_is_no_size_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("ITEMEMB_MEMORY", "plenty")
    with pytest.raises(ItemembError, match="ITEMEMB_MEMORY: found 'plenty', expected such as 2GB"):
        connect("duckdb", tmp_path)
