"""The lake's writes and stamps: whole or not at all, equal rows are equal bytes."""

import json
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake, LakeNote, Stamp
from itememb_dagster.lake.seal import DamagedError
from itememb_dagster.lake.writer import ROW_GROUP, SegmentWriter, StampedFile, write_file

SCHEMA = pa.schema([("item_id", pa.string()), ("n", pa.int64())])
KEY = ("things",)


def stamp(inputs: str = "a", parent: str | None = None, code: str = "1") -> Stamp:
    return Stamp("things", inputs, {"seed": 0}, code, parent)


def rows(*names: str) -> pa.Table:
    return pa.table({"item_id": list(names), "n": list(range(len(names)))}, schema=SCHEMA)


def batches(days: dict[str, tuple[str, ...]]) -> list[pa.RecordBatch]:
    out = []
    for day, names in days.items():
        table = rows(*names).append_column("day", pa.array([date.fromisoformat(day)] * len(names)))
        out += table.to_batches()
    return out


def test_recipe_ignores_the_parent_and_id_does_not():
    assert stamp().recipe == stamp(parent="p").recipe
    assert stamp().id != stamp(parent="p").id
    assert len({stamp().recipe, stamp("b").recipe, stamp(code="2").recipe}) == 3
    assert Stamp.parse(stamp(parent="p").to_json()) == stamp(parent="p")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path):
    lake = Lake(tmp_path)
    write_file(lake, lake.part(KEY), [rows("old")], SCHEMA, stamp())

    def broken():
        yield rows("new")
        raise OSError("disk full")

    with pytest.raises(ItemembError, match=r"things/part.parquet: cannot be written \(disk full\)"):
        write_file(lake, lake.part(KEY), broken(), SCHEMA, stamp("b"))
    assert pq.read_table(lake.part(KEY))["item_id"].to_pylist() == ["old"]
    assert [p.name for p in lake.table(KEY).iterdir()] == ["part.parquet"]
    assert lake.stamp(KEY).inputs == "a"


def test_equal_rows_are_equal_bytes_however_they_arrive(tmp_path: Path):
    lake = Lake(tmp_path)
    table = pa.table({"item_id": [f"i{k % 97}" for k in range(ROW_GROUP + 50)],
                      "n": list(range(ROW_GROUP + 50))}, schema=SCHEMA)  # fmt: skip
    pieces = [table.slice(start, 999) for start in range(0, table.num_rows, 999)]
    write_file(lake, lake.part(("one",)), [table], SCHEMA, stamp())
    write_file(lake, lake.part(("many",)), pieces, SCHEMA, stamp())
    assert lake.part(("one",)).read_bytes() == lake.part(("many",)).read_bytes()
    assert pq.read_metadata(lake.part(("one",))).num_row_groups == 2


def test_days_are_files_and_a_day_without_rows_is_an_empty_one(tmp_path: Path):
    lake = Lake(tmp_path)
    writer = SegmentWriter(lake, KEY, "day", SCHEMA, lambda _day: stamp())
    days = {"2017-01-01": ("a", "b"), "2017-01-03": ("c",)}
    writer.write(batches(days), ["2017-01-01", "2017-01-02", "2017-01-03"])
    assert {day: counts["rows"] for day, counts in writer.counts.items()} == {
        "2017-01-01": 2, "2017-01-03": 1, "2017-01-02": 0,
    }  # fmt: skip
    assert lake.segments(KEY) == ["day=2017-01-01", "day=2017-01-02", "day=2017-01-03"]
    assert lake.stamp(KEY, "day=2017-01-01").counts["rows"] == 2
    assert pq.read_table(lake.day(KEY, date(2017, 1, 3)), partitioning=None).num_rows == 1


