"""``itememb ui``: Dagster's web interface on loopback, over the same home as the command."""

import os
import signal
import sys
from pathlib import Path

import click

from itememb_core.errors import ItemembError
from itememb_core.settings import Settings
from itememb_dagster.cli.options import check_lake, check_variables, lake_option, raw_option
from itememb_dagster.cli.text import plain
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place


def _note_days(place: Place) -> None:
    """Let a new lake know raw's days, so that the UI has them before the first run."""
    from itememb_dagster.lake import Lake
    from itememb_dagster.runtime.resources import scan_raw

    try:
        days = scan_raw(place.raw, place.epoch, Settings()).days
    except ItemembError as error:
        click.echo(plain(f"warning: {error}"), err=True)
        days = []
    Lake(Path(place.lake)).prepare(place.epoch, days)


@click.command()
@raw_option
@lake_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port on 127.0.0.1.",
)
def ui(raw: str | None, lake: str | None, port: int) -> None:
    """Open the Dagster UI: the graph, what is materialized, checks, schedules."""
    place = Place.from_env(raw, lake)
    check_variables()
    check_lake(place.lake)
    use_dagster_home()
    _note_days(place)
    os.environ |= place.variables
    command = [sys.executable, "-m", "dagster", "dev", "-m", "itememb_dagster.definitions"]
    click.echo(f"http://127.0.0.1:{port} (stop with Ctrl-C)", err=True)
    # Dagster ends its servers by it; a shell that starts us in the background has it ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [*command, "-h", "127.0.0.1", "-p", str(port)])
