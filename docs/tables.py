"""The page of all tables of the lake, from the stages and their schemas."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from itememb_core import schemas
from itememb_core.schemas.column import Column
from itememb_dagster.factory.stage import BACKTEST, Stage

HEAD: Final = """\
# Tables of the lake

<!-- Written by `make docs` from itememb_core/schemas and the stages: edit those. -->

Each table is a folder of Parquet named after its asset: `pandas.read_parquet(lake / "catalog")`.
Rows of raw files that broke a rule are kept whole in `<asset>_rejected`, with their `reason`. Under
`backtest/` lie, by the same names and with the same columns, the tables of the backtest:
{backtest}.
"""

LIES: Final = {
    None: "One file.",
    "day": "A file a day, in `day=YYYY-MM-DD/`; readers see `day` (date) as a column.",
    "month": "A file a month, in `month=YYYY-MM/`; readers see `month` (`YYYY-MM`) as a column.",
}


def tables_page(stages: Sequence[Stage]) -> str:
    """The whole page, Markdown."""
    own = [stage for stage in stages if stage.key[0] != BACKTEST]
    backtest = [f"`{s.key[-1]}`" for s in stages if s.key[0] == BACKTEST and s.table]
    parts = [HEAD.format(backtest=", ".join(backtest))]
    # Tables of equal columns and folders stand together, where the first of them does.
    alike: dict[tuple[object, ...], list[Stage]] = {}
    for stage in own:
        if stage.table:
            columns = tuple(column.name for column in columns_of(stage))
            alike.setdefault((columns, stage.table.segment), []).append(stage)
    for room in dict.fromkeys(found[0].group for found in alike.values()):
        parts.append(f"## {room.capitalize()}\n")
        parts += ["\n".join(_section(f)) for f in alike.values() if f[0].group == room]
    versions = [f"| `{s.name}` | {_first_line(s)} |" for s in own if not s.table]
    parts.append("\n".join([VERSIONS, *versions]) + "\n")
    return "\n".join(parts)


VERSIONS: Final = """\
## Versions

No tables but folders of files, immutable, in `_versions/<asset>/<id>/`; `<asset>` holds a pointer
(JSON) to the current one.

| asset | what it is |
| --- | --- |"""


def columns_of(stage: Stage) -> tuple[Column, ...]:
    """The columns of a stage's table; vectors have one component where their width is not fixed."""
    schema = stage.table.schema if stage.table else None
    if schema is None:
        schema = schemas.of_some_width(getattr(schemas, stage.key[-1]))
    return schemas.describe(schema)


def _section(stages: Sequence[Stage]) -> Iterator[str]:
    """Heading, what the tables are, where they lie, their columns."""
    yield f"### {', '.join(f'`{stage.name}`' for stage in stages)}\n"
    table = stages[0].table
    if len(stages) == 1:
        yield f"{_first_line(stages[0])} {LIES[table and table.segment]}\n"
    else:
        yield "\n".join(f"- `{stage.name}`: {_first_line(stage)}" for stage in stages)
        yield f"\n{LIES[table and table.segment]}\n"
    yield "| column | type | meaning | unit |\n| --- | --- | --- | --- |"
    for column in columns_of(stages[0]):
        yield (
            f"| `{column.name}` | `{type_name(column.type)}` | {column.meaning} | {column.unit} |"
        )
    yield ""


def _first_line(stage: Stage) -> str:
    return stage.description.splitlines()[0]


def type_name(kind: pa.DataType) -> str:
    """An Arrow type, short: ``list<float32>``, ``float32[dim]``."""
    if pa.types.is_fixed_size_list(kind):
        return f"{type_name(kind.value_type)}[dim]"
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{each.name} {type_name(each.type)}' for each in kind)}>"
    names = {"float": "float32", "double": "float64", "date32[day]": "date"}
    return names.get(str(kind), str(kind))
