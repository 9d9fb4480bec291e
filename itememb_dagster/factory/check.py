"""What a check is: a predicate over one asset that gives a verdict.

What does not belong here: how it is judged and recorded (``judge``).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from itememb_dagster.factory.source import found_in
from itememb_dagster.lake import Key
from itememb_dagster.lake.stamps import digest

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

    @cached_property
    def code(self) -> str:
        """A hash of the source that its predicate can reach, and of what it is given."""
        given = (f"{name}={'/'.join(key)}" for name, key in sorted(self.inputs.items()))
        return digest([found_in(self.evaluate).code, *given, str(self.by_month)])


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
