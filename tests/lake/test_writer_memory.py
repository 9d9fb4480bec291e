"""A day is written as its rows come: the same files and counts, and no day is held whole."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_core.tables import count_unknown
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.store import rejected_key
from itememb_dagster.lake.writer import SegmentWriter
from tests.worlds.peak import STATUS, peak_mib

KEY = ("things",)
SCHEMA = pa.schema([("item_id", pa.string()), ("action", pa.string()), ("status", pa.string())])
FILES = {f: {"rows": 3, "fingerprint": "x", "bytes": 1} for f in ("f", "g")}
STAMP = Stamp("things", "a", {}, "1", None, {"files": FILES})
FIRST = date(2017, 1, 1)


def day_rows(times=1):
    """Six rows of one day: one of file f is rejected, two of g, for two reasons."""
    return pa.table(
        {
            "item_id": ["a", "b", "c", "d", "e", "g"] * times,
            "action": ["view", "teleport", "teleport", "fly", "teleport", None] * times,
            "status": pa.nulls(6 * times, pa.string()),
            "source_file": ["f", "g", "f", "g", "f", "g"] * times,
            "reason": pa.array([None, "late", "odd", "odd", None, None] * times, pa.string()),
            "day": [FIRST] * 6 * times,
        }
    )


def written(folder: Path, batches, refuse=None) -> SegmentWriter:
    writer = SegmentWriter(Lake(folder), KEY, "day", SCHEMA, lambda _: STAMP, refuse, count_unknown)
    writer.write(batches, [])
    return writer


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.parquet")}


def test_a_day_in_many_batches_is_the_day_in_one(tmp_path):
    seen = []
    refuse = lambda counts: seen.append(counts.to_pylist())  # noqa: E731
    one = written(tmp_path / "one", day_rows(2).to_batches(), refuse)
    many = written(tmp_path / "many", day_rows(2).to_batches(max_chunksize=1), refuse)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")
    assert len(files_of(tmp_path / "one")) == 2
    assert one.counts == many.counts
    counts = one.counts["2017-01-01"]
    assert counts["files"]["f"] == {**FILES["f"], "clean": 4, "rejected": 2}
    assert counts["files"]["g"] == {**FILES["g"], "clean": 2, "rejected": 4}
    # As they come: the first rejected row is late.
    assert list(counts["rejected"].items()) == [("late", 2), ("odd", 4)]
    # Only clean rows' words count.
    assert counts["unknown"] == {"action teleport": 2}
    assert counts["rows"] == 6
    assert seen[0] == seen[1]
    assert {(row["source_file"], row["reason"], row["n"]) for row in seen[0]} == {
        ("f", None, 4), ("f", "odd", 2), ("g", None, 2), ("g", "late", 2), ("g", "odd", 2),
    }  # fmt: skip


def test_a_refused_day_stays_as_it_was(tmp_path):
    written(tmp_path, day_rows().to_batches())
    before = files_of(tmp_path)
    writer = written(tmp_path, day_rows(3).to_batches(max_chunksize=2), lambda _: "another epoch")
    assert (writer.refused, writer.counts) == ({"2017-01-01": "another epoch"}, {})
    assert files_of(tmp_path) == before
    assert len(before) == 2


def test_an_error_in_the_middle_of_a_day_leaves_the_days_before(tmp_path):
    def batches():
        yield from day_rows().to_batches()
        yield from day_rows().set_column(5, "day", [[date(2017, 1, 2)] * 6]).to_batches()
        raise ItemembError("the engine's disk is full")

    with pytest.raises(ItemembError, match="the engine's disk is full"):
        written(tmp_path, batches())
    assert Lake(tmp_path).segments(KEY) == ["day=2017-01-01"]
    assert Lake(tmp_path).segments(rejected_key(KEY)) == ["day=2017-01-01"]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("_") and p.is_file()]


MANY = """
from pathlib import Path
from tests.lake.test_writer_memory import day_rows, written
batch = day_rows(20_000).combine_chunks().to_batches()[0]
import tempfile
import pyarrow as pa
order = pa.array(range(batch.num_rows))  # each batch is memory of its own, as an engine's are
folder = tempfile.TemporaryDirectory()
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="the system has no such file")
def test_a_day_of_four_million_rows_is_not_held():
    few, many = (
        peak_mib(MANY, f"written(Path(folder.name), (batch.take(order) for _ in range({n})))")
        for n in (4, 36)
    )
    assert many < 1.5 * few + 20
