"""Names of columns are exact: one that differs by case only is never read in another's place."""

from datetime import date
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw
from itememb_core.errors import ItemembError
from itememb_dagster.runtime.engine import connect
from tests.raw.test_read import write_retail
from tests.worlds.layouts import put, tracked

EPOCH = date(2017, 1, 1)
RECEIPT = {
    "timestamp": pa.array([5], pa.duration("us")),
    "user_id": pa.array([7], pa.uint64()),
    "approximate_item_id": ["abc"],
    "count": [1.0],
    "price": [2.5],
    "transaction_hash": ["t"],
}


def write_receipts(root: Path, columns: dict[str, Any]) -> None:
    """A day of receipts of one row."""
    (root / "payments/receipts").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / "payments/receipts/00000.pq")


def fault_of(root: Path, channel: str = "receipts") -> str:
    """The error of a folder's one day."""
    scan = raw.scan(root, EPOCH)
    (error,) = raw.check_files(scan, channel, scan.days).values()
    with pytest.raises(ItemembError):
        raw.read_events(ibis.duckdb.connect(), scan, channel, scan.days)
    return str(error)


@pytest.mark.parametrize(
    ("other", "name"),
    [("Price", "price"), ("PRICE", "price"), ("User_ID", "user_id"), ("COUNT", "count")],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_column_beside_one_that_differs_by_case_is_an_error_naming_both(
    tmp_path: Path, other: str, name: str, first: bool
) -> None:
    twin = {other: pa.array([99], RECEIPT[name].type if name == "user_id" else pa.float64())}
    write_receipts(tmp_path, {**twin, **RECEIPT} if first else {**RECEIPT, **twin})
    assert fault_of(tmp_path) == (
        f"payments/receipts/00000.pq: columns '{name}' and '{other}' differ by case only, "
        f"expected '{name}' alone"
    )


@pytest.mark.parametrize("name", ["price", "brand_id"])
def test_a_missing_column_names_the_one_that_differs_by_case(tmp_path: Path, name: str) -> None:
    columns = {**RECEIPT, "brand_id": [3]}
    columns[name.title()] = columns.pop(name)
    write_receipts(tmp_path, columns)
    assert f"column '{name}' is missing (found '{name.title()}', which differs by case" in fault_of(
        tmp_path
    )


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.slow)])
def test_columns_of_no_layout_may_be_called_anything(tmp_path: Path, engine: str) -> None:
    con = connect(engine, tmp_path)
    others = {
        "Note": ["x"],
        "note": ["y"],
        "note_1": ["z"],
        "source_file": ["a"],
        "SOURCE_ROW": [5],
    }
    for day, extra in enumerate((others, {"filename": ["f"], "price_1": [2.0]}, {})):
        write_retail(tmp_path, day, **extra)
    scan = raw.scan(tmp_path, EPOCH)
    assert raw.check_files(scan, "retail", scan.days) == {}
    rows = raw.read_events(con, scan, "retail", scan.days).order_by("source_file").to_pyarrow()
    assert rows["item_id"].to_pylist() == ["fmcg_1"] * 3
    assert rows["source_row"].to_pylist() == [0] * 3
    assert rows["source_file"].to_pylist() == [f"retail/events/0000{d}.pq" for d in range(3)]


@pytest.mark.parametrize("name", ["file_row_number", "FILE_ROW_NUMBER", "_metadata", "_raw_file"])
def test_a_column_called_as_an_engine_calls_its_own(tmp_path: Path, name: str) -> None:
    write_retail(tmp_path, 0, **{name: [3]})
    assert f"retail/events/00000.pq: column '{name}' has a name" in fault_of(tmp_path, "retail")


def test_names_inside_a_column_are_exact(tmp_path: Path) -> None:
    def write(kind: pa.DataType, pair: dict[str, str]) -> None:
        (tmp_path / "retail").mkdir(exist_ok=True)
        columns = {"item_id": ["fmcg_1"], "attributes": pa.array([[pair]], pa.list_(kind))}
        pq.write_table(pa.table(columns), tmp_path / "retail/items.pq")

    def read() -> Any:
        scan = raw.scan(tmp_path, EPOCH)
        return raw.read_table(ibis.duckdb.connect(), scan, "retail_items")

    text = pa.string()
    write(pa.struct([("Name", text), ("name", text), ("value", text)]), {"name": "a", "Name": "b"})
    with pytest.raises(ItemembError, match=r"retail/items.pq: column 'attributes' has 'Name' and"):
        read()
    write(pa.struct([("Name", text), ("value", text)]), {"Name": "b"})
    with pytest.raises(ItemembError, match=r"'attributes' is list<.*Name: string.*expected list"):
        read()


def test_an_ozon_file_is_held_to_its_names_too(tmp_path: Path) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked()])
    table = pq.read_table(tmp_path / "tracker/a.parquet")
    table = table.append_column("Item_ID", table["item_id"])
    pq.write_table(table, tmp_path / "tracker/a.parquet")
    with pytest.raises(ItemembError, match=r"columns 'item_id' and 'Item_ID' differ by case only"):
        raw.scan(tmp_path, EPOCH)
