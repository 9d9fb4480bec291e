"""The ``itememb`` command. What does not belong here: anything a pure function can do."""

import atexit
import gc
import os
import re
import sys
from importlib import import_module
from io import StringIO
from typing import Final

import click

from itememb_core.errors import ItemembError, UsageError
from itememb_dagster.cli.text import plain

#: The commands: the module that holds each by its name, and its help's first sentence.
COMMANDS: Final = {
    "demo": ("demo", "Write the demo's raw data to RAW, and its truth table beside it."),
    "run": ("run", "Materialize days, then the rest, redoing only what changed."),
    "similar": ("lookup", "Show the items most like ITEM (or most likely beside it)."),
    "links": (
        "lookup",
        "Show the catalog candidates of a receipt ITEM (or what links to a catalog item), and why.",
    ),
    "recommend": ("lookup", "Show what to recommend to USER, best first."),
    "export": ("lookup", "Write single files by the notebook's names to FOLDER."),
    "ui": ("ui", "Open the Dagster UI: the graph, what is materialized, checks, schedules."),
}

#: What the libraries take; a larger one overflows in them.
_THREADS: Final = re.compile("0*[1-9][0-9]{0,4}")

#: Exit codes.
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


class LazyGroup(click.Group):
    """Imports a command only when it is called: the libraries of all of them take seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="itememb")
def cli() -> None:
    """One vector space for the items of several shopping services, and links you can trust."""
    _check_threads()


def _check_threads() -> None:
    """Check the number of threads that the environment sets.

    Raises:
        UsageError: If it is none; libraries ignore it or fail deep inside.
    """
    text = os.environ.get("OMP_NUM_THREADS") or "1"  # one for each level of nesting, by commas
    if not all(_THREADS.fullmatch(part.strip()) for part in text.split(",")):
        raise UsageError(f"OMP_NUM_THREADS: found {text!r}, expected a number from 1")


def _quiet_teardown() -> None:
    """Keep DuckDB 2's list of leaked objects, printed at exit where torch was imported, away."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main() -> None:
    """Run the command; an error is one line on standard error.

    Exit codes: 0 all good, 1 something failed, 2 wrong use, 130 interrupted.
    """
    atexit.register(_quiet_teardown)  # the first registered runs last
    # Importing the libraries makes a million objects that all live on: looking through them for
    # circles after every 700 new ones takes a tenth of a short command's time.
    gc.set_threshold(100_000, 50, 50)
    try:
        cli(standalone_mode=False)
    except ItemembError as error:
        click.echo(f"error: {plain(str(error))}", err=True)
        sys.exit(WRONG_USE if isinstance(error, UsageError) else FAILED)
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            click.echo(plain(line), err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # of a path that nothing else looked at
        name = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {plain(f'{name}{error.strerror or error}')}", err=True)
        sys.exit(FAILED)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(INTERRUPTED)
