"""What is up to date: expected stamps against the stamps that the lake holds.

A stamp's recipe hashes the recipes of its inputs, so what is stale follows from raw files,
settings and code alone, before anything runs. What does not belong here: Dagster.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from itememb_core.raw import RawScan, fingerprint
from itememb_core.settings import Settings
from itememb_core.split import cut_day
from itememb_dagster.lake import Key, Lake, Stamp
from itememb_dagster.lake.stamp import digest
from itememb_dagster.stage import Input, Stage

#: Gives the recipe of a table (day None) or of one day of it.
Recipe = Callable[[Stage, date | None], str]


def day_range(first: date, last: date) -> tuple[date, ...]:
    """Return the days from ``first`` to ``last``, both included."""
    return tuple(first + timedelta(days=i) for i in range((last - first).days + 1))


def lake_days(scan: RawScan) -> tuple[date, ...]:
    """Return the days of daily tables: those of raw and one more, in which sessions close."""
    if not scan.days:
        return (scan.epoch,)
    return day_range(scan.days[0], scan.days[-1] + timedelta(days=1))


class Planner:
    """Knows every stage's stamp as it should be and as it is."""

    def __init__(
        self, stages: Sequence[Stage], lake: Lake, scan: RawScan, settings: Settings
    ) -> None:
        self.stages = {s.key: s for s in stages}
        self.lake, self.scan, self.settings = lake, scan, settings
        self.days = lake_days(scan)
        self._expected: dict[tuple[Key, date | None], str] = {}
        self._stored: dict[tuple[Key, date | None], str] = {}

    @cached_property
    def present(self) -> tuple[date, ...]:
        """The days that every daily table of the lake holds: what stages without days see."""
        both = self.lake.common_segments(s.key for s in self.stages.values() if s.daily)
        return tuple(d for d in self.days if f"day={d.isoformat()}" in both)

    @cached_property
    def cut(self) -> date | None:
        """The first day that the backtest does not see; None without a temporal holdout."""
        observed = [d for d in self.scan.days if d in set(self.present)]
        if not observed or self.settings.holdout_days == 0:
            return None
        return cut_day(observed[-1], self.settings.holdout_days)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json")

    def stamp(self, stage: Stage, day: date | None, recipe: Recipe) -> Stamp:
        """Return a stage's stamp, given how the recipes of its inputs are found."""
        parts: list[str] = []
        for name, spec in stage.inputs.items():
            parts += [name, *self._input_recipes(stage, spec, day, recipe)]
        for key in stage.after:
            parts.append(recipe(self.stages[key], None))
        files = self._raw_files(stage, day)
        parts += [f"{name}={facts['fingerprint']}" for name, facts in files.items()]
        settings = {name: self._settings[name] for name in stage.settings}
        counts = {"files": files} if stage.raw and stage.daily else {}
        return Stamp(stage.name, digest(parts), settings, stage.code, None, counts)

    def _input_recipes(
        self, stage: Stage, spec: Input, day: date | None, recipe: Recipe
    ) -> Iterable[str]:
        upstream = self.stages[spec.key]
        if not upstream.daily:
            return [recipe(upstream, None)]
        if not stage.daily or day is None:
            return [f"{d}:{recipe(upstream, d)}" for d in self.present]
        wanted = [day - timedelta(days=i) for i in range(spec.before + 1)]
        return [recipe(upstream, d) for d in wanted if d >= self.days[0]]

    def _raw_files(self, stage: Stage, day: date | None) -> dict[str, dict[str, Any]]:
        if stage.raw == ("*",):
            found = list(self.scan.files)
        elif stage.daily and day is not None:
            found = [f for name in stage.raw for f in self.scan.day_files(name, day)]
        else:
            found = [f for name in stage.raw for f in self.scan.static_files(name)]
        return {
            f.path: {"bytes": f.bytes, "fingerprint": fingerprint(self.scan.root, f)}
            for f in sorted(found, key=lambda f: f.path)
        }

    def expected(self, stage: Stage, day: date | None) -> str:
        """Return the recipe that the lake should hold, from raw, settings and code."""
        at = (stage.key, day)
        if at not in self._expected:
            self._expected[at] = self.stamp(stage, day, self.expected).recipe
        return self._expected[at]

    def stored(self, stage: Stage, day: date | None) -> str:
        """Return the recipe that the lake holds; ``missing`` where it holds nothing."""
        at = (stage.key, day)
        if at not in self._stored:
            segment = f"day={day.isoformat()}" if stage.daily and day else None
            stamp = self.lake.stamp(stage.key, segment)
            self._stored[at] = stamp.recipe if stamp else "missing"
        return self._stored[at]

    def stale_days(self, days: Iterable[date]) -> dict[Key, list[date]]:
        """Return which of ``days`` each daily stage has to make."""
        days = list(days)
        stale = {
            key: [d for d in days if self.stored(s, d) != self.expected(s, d)]
            for key, s in self.stages.items()
            if s.daily
        }
        return {key: found for key, found in stale.items() if found}

    def stale_tables(self) -> list[Key]:
        """Return the stages without days that have to be made, or whose check failed."""
        return [
            key
            for key, s in self.stages.items()
            if not s.daily
            and (self.stored(s, None) != self.expected(s, None) or self.check_failed(s))
        ]

    def check_failed(self, stage: Stage) -> bool:
        """Whether a check of the stage's stored result is recorded as a failed ERROR."""
        verdicts = self.lake.checks(stage.key).values()
        stored = self.stored(stage, None)
        return any(
            v["recipe"] == stored and not v["passed"] and v["severity"] == "ERROR" for v in verdicts
        )


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Group days into runs without holes, as (first, last)."""
    out: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if out and day - out[-1][1] == timedelta(days=1):
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return out
