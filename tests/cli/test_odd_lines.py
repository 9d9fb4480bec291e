"""No command line ends in a traceback: each says in a few lines what is wrong, and by its code."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from itememb_dagster.automation.runner import Runner
from tests.cli.conftest import Itememb
from tests.cli.odd_lines import OK, Line, lines, processes

#: Most lines of an error: a usage, an empty line and what is wrong.
LONGEST = 5
ROOT = Path(__file__).parents[2]
LINES = [*lines()]


@pytest.fixture
def places(lake: Path, tiny_raw: Path, tmp_path: Path) -> dict[str, str]:
    """What the words that begin with ``@`` stand for."""
    root = tmp_path / "places"
    for name in ("bare", "empty"):
        (root / name).mkdir(parents=True)
    (root / "file").write_text("text")
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to(root / "loop")
    names = ("bare", "empty", "file", "fifo", "loop", "missing")
    return {"@lake": str(lake), "@raw": str(tiny_raw)} | {f"@{n}": str(root / n) for n in names}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The variables of this process as they were, and no server in its place."""
    with mock.patch.dict(os.environ):
        for name in ("ITEMEMB_RAW", "ITEMEMB_LAKE", "NO_SUCH_KEY"):
            os.environ.pop(name, None)
        monkeypatch.setattr("os.execv", lambda *_: sys.exit(0))
        monkeypatch.setattr(Runner, "_execute", lambda *_: True)  # what goes so far is no wrong use
        yield


def checked(line: Line, code: int, out: str, err: str) -> None:
    """Check how a line ended."""
    shown = out + err
    assert code == line.code, shown
    assert shown.strip()
    assert "Traceback" not in shown
    assert "hunter2" not in shown
    assert not set(shown) & {*map(chr, range(32))} - {"\n"}
    if line.code != OK and line.words:  # of no words, the help is shown
        assert len(err.strip().splitlines()) <= LONGEST, err


def filled(word: str, places: dict[str, str]) -> str:
    """A word with what it stands for."""
    for name, path in places.items():
        word = word.replace(name, path)
    return word


def test_there_are_many_lines_and_none_twice():
    assert len(LINES) >= 150
    assert len({str(line) for line in LINES}) == len(LINES)


#: Each sixth line is enough for the fast tests.
SOME = [line if n % 6 == 0 else pytest.param(line, marks=pytest.mark.slow)
        for n, line in enumerate(LINES)]  # fmt: skip


@pytest.mark.parametrize("line", SOME, ids=str)
def test_an_odd_line_ends_as_it_should(line: Line, itememb: Itememb, places: dict[str, str]):
    for name, value in line.env.items():
        os.environ[name] = filled(value, places)
    ended = itememb(*(filled(word, places) for word in line.words))
    checked(line, *ended)


#: Calls the command; where this is root, without what lets root read any folder.
REFUSABLE = """
import ctypes, os, sys
if os.getuid() == 0:
    drop, dac_override, dac_read_search = 24, 1, 2
    for capability in (dac_override, dac_read_search):
        ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0)
command = "from itememb_dagster.cli import main; main()"
os.execv(sys.executable, [sys.executable, "-c", command, *sys.argv[1:]])
"""


@pytest.fixture
def with_locked(places: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The places, and ``@locked``, which nobody may read."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o000)
    yield {**places, "@locked": str(locked)}
    locked.chmod(0o700)


@pytest.mark.slow
@pytest.mark.parametrize("line", [*processes()], ids=str)
def test_an_odd_process_ends_as_it_should(line: Line, with_locked: dict[str, str], tmp_path: Path):
    home = tmp_path / "home"
    variables = {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(home), "OMP_NUM_THREADS": "1"}
    given = {name: filled(value, with_locked) for name, value in line.env.items()}
    done = subprocess.run(
        [sys.executable, "-c", REFUSABLE, *(filled(word, with_locked) for word in line.words)],
        cwd=tmp_path,
        env={**variables, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    checked(line, done.returncode, done.stdout, done.stderr)
