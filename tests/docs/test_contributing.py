"""The examples of docs/contributing.md do what the page says."""

import re
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from docs import make
from itememb_core import raw, schemas
from itememb_core.raw import layouts
from itememb_core.schemas.column import arrow_schema

PAGE = (Path(make.__file__).parent / "contributing.md").read_text()


def examples(heading: str) -> list[ModuleType]:
    """What the Python blocks of a section define, each a module of its own."""
    section = re.search(rf"## {heading}\n(.*?)(?=\n## |\Z)", PAGE, flags=re.DOTALL)
    assert section
    return [run(code) for code in re.findall(r"```python\n(.*?)```", section[1], flags=re.DOTALL)]


def run(code: str) -> ModuleType:
    module = ModuleType("example")
    exec(compile(code, "contributing.md", "exec"), vars(module))
    return module


def test_every_kind_has_its_example_and_every_path_is_there():
    rows = re.findall(r"^\| \[([a-z ]+)\]\(#([a-z-]+)\)", PAGE, flags=re.MULTILINE)
    assert len(rows) == 5
    for _, anchor in rows:
        assert f"\n## {anchor.replace('-', ' ').capitalize()}\n" in PAGE
    made_up = {"tables/brand_lines.py", "raw/till.py", "users/fading.py"}
    root = Path(make.__file__).parent.parent
    for path in re.findall(r"`([a-z_]+/[a-z_/]*[a-z_]+\.py)`", PAGE):
        if not any(path.endswith(name) for name in made_up):
            rooms = [root / path, root / "itememb_core" / path]
            assert any(room.exists() for room in rooms), path


def test_a_stage(monkeypatch):
    text = re.search(r"## A stage\n(.*?)\n## ", PAGE, flags=re.DOTALL)
    assert text
    core, columns, asset = re.findall(r"```python\n(.*?)```", text[1], flags=re.DOTALL)
    monkeypatch.setitem(sys.modules, "itememb_core.tables.brand_lines", run(core))
    schema = arrow_schema(run(columns).BRAND_LINES)
    monkeypatch.setattr(schemas, "BRAND_LINES", schema, raising=False)
    stage = run(asset).brand_lines
    assert stage.name == "brand_lines"
    assert [spec.key for spec in stage.inputs.values()] == [("receipts",)]
    assert stage.relational
    lines = ibis.memtable(pa.table({"brand_id": pa.array([7, None, 7, 8], pa.int64())}))
    made = stage.compute(None, lines).order_by("brand_id").to_pyarrow().cast(schema)
    assert made.to_pylist() == [{"brand_id": 7, "n": 2}, {"brand_id": 8, "n": 1}]


def test_a_raw_layout(monkeypatch, tmp_path):
    (found,) = examples("A raw layout")
    monkeypatch.setitem(layouts._LAYOUTS, found.LAYOUT, found)
    (tmp_path / "till").mkdir()
    rows = {
        "sold_at": pa.array([0], pa.duration("us")),
        "customer": [5],
        "sku": ["a1"],
        "slip": ["x"],
    }
    pq.write_table(pa.table(rows), tmp_path / "till" / "2017-01-01.parquet")
    day = date(2017, 1, 1)
    scan = raw.scan(tmp_path, day)
    assert (scan.layout, scan.days) == ("till", [day])
    (row,) = (
        raw.read_events(ibis.duckdb.connect(), scan, "receipts", [day]).to_pyarrow().to_pylist()
    )
    assert (row["user_id"], row["item_id"], row["transaction_hash"]) == (5, "a1", "x")
    assert row["count"] is None


def test_a_check():
    (found,) = examples("A check")
    check = found.no_item_is_its_own_neighbour
    assert (check.asset, check.blocking) == (("similar_items",), True)
    table = pa.table({"item_id": ["a", "b"], "neighbor_id": ["b", "b"]})
    assert not check.evaluate(table).passed
    assert check.evaluate(table.slice(0, 1)).passed


def test_a_negative_sampler():
    (found,) = examples("A negative sampler")
    users = np.array([0, 1, 16, 81])
    share = found.negative_share(users, 0.75)
    assert share.tolist() == pytest.approx([1 / 37, 1 / 37, 8 / 37, 27 / 37])
    assert found.negative_share(users, 0.0).tolist() == [0.25] * 4


def test_an_encoder():
    import torch

    (found,) = examples("An encoder")
    inputs = torch.tensor([1.0, 3.0, 5.0]).reshape(3, 1, 1)
    states = found.fading(inputs, 0.5).flatten().tolist()
    assert states == pytest.approx([1.0, 3.5 / 1.5, 6.75 / 1.75])
    later = inputs.clone()
    later[2] = 100.0
    assert found.fading(later, 0.5).flatten().tolist()[:2] == states[:2]
