"""What a command does not import: seconds that nobody should wait for."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from itememb_dagster.cli import COMMANDS, cli
from tests.cli.conftest import RECEIPT_ID

ROOT = Path(__file__).parents[2]
#: Prints what the command prints, and last which of the named modules it imported.
TELL = """
import sys
from itememb_dagster.cli import main
names, sys.argv = sys.argv[1].split(","), ["itememb", *sys.argv[2:]]
try:
    main()
finally:
    print([name for name in names if name in sys.modules])
"""


def imports(names: str, *words: str, folder: Path) -> tuple[str, str]:
    """What a command prints, and which of the names it imports."""
    done = subprocess.run(
        [sys.executable, "-c", TELL, names, *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown, _, found = done.stdout.strip().rpartition("\n")
    return shown, found


def test_help_imports_no_library_of_the_commands(tmp_path):
    heavy = "dagster,ibis,duckdb,pyarrow,numpy,pydantic,torch,faiss,pandas,scipy"
    shown, found = imports(heavy, "--help", folder=tmp_path)
    assert found == "[]"
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("similar", RECEIPT_ID),
        ("similar", RECEIPT_ID, "--channel", "retail"),
        ("similar", RECEIPT_ID, "--goes-with", "--channel", "retail"),
        ("links", RECEIPT_ID),
        ("recommend", "7"),
        ("export", "--help"),
    ],
)
def test_look_ups_import_neither_dagster_nor_torch(words, lake, tmp_path):
    place = () if "--help" in words else ("--lake", str(lake))
    shown, found = imports("dagster,torch,ibis,duckdb", *words, *place, folder=tmp_path)
    assert found == "[]"
    assert shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_its_own_first_sentence(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is import_module(f"itememb_dagster.cli.{COMMANDS[name][0]}").__dict__[name]
    assert command.name == name
    assert COMMANDS[name][1] == command.get_short_help_str(limit=200)
