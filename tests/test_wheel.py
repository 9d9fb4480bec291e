"""A wheel in a fresh environment, away from the checkout, makes and runs the demo."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import TINY_OPTIONS
from tests.worlds.shortened import keep_days

ROOT = Path(__file__).parent.parent
PACKAGES = ("itememb_core", "itememb_dagster")
DAYS = 60


def run(words: list[str | Path], folder: Path, **env: str) -> str:
    """Run a command that sees nothing of this checkout's environment variables."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "ITEMEMB_WORKERS"}}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=kept | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout's files, built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PACKAGES, "*.toml", "README.md",
         "LICENSE"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    built = folder / "built"
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", built, "."],
        folder / "source")  # fmt: skip
    (path,) = built.glob("itememb-*.whl")
    return path


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; other packages are those of this Python.

    Whatever makes this checkout importable there (an editable install) is left out.
    """
    folder = tmp_path_factory.mktemp("place")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    own = Path(sysconfig.get_path("purelib", "venv", scheme))
    shared = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    # Plain folders of a .pth file come after its own, and their .pth files are not read.
    (own / "shared.pth").write_text("\n".join(sorted(shared)) + "\n")
    run([sys.executable, "-m", "pip", f"--python={folder / 'venv/bin/python'}", "install",
         "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel], folder)  # fmt: skip
    return folder


def test_the_wheel_carries_both_packages_their_types_and_no_tests(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES
               for path in (ROOT / package).rglob("*.py")}  # fmt: skip
    assert modules <= set(names)
    assert not [name for name in names if name.startswith(("tests", "examples", "docs"))]


@pytest.mark.slow
def test_installed_elsewhere_it_makes_the_demo_and_runs_it(place: Path):
    python = place / "venv/bin/python"
    code = "import itememb_core, itememb_dagster as d; print(itememb_core.__file__, d.__file__)"
    files = run([python, "-c", code], place).split()
    assert len(files) == 2
    for file in files:
        assert Path(file).is_relative_to(place / "venv"), file
        assert not Path(file).is_relative_to(ROOT), file
    command, home = place / "venv/bin/itememb", str(place / "home")
    run([command, "demo", "raw", "--households", "0.02"], place, DAGSTER_HOME=home)
    keep_days(place / "raw", DAYS)
    run([command, "run", "--raw", "raw", "--lake", "lake", *TINY_OPTIONS], place,
        DAGSTER_HOME=home)  # fmt: skip
    read = (
        "from pandas import read_parquet as read; "
        "print(len(read('lake/item_embeddings')), len(read('lake/recommendations')))"
    )
    assert all(int(rows) > 0 for rows in run([python, "-c", read], place).split())
