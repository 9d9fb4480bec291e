"""A lake that was damaged, or lacks verdicts: it is said, and made or judged again as it was."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from itememb_core.errors import ItemembError
from itememb_dagster.automation.outcome import Outcome
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.seal import DamagedError
from tests.bench.damage import (
    KINDS,
    MUTATIONS,
    deleted,
    emptied,
    first,
    flipped,
    foldered,
    truncated,
)
from tests.conftest import run
from tests.pipeline.test_pipeline import tree
from tests.worlds.two_months import SET, TABLES, date_of


def tables(raw: Path, lake: Path, **options) -> Outcome:
    """Run up to the edges, unless told otherwise."""
    return run(raw, lake, settings=parse_settings(SET), **{"select": TABLES, **options})


def test_what_lacks_a_verdict_is_judged_alone(copies):
    raw, lake = copies
    before, verdicts = tree(lake), [*lake.glob("_checks/**/*.json")]
    shutil.rmtree(lake / "_checks")
    outcome = tables(raw, lake)
    assert outcome.errors == []
    assert (outcome.asset_days, outcome.tables) == (0, 0)
    assert outcome.judged == len(verdicts) > 0
    assert tree(lake) == before
    again = tables(raw, lake)
    assert (again.asset_days, again.tables, again.judged) == (0, 0, 0)


VERDICT = "_checks/edges/canonical_edges.json"


@pytest.mark.parametrize("change", MUTATIONS)
@pytest.mark.parametrize("kind", [KINDS["month"], KINDS["stamp"], VERDICT])
def test_what_is_damaged_is_named_and_made_again(copies, kind: str, change: Callable[[Path], None]):
    raw, lake = copies
    before, path = tree(lake), first(lake, kind)
    change(path)
    outcome = tables(raw, lake, verify=True)
    assert outcome.errors == []
    assert outcome.tables + outcome.judged > 0
    if change is not deleted:
        assert any(f"{path}: damaged" in line for line in outcome.warnings)
    assert tree(lake) == before


def test_bytes_that_changed_are_found_where_they_are_read_and_made_again(copies):
    raw, lake = copies
    before, path = tree(lake), first(lake, "copurchase_edges/day=*/part.parquet")
    flipped(path)
    untouched = tables(raw, lake)
    assert (untouched.asset_days, untouched.tables) == (0, 0)
    assert not any("damaged" in line for line in untouched.warnings)
    shutil.rmtree(lake / "edges")  # is made of it
    outcome = tables(raw, lake)
    assert outcome.errors == []
    assert any(f"{path}: damaged" in line for line in outcome.warnings)
    assert tree(lake) == before


def test_a_run_of_some_assets_or_days_makes_nothing_of_others_that_are_damaged(copies):
    raw, lake = copies
    whole, path = tree(lake), lake / f"copurchase_edges/day={date_of(4)}/part.parquet"
    truncated(path)
    before = tree(lake)
    for options in ({"select": 'key:"edges"', "force": True}, {"end": date_of(2)}) * 2:
        (error,) = tables(raw, lake, **options).errors
        assert f"{path}: damaged" in error
        assert "itememb run without --select, --start and --end makes it again" in error
        assert tree(lake) == before
    assert tables(raw, lake).errors == []
    assert tree(lake) == whole


def test_a_damaged_version_is_not_read(tmp_path: Path):
    lake, key = Lake(tmp_path), ("model",)
    with lake.new_version(key, Stamp("model", "a", {}, "1")) as folder:
        (folder / "weights").write_bytes(bytes(1000))
    assert lake.faults(key, deep=True) == {}
    path = first(tmp_path, "_versions/model/*/weights")
    flipped(path)
    with pytest.raises(DamagedError, match=r"weights: damaged \(its bytes are not"):
        lake.version(key)
    assert lake.stamp(key)
    for change in (truncated, emptied, foldered):
        if path.is_file():
            change(path)
        assert lake.stamp(key) is None


def test_a_note_that_is_gone_is_said_and_a_broken_one_is_an_error(copies):
    raw, lake = copies
    (lake / "lake.json").unlink()
    outcome = tables(raw, lake)
    assert outcome.errors == []
    assert any("lake.json: gone" in line for line in outcome.warnings)
    (lake / "lake.json").write_text((lake / "lake.json").read_text().replace("2017", "2016"))
    with pytest.raises(ItemembError, match=r"lake\.json: broken"):
        tables(raw, lake)


@pytest.mark.slow
def test_runs_killed_before_a_verdict_end_as_the_undisturbed_one():
    command = [sys.executable, "-m", "tests.bench.kills", "1", "--forced"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
