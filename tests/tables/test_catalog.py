"""The catalog: duplicates, unlisted items, missing columns, vectors of one width."""

from datetime import date
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw, schemas, tables
from itememb_core.errors import ItemembError
from itememb_core.settings import DomainSettings

EPOCH = date(2017, 1, 1)
DOMAINS = DomainSettings()
PAIRS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))


@pytest.fixture
def con() -> ibis.BaseBackend:
    return ibis.duckdb.connect(threads=2)


def write_items(root: Path, channel: str, **columns: Any) -> Path:
    path = root / channel / "items.pq"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return root


def read(
    con: ibis.BaseBackend, root: Path, seen: list[str | None] | None = None
) -> tables.MergedRows:
    items = None if seen is None else tables.from_pandas(pd.DataFrame({"item_id": seen}))
    return tables.read_catalog(con, raw.scan(root, EPOCH), items, DOMAINS)


def by_id(rows: tables.MergedRows) -> dict[str, dict[str, Any]]:
    table = rows.rows.to_pyarrow()
    assert table.schema == schemas.CATALOG
    found = {row["item_id"]: row for row in table.to_pylist()}
    assert len(found) == table.num_rows
    return found


def test_last_non_null_value_of_each_column_wins(con: ibis.BaseBackend, tmp_path: Path) -> None:
    write_items(
        tmp_path,
        "retail",
        item_id=["fmcg_1", "fmcg_2", "fmcg_1", "fmcg_1"],
        brand_id=pa.array([1, 2, None, 3], pa.uint64()),
        category=["tea", "milk", "coffee", None],
        price=pa.array([None, 1.0, 5.0, 4.0]),
        attributes=pa.array([[{"name": "n", "value": "v"}], None, None, None], PAIRS),
        embedding=pa.array([[1.0, 2.0], None, [3.0, 4.0], None], pa.list_(pa.float32())),
    )
    rows = read(con, tmp_path)
    first = by_id(rows)["fmcg_1"]
    assert (first["brand_id"], first["category"], first["price"]) == (3, "coffee", 4.0)
    assert first["embedding"] == [3.0, 4.0]
    assert first["attributes"] == [{"name": "n", "value": "v"}]
    assert (first["domain"], first["title"]) == ("retail", None)
    assert set(by_id(rows)) == {"fmcg_1", "fmcg_2"}
    assert rows.duplicates.to_pyarrow().to_pylist() == [{"item_id": "fmcg_1", "n": 3}]
    assert rows.counts.to_pyarrow().to_pylist() == [
        {"source_file": "retail/items.pq", "reason": None, "n": 4}
    ]


def test_a_category_path_is_as_long_as_what_is_known(con: ibis.BaseBackend, tmp_path: Path) -> None:
    write_items(
        tmp_path,
        "retail",
        item_id=["fmcg_1", "fmcg_2", "fmcg_3", "fmcg_4", "fmcg_5", "fmcg_6"],
        category=["drinks", "drinks", None, None, " drinks ", " "],
        subcategory=["tea", None, "tea", None, "", ""],
    )
    found = {name: row["category_path"] for name, row in by_id(read(con, tmp_path)).items()}
    assert found == {
        "fmcg_1": ["drinks", "tea"],
        "fmcg_2": ["drinks"],
        "fmcg_3": ["tea"],
        "fmcg_4": None,
        "fmcg_5": ["drinks"],
        "fmcg_6": None,
    }


def test_channels_are_united_with_items_seen_only_in_events(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    vector = pa.array([[0.5] * 3], pa.list_(pa.float32()))
    write_items(tmp_path, "retail", item_id=["fmcg_1"], price=[2.0], embedding=vector)
    write_items(tmp_path, "offers", item_id=["offer_1"], embedding=pa.array([[0.5] * 4]))
    found = by_id(read(con, tmp_path, ["fmcg_1", "fmcg_9", "fmcg_9", "nfmcg_5", "abc", None]))
    assert {item: row["domain"] for item, row in found.items()} == {
        "fmcg_1": "retail",
        "fmcg_9": "retail",
        "nfmcg_5": "marketplace",
        "offer_1": "offers",
    }
    assert (found["fmcg_1"]["price"], found["fmcg_9"]["price"]) == (2.0, None)
    assert len(found["offer_1"]["embedding"]) == 4


def test_bad_rows_are_rejected_whole_with_a_reason(con: ibis.BaseBackend, tmp_path: Path) -> None:
    ids = ["fmcg_1", None, "", "nfmcg_1", "abc", "fmcg_2", "fmcg_3"]
    write_items(
        tmp_path,
        "retail",
        item_id=ids,
        price=[1.0, 1.0, 1.0, 1.0, 1.0, float("inf"), 1.0],
        brand_id=pa.array([1, 1, 1, 1, 1, 1, 2**64 - 1], pa.uint64()),
    )
    rows = read(con, tmp_path)
    assert set(by_id(rows)) == {"fmcg_1"}
    rejected = rows.rejected.order_by("source_row").to_pyarrow().to_pylist()
    assert [(row["source_row"], row["reason"]) for row in rejected] == [
        (1, "item_id_missing"),
        (2, "item_id_missing"),
        (3, "item_id_other_domain"),
        (4, "item_id_other_domain"),
        (5, "price_not_finite"),
        (6, "id_out_of_range"),
    ]
    assert {row["source_file"] for row in rejected} == {"retail/items.pq"}
    assert sum(rows.counts.to_pyarrow()["n"].to_pylist()) == len(ids)


def test_no_items_file_and_no_events(con: ibis.BaseBackend, tmp_path: Path) -> None:
    (tmp_path / "users.pq").write_bytes(b"never read")
    rows = read(con, tmp_path)
    assert by_id(rows) == {}
    assert rows.rejected.to_pyarrow().num_rows == rows.duplicates.to_pyarrow().num_rows == 0
    assert set(by_id(read(con, tmp_path, ["offer_3", "x"]))) == {"offer_3"}
    assert by_id(read(con, tmp_path, [])) == {}


@pytest.mark.parametrize("column", ["embedding", "image_embedding", "text_embedding"])
def test_vectors_of_two_widths_in_one_column(
    con: ibis.BaseBackend, tmp_path: Path, column: str
) -> None:
    vectors = pa.array([[1.0] * 300, None, [1.0] * 299], pa.list_(pa.float64()))
    write_items(
        tmp_path, "marketplace", item_id=["nfmcg_1", "nfmcg_2", "nfmcg_3"], **{column: vectors}
    )
    with pytest.raises(
        ItemembError,
        match=f"marketplace/items.pq: column '{column}' has vectors of 299 and of 300 numbers",
    ):
        read(con, tmp_path)


def test_bad_items_file_is_an_error_that_names_it(con: ibis.BaseBackend, tmp_path: Path) -> None:
    write_items(tmp_path, "retail", item_id=[1, 2])
    with pytest.raises(ItemembError, match=r"retail/items.pq: column 'item_id' is int64, expected"):
        read(con, tmp_path)
    (tmp_path / "retail/items.pq").write_bytes(b"PAR1")
    with pytest.raises(ItemembError, match=r"retail/items.pq: not readable as Parquet"):
        read(con, tmp_path)


def test_tiny_world_has_one_row_for_every_catalog_item(
    con: ibis.BaseBackend, tiny_raw: Path
) -> None:
    found = by_id(read(con, tiny_raw))
    listed = [
        name
        for channel in ("retail", "marketplace", "offers")
        for name in pq.read_table(tiny_raw / channel / "items.pq")["item_id"].to_pylist()
    ]
    assert sorted(found) == sorted(listed)
