"""Checks of tables by month: each month is judged as often as it changes, and all of them count."""

from dataclasses import replace

import ibis
import pyarrow as pa
import pytest

from itememb_dagster.checks.gates import canonical_edges
from itememb_dagster.factory.check import Verdict
from itememb_dagster.factory.judge import judge_months
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.writer import write_file

KEY = ("edges",)
ROWS = pa.table({"month": ["2017-01", "2017-02", "2017-02"], "n": [1, -1, 2]})


class Judged:
    """A check of positive ``n`` that remembers what it was given, and what was found."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.given = lake, []
        self.item = replace(canonical_edges, evaluate=self.evaluate)

    def evaluate(self, edges: ibis.Table) -> Verdict:
        rows = edges.to_pyarrow().to_pylist()
        self.given += sorted({row["month"] for row in rows})
        bad = sum(row["n"] <= 0 for row in rows)
        return Verdict(bad == 0, "", {"rows": len(rows), "bad": bad})

    def run(self, rows: pa.Table = ROWS, force: bool = False, code: str = "1") -> Verdict:
        """Judge and record; ``given`` are the months of this time alone."""
        self.given, item = [], self.item
        type(item).code = code
        verdict, facts = judge_months(item, self.lake, {"edges": ibis.memtable(rows)}, force)
        told = {
            "version": "",
            "content": "",
            "code": code,
            "passed": verdict.passed,
            "severity": "ERROR",
        }
        self.lake.record_check(KEY, item.name, told | facts)
        return verdict


@pytest.fixture
def judged(tmp_path, monkeypatch) -> Judged:
    lake = Lake(tmp_path)
    for month in ("2017-01", "2017-02"):
        put(lake, month, "a")
    monkeypatch.setattr(type(canonical_edges), "code", "1")
    return Judged(lake)


def put(lake: Lake, month: str, inputs: str) -> None:
    stamp = Stamp("edges", inputs, {}, "1")
    write_file(lake, lake.part(KEY, f"month={month}"), [], pa.schema([("n", pa.int64())]), stamp)


def test_a_month_is_judged_again_when_it_changed_and_the_others_count_as_before(judged):
    first = judged.run()
    assert judged.given == ["2017-01", "2017-02"]
    assert (first.passed, first.why) == (False, "3 rows, 1 bad")
    assert judged.run() == first
    assert judged.given == []
    put(judged.lake, "2017-01", "b")
    assert judged.run() == first  # a fault of another month is not forgotten
    assert judged.given == ["2017-01"]
    put(judged.lake, "2017-02", "b")
    good = judged.run(ROWS.slice(0, 1))
    assert (good.passed, good.why) == (True, "1 rows, 0 bad")


@pytest.mark.parametrize("other", [{"force": True}, {"code": "2"}])
def test_all_months_are_judged_by_other_code_and_when_forced(judged, other):
    judged.run()
    judged.run(**other)
    assert judged.given == ["2017-01", "2017-02"]
