"""One bad thing in a raw folder stops its own day or file; the others are made."""

import os
import shutil
import socket
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import raw
from itememb_core.errors import ItemembError
from itememb_dagster.automation.runner import Outcome
from itememb_dagster.runtime.engine import connect
from tests.conftest import run
from tests.raw.test_read import write_retail
from tests.worlds.layouts import order, put, tracked

EPOCH = date(2017, 1, 1)


def not_utf8(path: Path) -> None:
    """Text that is no UTF-8, in a file that is whole."""
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    table = pq.read_table(path)
    at = table.schema.get_field_index("action_type")
    pq.write_table(table.set_column(at, "action_type", bad), path)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.pq")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "part.parquet").write_bytes(b"PAR1")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def broken_page(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[4:60] = b"\xff" * 56
    path.write_bytes(bytes(body))


def second_spelling(path: Path) -> None:
    named = EPOCH + timedelta(days=int(path.stem))
    shutil.copy(path, path.with_name(f"{named}.parquet"))


#: What becomes of a day's file, and what its error says.
FAULTS = {
    not_utf8: "column 'action_type' holds what is no string",
    dangling: "found a link to nowhere.pq, where nothing is, expected a Parquet file",
    loop: "found a link that leads nowhere (Too many levels",
    folder: "found a folder, expected a Parquet file",
    pipe: "found a named pipe, expected a Parquet file",
    device: "found a device, expected a Parquet file",
    broken_page: "not readable as Parquet",
    second_spelling: "found retail/events/00015.pq and retail/events/2017-01-16.parquet",
}
#: Which day each spoils: every second one.
BAD_DAYS = {spoil: 2 * n + 1 for n, spoil in enumerate(FAULTS)}


def days_of(lake: Path) -> set[int]:
    """Days of retail in the lake that hold rows."""
    found = lake.glob("retail_events/day=*/part.parquet")
    full = [p for p in found if pq.read_metadata(p).num_rows]
    return {(date.fromisoformat(p.parent.name[4:]) - EPOCH).days for p in full}


def made(root: Path) -> Outcome:
    """Run the day tables of a raw folder."""
    select = 'key:"retail_events" or key:"receipts" or key:"marketplace_events"'
    return run(root, root.parent / "lake", select=select)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, set[int]]:
    """What a run said of a folder in which every second day has a fault, and the days it made."""
    root = tmp_path_factory.mktemp("spoiled")
    for day in range(2 * len(FAULTS) + 1):
        write_retail(root / "raw", day, timestamp=pa.array([day * 86_400], pa.duration("s")))
    for spoil, day in BAD_DAYS.items():
        spoil(root / f"raw/retail/events/{day:05}.pq")
    return made(root / "raw"), days_of(root / "lake")


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_bad_day_file_is_named(spoiled, spoil: Callable[[Path], None]) -> None:
    errors = [error for error in spoiled[0].errors if FAULTS[spoil] in error]
    assert len(errors) == 1, spoiled[0].errors
    assert f"retail/events/{BAD_DAYS[spoil]:05}.pq" in errors[0]
    assert "\n" not in errors[0]


def test_a_bad_day_file_spoils_its_day_alone(spoiled) -> None:
    assert len(spoiled[0].errors) <= 2 * len(FAULTS), spoiled[0].errors
    assert spoiled[1] == set(range(2 * len(FAULTS) + 1)) - set(BAD_DAYS.values())


def test_a_file_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (0, 1):
        write_retail(tmp_path, day)
    allowed = os.access  # tests may run as root, who may read everything
    bad = str(tmp_path / "retail/events/00001.pq")
    monkeypatch.setattr(os, "access", lambda path, mode: path != bad and allowed(path, mode))
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    (error,) = raw.check_files(scan, "retail", scan.days).values()
    assert str(error) == (
        "retail/events/00001.pq: cannot be read (Permission denied), expected a Parquet file"
    )
    assert raw.fingerprint(scan.root, scan.files[1]) == "unreadable"


def test_a_socket_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_retail(tmp_path, 0)
    monkeypatch.chdir(tmp_path / "retail/events")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("00001.pq")
    with pytest.raises(ItemembError, match=r"retail/events/00001.pq: found a socket"):
        raw.scan(tmp_path, EPOCH)


@pytest.mark.parametrize("name", ["a\nb.pq", os.fsdecode(b"\xff\xfe.pq"), "a\x1b[31m.pq"])
def test_a_name_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    write_retail(tmp_path, 0)
    (tmp_path / "retail/events" / name).write_bytes(b"")
    (lost,) = raw.scan(tmp_path, EPOCH, strict=False).lost
    assert lost.startswith("retail/events/")
    assert "in its name" in lost
    assert lost.isprintable()
    assert len(raw.listing_digest(str(tmp_path))) == 32


@pytest.mark.parametrize("name", ["today.pq", "99999999.pq", "9999-12-31.pq", "0001-01-01.pq"])
def test_a_file_of_no_day_leaves_all_days_to_be_made(tmp_path: Path, name: str) -> None:
    path = write_retail(tmp_path / "raw", 0)
    shutil.copy(path, path.with_name(name))
    write_retail(tmp_path / "raw", 0, timestamp=pa.array([5], pa.duration("s")))
    outcome = made(tmp_path / "raw")
    (error,) = outcome.errors
    assert error.startswith(f"retail/events/{name}: name is no day, expected a day number")
    assert days_of(tmp_path / "lake") == {0}


