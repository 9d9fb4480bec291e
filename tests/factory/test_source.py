"""What was found in the source is kept beside the bytecode, for as long as no source changes."""

from itememb_dagster.assets import STAGES
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.source import SOURCES, Found, Kept, found_in, source_digest
from itememb_dagster.lake.sources import Reach

FOUND = Found("abc", ("item_model.dim", "seed"))


def test_what_is_kept_is_what_the_source_says():
    for function in (STAGES[5].compute, CHECKS[3].evaluate):
        fresh = Reach.of(function.__module__, function.__name__, SOURCES).digest
        assert found_in(function).code == fresh


def test_another_process_takes_what_is_kept(tmp_path):
    file = tmp_path / "not yet" / "found.json"
    Kept(file, "one source").keep("a.b", FOUND)
    Kept(file, "one source").keep("a.c", Found("d", ()))
    assert Kept(file, "one source").found == {"a.b": FOUND, "a.c": Found("d", ())}
    assert [path.name for path in file.parent.iterdir()] == ["found.json"]


def test_nothing_is_kept_of_another_source_or_in_a_damaged_file(tmp_path):
    file = tmp_path / "found.json"
    assert Kept(file, "one source").found == {}
    Kept(file, "one source").keep("a.b", FOUND)
    assert Kept(file, "another").found == {}
    text = file.read_text()
    for damaged in (text.replace("abc", "abd"), text[:40], "", "[]"):
        file.write_text(damaged)
        assert Kept(file, "one source").found == {}


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path):
    (tmp_path / "file").touch()
    kept = Kept(tmp_path / "file" / "found.json", "one source")
    kept.keep("a.b", FOUND)
    assert kept.found == {"a.b": FOUND}


def test_every_source_file_counts(tmp_path):
    (tmp_path / "inner").mkdir()
    seen = {source_digest([tmp_path])}
    for name, text in [("inner/a.py", "x = 1"), ("b.py", ""), ("inner/a.py", "x = 2")]:
        (tmp_path / name).write_text(text)
        seen.add(source_digest([tmp_path]))
    assert len(seen) == 4
