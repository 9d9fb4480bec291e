"""Checks as Dagster asset checks; each verdict is recorded in the lake, too.

A verdict belongs to the version that it judged: what lacks one is judged by the next run, and
nothing downstream is made of a version whose blocking checks have not passed.
"""

import inspect
import typing
from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg
import ibis.expr.types as ir
from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetCheckSeverity

from itememb_dagster.factory.asset import FORCE_TAG
from itememb_dagster.factory.check import Check, Verdict
from itememb_dagster.lake import Lake
from itememb_dagster.lake.seal import content
from itememb_dagster.runtime.executor import end_with_parent


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
        end_with_parent()
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
    known = before["months"] if before.get("code") == item.code and "months" in before else {}
    months: dict[str, dict[str, Any]] = {}
    for segment in lake.segments(item.asset):
        name, found_in = segment.partition("=")[2], content(lake.part(item.asset, segment))
        months[name] = known.get(name, {})
        if months[name].get("content") != found_in:
            own = {
                parameter: table.filter(table.month == name) for parameter, table in tables.items()
            }
            found = item.evaluate(**own)
            facts = [list(fact) for fact in found.facts.items()]  # JSON keeps their order
            months[name] = {"content": found_in, "passed": found.passed, "facts": facts}
    sums: Counter[str] = Counter()
    for month in months.values():
        sums.update(dict(month["facts"]))
    why = ", ".join(f"{n:,} {what}" for what, n in sums.items())
    passed = all(month["passed"] for month in months.values())
    return Verdict(passed, why, sums), {"months": months}


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
            "version": stamp.id if stamp else "missing",
            "content": lake.content(item.asset),
            "code": item.code,
            "passed": verdict.passed,
            "severity": severity.value,
            "why": verdict.why,
            **facts,
        },
    )
