"""Checkpoints: a fit that was interrupted ends as one that was not; damaged files are errors."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from itememb_core.errors import ItemembError
from itememb_core.items.training.checkpoint import Checkpoint
from itememb_core.items.training.data import TrainingData
from itememb_core.items.training.fit import fit
from tests.worlds.two_channels import SETTINGS, WORLD, digest, final

SHORT = SETTINGS.model_copy(update={"max_steps": 120})


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package exports the function by the module's name.
    monkeypatch.setattr(import_module("itememb_core.items.training.fit"), "INTERVAL", 20)


def stop_after(steps: int):
    def report(what: str, done: int, _total: int) -> None:
        if what == "item vectors" and done > steps:
            raise KeyboardInterrupt

    return report


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "changed",
    [{}, {"row_type": "bfloat16"}, {"optimizer": "adam", "learn_temperature": True}],
    ids=["default", "half precision", "Adam, temperature"],
)
@pytest.mark.parametrize("data", [WORLD, final(WORLD)], ids=["validated", "final"])
def test_an_interrupted_fit_ends_with_the_same_bytes(
    tmp_path: Path, data: TrainingData, changed: dict[str, object]
):
    settings = SHORT.model_copy(update=changed)
    checkpoint = Checkpoint(tmp_path / "fit", "one", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        fit(data, settings, seed=3, checkpoint=checkpoint, progress=stop_after(60))
    seen: list[int] = []
    found = fit(
        data, settings, seed=3, checkpoint=checkpoint,
        progress=lambda what, done, _: seen.append(done) if what == "item vectors" else None,
    )  # fmt: skip
    assert seen[0] == 80  # what was written after 60 steps was gone on from
    assert digest(found) == digest(fit(data, settings, seed=3))


@pytest.mark.usefixtures("often")
def test_another_fits_checkpoint_is_no_use_and_removed(tmp_path: Path):
    for_other = Checkpoint(tmp_path / "fit", "other", seconds=0)
    fit(WORLD, SHORT, seed=4, checkpoint=for_other)
    mine = Checkpoint(tmp_path / "fit", "mine", seconds=1000)
    assert digest(fit(WORLD, SHORT, seed=3, checkpoint=mine)) == digest(fit(WORLD, SHORT, seed=3))
    assert not (tmp_path / "fit").exists()


def written(path: Path, rows: int = 3) -> Checkpoint:
    checkpoint = Checkpoint(path, "one")
    checkpoint.write({"table": torch.zeros(rows, 2)}, {"done": 20})
    return checkpoint


def test_a_checkpoint_of_other_dims_is_an_error_that_names_it(tmp_path: Path):
    checkpoint = written(tmp_path / "fit")
    with pytest.raises(ItemembError, match=r"fit: found .*\(3, 2\).*, expected .*\(4, 2\)"):
        checkpoint.read({"table": torch.zeros(4, 2)})


@pytest.mark.parametrize("damage", [lambda b: b[:-8], lambda b: b[:-1] + b"\1", lambda b: b""])
def test_a_damaged_checkpoint_is_named_and_removed_and_the_fit_starts_anew(tmp_path: Path, damage):
    checkpoint = written(tmp_path / "fit")
    table = torch.ones(3, 2)
    assert checkpoint.read({"table": table}) == {"done": 20}
    assert not table.any()
    assert checkpoint.fault is None
    checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
    table = torch.ones(3, 2)
    assert checkpoint.read({"table": table}) is None
    assert table.all()
    assert checkpoint.fault.startswith(f"checkpoint {tmp_path / 'fit'}: damaged (")
    assert not checkpoint.path.exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path):
    checkpoint = written(tmp_path / "fit")
    before = checkpoint.path.read_bytes()
    (tmp_path / "_fit").mkdir()  # in the way of the staged file
    with pytest.raises(ItemembError, match=r"fit: cannot be written"):
        checkpoint.write({"table": torch.ones(3, 2)}, {"done": 40})
    assert checkpoint.path.read_bytes() == before


@pytest.mark.slow
def test_kills_at_random_steps_end_with_the_same_bytes(tmp_path: Path):
    steps = np.random.default_rng(0).integers(2, SETTINGS.max_steps, size=4)
    words = [
        sys.executable,
        "-m",
        "tests.worlds.crash_fit",
        str(tmp_path),
        *map(str, set(steps.tolist())),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    digests = done.stdout.split()
    assert len(digests) == 1 + len(set(steps.tolist()))
    assert set(digests) == {digests[0]}
