"""What a check is: a verdict over one asset, recorded in the lake beside Dagster's event log.

A blocking check's failure skips what is downstream; the recorded verdict keeps the next run from
taking a failed result for a good one.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg
from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetCheckSeverity

from itememb_dagster.lake import Key, Lake

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


def check(
    asset: Key, inputs: Mapping[str, Key] | None = None, blocking: bool = True
) -> Callable[[Callable[..., Verdict]], Check]:
    """Declare a check of ``asset``; parameters are tables, by asset name unless given.

    ``settings`` are the run's, ``counts`` what the asset's stamp keeps.
    """

    def declare(evaluate: Callable[..., Verdict]) -> Check:
        given = inputs or {}
        names = [n for n in inspect.signature(evaluate).parameters if n not in FROM_ELSEWHERE]
        wired = {name: given.get(name, (name,)) for name in names}
        return Check(evaluate.__name__, asset, evaluate, wired, blocking)

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
        verdict = item.evaluate(**tables)
        severity = AssetCheckSeverity.WARN if verdict.warn else AssetCheckSeverity.ERROR
        _record(context.resources.lake.lake, item, verdict, severity)
        return AssetCheckResult(
            passed=verdict.passed,
            severity=severity,
            description=verdict.why,
            metadata=dict(verdict.facts),
        )

    return run


def _record(lake: Lake, item: Check, verdict: Verdict, severity: AssetCheckSeverity) -> None:
    stamp = lake.stamp(item.asset)
    lake.record_check(
        item.asset,
        item.name,
        {
            "recipe": stamp.recipe if stamp else "missing",
            "passed": verdict.passed,
            "severity": severity.value,
            "why": verdict.why,
        },
    )