def test_rejected_rows_are_kept_whole_beside_and_go_when_the_day_is_mended(tmp_path: Path):
    lake = Lake(tmp_path)
    files = {"files": {"f": {"rows": 3, "fingerprint": "x", "bytes": 1}}}
    made = Stamp("things", "a", {}, "1", None, files)
    bad = pa.table({
        "item_id": ["a", "b", "c"], "n": [1, 2, 3], "source_file": ["f"] * 3,
        "reason": [None, "item_id_missing", None], "day": [date(2017, 1, 1)] * 3,
    })  # fmt: skip
    writer = SegmentWriter(lake, KEY, "day", SCHEMA, lambda _day: made)
    writer.write(bad.to_batches(), [])
    assert writer.counts["2017-01-01"]["rejected"] == {"item_id_missing": 1}
    assert writer.counts["2017-01-01"]["files"]["f"] == {
        "rows": 3, "fingerprint": "x", "bytes": 1, "clean": 2, "rejected": 1,
    }  # fmt: skip
    kept = lake.part(("things_rejected",), "day=2017-01-01")
    assert pq.read_table(kept, partitioning=None)["item_id"].to_pylist() == ["b"]
    mended = bad.set_column(3, "reason", pa.array([None] * 3, pa.string()))
    SegmentWriter(lake, KEY, "day", SCHEMA, lambda _day: made).write(mended.to_batches(), [])
    assert not kept.exists()


def test_a_version_appears_whole_and_the_one_before_stays(tmp_path: Path):
    lake = Lake(tmp_path)
    for inputs in ("a", "b", "c"):
        with lake.new_version(KEY, stamp(inputs)) as folder:
            (folder / "model.txt").write_text(inputs)
    assert (lake.version(KEY) / "model.txt").read_text() == "c"
    kept = sorted(p.name for p in (tmp_path / "_versions" / "things").iterdir())
    assert kept == sorted([stamp("b").id, stamp("c").id])

    def fail():
        with lake.new_version(KEY, stamp("d")) as folder:
            (folder / "model.txt").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (lake.version(KEY) / "model.txt").read_text() == "c"
    assert len(list((tmp_path / "_versions" / "things").iterdir())) == 2


def test_of_a_version_one_file_alone_can_be_looked_at(tmp_path: Path):
    lake = Lake(tmp_path)
    with lake.new_version(KEY, stamp("a")) as folder:
        (folder / "history").write_text("short")
        (folder / "weights").write_text("long")
    (lake.version(KEY) / "weights").write_text("gone")
    assert (lake.version(KEY, only="history") / "history").read_text() == "short"
    for only in (None, "weights", "unheard of"):
        with pytest.raises(DamagedError):
            lake.version(KEY, only)


def test_a_lake_keeps_its_epoch_and_tells_what_it_lacks(tmp_path: Path):
    lake = Lake(tmp_path / "lake")
    lake.prepare(date(2017, 1, 1))
    lake.prepare(date(2017, 1, 1))
    with pytest.raises(ItemembError, match="made with epoch 2017-01-01, found epoch 2018-01-01"):
        lake.prepare(date(2018, 1, 1))
    with pytest.raises(ItemembError, match="item_model: not in lake"):
        lake.version(("item_model",))


def test_a_lake_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ItemembError, match="cannot be written"):
        Lake(tmp_path / "file").prepare(date(2017, 1, 1))


def test_a_table_of_several_files_has_a_stamp_only_when_all_were_written(tmp_path: Path):
    lake = Lake(tmp_path)
    with lake.whole(KEY, stamp()):
        write_file(lake, lake.part(KEY, "month=2017-01"), [rows("a")], SCHEMA, stamp())
        assert lake.stamp(KEY) is None
    assert lake.stamp(KEY) == stamp()

    def broken() -> None:
        with lake.whole(KEY, stamp("b")):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        broken()
    assert lake.stamp(KEY) is None


def test_a_version_without_its_folder_has_no_stamp_and_can_be_made_again(tmp_path: Path):
    lake = Lake(tmp_path)
    for content in ("old", "new"):
        with lake.new_version(KEY, stamp()) as folder:
            (folder / "file").write_text(content)
    assert (lake.version(KEY) / "file").read_text() == "new"
    assert [p.name for p in lake.version(KEY).parent.iterdir()] == [stamp().id]
    shutil.rmtree(lake.version(KEY))
    assert lake.stamp(KEY) is None


def test_a_replaced_file_shows_its_own_stamp_and_a_damaged_one_none(tmp_path):
    lake = Lake(tmp_path)
    path = lake.part(KEY)
    for inputs in ("a", "b"):
        write_file(lake, path, [rows("x")], SCHEMA, stamp(inputs))
        assert lake.stamp(KEY).inputs == inputs
    path.write_bytes(path.read_bytes()[:-8])
    assert lake.stamp(KEY) is None
    path.unlink()
    assert lake.stamp(KEY) is None


