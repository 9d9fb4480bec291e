"""The contract of a lake's storage, over each one, and a lake on one that is no disk."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.storage import LocalStorage, Storage
from itememb_dagster.lake.writer import SegmentWriter
from tests.lake.memory import MemoryStorage

KINDS: dict[str, Callable[[Path], Storage]] = {"local": LocalStorage, "memory": MemoryStorage}
NAMES = ("w[ei]rd", "a b", "*", "ünï\u200dcödé", "day=2017-01-01", "it's {x}", "back\\slash", "...")
ESCAPES = ("", "..", "../x", "a/../../x", "/etc/x", "a//b", "./a", "a/", "a/.", "a\0b")


@pytest.fixture(params=KINDS)
def storage(request, tmp_path: Path) -> Storage:
    return KINDS[request.param](tmp_path / "root")


def test_a_list_is_sorted_and_of_what_lies_directly_there(storage: Storage):
    assert list(storage.list()) == list(storage.list("none/such")) == []
    for name in ("t/b", "t/c/d/e", "t/a", "tt/x", "z"):
        storage.replace(name, b"")
    assert list(storage.list()) == ["t", "tt", "z"]
    assert list(storage.list("t")) == ["a", "b", "c"]
    assert list(storage.list("t/c")) == ["d"]
    assert list(storage.list("t/a")) == []


def test_what_was_written_is_read_and_what_is_not_there_is_none(storage: Storage):
    assert storage.read("p/current.json") is None
    storage.replace("p/current.json", b"one")
    storage.replace("p/current.json", b"")
    assert storage.read("p/current.json") == b""
    storage.replace("p/current.json", b"two\n\xff")
    assert storage.read("p/current.json") == b"two\n\xff"
    assert storage.read("p") is None
    assert storage.read("p/current.json/below") is None
    assert list(storage.list("p")) == ["current.json"]


def test_a_reader_finds_the_old_or_the_new_never_a_part(storage: Storage):
    contents = [bytes([k]) * 300_000 for k in range(2)]
    storage.replace("x", contents[0])
    ended, found = threading.Event(), set()

    def read() -> None:
        while not ended.is_set():
            found.add(storage.read("x"))

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(200):
        storage.replace("x", contents[k % 2])
    ended.set()
    reader.join()
    assert found <= set(contents)


def race(put: Callable[[str, bytes], bool], racers: int = 4) -> tuple[list[int], bytes]:
    """Let threads put one name at once; return who won, and what each would have written."""
    start = threading.Barrier(racers)

    def run(k: int) -> bool:
        start.wait()
        return put("p/x", b"%d" % k * 1000)

    with ThreadPoolExecutor(racers) as pool:
        won = list(pool.map(run, range(racers)))
    return [k for k in range(racers) if won[k]], b"%d" % won.index(True) * 1000


def test_of_threads_that_put_one_name_one_wins_and_nothing_is_clobbered(storage: Storage):
    for _ in range(50):
        winners, content = race(storage.put_if_absent)
        assert len(winners) == 1
        assert storage.read("p/x") == content
        assert not storage.put_if_absent("p/x", b"late")
        assert storage.read("p/x") == content
        assert list(storage.list("p")) == ["x"]
        storage.remove("p/x")


PUT = """
import sys
from pathlib import Path
from itememb_dagster.lake.storage import LocalStorage
print("ready", flush=True)
sys.stdin.readline()
storage = LocalStorage(Path(sys.argv[1]))
print(*(int(storage.put_if_absent(f"p/{k}", sys.argv[2].encode())) for k in range(100)))
"""


def test_of_processes_that_put_one_name_one_wins(tmp_path: Path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", PUT, str(tmp_path), word],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for word in "ab"
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = dict(zip("ab", (racer.communicate()[0].split() for racer in racers), strict=True))
    for k in range(100):
        (winner,) = [word for word in "ab" if won[word][k] == "1"]
        assert (tmp_path / "p" / str(k)).read_text() == winner


def test_where_the_disk_knows_no_links_one_still_wins(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    storage = LocalStorage(tmp_path)
    for k in range(50):
        winners, content = race(storage.put_if_absent)
        assert len(winners) == 1, k
        assert storage.read("p/x") == content
        assert list(storage.list("p")) == ["x"]
        storage.remove("p/x")


def test_what_is_removed_is_gone_with_all_in_it_and_nothing_else(storage: Storage):
    for name in ("t/a", "t/b/c", "tt", "s/t"):
        storage.replace(name, b"x")
    storage.remove("t")
    storage.remove("t")
    storage.remove("s/none")
    assert list(storage.list("t")) == []
    assert storage.read("t/b/c") is None
    assert storage.read("tt") == storage.read("s/t") == b"x"
    storage.remove("tt")
    assert storage.read("tt") is None


def test_a_linked_folder_is_removed_and_what_it_links_to_stays(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/kept").write_text("x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "other")
    LocalStorage(tmp_path / "root").remove("link")
    assert list(LocalStorage(tmp_path / "root").list()) == []
    assert (tmp_path / "other/kept").exists()


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_literal(storage: Storage, name: str):
    storage.replace("we/x", b"other")
    storage.replace(f"{name}/{name}", b"x")
    assert not storage.put_if_absent(f"{name}/{name}", b"late")
    assert list(storage.list()) == sorted(["we", name])
    assert list(storage.list(name)) == [name]
    assert storage.read(f"{name}/{name}") == b"x"
    with storage.staged(f"{name}/{name}") as staged:
        staged.write_bytes(b"y")
    assert storage.local(f"{name}/{name}").read_bytes() == b"y"
    storage.remove(f"{name}/{name}")
    assert storage.read(f"{name}/{name}") is None
    assert storage.read("we/x") == b"other"


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_leave_the_root_are_refused(storage: Storage, name: str, tmp_path: Path):
    (tmp_path / "x").write_text("outside")
    uses: list[Callable[[], object]] = [
        lambda: storage.read(name),
        lambda: storage.replace(name, b""),
        lambda: storage.put_if_absent(name, b""),
        lambda: storage.remove(name),
        lambda: storage.local(name),
        lambda: storage.staged(name).__enter__(),
        lambda: storage.staged(name, folder=True).__enter__(),
        *([lambda: storage.list(name)] if name else []),
    ]
    for use in uses:
        with pytest.raises(ItemembError, match="expected a path below its root"):
            use()
    assert (tmp_path / "x").read_text() == "outside"


def test_a_staged_file_or_folder_appears_when_all_went_well(storage: Storage):
    with storage.staged("t/file") as staged:
        staged.write_bytes(b"one")
        assert storage.read("t/file") is None
    assert storage.read("t/file") == b"one"
    for content in (b"one", b"two"):
        with storage.staged("v/folder", folder=True) as staged:
            (staged / "deep").mkdir()
            (staged / "deep/file").write_bytes(content)
            (staged / content.decode()).write_bytes(b"")
        assert storage.read("v/folder/deep/file") == content
        assert (storage.local("v/folder") / "deep/file").read_bytes() == content
    assert list(storage.list("v/folder")) == ["deep", "two"]
    assert (list(storage.list("t")), list(storage.list("v"))) == (["file"], ["folder"])


@pytest.mark.parametrize("folder", [False, True])
def test_a_staged_one_that_failed_leaves_the_old_and_nothing_else(storage: Storage, folder: bool):
    name = "t/it/file" if folder else "t/it"
    storage.replace(name, b"old")

    def fail() -> None:
        with storage.staged("t/it", folder) as staged:
            (staged / "file" if folder else staged).write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert storage.read(name) == b"old"
    assert list(storage.list("t")) == ["it"]


def test_scratch_is_removed(storage: Storage):
    storage.replace("x", b"")
    with storage.scratch() as folder:
        assert list(folder.iterdir()) == []
        (folder / "spilled").write_text("x")
    assert not folder.exists()
    assert list(storage.list()) == ["x"]


def test_a_local_file_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("kept")
    storage = LocalStorage(tmp_path)
    for write in (storage.replace, storage.put_if_absent):
        with pytest.raises(ItemembError, match=r"file/x: cannot be written \(.+\); it is as it"):
            write("file/x", b"")
    assert (tmp_path / "file").read_text() == "kept"


SCHEMA = pa.schema([("item_id", pa.string())])


def test_a_lake_uses_nothing_but_its_storage(tmp_path: Path):
    copies = tmp_path / "copies"
    storage = MemoryStorage(copies)
    lake, day = Lake(copies, storage), date(2017, 1, 1)
    made = [Stamp("model", inputs, {}, "1") for inputs in "abc"]
    lake.prepare(day)
    lake.prepare(day, [day])
    for stamp in made:
        with lake.new_version(("backtest", "model"), stamp) as folder:
            (folder / "weights").write_text(stamp.inputs)
    with lake.whole(("things",), made[0]):
        batch = pa.record_batch({"item_id": ["a", "b"], "day": [day] * 2})
        SegmentWriter(lake, ("things",), "day", SCHEMA, lambda _: made[1]).write([batch], [])
    verdict = {"version": "v", "content": "", "code": "1", "passed": True, "severity": "WARN"}
    lake.record_check(("things",), "some", verdict)
    shutil.rmtree(copies, ignore_errors=True)
    assert lake.note().first_day == day
    assert (lake.version(("backtest", "model")) / "weights").read_text() == "c"
    assert set(storage.list("_versions/backtest/model")) == {made[1].id, made[2].id}
    assert lake.stamp(("things",)) == made[0]
    assert lake.stamp(("things",), "day=2017-01-01").counts == {"rows": 2}
    assert lake.parts(("things",)) == [lake.day(("things",), day)]
    assert lake.checks(("things",)) == {"some": verdict}
    assert lake.remove_segments(("things",), set()) == ["day=2017-01-01"]
    assert lake.segments(("things",)) == []
