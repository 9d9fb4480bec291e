"""A failure that an engine or a library reports without a file is shown with it."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from itememb_core.errors import ItemembError
from itememb_dagster.assets import STAGES
from itememb_dagster.lake import Lake, Stamp
from itememb_dagster.lake.io_manager import Made, save_version
from tests.conftest import run


def damage(path: Path) -> None:
    """Overwrite the pages of a Parquet file; its footer stays."""
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    path.write_bytes(data[:4] + b"\xff" * (len(data) - 4 - footer) + data[-footer:])


@pytest.fixture
def raw(tiny_raw: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_raw, tmp_path / "raw")
    return tmp_path / "raw"


def test_a_damaged_raw_table_is_named(raw: Path, tmp_path: Path):
    damage(raw / "users.pq")
    errors = run(raw, tmp_path / "lake", select='key:"users"').errors
    assert any("users.pq: not readable" in line for line in errors), errors
    assert not any("\n" in line for line in errors)


def test_a_damaged_part_of_the_lake_is_named(raw: Path, tmp_path: Path):
    lake = tmp_path / "lake"
    assert run(raw, lake, select='key:"receipts"').errors == []
    part = sorted(lake.glob("receipts/day=*/part.parquet"))[3]
    damage(part)
    errors = run(raw, lake, select='key:"copurchase_edges"').errors
    assert any(f"{part}: damaged" in line for line in errors), errors


class Refused:
    """A model that its library cannot write."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def save(self, folder: Path) -> Any:
        (folder / "half").write_text("half")
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("Error: 'ret == (size)' failed: No space left on device"),
    ],
)
def test_a_model_that_fills_the_disk_is_named_and_leaves_nothing(error: Exception, tmp_path: Path):
    stage = next(each for each in STAGES if each.name == "item_model")
    made = Made(stage, Refused(error), {None: Stamp("item_model", "recipe", {}, "code")})
    with pytest.raises(ItemembError, match="No space left") as raised:
        save_version(Lake(tmp_path), made)
    assert str(tmp_path / "_versions/item_model") in str(raised.value)
    assert not list(tmp_path.rglob("half"))
