"""The inventory of raw files and the law of conservation over it."""

from datetime import date, timedelta
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core import raw, schemas, tables
from itememb_core.services import CHANNELS
from itememb_core.settings import DomainSettings
from tests.worlds.tiny import write_tiny_world

EPOCH = date(2017, 1, 1)


def count_all(scan: raw.RawScan, drop_a_rejected_row: bool = False) -> list[tables.FileCount]:
    """What a job over all days would store; optionally with the planted fault."""
    con = ibis.duckdb.connect(threads=2)
    found = []
    for channel in CHANNELS:
        rows = raw.read_events(con, scan, channel, scan.days)
        cleaned = tables.clean_events(rows, channel, DomainSettings())
        if drop_a_rejected_row:
            cleaned = cleaned.filter(ibis.coalesce(cleaned.reason != "user_id_missing", True))
        counts = tables.day_counts(cleaned).to_pyarrow()
        assert tables.epoch_errors(counts, scan.epoch) == {}
        found += tables.file_counts(
            raw.day_rows(con, scan, channel, scan.days),
            {file.path: raw.fingerprint(scan.root, file) for file in scan.named(channel)},
            counts,
        )
    return found


def test_a_world_with_bad_rows_is_conserved_and_a_dropped_row_is_seen(tmp_path: Path) -> None:
    world = write_tiny_world(tmp_path / "raw", days=3, users=20, bad=True)
    empty = world.raw / "retail/events/00002.pq"
    pq.write_table(pq.read_schema(empty).empty_table(), empty)
    scan = raw.scan(world.raw, EPOCH)
    fingerprints = {file.path: raw.fingerprint(scan.root, file) for file in scan.files}
    inventory = tables.raw_inventory(scan, fingerprints, count_all(scan))
    assert inventory.schema == schemas.RAW_INVENTORY
    rows = {row["file"]: row for row in inventory.to_pylist()}
    assert list(rows) == sorted(file.path for file in scan.files)
    assert tables.conservation_violations(inventory) == []
    spoiled = {file: row["rejected"] for file, row in rows.items() if row["rejected"]}
    assert spoiled == world.bad
    day = rows["retail/events/00001.pq"]
    assert (day["channel"], day["layout"]) == ("retail", "tecd")
    assert day["day"] == EPOCH + timedelta(1)
    assert day["bytes"] == (world.raw / "retail/events/00001.pq").stat().st_size
    assert day["rows"] == world.rows["retail/events/00001.pq"] == day["clean"] + day["rejected"]
    assert [rows["retail/events/00002.pq"][name] for name in ("rows", "clean")] == [0, 0]
    assert rows["retail/items.pq"]["rows"] is None

    faulty = tables.raw_inventory(scan, fingerprints, count_all(scan, drop_a_rejected_row=True))
    violations = tables.conservation_violations(faulty)
    assert {line.split(":")[0] for line in violations} == set(world.bad)


def test_counts_of_another_content_do_not_count() -> None:
    file = raw.RawFile("retail/events/00000.pq", "retail", EPOCH, 10)
    scan = raw.RawScan("/raw", "tecd", EPOCH, (file,))
    counts = tables.FileCount(file.path, EPOCH, "old", rows=3, clean=2, rejected=1)
    (now,) = tables.raw_inventory(scan, {file.path: "old"}, [counts]).to_pylist()
    assert (now["rows"], now["clean"], now["rejected"]) == (3, 2, 1)
    (later,) = tables.raw_inventory(scan, {file.path: "new"}, [counts]).to_pylist()
    assert (later["rows"], later["clean"], later["fingerprint"]) == (None, None, "new")


def test_days_of_one_file_add_up() -> None:
    span = (EPOCH, EPOCH + timedelta(1))
    file = raw.RawFile("retail.parquet", "retail", None, 10, span)
    scan = raw.RawScan("/raw", "notebook", EPOCH, (file,))
    assert scan.days == list(span)
    counts = pa.Table.from_pylist(
        [
            {"day": span[0], "source_file": file.path, "reason": None, "n": 4},
            {"day": span[1], "source_file": file.path, "reason": "x", "n": 1},
        ]
    )
    before = {(file.path, span[0]): 4, (file.path, span[1]): 2}
    stored = tables.file_counts(before, {file.path: "f"}, counts)
    assert [(c.rows, c.clean, c.rejected) for c in stored] == [(4, 4, 0), (2, 0, 1)]
    part = tables.raw_inventory(scan, {file.path: "f"}, stored[:1])
    assert tables.conservation_violations(part) == []
    whole = tables.raw_inventory(scan, {file.path: "f"}, stored)
    assert tables.conservation_violations(whole) == [
        "retail.parquet: 6 rows, found 4 clean + 1 rejected, expected the same sum"
    ]