def test_a_folder_that_is_none_spoils_its_channel_alone(tmp_path: Path) -> None:
    write_retail(tmp_path / "raw", 0, timestamp=pa.array([5], pa.duration("s")))
    (tmp_path / "raw/payments").mkdir()
    (tmp_path / "raw/payments/receipts").write_bytes(b"what?")
    outcome = made(tmp_path / "raw")
    assert "payments/receipts: found a file, expected a folder of files" in outcome.errors
    assert days_of(tmp_path / "lake") == set()  # day 0 has receipts, or not: nobody can say
    (tmp_path / "raw/payments/receipts").unlink()
    assert made(tmp_path / "raw").errors == []
    assert days_of(tmp_path / "lake") == {0}


def test_what_a_bad_file_held_stays_in_the_lake(tmp_path: Path) -> None:
    for day in (0, 1):
        write_retail(tmp_path / "raw", day, timestamp=pa.array([day * 86_400], pa.duration("s")))
    assert made(tmp_path / "raw").errors == []
    events = tmp_path / "raw/retail/events"
    (events / "00001.pq").rename(events / "00001 (1).pq")
    assert len(made(tmp_path / "raw").errors) == 1
    assert (tmp_path / "lake/retail_events/day=2017-01-02").is_dir()


def test_a_bad_file_of_many_days_spoils_its_days(tmp_path: Path) -> None:
    put(tmp_path, "tracker/a.parquet", [tracked(day=0), tracked(day=3)])
    put(tmp_path, "tracker/b.parquet", [tracked(day=2), tracked(day=4)])
    table = pq.read_table(tmp_path / "tracker/b.parquet")
    pq.write_table(table.drop_columns(["user_id"]), tmp_path / "tracker/b.parquet")
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    bad = raw.check_files(scan, "marketplace", scan.days)
    assert [day.day for day in bad] == [3, 4, 5]
    assert {str(error).partition(",")[0] for error in bad.values()} == {
        "tracker/b.parquet: column 'user_id' is missing (found item_id"
    }
    (tmp_path / "tracker/b.parquet").write_bytes(b"PAR1")
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    assert scan.days == [date(2025, 3, 1 + k) for k in range(4)]
    assert list(raw.check_files(scan, "marketplace", scan.days)) == scan.days


def test_a_broken_folder_of_another_layouts_name_is_no_second_layout(tmp_path: Path) -> None:
    write_retail(tmp_path, 0)
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders/mine.pq").write_bytes(b"PAR1")
    scan = raw.scan(tmp_path, EPOCH)
    assert scan.layout == "tecd"
    assert raw.unclaimed(scan) == ["orders/mine.pq: not read, layout tecd has no such file"]


def test_links_to_folders_and_files_are_followed_and_loops_end(tmp_path: Path) -> None:
    real = write_retail(tmp_path / "real", 0).parent
    (tmp_path / "raw/retail").mkdir(parents=True)
    (tmp_path / "raw/retail/events").symlink_to(real)
    (tmp_path / "raw/retail/again").symlink_to(tmp_path / "raw")
    before = raw.listing_digest(str(tmp_path / "raw"))
    assert [f.path for f in raw.scan(tmp_path / "raw", EPOCH).files] == ["retail/events/00000.pq"]
    write_retail(tmp_path / "real", 1)
    assert raw.listing_digest(str(tmp_path / "raw")) != before


def test_static_files_are_read_to_their_last_page(tmp_path: Path) -> None:
    put(tmp_path, "orders/a.parquet", [order()])
    put(tmp_path, "items/a.parquet", [{"item_id": 1, "itemname": "coat"}])
    broken_page(tmp_path / "items/a.parquet")
    scan = raw.scan(tmp_path, EPOCH)
    with pytest.raises(ItemembError, match=r"items/a.parquet: not readable as Parquet"):
        raw.read_table(ibis.duckdb.connect(), scan, "marketplace_items")


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.slow)])
def test_no_engine_reads_other_bytes_as_text(tmp_path: Path, engine: str) -> None:
    not_utf8(write_retail(tmp_path, 0))
    scan = raw.scan(tmp_path, EPOCH)
    with pytest.raises(Exception, match=r"(?i)utf-?8"):
        raw.read_events(connect(engine, tmp_path), scan, "retail", scan.days).to_pyarrow()
    assert list(raw.check_files(scan, "retail", scan.days, deep=True)) == [EPOCH]


def test_a_table_by_month_whose_folder_is_none_is_an_error(tmp_path: Path) -> None:
    write_retail(tmp_path, 0)
    (tmp_path / "reviews").write_bytes(b"what?")
    scan = raw.scan(tmp_path, EPOCH, strict=False)
    for days in ([], [EPOCH]):
        with pytest.raises(ItemembError, match=r"^reviews: found a file, expected a folder"):
            raw.read_table(ibis.duckdb.connect(), scan, "reviews", days)
