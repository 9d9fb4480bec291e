"""Files that no layout takes are told of, with the name that was meant."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from itememb_core import raw
from itememb_dagster.assets.tables import raw_faults
from tests.conftest import run
from tests.raw.test_read import write_retail
from tests.raw.test_scan import put
from tests.worlds.layouts import put as put_ozon
from tests.worlds.layouts import tracked

EPOCH = date(2017, 1, 1)


def lines_of(root: Path, *paths: str, layout: str = "retail/events/00000.pq") -> list[str]:
    put(root, layout, *paths)
    return raw.unclaimed(raw.scan(root, EPOCH, strict=False))


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("payments/receipt/00001.pq", "payments/receipts/"),
        ("retail/Events/00001.pq", "retail/events/"),
        ("retail/event/00001.pq", "retail/events/"),
        ("receipts/00001.pq", "payments/receipts/"),
        ("item.pq", "retail/items.pq"),
        ("retail/item.pq", "retail/items.pq"),
        ("retail/items.PQ", "retail/items.pq"),
        ("offers/Items.parquet", "offers/items.pq"),
        ("user.pq", "users.pq"),
        ("Reviews/00003.pq", "reviews/"),
    ],
)
def test_a_misspelt_name_has_the_nearest_known_one(tmp_path: Path, path: str, meant: str) -> None:
    (line,) = lines_of(tmp_path, path)
    assert line.startswith(f"{path}: not read, layout tecd has no such file; did you mean {meant}")


def test_many_of_a_folder_are_one_line(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, *(f"payments/receipt/{k:05}.pq" for k in range(28)))
    assert line == (
        "payments/receipt/: 28 files not read (00000.pq, 00001.pq, 00002.pq, ...), layout tecd has "
        "no such files; did you mean payments/receipts/?"
    )


def test_markers_and_what_is_read_are_no_news(tmp_path: Path) -> None:
    hidden = ("_SUCCESS", ".DS_Store", "retail/events/_temporary/0.pq", ".git/config", "_x/a.pq")
    assert lines_of(tmp_path, *hidden, "users.pq", "retail/items.parquet") == []
    put(tmp_path, "retail/events/00001.pq/part.parquet", "README.md")
    assert lines_of(tmp_path) == ["README.md: not read, layout tecd has no such file"]


def test_many_folders_are_counted(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, *(f"more/{k}/a.csv" for k in range(30)))
    assert (len(lines), lines[-1]) == (21, "10 more folders of such files")


def test_other_layouts_have_names_too(tmp_path: Path) -> None:
    put_ozon(tmp_path, "tracker/a.parquet", [tracked()])
    (tmp_path / "order").mkdir()
    (tmp_path / "order/a.parquet").write_bytes(b"")
    (tmp_path / "Retail_Items_Clean.parquet").write_bytes(b"")
    assert raw.unclaimed(raw.scan(tmp_path, EPOCH)) == [
        "Retail_Items_Clean.parquet: not read, layout ozon has no such file",
        "order/a.parquet: not read, layout ozon has no such file; did you mean orders/?",
    ]


def test_every_run_warns_and_is_good_all_the_same(tmp_path: Path) -> None:
    write_retail(tmp_path / "raw", 0, timestamp=pa.array([5], pa.duration("s")))
    put(tmp_path / "raw", "payments/receipt/00000.pq")
    for _ in range(2):
        outcome = run(tmp_path / "raw", tmp_path / "lake", select='key:"retail_events"')
        assert outcome.errors == []
        (line,) = outcome.warnings
        assert line.startswith("payments/receipt/00000.pq: not read")


def test_the_inventory_shows_them(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, "item.pq", "payments/receipt/00001.pq")
    assert raw_faults(raw.scan(tmp_path, EPOCH)) == {"files not read": "; ".join(lines)}
