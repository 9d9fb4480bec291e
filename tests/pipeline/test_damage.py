"""A lake that was damaged, or lacks verdicts: it is said, and made or judged again as it was."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.lake import Lake
from itememb_dagster.lake.seal import DamagedError
from tests.bench.damage import KINDS, MUTATIONS, first
from tests.conftest import run
from tests.pipeline.test_pipeline import tree


@pytest.fixture
def copied(made, tmp_path: Path) -> Path:
    """A finished lake, to be changed."""
    lake, outcome = made
    assert outcome.errors == []
    shutil.copytree(lake, tmp_path / "lake")
    return tmp_path / "lake"


def test_what_lacks_a_verdict_is_judged_alone(tiny_raw, copied: Path):
    before = tree(copied)
    shutil.rmtree(copied / "_checks")
    outcome = run(tiny_raw, copied)
    assert outcome.errors == []
    assert (outcome.asset_days, outcome.tables, outcome.judged) == (0, 0, len(CHECKS))
    assert tree(copied) == before
    again = run(tiny_raw, copied)
    assert (again.asset_days, again.tables, again.judged) == (0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("month", MUTATIONS[3]),
        ("pointer", MUTATIONS[0]),
        ("pointer", MUTATIONS[4]),
        ("verdict", MUTATIONS[1]),
        ("verdict", MUTATIONS[3]),
    ],
)
def test_what_is_damaged_is_named_and_made_again(
    tiny_raw, copied: Path, kind: str, change: Callable[[Path], None]
):
    before, path = tree(copied), first(copied, KINDS[kind])
    change(path)
    name = path.relative_to(copied).as_posix()
    outcome = run(tiny_raw, copied, verify=kind == "month")
    assert outcome.errors == []
    assert outcome.tables + outcome.judged > 0
    if change.__name__ != "deleted":
        assert any(name in line and "damaged" in line for line in outcome.warnings)
    assert tree(copied) == before


def test_bytes_that_changed_are_found_where_they_are_read_and_made_again(tiny_raw, copied: Path):
    before, path = tree(copied), copied / "user_items/day=2017-01-04/part.parquet"
    MUTATIONS[3](path)
    untouched = run(tiny_raw, copied)
    assert (untouched.asset_days, untouched.tables) == (0, 0)
    assert not any("damaged" in line for line in untouched.warnings)
    shutil.rmtree(copied / "link_holdout")  # is made of it
    outcome = run(tiny_raw, copied)
    assert outcome.errors == []
    assert any(f"{path}: damaged" in line for line in outcome.warnings)
    assert tree(copied) == before


def test_a_run_of_some_assets_makes_nothing_of_others_that_are_damaged(tiny_raw, copied: Path):
    path = copied / "user_items/day=2017-01-04/part.parquet"
    MUTATIONS[2](path)
    before = tree(copied)
    for _ in range(2):
        outcome = run(tiny_raw, copied, select='key:"link_holdout"', force=True)
        assert len(outcome.errors) == 1
        assert f"{path}: damaged" in outcome.errors[0]
        assert "itememb run without --select, --start and --end makes it" in outcome.errors[0]
        outside = run(tiny_raw, copied, end=date(2017, 1, 2))
        assert len(outside.errors) == 1
        assert tree(copied) == before
    assert run(tiny_raw, copied).errors == []


def test_a_damaged_version_is_not_read(copied: Path):
    path = first(copied, KINDS["model"])
    MUTATIONS[3](path)
    with pytest.raises(DamagedError, match=r"model.safetensors: damaged \(its bytes are not"):
        Lake(copied).version(("item_model",))


def test_a_note_that_is_gone_is_said_and_a_broken_one_is_an_error(tiny_raw, copied: Path):
    (copied / "lake.json").unlink()
    outcome = run(tiny_raw, copied)
    assert outcome.errors == []
    assert any("lake.json: gone" in line for line in outcome.warnings)
    (copied / "lake.json").write_text((copied / "lake.json").read_text().replace("2017", "2016"))
    with pytest.raises(ItemembError, match=r"lake\.json: broken"):
        run(tiny_raw, copied)


@pytest.mark.slow
def test_runs_killed_before_a_verdict_end_as_the_undisturbed_one():
    command = [sys.executable, "-m", "tests.bench.kills", "2", "--forced"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
