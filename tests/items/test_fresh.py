"""A retrain is aligned to the version before, says so, and with ``fresh`` to nothing."""

import json
from pathlib import Path

import pytest

from itememb_core.settings import Settings
from tests.conftest import TINY_SETTINGS, run

OTHER = TINY_SETTINGS.model_copy(update={"seed": 1})


def live_files(lake: Path) -> dict[str, bytes]:
    """The tables of a lake and the versions that its pointers name."""
    found = {}
    for path in lake.rglob("*.parquet"):
        name = path.relative_to(lake)
        if name.parts[0][0] != "_":
            found[str(name)] = path.read_bytes()
    for pointer in lake.rglob("current.json"):
        asset = pointer.parent.relative_to(lake)
        version = lake / "_versions" / asset / json.loads(pointer.read_text())["id"]
        for path in version.iterdir():
            found[f"{asset}/{path.name}"] = path.read_bytes()
    return found


@pytest.mark.slow
def test_seed_0_1_0_is_said_to_be_aligned_and_fresh_makes_the_first_bytes(
    tiny_raw: Path, tmp_path: Path
):
    lake, items = tmp_path / "lake", '+key:"item_model"'
    begun = run(tiny_raw, lake, select=items)
    assert (begun.errors, begun.notes) == ([], [])
    first = live_files(lake)

    def again(settings: Settings, select: str = items, **options) -> tuple[str, list[str]]:
        before = json.loads((lake / "item_model/current.json").read_text())["id"]
        outcome = run(tiny_raw, lake, settings=settings, select=select, **options)
        assert outcome.errors == []
        return before, outcome.notes

    for settings in (OTHER, TINY_SETTINGS):
        before, notes = again(settings)
        assert notes == [
            f"item_model is aligned to the version before ({before}); --fresh aligns with nothing"
        ]
    unlike = {name for name, data in live_files(lake).items() if first.get(name) != data}
    assert "item_model/model.safetensors" in unlike
    _, notes = again(TINY_SETTINGS, fresh=True, force=True)
    assert notes == []
    assert live_files(lake) == first
    only = 'key:"item_model"'
    again(OTHER, select=only)
    _, notes = again(TINY_SETTINGS, fresh=True, select=only)
    assert notes == []
    assert live_files(lake) == first
