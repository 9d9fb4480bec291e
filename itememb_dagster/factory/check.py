"""What a check is: a verdict over one asset, recorded in the lake beside Dagster's event log.

A blocking check's failure skips what is downstream; the recorded verdict keeps the next run from
taking a failed result for a good one.
"""

import inspect
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg
import ibis.expr.types as ir
from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetCheckSeverity

from itememb_dagster.factory.asset import FORCE_TAG
from itememb_dagster.factory.stage import SOURCES
from itememb_dagster.lake import Key, Lake
from itememb_dagster.lake.sources import Reach

#: Parameters of a check that are no tables.
FROM_ELSEWHERE: Final = ("settings", "counts")


@dataclass(frozen=True)
class Verdict:
    """A check's result.

    Attributes:
        passed: Whether it holds.
        why: One sentence for people, with the figures.
        facts: Figures for the UI.
        warn: A failure only warns (it does not block).
    """

    passed: bool
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warn: bool = False


@dataclass(frozen=True)
class Check:
    """A named predicate over an asset and, by parameter name, others."""

    name: str
    asset: Key
    evaluate: Callable[..., Verdict]
    inputs: Mapping[str, Key]
    blocking: bool
    by_month: bool = False

    @property
    def code(self) -> str:
        """A hash of the source that its predicate can reach."""
        return Reach.of(self.evaluate.__module__, self.evaluate.__name__, SOURCES).digest


def check(
    asset: Key,
    inputs: Mapping[str, Key] | None = None,
    blocking: bool = True,
    by_month: bool = False,
) -> Callable[[Callable[..., Verdict]], Check]:
    """Declare a check of ``asset``; parameters are tables, by asset name unless given.

    ``settings`` are the run's, ``counts`` what the asset's stamp keeps. ``by_month``: the asset is
    a table by month, and its months are judged one by one, those that are as they were by what
    was found then; the facts are counts, and are summed.
    """

    def declare(evaluate: Callable[..., Verdict]) -> Check:
        given = inputs or {}
        names = [n for n in inspect.signature(evaluate).parameters if n not in FROM_ELSEWHERE]
        wired = {name: given.get(name, (name,)) for name in names}
        return Check(evaluate.__name__, asset, evaluate, wired, blocking, by_month)

    return declare


def build_check(item: Check) -> dg.AssetChecksDefinition:
    """Turn a check into a Dagster asset check."""
    kinds = typing.get_type_hints(item.evaluate)
    wanted = set(inspect.signature(item.evaluate).parameters)

    @dg.asset_check(
        asset=dg.AssetKey(list(item.asset)),
        name=item.name,
        description=inspect.getdoc(item.evaluate),
        blocking=item.blocking,
        additional_deps=[
            dg.AssetKey(list(key)) for key in item.inputs.values() if key != item.asset
        ],
        required_resource_keys={"lake", "settings"},
    )
    def run(context: AssetCheckExecutionContext) -> AssetCheckResult:
        load = context.resources.lake.load
        tables = {name: load(key, kinds[name]) for name, key in item.inputs.items()}
        if "settings" in wanted:
            tables["settings"] = context.resources.settings
        if "counts" in wanted:
            stamp = context.resources.lake.lake.stamp(item.asset)
            tables["counts"] = stamp.counts if stamp else {}
        lake = context.resources.lake.lake
        facts: dict[str, Any] = {}
        if item.by_month:
            verdict, facts = judge_months(item, lake, tables, FORCE_TAG in context.run.tags)
        else:
            verdict = item.evaluate(**tables)
        severity = AssetCheckSeverity.WARN if verdict.warn else AssetCheckSeverity.ERROR
        _record(lake, item, verdict, severity, facts)
        return AssetCheckResult(
            passed=verdict.passed,
            severity=severity,
            description=verdict.why,
            metadata=dict(verdict.facts),
        )

    return run


def judge_months(
    item: Check, lake: Lake, tables: Mapping[str, ir.Table], force: bool
) -> tuple[Verdict, dict[str, Any]]:
    """Judge each month that the same code has not judged as it is; return what to remember, too."""
    before = {} if force else lake.checks(item.asset).get(item.name, {})
    known = before["months"] if before.get("code") == item.code else {}
    months: dict[str, dict[str, Any]] = {}
    for segment in lake.segments(item.asset):
        stamp, name = lake.stamp(item.asset, segment), segment.partition("=")[2]
        recipe = stamp.recipe if stamp else "missing"
        months[name] = known.get(name, {})
        if months[name].get("recipe") != recipe:
            own = {
                parameter: table.filter(table.month == name) for parameter, table in tables.items()
            }
            found = item.evaluate(**own)
            facts = [list(fact) for fact in found.facts.items()]  # JSON keeps their order
            months[name] = {"recipe": recipe, "passed": found.passed, "facts": facts}
    sums: Counter[str] = Counter()
    for month in months.values():
        sums.update(dict(month["facts"]))
    why = ", ".join(f"{n:,} {what}" for what, n in sums.items())
    passed = all(month["passed"] for month in months.values())
    return Verdict(passed, why, sums), {"code": item.code, "months": months}


def _record(
    lake: Lake,
    item: Check,
    verdict: Verdict,
    severity: AssetCheckSeverity,
    facts: Mapping[str, Any],
) -> None:
    stamp = lake.stamp(item.asset)
    lake.record_check(
        item.asset,
        item.name,
        {
            "recipe": stamp.recipe if stamp else "missing",
            "passed": verdict.passed,
            "severity": severity.value,
            "why": verdict.why,
            **facts,
        },
    )
