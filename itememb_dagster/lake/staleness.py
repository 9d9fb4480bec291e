"""What is up to date: expected stamps against the stamps that the lake holds.

A stamp's recipe hashes the recipes of its inputs, so what is stale follows from raw files,
settings and code alone, before anything runs. What does not belong here: Dagster.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from itememb_core.errors import ItemembError
from itememb_core.evaluation.split import cut_day
from itememb_core.raw import RawFile, RawScan, check_files
from itememb_core.settings import Settings
from itememb_dagster.factory.check import Check
from itememb_dagster.factory.stage import EVERY_FILE, Input, Stage
from itememb_dagster.lake import Key, Lake, Stamp
from itememb_dagster.lake.counts import raw_print
from itememb_dagster.lake.stamps import digest
from itememb_dagster.lake.store import rejected_key

#: Gives the recipe of a table (day None) or of one day of it.
Recipe = Callable[[Stage, date | None], str]


#: The month of a table that has none: an empty file keeps its columns.
NO_MONTH: Final = "none"


def day_range(first: date, last: date) -> tuple[date, ...]:
    """Return the days from ``first`` to ``last``, both included."""
    return tuple(first + timedelta(days=i) for i in range((last - first).days + 1))


def lake_days(scan: RawScan) -> tuple[date, ...]:
    """Return the days of daily tables: those of raw and one more, in which sessions close."""
    if not scan.days:
        return (scan.epoch,)
    return day_range(scan.days[0], scan.days[-1] + timedelta(days=1))


class Planner:
    """Knows every stage's stamp as it should be and as it is, and which checks it passed."""

    def __init__(
        self,
        stages: Sequence[Stage],
        checks: Sequence[Check],
        lake: Lake,
        scan: RawScan,
        settings: Settings,
        fresh: bool = False,
    ) -> None:
        self.stages, self.checks = {s.key: s for s in stages}, tuple(checks)
        daily = [item.name for item in self.checks if self.stages[item.asset].daily]
        if daily:
            raise ValueError(f"check {daily[0]}: of a daily asset, expected one without days")
        self.lake, self.scan, self.settings, self.fresh = lake, scan, settings, fresh
        self.days = lake_days(scan)
        self._expected: dict[tuple[Key, date | None], str] = {}
        self._held: dict[tuple[Key, date | None], Stamp | None] = {}
        self._prints: dict[str, str] = {}

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

    def _setting(self, name: str) -> Any:
        """``seed`` or ``item_model.dim``."""
        stage, _, field = name.partition(".")
        return self._settings[stage][field] if field else self._settings[stage]

    def stamp(self, stage: Stage, day: date | None, recipe: Recipe) -> Stamp:
        """Return a stage's stamp, given how the recipes of its inputs are found."""
        parts = self._inputs(stage, day, recipe)
        parts += [recipe(self.stages[key], None) for key in stage.reads]
        if stage.raw:  # day numbers and durations count from it
            parts.append(f"epoch={self.scan.epoch}")
        counted = stage.counts_files and not stage.by_month
        return self._stamp(stage, parts, self._raw_files(stage, day), counted)

    def _inputs(self, stage: Stage, day: date | None, recipe: Recipe) -> list[str]:
        parts: list[str] = []
        for name, spec in stage.inputs.items():
            parts += [name, *self._input_recipes(stage, spec, day, recipe)]
        return parts

    def data_version(self, stage: Stage, stamps: Iterable[Stamp]) -> str:
        """Return Dagster's data version of what a run of a stage makes.

        It is the recipe (of several days, the hash of theirs). What comes after an evaluation
        depends on its verdict and not on its rows: its version is that of what it evaluates, so
        that a new figure makes nothing downstream stale in the UI, as it makes nothing stale here.
        """
        if stage.judges:
            return digest(self._inputs(stage, None, self.stored))
        recipes = [stamp.recipe for stamp in stamps]
        return recipes[0] if len(recipes) == 1 else digest(recipes)

    def _stamp(
        self, stage: Stage, parts: Sequence[str], files: Iterable[RawFile], counted: bool = True
    ) -> Stamp:
        """A stamp of the recipes ``parts`` and of files, which its counts name if ``counted``."""
        files = sorted(files, key=lambda file: file.path)
        prints = [f"{file.path}={self._fingerprint(file)}" for file in files]
        settings = {name: self._setting(name) for name in stage.settings}
        facts = {
            file.path: {"bytes": file.bytes, "fingerprint": self._fingerprint(file)}
            for file in files
        }
        counts = {"files": facts} if counted else {}
        return Stamp(stage.name, digest([*parts, *prints]), settings, stage.code, None, counts)

    def _fingerprint(self, file: RawFile) -> str:
        """A file of many days is part of many stamps and hashed once."""
        if file.path not in self._prints:
            self._prints[file.path] = raw_print(self.scan.root, file)
        return self._prints[file.path]

    def months(self, stage: Stage) -> dict[str, tuple[date, ...]]:
        """Return which days each month of a table by month is made of.

        They are those of its raw day files, or those of the daily tables that it reads.
        """
        days = self.present
        if stage.raw:
            files = [f for name in stage.raw for f in self.scan.named(name) if not f.lost]
            days = tuple(sorted({f.day for f in files if f.day}))
        elif "holdout_days" in stage.settings and self.cut:
            days = tuple(d for d in days if d < self.cut)
        by_month: dict[str, list[date]] = {f"{d:%Y-%m}": [] for d in days} or {NO_MONTH: []}
        for d in days:
            by_month[f"{d:%Y-%m}"].append(d)
        return {month: tuple(found) for month, found in by_month.items()}

    def month_stamps(self, stage: Stage) -> dict[str, Stamp]:
        """Return the stamp of each month of a table by month, from that month's days alone.

        The table's own stamp shows whether it is up to date as a whole; these show which of its
        files a new or changed day touches. Its inputs are daily tables or raw day files.
        """
        return {month: self._month_stamp(stage, days) for month, days in self.months(stage).items()}

    def _month_stamp(self, stage: Stage, days: Sequence[date]) -> Stamp:
        recipes: list[str] = []
        for name, spec in stage.inputs.items():
            for d in days:
                recipes += [name, d.isoformat(), self.stored(self.stages[spec.key], d)]
        files = (f for name in stage.raw for f in self.scan.named(name) if f.day in set(days))
        if stage.raw:
            recipes.append(f"epoch={self.scan.epoch}")
        stamp = self._stamp(stage, recipes, files, stage.counts_files)
        # What lies before the cut is in ``days`` already: another cut leaves early months alone.
        settings = {n: value for n, value in stamp.settings.items() if n != "holdout_days"}
        return replace(stamp, settings=settings)

    def months_to_make(self, stage: Stage, force: bool = False) -> dict[str, Stamp]:
        """Return the months that the lake does not hold as they should be, with their stamps.

        Of a table that is up to date as a whole and is made all the same, they are all.
        """
        stamps = self.month_stamps(stage)
        if force or self.stored(stage, None) == self.stamp(stage, None, self.stored).recipe:
            return stamps
        held = {month: self.lake.stamp(stage.key, f"month={month}") for month in stamps}
        return {m: s for m, s in stamps.items() if not (h := held[m]) or h.recipe != s.recipe}

    def with_parent(self, stage: Stage, stamp: Stamp) -> Stamp:
        """Return the stamp of a version with the version that it starts from.

        That is the current one; a version that is made again keeps its own, so that the bytes are
        the same. One that is no more in the lake is none; with ``fresh`` there is none.
        """
        current = self.lake.pointer(stage.key)  # a damaged version is made again, as it was
        if current is None or self.fresh:
            return stamp
        parent = current.parent if current.recipe == stamp.recipe else current.id
        if parent is None or not self.lake.version_folder(stage.key, parent).is_dir():
            return replace(stamp, parent=None)
        for path, why in self.lake.version_faults(stage.key, parent, deep=True).items():
            raise ItemembError(
                f"{path}: of the version before, which is damaged ({why}); itememb run --fresh "
                "aligns with nothing"
            )
        return replace(stamp, parent=parent)

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

    def _raw_files(self, stage: Stage, day: date | None) -> list[RawFile]:
        if stage.raw == EVERY_FILE:
            return list(self.scan.files)
        if stage.daily and day is not None:
            return [f for name in stage.raw for f in self.scan.day_files(name, day)]
        return [f for name in stage.raw for f in self.scan.named(name)]

    def expected(self, stage: Stage, day: date | None) -> str:
        """Return the recipe that the lake should hold, from raw, settings and code."""
        at = (stage.key, day)
        if at not in self._expected:
            self._expected[at] = self.stamp(stage, day, self.expected).recipe
        return self._expected[at]

    def stored(self, stage: Stage, day: date | None) -> str:
        """Return the recipe that the lake holds; ``missing`` where it holds nothing."""
        stamp = self.held(stage, day)
        return stamp.recipe if stamp else "missing"

    def held(self, stage: Stage, day: date | None) -> Stamp | None:
        """Return the stamp of what the lake holds; each is read once."""
        at = (stage.key, day)
        if at not in self._held:
            segment = f"day={day.isoformat()}" if stage.daily and day else None
            self._held[at] = self.lake.stamp(stage.key, segment)
        return self._held[at]

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
        """Return the stages without days that have to be made."""
        whole = [s for s in self.stages.values() if not s.daily]
        stale = {s.key for s in whole if self.stored(s, None) != self.expected(s, None)}
        if self.fresh:
            stale |= self._turned()
        return [s.key for s in whole if s.key in stale]

    def _turned(self) -> set[Key]:
        """The versions that were aligned to the one before, and all that is made of them."""
        held = {key: self.held(s, None) for key, s in self.stages.items() if s.descends}
        turned = {key for key, stamp in held.items() if stamp and stamp.parent}
        return turned | {key for key, s in self.stages.items() if self.upstream(s) & turned}

    def bad_days(self, days: Iterable[date], deep: bool = False) -> dict[date, ItemembError]:
        """Return which of ``days`` a broken raw file makes impossible, with the error naming it.

        With ``deep`` every page is read, which is slow.
        """
        days = list(days)
        bad: dict[date, ItemembError] = {}
        for channel in {name for s in self.stages.values() if s.daily for name in s.raw}:
            bad |= check_files(self.scan, channel, days, deep)
        return dict(sorted(bad.items()))

    def prune(self) -> None:
        """Remove the days that raw no longer covers from every daily table.

        None are removed while a file cannot say which days it has: they may be its. Nor where raw
        has no day at all: its folders are not mounted, perhaps.
        """
        if not self.scan.days or any(file.lost or file.any_day for file in self.scan.files):
            return
        keep = {f"day={d.isoformat()}" for d in self.days}
        for stage in self.stages.values():
            if stage.daily:
                for key in (stage.key, rejected_key(stage.key)):
                    self.lake.remove_segments(key, keep)

    def verdict(self, item: Check) -> Mapping[str, Any] | None:
        """Return a check's recorded verdict on the version that the lake holds; None: none yet."""
        held = self.held(self.stages[item.asset], None)
        found = self.lake.checks(item.asset).get(item.name)
        if held is None or found is None:
            return None
        # The same recipe can give other bytes: with other threads or libraries.
        now = held.id, self.lake.content(item.asset), item.code
        return found if (found["version"], found["content"], found["code"]) == now else None

    def unjudged(self) -> list[Check]:
        """Return the checks without a verdict on what the lake holds, or whose verdict is an ERROR.

        A run can end between the writing of a version and its verdict. Checks of what the lake does
        not hold are not among them.
        """
        return [
            item
            for item in self.checks
            if self.held(self.stages[item.asset], None) and not _passed(self.verdict(item))
        ]

    def checks_due(self, made: Collection[Key]) -> list[Check]:
        """Return the checks of stages that are to be made, and those that others still lack."""
        lacked = [item for item in self.unjudged() if item.asset not in made]
        return [*(item for item in self.checks if item.asset in made), *lacked]

    def upstream(self, stage: Stage) -> set[Key]:
        """Return all assets that come before a stage, directly or not."""
        found: set[Key] = set()
        waiting = [stage]
        while waiting:
            new = waiting.pop().needs - found
            found |= new
            waiting += [self.stages[key] for key in new]
        return found

    def check_inputs(self, stage: Stage) -> None:
        """Check that what a stage is made of, directly or not, has passed its blocking checks.

        Raises:
            ItemembError: It has not, or was not judged yet.
        """
        before = self.upstream(stage)
        for item in self.checks:
            if item.blocking and item.asset in before:
                verdict = self.verdict(item)
                if not _passed(verdict):
                    why = verdict["why"] if verdict else "it was not judged yet; itememb run does"
                    name = f"{'/'.join(item.asset)}.{item.name}"
                    raise ItemembError(f"check {name} has not passed, nothing is made of it: {why}")


def _passed(verdict: Mapping[str, Any] | None) -> bool:
    """Whether there is a verdict that stops nothing."""
    return verdict is not None and (verdict["passed"] or verdict["severity"] != "ERROR")


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Group days into runs without holes, as (first, last)."""
    out: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if out and day - out[-1][1] == timedelta(days=1):
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return out