BROKEN = (b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"id": 1}', b'{"name": 1, "x": 2}')


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_pointer_or_stamp_is_none_and_is_made_again(tmp_path: Path, content: bytes):
    lake = Lake(tmp_path)
    for name in ("v/current.json", "_stamps/m.json", "t/part.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    StampedFile(lake.part(("t",)), SCHEMA.with_metadata({"itememb": content})).close(None)
    assert lake.stamp(("v",)) is lake.stamp(("m",)) is lake.stamp(("t",)) is None
    with pytest.raises(ItemembError, match=r"v: not in lake .*; itememb run makes it"):
        lake.version(("v",))
    with lake.new_version(("v",), stamp()):
        pass
    with lake.whole(("m",), stamp()):
        pass
    assert lake.stamp(("v",)) == lake.stamp(("m",)) == stamp()


def test_a_stamp_with_parts_of_other_kinds_is_broken():
    whole = json.loads(stamp().to_json())
    assert Stamp.parse(json.dumps(whole)) == stamp()
    others = ({"counts": []}, {"settings": None}, {"parent": 1}, {"name": 1}, {"more": 1})
    assert [Stamp.parse(json.dumps(whole | other)) for other in others] == [None] * 5
    assert Stamp.parse(json.dumps({n: v for n, v in whole.items() if n != "id"})) is None


def test_a_damaged_file_has_no_stamp_wherever_it_is_damaged(tmp_path: Path):
    lake = Lake(tmp_path)
    write_file(lake, lake.part(KEY), [rows("a")], SCHEMA, stamp())
    content = lake.part(KEY).read_bytes()
    footer = content.index(b"itemembS") + 48
    for at in range(len(content)):
        lake.part(KEY).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert lake.stamp(KEY) is None or at < footer
        ((name, _why),) = lake.faults(KEY, deep=True).items()
        assert name == "things/part.parquet"
    for length in range(0, len(content), 11):
        lake.part(KEY).write_bytes(content[:length])
        assert lake.stamp(KEY) is None
        assert list(lake.faults(KEY)) == ["things/part.parquet"]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_verdict_is_none(tmp_path: Path, content: bytes):
    lake, verdict = (
        Lake(tmp_path),
        {"version": "v", "content": "", "code": "1", "passed": False, "severity": "E"},
    )
    for name in ("broken", "whole"):
        lake.record_check(KEY, name, verdict)
    (tmp_path / "_checks/things/broken.json").write_bytes(content)
    assert lake.checks(KEY) == {"whole": verdict}
    lake.record_check(KEY, "broken", verdict)
    assert lake.checks(KEY) == {"broken": verdict, "whole": verdict}


@pytest.mark.parametrize("content", [*BROKEN, b'{"epoch": 1}', b'{"epoch": "x", "format": 1}',
                                     b'{"epoch": "2017-01-01", "format": "two"}'])  # fmt: skip
def test_a_broken_note_is_named_with_what_to_do(tmp_path: Path, content: bytes):
    lake = Lake(tmp_path)
    (tmp_path / "lake.json").write_bytes(content)
    for use in (lake.note, lake.epoch, lambda: lake.prepare(date(2017, 1, 1))):
        with pytest.raises(ItemembError, match=r"lake.json: broken, .*remove this file") as error:
            use()
        assert "\n" not in str(error.value)
    assert (tmp_path / "lake.json").read_bytes() == content
    (tmp_path / "lake.json").unlink()
    lake.prepare(date(2017, 1, 1))
    assert lake.epoch() == date(2017, 1, 1)


def test_of_two_that_prepare_a_new_lake_the_second_keeps_the_epoch_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lake, notes = Lake(tmp_path), []

    def absent_at_first(self: Lake) -> LakeNote | None:
        notes.append(note(self))
        if len(notes) == 1:
            Lake(tmp_path).prepare(date(2017, 1, 1))  # another, between the look and the write
            return None
        return notes[-1]

    note = Lake.note
    monkeypatch.setattr(Lake, "note", absent_at_first)
    with pytest.raises(ItemembError, match="made with epoch 2017-01-01, found epoch 2018-01-01"):
        lake.prepare(date(2018, 1, 1))
    assert lake.epoch() == date(2017, 1, 1)
