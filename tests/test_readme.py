"""Every command of the README runs as it stands there, on a small demo, with small models."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY_OPTIONS
from tests.worlds.shortened import keep_days

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
#: Served until it is stopped; tests/test_browser.py looks at it.
SERVERS = ("make ui",)
#: Enough for a backtest of 28 days.
DAYS = 120


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = (line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines())
    return [line for line in lines if line and line not in SERVERS]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working folder whose ``data`` holds the first days of a small demo."""
    folder = tmp_path_factory.mktemp("readme")
    run(["itememb", "demo", "data/raw", "--households", "0.05"], folder)
    keep_days(folder / "data/raw", DAYS)
    return folder


def run(words: list[str], folder: Path) -> str:
    env = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(folder / "home"),
        "VIRTUAL_ENV": str(BIN.parent),
    }
    done = subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
    return done.stdout


def words_of(command: str, folder: Path) -> list[str]:
    """The command's words, in the test's folders where the README names the user's."""
    words = shlex.split(command)
    if words[0] == "make":
        data = [f"RAW={folder}/data/raw", f"LAKE={folder}/data/lake", f"VENV={BIN.parent}"]
        return ["make", "-C", str(ROOT), *words[1:], *data, f"ARGS={shlex.join(TINY_OPTIONS)}"]
    if words[:2] == ["itememb", "run"]:
        words += TINY_OPTIONS
    mine = {"/path/to/raw": f"{folder}/data/raw", "/path/to/lake": f"{folder}/data/lake"}
    return [mine.get(word, word) for word in words]


def test_the_readme_is_short_and_shows_commands():
    assert len(README.splitlines()) < 250
    assert "make run" in commands()
    assert len(commands()) > 5


@pytest.mark.slow
def test_every_command_and_example_runs(place):
    for command in commands():
        run(words_of(command, place), place)
    for example in blocks("python"):
        assert run([sys.executable, "-c", example], place).strip()
    exported = {path.name for path in (place / "out").iterdir()}
    assert {"item_embeddings.parquet", "cross_domain_links.parquet"} <= exported


def test_every_link_inside_the_repository_leads_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []
