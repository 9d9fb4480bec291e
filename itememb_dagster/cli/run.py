"""``itememb run``: makes what is stale, shows what came out, exits by the checks."""

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from itememb_core.errors import ItemembError
from itememb_dagster.cli.options import (
    MOST,
    check_lake,
    check_variables,
    day,
    lake_option,
    parse_settings,
    raw_option,
)
from itememb_dagster.cli.show import progress_bars
from itememb_dagster.cli.summary import closing_tables
from itememb_dagster.cli.text import plain
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place, without_secrets

if TYPE_CHECKING:
    from itememb_dagster.automation.outcome import Outcome
    from itememb_dagster.automation.runner import Runner


@click.command()
@raw_option
@lake_option
@click.option("--epoch", help="Date of day 0. [ITEMEMB_EPOCH, 2017-01-01]")
@click.option("--engine", help="duckdb or spark. [ITEMEMB_ENGINE, duckdb]")
@click.option("--start", help="First day to make, YYYY-MM-DD. [the first of raw]")
@click.option("--end", help="Last day to make. [the last of raw]")
@click.option("--select", help="Assets to make, in Dagster's selection syntax. [all]")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="A setting: seed=1, holdout_days=7, item_model.dim=64. Repeatable.")  # fmt: skip
@click.option("--force", is_flag=True, help="Make what is up to date, too.")
@click.option("--verify", is_flag=True,
              help="Look at all bytes of the lake; what is damaged is made again.")  # fmt: skip
@click.option("--fresh", is_flag=True,
              help="Align new versions with nothing, as in a new lake.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, MOST), envvar="ITEMEMB_WORKERS",
              default=lambda: min(os.cpu_count() or 1, 2),
              help="Processes that stages run in, side by side, with the cores shared among them; "
              "1: in the command's own. [ITEMEMB_WORKERS, 2]")  # fmt: skip
def run(
    raw: str | None,
    lake: str | None,
    epoch: str | None,
    engine: str | None,
    start: str | None,
    end: str | None,
    select: str | None,
    assignments: tuple[str, ...],
    force: bool,
    verify: bool,
    fresh: bool,
    workers: int,
) -> None:
    """Materialize days, then the rest, redoing only what changed.

    Exit code 0 only when everything was made and no ERROR check failed.
    """
    place = Place.from_env(raw, lake, epoch, engine)
    settings = parse_settings(assignments)
    first, last = day(start, "--start"), day(end, "--end")
    check_variables()
    check_lake(place.lake)
    use_dagster_home()
    os.environ.update(place.variables)  # loading builds the definitions of the environment's place
    from itememb_dagster.automation.runner import Request, Runner

    with progress_bars() as shown:
        runner = Runner(
            Request(place, settings, first, last, select, force, verify, fresh, workers, shown)
        )
        outcome = runner.run()
    _show(runner, outcome)
    if outcome.errors:
        sys.exit(130 if outcome.interrupted else 1)
    _hint(place.lake)


def _show(runner: "Runner", outcome: "Outcome") -> None:
    """Show what the lake holds, what the run took, and what went wrong."""

    def shown(line: str) -> str:
        return plain(without_secrets(line, runner.request.place.raw))

    console = Console()
    try:
        for table in closing_tables(runner.lake, outcome):
            console.print(table)
    except ItemembError as error:  # of a damaged table
        outcome.errors.append(str(error))
    if outcome.judged:
        console.print(f"checks judged of what was made before: {outcome.judged}")
    elif not outcome.asset_days and not outcome.tables and not outcome.errors:
        console.print("nothing to do: the lake is up to date")
    for name, why in outcome.reasons.items():
        click.echo(plain(f"nothing to do in {name}: {why}"))
    for line in outcome.notes:
        click.echo(plain(line))
    for line in outcome.warnings:
        click.echo(shown(f"warning: {line}"), err=True)
    for line in outcome.errors:
        click.echo(shown(f"error: {line}"), err=True)


def _hint(lake: str) -> None:
    """Say how to look at what was made."""
    where = shlex.join(["--lake", lake])
    looks = ", ".join(f"itememb {name} {where}" for name in ("similar ITEM", "links ITEM", "ui"))
    click.echo(f"look: {looks}")
