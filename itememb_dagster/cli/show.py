"""Progress bars and tables on the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from itememb_core.progress import Progress as Report
from itememb_dagster.cli.text import plain

#: The column that is shortened where there is no room, and what is left of it at least.
SHORTENED: Final = "title"
SHORTEST: Final = 12


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Give a progress callback that draws one bar for each thing being done."""
    bars = Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total or None)
        bars.update(tasks[what], completed=done, total=total or None)

    with bars:
        yield report


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print the columns of rows as a table: titles give way, ids are never cut.

    Where the terminal is narrower than the ids, the table is wider than it.
    """
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    frame = 3 * len(columns) + 1  # a line before each column and one at the end, and two blanks
    fixed = frame + sum(w for w, name in zip(widths, columns, strict=True) if name != SHORTENED)
    console = Console()
    console.width = max(console.width, fixed + SHORTEST)
    table = Table()
    for name in columns:
        room = console.width - fixed if name == SHORTENED else None
        table.add_column(name, no_wrap=True, max_width=room)
    for row in cells:
        table.add_row(*map(Text, row))  # a text is printed as it stands; of a string, [b] is markup
    console.print(table)


def _cell(value: Any) -> str:
    """A value as people read it."""
    return f"{value:.3f}" if isinstance(value, float) else plain(str(value or ""))
