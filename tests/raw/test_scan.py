"""Scanning a raw folder: layouts, days, fingerprints."""

import os
import shutil
from datetime import date
from pathlib import Path

import fsspec
import pytest

from itememb_core import raw
from itememb_core.errors import ItemembError
from itememb_core.settings import RawSettings

EPOCH = date(2017, 1, 1)


def put(root: Path, *paths: str, content: bytes = b"not parquet at all") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def test_scan_lists_days_channels_and_tables_without_reading(tmp_path: Path) -> None:
    put(
        tmp_path,
        "payments/receipts/00000.pq",
        "payments/receipts/2017-01-04.parquet",
        "retail/events/01272.pq",
        "retail/items.pq",
        "users.parquet",
        "payments/events/00001.pq",
        "retail/events/_SUCCESS",
        "retail/events/.00001.pq.crc",
        "README.md",
    )
    scan = raw.scan(tmp_path, EPOCH, settings=RawSettings(max_gap_days=2000))
    assert (scan.layout, scan.epoch, scan.root) == ("tecd", EPOCH, str(tmp_path))
    assert [(f.path, f.name, f.day) for f in scan.files] == [
        ("payments/events/00001.pq", "payments", date(2017, 1, 2)),
        ("payments/receipts/00000.pq", "receipts", EPOCH),
        ("payments/receipts/2017-01-04.parquet", "receipts", date(2017, 1, 4)),
        ("retail/events/01272.pq", "retail", date(2020, 6, 26)),
        ("retail/items.pq", "retail_items", None),
        ("users.parquet", "users", None),
    ]
    assert scan.files[0].bytes == len(b"not parquet at all")
    assert scan.days == [EPOCH, date(2017, 1, 2), date(2017, 1, 4), date(2020, 6, 26)]
    assert [f.path for f in scan.day_files("receipts", date(2017, 1, 4))] == [
        "payments/receipts/2017-01-04.parquet"
    ]
    assert scan.day_files("retail", EPOCH) == []
    assert [f.path for f in scan.static_files("retail_items")] == ["retail/items.pq"]


def test_epoch_moves_day_numbers_but_not_dates(tmp_path: Path) -> None:
    put(tmp_path, "reviews/00003.pq", "reviews/2017-01-01.pq")
    wide = RawSettings(max_gap_days=2000)
    found = raw.scan(tmp_path, date(2020, 2, 27), settings=wide)
    assert found.days == [date(2017, 1, 1), date(2020, 3, 1)]


@pytest.mark.parametrize("name", ["today.pq", "2017-02-30.pq", "00001.csv", "99999999.pq", "x"])
def test_day_file_whose_name_is_no_day(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"retail/events/{name}")
    with pytest.raises(ItemembError, match=rf"^retail/events/{name}: name is no day, expected"):
        raw.scan(tmp_path, EPOCH)


@pytest.mark.parametrize("other", ["00001.parquet", "2017-01-02.pq", "1.pq"])
def test_two_files_for_one_day(tmp_path: Path, other: str) -> None:
    put(tmp_path, "offers/events/00001.pq", f"offers/events/{other}")
    with pytest.raises(ItemembError, match=r"day 2017-01-02 of offers: found .*00001.pq"):
        raw.scan(tmp_path, EPOCH)


def test_two_files_for_one_table(tmp_path: Path) -> None:
    put(tmp_path, "retail/items.pq", "retail/items.parquet")
    with pytest.raises(ItemembError, match=r"table retail_items: found .*, expected one file"):
        raw.scan(tmp_path, EPOCH)


def test_folder_where_a_file_should_be(tmp_path: Path) -> None:
    put(tmp_path, "retail/items.parquet/part-0.parquet")
    with pytest.raises(ItemembError, match=r"retail/items.parquet: found a folder"):
        raw.scan(tmp_path, EPOCH)


def test_missing_folder_and_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ItemembError, match="nowhere: found no folder there, expected a folder"):
        raw.scan(tmp_path / "nowhere", EPOCH)
    with pytest.raises(ItemembError, match="found nothing, expected the files of one layout"):
        raw.scan(tmp_path, EPOCH)
    put(tmp_path, "holiday.jpg")
    with pytest.raises(ItemembError, match=r"found holiday.jpg, expected"):
        raw.scan(tmp_path, EPOCH)


def test_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    body = bytes(range(256)) * 9000  # more than two blocks
    put(tmp_path, "retail/events/00001.pq", "retail/events/00002.pq", content=body)
    put(tmp_path, "retail/events/00003.pq", content=body[:-1] + b"\0")
    one, two, three = raw.scan(tmp_path, EPOCH).files
    assert len(raw.fingerprint(str(tmp_path), one)) == 32
    assert raw.fingerprint(str(tmp_path), one) == raw.fingerprint(str(tmp_path), two)
    assert raw.fingerprint(str(tmp_path), one) != raw.fingerprint(str(tmp_path), three)
    shutil.rmtree(tmp_path / "retail")
    assert raw.fingerprint(str(tmp_path), one) == "unreadable"


def test_remote_folder_scans_as_a_local_one(tmp_path: Path) -> None:
    put(tmp_path, "retail/events/00001.pq", "users.pq")
    remote = fsspec.filesystem("memory")
    remote.pipe("/shop/raw/retail/events/00001.pq", b"not parquet at all")
    remote.pipe("/shop/raw/users.pq", b"not parquet at all")
    local, far = raw.scan(tmp_path, EPOCH), raw.scan("memory://shop/raw", EPOCH)
    assert far.files == local.files
    assert raw.fingerprint(far.root, far.files[0]) == raw.fingerprint(local.root, local.files[0])


def test_a_listing_tells_of_every_change_without_reading(tmp_path: Path) -> None:
    put(tmp_path, "users.pq", "retail/events/00001.pq", "retail/events/_temporary/0.pq")
    path = tmp_path / "retail/events/00001.pq"
    seen = [raw.listing_digest(str(tmp_path))]
    assert raw.listing_digest(str(tmp_path)) == seen[0]
    put(tmp_path, "retail/events/_00002.pq")
    assert raw.listing_digest(str(tmp_path)) == seen[0]
    path.write_bytes(b"longer than it was before")
    seen.append(raw.listing_digest(str(tmp_path)))
    os.utime(path, (1, 1))
    seen.append(raw.listing_digest(str(tmp_path)))
    path.rename(path.with_name("00002.pq"))
    seen.append(raw.listing_digest(str(tmp_path)))
    path.with_name("00002.pq").unlink()
    seen.append(raw.listing_digest(str(tmp_path)))
    assert len(set(seen)) == len(seen)
