"""``itememb demo``: writes the demo world; its options are the fields of ``DemoSettings``."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from itememb_core.demo import write_demo
from itememb_core.demo.settings import DemoSettings
from itememb_core.errors import UsageError
from itememb_dagster.cli.options import Folder
from itememb_dagster.cli.show import progress_bars
from itememb_dagster.runtime.place import Place


def _options(command: click.Command) -> click.Command:
    for name, field in DemoSettings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        if field.annotation is bool and field.default:
            flag = f"{flag}/--no-{flag[2:]}"
        command.params.append(
            click.Option(
                [flag],
                type=None if field.annotation is bool else field.annotation,
                is_flag=field.annotation is bool,
                default=field.default,
                show_default=True,
                help=field.description,
            )
        )
    return command


@click.command()
@click.argument("raw", type=Folder(path_type=Path))
def demo(raw: Path, **options: Any) -> None:
    """Write the demo's raw data to RAW, and its truth table beside it.

    A year of real baskets of 2,469 households (Complete Journey), arranged as receipts and two
    catalogs so that the right link of every receipt item is known.
    """
    try:
        settings = DemoSettings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{name}: {first['msg']}, found {first['input']!r}") from error
    with progress_bars() as progress:
        summary = write_demo(raw, settings, progress)
    facts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in asdict(summary).items())
    command = ["itememb", "run", "--raw", str(raw), "--lake", Place.from_env().lake]
    click.echo(f"wrote {raw}: {facts}\nnext: {shlex.join(command)}")


_options(demo)
