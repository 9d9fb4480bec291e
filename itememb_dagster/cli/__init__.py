"""The ``itememb`` command. What does not belong here: anything a pure function can do."""

import atexit
import os
import sys

import click

from itememb_core.errors import ItemembError
from itememb_dagster.cli.demo import demo
from itememb_dagster.cli.lookup import export, links, recommend, similar
from itememb_dagster.cli.run import run
from itememb_dagster.cli.ui import ui


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="itememb")
def cli() -> None:
    """One vector space for the items of several shopping services, and links you can trust."""


for command in (demo, run, similar, links, recommend, export, ui):
    cli.add_command(command)


def _quiet_teardown() -> None:
    """Keep DuckDB 2's list of leaked objects, printed at exit where torch was imported, away."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main() -> None:
    """Run the command; bad input is one line on standard error and exit code 1."""
    atexit.register(_quiet_teardown)  # the first registered runs last
    try:
        cli(standalone_mode=False)
    except ItemembError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
