"""The notebook and Ozon layouts: files of many days, ids, statuses, categories, bad files."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw, tables
from itememb_core.errors import ItemembError
from itememb_core.services import RECEIPTS
from itememb_core.settings import DomainSettings
from tests.worlds.layouts import START, order, put, tracked, write_notebook_world

EPOCH = date(2017, 1, 1)
DAYS = [START.date() + timedelta(days=k) for k in range(10)]
DOMAINS = DomainSettings()
Row = dict[str, Any]


@pytest.fixture
def con() -> ibis.BaseBackend:
    return ibis.duckdb.connect(threads=2)


def cleaned(con: ibis.BaseBackend, root: Path, channel: str = "marketplace") -> list[Row]:
    scan = raw.scan(root, EPOCH)
    rows = tables.clean_events(raw.read_events(con, scan, channel, scan.days), channel, DOMAINS)
    return rows.order_by("source_file", "source_row").to_pyarrow().to_pylist()


FORMS = {
    "timestamp[us]": lambda times: pa.array(times, pa.timestamp("us")),
    "timestamp[ns, zone]": lambda times: pa.array(times, pa.timestamp("ns", "Asia/Tokyo")),
    "duration[us]": lambda times: pa.array([t and t - datetime(2017, 1, 1) for t in times]),
}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_days_of_a_file_come_from_its_times(tmp_path: Path, form: str, statistics: bool) -> None:
    midnight = datetime(2025, 3, 5)
    times = [midnight, None, midnight - timedelta(microseconds=1), datetime(2025, 3, 2, 23)]
    table = pa.table(
        {"timestamp": FORMS[form](times), "user_id": [1] * 4, "item_id": ["fmcg_1"] * 4}
    )
    path = tmp_path / "retail_events_clean.parquet"
    pq.write_table(table, path, row_group_size=2, write_statistics=statistics)
    (file,) = raw.scan(tmp_path, EPOCH).files
    assert (file.name, file.day) == ("retail", None)
    assert file.span == (date(2025, 3, 2), date(2025, 3, 5))


def test_rows_of_many_days_have_their_own_day_and_none_is_lost(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    rows = [tracked(day=k, user=u) for k in (0, 1, 4) for u in (1, 2)]
    put(tmp_path, "tracker/a.parquet", [*rows, tracked(timestamp=None)])
    put(tmp_path, "tracker/b.parquet", [tracked(day=4, user=9)])
    scan = raw.scan(tmp_path, EPOCH)
    assert scan.days == DAYS[:5]
    assert [f.path for f in scan.day_files("marketplace", DAYS[4])] == [
        "tracker/a.parquet", "tracker/b.parquet",
    ]  # fmt: skip
    found = raw.read_events(con, scan, "marketplace", [DAYS[0], DAYS[4]]).to_pyarrow()
    assert (
        sorted(map(str, found["file_day"].to_pylist())) == ["2025-03-01"] * 3 + ["2025-03-05"] * 3
    )
    first = tables.clean_events(
        raw.read_events(con, scan, "marketplace", [DAYS[0]]), "marketplace", DOMAINS
    ).to_pyarrow()
    assert sorted(map(str, first["reason"].to_pylist())) == ["None", "None", "timestamp_missing"]
    days = raw.day_rows(con, scan, "marketplace", scan.days)
    assert [days["tracker/a.parquet", day] for day in DAYS[:5]] == [3, 2, 0, 0, 2]
    assert days["tracker/b.parquet", DAYS[4]] == 1
    assert len(days) == 6


def test_inventory_of_a_file_of_many_days_is_held_against_its_footer(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked(day=k) for k in (0, 1, 1)])
    scan = raw.scan(tmp_path, EPOCH)
    counts = tables.day_counts(
        tables.clean_events(
            raw.read_events(con, scan, "marketplace", scan.days), "marketplace", DOMAINS
        )
    ).to_pyarrow()
    rows = raw.day_rows(con, scan, "marketplace", scan.days)
    stored = tables.file_counts(rows, {"tracker/a.parquet": "x"}, counts)
    totals = raw.count_rows(scan.root, scan.files)
    whole = tables.raw_inventory(scan, {"tracker/a.parquet": "x"}, stored, totals)
    (row,) = whole.to_pylist()
    assert (row["rows"], row["clean"], row["rejected"]) == (3, 2, 1)
    assert tables.conservation_violations(whole) == []
    lost = tables.raw_inventory(scan, {"tracker/a.parquet": "x"}, stored, {"tracker/a.parquet": 4})
    assert "4 rows, found 2 clean + 1 rejected" in tables.conservation_violations(lost)[0]
    part = tables.raw_inventory(scan, {"tracker/a.parquet": "x"}, stored[:1], totals)
    assert tables.conservation_violations(part) == []


def test_notebook_files_read_as_the_days_they_were_made_of(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    root = write_notebook_world(tmp_path / "raw", days=4, users=20)
    days, notebook = (raw.scan(r, EPOCH) for r in (tmp_path / "raw_days", root))
    assert (notebook.layout, notebook.days) == ("notebook", days.days)
    for channel in (RECEIPTS, "retail", "marketplace"):
        one, other = (
            raw.read_events(con, scan, channel, scan.days[1:3])
            .drop("source_file", "source_row")
            .order_by(["timestamp", "user_id", "item_id", "action", "count"])
            .to_pyarrow()
            for scan in (days, notebook)
        )
        assert one.num_rows
        assert one.equals(other)
    catalogs = (tables.read_catalog(con, scan, None, DOMAINS).rows for scan in (days, notebook))
    ids = [rows.filter(rows.domain != "offers").order_by("item_id") for rows in catalogs]
    assert ids[0].to_pyarrow().equals(ids[1].to_pyarrow())


def test_notebook_columns_that_nothing_needs_may_be_missing(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    receipts = {
        "timestamp": pa.array([START]),
        "user_id": [7],
        "approximate_item_id": ["abc"],
        "transaction_hash": ["t"],
    }
    pq.write_table(pa.table(receipts), tmp_path / "payments_receipts_clean.parquet")
    (row,) = cleaned(con, tmp_path, RECEIPTS)
    assert (row["reason"], row["item_id"], row["price"], row["count"]) == (None, "abc", None, None)
    short = pa.table({name: column for name, column in receipts.items() if name != "user_id"})
    pq.write_table(short, tmp_path / "payments_receipts_clean.parquet")
    with pytest.raises(ItemembError, match=r"payments_receipts_clean.parquet: column 'user_id' is"):
        raw.scan(tmp_path, EPOCH)


def test_ozon_ids_get_the_prefix_and_empty_ones_are_rejected(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked(5, action_widget="pdp"), tracked(None)])
    table = pa.table(
        {
            "item_id": ["x5", " ", ""],
            "user_id": [1, 2, 3],
            "timestamp": pa.array([START] * 3),
            "action_type": ["favorite", "to_cart", "remove"],
        }
    )
    pq.write_table(table, tmp_path / "tracker/b.parquet")
    rows = cleaned(con, tmp_path)
    assert [(r["item_id"], r["reason"]) for r in rows] == [
        ("nfmcg_5", None), (None, "item_id_missing"), ("nfmcg_x5", None),
        (None, "item_id_missing"), (None, "item_id_missing"),
    ]  # fmt: skip
    assert rows[0]["subdomain"] == "pdp"
    own = DomainSettings(marketplace="shop:")
    scan = raw.scan(tmp_path, EPOCH, own)
    found = raw.read_events(con, scan, "marketplace", scan.days).to_pyarrow()
    assert {"shop:5", "shop:x5"} <= set(found["item_id"].to_pylist())


def test_ozon_actions_and_their_strengths(con: ibis.BaseBackend, tmp_path: Path) -> None:
    strengths = {
        "page_view": ("view", 1), "view_description": ("view", 1), "review_view": ("view", 1),
        "to_cart": ("cart", 4), "favorite": ("favorite", 2), "remove": ("remove", 0),
        "unfavorite": ("unfavorite", 0), "teleport": ("teleport", 1),
    }  # fmt: skip
    put(tmp_path, "tracker/a.parquet", [tracked(k, action_type=a) for k, a in enumerate(strengths)])
    rows = cleaned(con, tmp_path)
    assert [(r["action"], r["strength"]) for r in rows] == list(strengths.values())
    assert {r["status"] for r in rows} == {None}


NOON = START + timedelta(hours=12)


@pytest.mark.parametrize(
    ("status", "known", "expected"),
    [
        ("delivered_orders", NOON, ("delivered", 8)),
        ("canceled_orders", NOON + timedelta(hours=11), ("canceled", 0)),
        ("proccesed_orders", NOON, ("processed", 8)),
        ("canceled_orders", NOON + timedelta(hours=12), ("processed", 8)),
        ("delivered_orders", NOON + timedelta(days=9), ("processed", 8)),
        ("canceled_orders", None, ("processed", 8)),
        ("lost_orders", NOON, ("lost_orders", 1)),
        (None, NOON, ("unknown", 1)),
    ],
)
def test_an_order_has_the_status_known_on_its_day(
    con: ibis.BaseBackend, tmp_path: Path, status: str | None, known: datetime | None, expected: Any
) -> None:
    put(tmp_path, "orders/a.parquet", [order(last_status=status, last_status_timestamp=known)])
    (row,) = cleaned(con, tmp_path)
    assert (row["action"], row["timestamp"], row["reason"]) == ("order", NOON, None)
    assert (row["status"], row["strength"]) == expected


def test_what_became_of_an_order_on_a_later_day_changes_no_row(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    later = {"last_status_timestamp": NOON + timedelta(days=3)}
    found = []
    for status in ("delivered_orders", "canceled_orders", "proccesed_orders"):
        put(tmp_path / status, "orders/a.parquet", [order(last_status=status, **later)])
        found.append(cleaned(con, tmp_path / status))
    assert found[0] == found[1] == found[2]


def test_unknown_actions_and_statuses_are_counted(con: ibis.BaseBackend, tmp_path: Path) -> None:
    at = {"last_status_timestamp": NOON}
    put(tmp_path, "orders/a.parquet", [order(k, last_status="lost", **at) for k in (1, 2)])
    seen = [tracked(k, action_type=a) for k, a in enumerate(["page_view", "Teleport", None])]
    put(tmp_path, "tracker/a.parquet", seen)
    rows = pa.Table.from_pylist(cleaned(con, tmp_path))
    assert tables.most_frequent(tables.count_unknown(rows)) == {
        "status lost": 2, "action teleport": 1, "action unknown": 1,
    }  # fmt: skip
    many = pa.table({"action": [f"a{k:02d}" for k in range(25)], "status": pa.nulls(25)})
    found = tables.most_frequent(tables.count_unknown(many))
    assert (len(found), found["other"], sum(found.values())) == (21, 5, 25)


def test_ozon_items_have_names_categories_and_groups(con: ibis.BaseBackend, tmp_path: Path) -> None:
    color = [{"attribute_name": "color", "attribute_value": "red"}]
    put(tmp_path, "items/a.parquet", [
        {"item_id": 1, "itemname": "coat", "attributes": color, "fclip_embed": [0.5, 1.0],
         "catalogid": 30, "variant_id": 5, "model_id": 9},
        {"item_id": 2, "catalogid": 20, "variant_id": 5},
        {"item_id": 3, "catalogid": 99},
    ])  # fmt: skip
    put(tmp_path, "items/b.parquet", [{"item_id": 4}, {"item_id": 1, "itemname": "warm coat"}])
    put(tmp_path, "categories.parquet", [
        {"catalogid": 30, "catalogpath": "clothes/coats", "ids": [30, 20, -1]},
        {"catalogid": 20, "catalogpath": "clothes", "ids": [20, -1]},
        {"catalogid": 30, "catalogpath": "again", "ids": [30, -1]},
        {"catalogid": None, "catalogpath": "nobody's", "ids": [40, -1]},
    ])  # fmt: skip
    merged = tables.read_catalog(con, raw.scan(tmp_path, EPOCH), None, DOMAINS)
    rows = {row["item_id"]: row for row in merged.rows.to_pyarrow().to_pylist()}
    coat = rows["nfmcg_1"]
    assert (coat["title"], coat["category"], coat["subcategory"], coat["group_id"]) == (
        "warm coat", "clothes", "clothes/coats", "9",
    )  # fmt: skip
    assert coat["attributes"] == [{"name": "color", "value": "red"}]
    assert (coat["image_embedding"], coat["embedding"]) == ([0.5, 1.0], None)
    assert [rows[f"nfmcg_{k}"]["group_id"] for k in (2, 3)] == ["variant 5", None]
    others = [rows[f"nfmcg_{k}"] for k in (2, 3, 4)]
    assert [row["category"] for row in others] == ["clothes", None, None]
    assert [row["subcategory"] for row in others] == ["clothes", "99", None]
    assert coat["category_path"] == ["20", "30"]
    assert [row["category_path"] for row in others] == [["20"], ["99"], None]
    assert merged.duplicates.to_pyarrow().to_pylist() == [{"item_id": "nfmcg_1", "n": 2}]
    counts = merged.counts.to_pyarrow().to_pylist()
    assert {(row["source_file"], row["reason"]): row["n"] for row in counts} == {
        ("items/a.parquet", None): 3,
        ("items/b.parquet", None): 2,
        ("categories.parquet", None): 3,
        ("categories.parquet", "category_id_missing"): 1,
    }
    (bad,) = merged.rejected.to_pyarrow().to_pylist()
    assert (bad["category"], bad["source_row"]) == ("nobody's", 3)


def test_ozon_items_without_categories_keep_their_id(con: ibis.BaseBackend, tmp_path: Path) -> None:
    put(tmp_path, "items/a.parquet", [{"item_id": 1, "catalogid": 30}])
    (row,) = tables.read_catalog(con, raw.scan(tmp_path, EPOCH), None, DOMAINS).rows.to_pyarrow(
    ).to_pylist()  # fmt: skip
    assert (row["category"], row["subcategory"]) == (None, "30")


def test_a_path_names_its_top_by_id_where_no_row_does(
    con: ibis.BaseBackend, tmp_path: Path
) -> None:
    put(tmp_path, "items/a.parquet", [{"item_id": 1, "catalogid": 30}])
    put(tmp_path, "categories.parquet", [{"catalogid": 30, "catalogpath": "x/y", "ids": [30, 20]}])
    (row,) = tables.read_catalog(con, raw.scan(tmp_path, EPOCH), None, DOMAINS).rows.to_pyarrow(
    ).to_pylist()  # fmt: skip
    assert (row["category"], row["subcategory"]) == ("20", "x/y")


def test_two_layouts_in_one_folder(tmp_path: Path) -> None:
    put(tmp_path, "orders/a.parquet", [order()])
    (tmp_path / "users.pq").write_bytes(b"never read")
    with pytest.raises(ItemembError, match="found tecd and ozon, expected the files of one layout"):
        raw.scan(tmp_path, EPOCH)


def broken(tmp_path: Path, table: pa.Table) -> str:
    (tmp_path / "orders").mkdir(exist_ok=True)
    pq.write_table(table, tmp_path / "orders/bad.parquet")
    with pytest.raises(ItemembError) as caught:
        raw.scan(tmp_path, EPOCH)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_files_of_many_days_are_named(tmp_path: Path) -> None:
    put(tmp_path, "orders/good.parquet", [order()])
    good = pq.read_table(tmp_path / "orders/good.parquet")
    assert broken(tmp_path, good.drop_columns(["last_status"])).startswith(
        "orders/bad.parquet: column 'last_status' is missing (found item_id, "
    )
    text = good.set_column(2, "created_timestamp", pa.array(["noon"]))
    assert "'created_timestamp' is string, expected a duration or a timestamp" in broken(
        tmp_path, text
    )
    none = good.set_column(2, "created_timestamp", pa.nulls(1, pa.timestamp("us")))
    assert "'created_timestamp' holds no value" in broken(tmp_path, none)
    old = pa.concat_tables(
        [good, good.set_column(2, "created_timestamp", pa.array([datetime(1970, 1, 1)]))]
    )
    assert "has 1 rows of 2025-03-01, 20148 days from the others (1970-01-01 to 1970-01-01)" in (
        broken(tmp_path, old)
    )
    far = good.set_column(
        2, "created_timestamp", pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))
    )
    assert "holds times beyond any date" in broken(tmp_path, far)
    (tmp_path / "orders/bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(ItemembError, match=r"orders/bad.parquet: not readable as Parquet"):
        raw.scan(tmp_path, EPOCH)
    (tmp_path / "orders/bad.parquet").rename(tmp_path / "orders/bad.csv")
    with pytest.raises(ItemembError, match=r"orders/bad.csv: expected a file that ends in .parq"):
        raw.scan(tmp_path, EPOCH)


def test_a_file_without_rows_has_no_days(con: ibis.BaseBackend, tmp_path: Path) -> None:
    put(tmp_path, "orders/a.parquet", [order()])
    put(tmp_path, "orders/b.parquet", [])
    scan = raw.scan(tmp_path, EPOCH)
    assert [file.span for file in scan.files] == [(DAYS[0], DAYS[0]), None]
    assert len(cleaned(con, tmp_path)) == 1


def test_a_file_that_went_bad_after_the_scan_spoils_its_days(tmp_path: Path) -> None:
    put(tmp_path, "orders/a.parquet", [order(day=0), order(day=2)])
    put(tmp_path, "orders/b.parquet", [order(day=5)])
    scan = raw.scan(tmp_path, EPOCH)
    (tmp_path / "orders/a.parquet").write_bytes(b"PAR1")
    assert list(raw.check_files(scan, "marketplace", DAYS)) == DAYS[:3]
