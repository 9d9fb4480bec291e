"""A stage's value with its stamps: what runs between Dagster and the core.

What does not belong here: Dagster; writing (the lake's).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import ibis
import ibis.expr.types as ir

from itememb_core.device import threads
from itememb_core.items.training.checkpoint import Checkpoint
from itememb_dagster.factory.stage import Stage, StageContext
from itememb_dagster.lake import Stamp
from itememb_dagster.lake.counts import with_file_rows
from itememb_dagster.lake.io_manager import Made
from itememb_dagster.lake.staleness import Planner, ranges
from itememb_dagster.runtime.place import EMBEDDED

#: Rows of input that the embedded engine takes at a time; days beyond them are another query. So
#: memory does not grow with the days of a run, and no sort is over all of them.
ROWS_AT_ONCE: Final = 4_000_000

#: What trained results depend on beside code: recorded with them, no reason to redo them.
LIBRARIES: Final = ("faiss-cpu", "lightgbm", "numpy", "scikit-learn", "scipy", "torch")


def make_stage(
    stage: Stage, planner: Planner, ctx: StageContext, inputs: dict[str, Any], force: bool = False
) -> Made:
    """Return what a stage makes of its inputs; relational tables are computed when written.

    Args:
        stage: The stage.
        planner: Of the lake as it is now.
        ctx: With the days to make.
        inputs: By parameter.
        force: Whether to make months that are up to date, too.

    Raises:
        ItemembError: The stage cannot be made.
    """
    stamps = _stamps(stage, planner, ctx, force)
    _earlier(stage, ctx, stamps.get(None))
    if stage.by_month:
        inputs = _of_days(inputs, ctx.days)
    if stage.daily:
        whole = ctx.con.name != EMBEDDED  # a cluster cuts its work itself
        portions = [list(ctx.days)] if whole else _portions(stage, planner, stamps, ctx.days)
        value: Any = _compute_days(stage, ctx, inputs, portions)
    else:
        value = stage.compute(ctx, **inputs)
        if stage.table is None:  # trained: other libraries or threads may give other last digits
            ctx.counts |= {"threads": threads(), "libraries": library_versions()}
        whole = stamps.get(None)
        if whole is not None and ctx.counts:
            stamps[None] = replace(whole, counts={**whole.counts, **ctx.counts})
    kept = planner.month_stamps(stage) if stage.by_month else {}
    segments = {f"month={month}": stamp.recipe for month, stamp in kept.items()}
    return Made(stage, value, stamps, ctx.bad_days, segments)


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that numeric stages compute with."""
    return {name: version(name) for name in LIBRARIES}


def _stamps(
    stage: Stage, planner: Planner, ctx: StageContext, force: bool = False
) -> dict[str | None, Stamp]:
    """Return the stamps of what is to be made: days, months, the table or version."""
    found: dict[str | None, Stamp] = {}
    if stage.daily:
        found = {f"day={d.isoformat()}": planner.stamp(stage, d, planner.stored) for d in ctx.days}
    else:
        found[None] = planner.stamp(stage, None, planner.stored)
    if stage.descends:
        found[None] = planner.with_parent(stage, found[None])
    if stage.by_month:
        months = planner.months_to_make(stage, force)
        found |= {f"month={month}": stamp for month, stamp in months.items()}
    return with_file_rows(stage, found, ctx) if stage.counts_files else found


def _earlier(stage: Stage, ctx: StageContext, stamp: Stamp | None) -> None:
    """Let a stage know where its version's parent and a killed fit's checkpoint lie."""
    if stamp is None:
        return
    ctx.checkpoint = Checkpoint(ctx.lake.checkpoint(stage.key), stamp.id)
    if stage.descends and stamp.parent:
        ctx.parent = ctx.lake.version_folder(stage.key, stamp.parent)


def _of_days(inputs: dict[str, ir.Table], days: Sequence[date]) -> dict[str, ir.Table]:
    """Return the inputs' rows of some days; the engine opens no other days' files.

    An input without days is taken whole.
    """
    parts = ranges(days)
    return {
        name: table.filter(ibis.or_(*(table.day.between(*part) for part in parts)))
        if "day" in table.columns
        else table
        for name, table in inputs.items()
    }


def _portions(
    stage: Stage, planner: Planner, stamps: Mapping[str | None, Stamp], days: Sequence[date]
) -> list[list[date]]:
    """Return the days in portions of at most ``ROWS_AT_ONCE`` rows of input, or of one day."""
    portions: list[list[date]] = []
    left = 0
    for day in days:
        stamp = stamps[f"day={day.isoformat()}"]
        rows = sum(file["rows"] or 0 for file in stamp.counts.get("files", {}).values())
        for spec in stage.inputs.values():
            held = planner.held(planner.stages[spec.key], day)
            rows += held.counts["rows"] if held else 0
        if not portions or rows > left:
            portions.append([])
            left = ROWS_AT_ONCE
        portions[-1].append(day)
        left -= rows
    return portions


def _compute_days(
    stage: Stage, ctx: StageContext, inputs: dict[str, ir.Table], portions: Iterable[list[date]]
) -> list[ir.Table]:
    """Return a table for each portion of days, made of no other days' rows than it needs."""
    tables, reasons = [], []
    before = timedelta(days=max((spec.before for spec in stage.inputs.values()), default=0))
    for days in portions:
        part = replace(ctx, days=tuple(days), nothing=None)
        tables.append(stage.compute(part, **_of_days(inputs, [days[0] - before, *days])))
        reasons.append(part.nothing)
    ctx.nothing = reasons[0] if all(reasons) else None
    return tables
