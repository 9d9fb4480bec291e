"""Runs what is stale: ranges of days, then the rest; the gate is its own evaluations.

What does not belong here: printing (the command's), computing (the core's), how steps execute
(``executor``).
"""

import os
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg

from itememb_core.errors import UsageError
from itememb_core.progress import Progress, silent
from itememb_core.raw import RawScan, unclaimed
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.assets.items import ALIGNED_TO
from itememb_dagster.automation.jobs import DAYS_JOB, REST_JOB, check_key, range_tags
from itememb_dagster.automation.killed import end_killed_runs, lake_tag
from itememb_dagster.automation.outcome import Outcome, failures_of
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.definitions import defs_of, job_of
from itememb_dagster.factory.asset import FORCE_TAG, FRESH_TAG
from itememb_dagster.factory.check import Check
from itememb_dagster.lake import Key, Lake
from itememb_dagster.lake.io_manager import WRITER_TAG
from itememb_dagster.lake.lock import sweep_scratch
from itememb_dagster.lake.seal import DAMAGED
from itememb_dagster.lake.staleness import Planner, ranges
from itememb_dagster.lake.store import FORMAT, NOTE
from itememb_dagster.runtime.engine import connect
from itememb_dagster.runtime.executor import WORKERS, start_fork_server
from itememb_dagster.runtime.place import EMBEDDED, Place, hiding
from itememb_dagster.runtime.profiling import Sampler
from itememb_dagster.runtime.reporting import ADDRESS_TAG, Listener, listening
from itememb_dagster.runtime.resources import scan_raw


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        start: First day to make; None: the first that raw holds.
        end: Last day to make.
        select: Dagster's asset selection syntax; None: everything.
        force: Make what is up to date, too.
        verify: Look at all bytes of the lake first; what is damaged is made again.
        fresh: Align new versions with nothing.
        workers: Steps side by side, each a process; 1: in this one. With more a script needs
            the usual ``if __name__ == "__main__"``.
        shown: Where progress is shown.
    """

    place: Place
    settings: Settings
    start: date | None = None
    end: date | None = None
    select: str | None = None
    force: bool = False
    verify: bool = False
    fresh: bool = False
    workers: int = 1
    shown: Progress = silent


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Runner:
    """One command's run over one place."""

    def __init__(self, request: Request) -> None:
        self.request = request
        place = request.place
        self.scan: RawScan = scan_raw(place.raw, place.epoch, request.settings)
        self.lake = Lake(Path(place.lake))
        self.outcome = Outcome()
        self.writer = uuid.uuid4().hex
        self.listener = Listener()

    def planner(self) -> Planner:
        """Return a planner of the lake as it is now."""
        request = self.request
        return Planner(STAGES, CHECKS, self.lake, self.scan, request.settings, request.fresh)

    def _selected(self) -> set[Key]:
        if self.request.select is None:
            return {s.key for s in STAGES}
        try:
            found = dg.AssetSelection.from_string(self.request.select).resolve(
                defs_of(self.request.place).resolve_asset_graph()
            )
        except (dg.DagsterError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise UsageError(f"--select {self.request.select}: {first}") from error
        if not found:
            raise UsageError(f"--select {self.request.select}: no such asset")
        return {tuple(key.path) for key in found}

    def _days(self, planner: Planner) -> list[date]:
        start = self.request.start or planner.days[0]
        end = self.request.end or planner.days[-1]
        days = [d for d in planner.days if start <= d <= end]
        if self.request.end and days and days[-1] == planner.scan.days[-1]:
            days.append(planner.days[-1])
        given = {"--start": self.request.start, "--end": self.request.end}
        options = " ".join(f"{name} {value}" for name, value in given.items() if value)
        if self.request.start and self.request.end and start > end:
            raise UsageError(f"{options}: the first day is after the last")
        if not days:
            raise UsageError(
                f"{options}: no such days in raw {self.request.place.raw}, "
                f"which holds {planner.days[0]} to {planner.days[-1]}"
            )
        return days

    def _execute(
        self, job: str, keys: Collection[Key], checks: Collection[Check], tags: dict[str, str]
    ) -> bool:
        stages = [s for s in STAGES if s.key in keys]
        # As in the days' job: what the engine does is no faster in processes of its own.
        workers = self.request.workers if any(s.numeric for s in stages) else 1
        if workers > 1 and self.request.place.engine == EMBEDDED:
            start_fork_server()
        if any(s.relational for s in stages):
            # If it cannot start: one error, not one a stage.
            connect(self.request.place.engine, self.lake.root)
        result = self._result(job, keys, checks, tags, workers)
        failures = list(failures_of(result))
        if not result.success and not failures:
            failures = [f"job {job}: the run failed, no step says why"]
        self.outcome.errors += failures
        for check in result.get_asset_check_evaluations():
            if not check.passed:
                name = f"{'/'.join(check.asset_key.path)}.{check.check_name}"
                line = f"check {name}: {check.description}"
                is_error = check.severity == dg.AssetCheckSeverity.ERROR
                (self.outcome.errors if is_error else self.outcome.warnings).append(line)
        return result.success

    def _result(
        self,
        job: str,
        keys: Collection[Key],
        checks: Collection[Check],
        tags: dict[str, str],
        workers: int,
    ) -> dg.JobExecutionResult:
        """Execute a job as the UI and the daemon do."""
        place, settings = self.request.place, self.request.settings
        where = {
            "raw": place.raw,
            "lake": place.lake,
            "epoch": place.epoch.isoformat(),
            "engine": place.engine,
            "workers": workers,
        }
        own = {WRITER_TAG: self.writer, ADDRESS_TAG: self.listener.address}
        own |= lake_tag(self.lake)
        own |= {FORCE_TAG: "true"} if self.request.force else {}
        own |= {FRESH_TAG: "true"} if self.request.fresh else {}
        with dg.DagsterInstance.get() as instance:
            return dg.execute_job(
                dg.build_reconstructable_job(
                    job_of.__module__,
                    job_of.__name__,
                    reconstructable_kwargs={"name": job, **where},
                ).get_subset(
                    asset_selection={dg.AssetKey(list(key)) for key in keys},
                    asset_check_selection={check_key(item) for item in checks},
                ),
                instance,
                run_config={
                    "resources": {"settings": {"config": settings.model_dump(mode="json")}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                tags={**tags, **own},
            )

    def _spoil_damaged(self, selected: set[Key], deep: bool) -> bool:
        """Name what is damaged in the lake; return whether this run makes all of it again.

        Nothing is removed: what is damaged stays so for every run until it is made again, and what
        reads it fails. Of an older lake, whose files have no seals, nothing can be said.

        Args:
            selected: What this run makes, on its days.
            deep: Whether to look at all bytes.
        """
        if self.lake.is_older():
            return True
        planner, known = self.planner(), len(self.outcome.errors)
        planner.prune()
        days = {f"day={day.isoformat()}" for day in self._days(planner)}
        for done, stage in enumerate(STAGES, start=1):
            for name, why in self.lake.faults(stage.key, deep).items():
                line = f"{self.lake.root / name}{DAMAGED}{why})"
                segment = next((part for part in name.split("/") if part.startswith("day=")), None)
                if stage.key in selected and (segment is None or segment in days):
                    self.lake.spoil(name)
                    self.outcome.warnings.append(f"{line}; it is made again")
                else:
                    others = "itememb run without --select, --start and --end makes it again"
                    self.outcome.errors.append(f"{line}; {others}")
            if deep:
                self.request.shown("verify", done, len(STAGES))
        return len(self.outcome.errors) == known

    def _make_all(self, selected: set[Key]) -> None:
        """Make what is stale, and once more if something was found damaged when it was read."""
        self._make(selected)
        damaged = any(DAMAGED in error for error in self.outcome.errors)
        if damaged and not self.outcome.interrupted and self._spoil_damaged(selected, deep=True):
            self.outcome.errors.clear()
            self._make(selected)

    def _make(self, selected: set[Key]) -> None:
        """Make days, then the rest unless a day failed."""
        self.make_days(selected)
        if not self.outcome.errors:
            self.make_rest(selected)

    def make_days(self, selected: set[Key]) -> None:
        """Make the stale days, a run for each range; bad days are left as they were."""
        planner = self.planner()
        days = self._days(planner)
        planner.prune()
        daily = [s for s in STAGES if s.daily and s.key in selected]
        stale = planner.stale_days(days)
        if self.request.force:
            stale = {s.key: days for s in daily}
        todo = {key: found for key, found in stale.items() if key in selected}
        wanted = sorted({d for found in todo.values() for d in found})
        bad = planner.bad_days(wanted)
        self._add_errors([*self.scan.lost, *map(str, bad.values())])
        self._make_good(todo, [d for d in wanted if d not in bad])

    def _add_errors(self, errors: Iterable[str]) -> None:
        """Record errors; one that spoils several days is one line."""
        self.outcome.errors += [e for e in dict.fromkeys(errors) if e not in self.outcome.errors]

    def _make_good(self, todo: Mapping[Key, Sequence[date]], days: Sequence[date]) -> None:
        """Make days, without those that only their rows show to be impossible."""
        while days:
            known = len(self.outcome.errors)
            self._make_ranges(todo, days)
            if len(self.outcome.errors) == known:
                return
            planner = self.planner()
            left = planner.stale_days(days)
            refused = {d for key, found in left.items() if planner.stages[key].raw for d in found}
            # An engine that meets a damaged page fails for all days and does not say where.
            broken = planner.bad_days(refused, deep=True)
            self._add_errors(map(str, broken.values()))
            todo = {key: found for key, found in left.items() if key in todo}
            days = [d for d in days if d not in (broken or refused)] if refused else []

    def _make_ranges(self, todo: Mapping[Key, Sequence[date]], days: Iterable[date]) -> None:
        """Make the assets of ``todo`` on those of ``days`` that are its, a run for each range."""
        due = {d for found in todo.values() for d in found}
        for first, last in ranges(d for d in days if d in due):
            keys = [k for k, found in todo.items() if any(first <= d <= last for d in found)]
            count = len(keys) * ((last - first).days + 1)
            if self._execute(DAYS_JOB, keys, (), range_tags(first.isoformat(), last.isoformat())):
                self.outcome.asset_days += count

    def make_rest(self, selected: set[Key]) -> None:
        """Make the stale stages that have no days, and judge what lacks a verdict, in one run."""
        planner = self.planner()
        stale = [s.key for s in STAGES if not s.daily]
        if not self.request.force:
            stale = planner.stale_tables()
        keys = [key for key in stale if key in selected]
        gates = set().union(*(planner.upstream(planner.stages[key]) for key in keys))
        due = [item for item in planner.checks_due(keys) if item.asset in selected | gates]
        if (keys or due) and self._execute(REST_JOB, keys, due, {}):
            self.outcome.tables += len(keys)
            self.outcome.judged += sum(item.asset not in keys for item in due)
            self.outcome.notes += self._alignments(keys)

    def _alignments(self, keys: Iterable[Key]) -> Iterator[str]:
        """Say which of the versions that were made depend on the version before."""
        for key in keys:
            before = (stamp.counts if (stamp := self.lake.stamp(key)) else {}).get(ALIGNED_TO)
            if before:
                name = f"{'/'.join(key)} is aligned to the version before ({before})"
                yield f"{name}; --fresh aligns with nothing"

    def run(self) -> Outcome:
        """Run days, then the rest unless a day failed.

        Raises:
            ItemembError: The lake cannot be written, has another epoch, or another run writes it.
        """
        began = time.perf_counter()
        selected = self._selected()
        ranged = self.request.start or self.request.end
        sampler = Sampler()
        shown = hiding(self.request.place.raw)
        with shown, _environment(self._variables()), self._reports(), self._written():
            if self._spoil_damaged(selected, self.request.verify):
                self._make_all(selected)
            if not self.outcome.errors and selected == {s.key for s in STAGES} and not ranged:
                self.lake.finish_format()
        self.outcome.recorder.peak_bytes = sampler.stop()
        self.outcome.seconds = time.perf_counter() - began
        if self.outcome.asset_days or self.outcome.tables:
            self.outcome.dagster_seconds = self.outcome.seconds - self.outcome.recorder.seconds
        return self.outcome

    def _variables(self) -> dict[str, str]:
        """What processes that this one starts find in their environment."""
        return {**self.request.place.variables, WORKERS: str(self.request.workers)}

    @contextmanager
    def _reports(self) -> Iterator[None]:
        with listening(self.request.shown, self.outcome.recorder) as self.listener:
            yield

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Be the lake's writer."""
        with self.lake.writing(writer=self.writer):
            end_killed_runs(self.lake)
            self._look_at_note()
            self.outcome.warnings += unclaimed(self.scan)
            self.lake.prepare(self.request.place.epoch, self.scan.days)
            yield
            sweep_scratch(self.lake.root)

    def _look_at_note(self) -> None:
        """Say what is odd about the lake as a whole."""
        note = self.lake.note()
        if note is not None and note.format < FORMAT:
            self.outcome.warnings.append(
                f"lake {self.lake.root}: written in format {note.format}, now {FORMAT}; its "
                "stamps say less, so that every stage is made again"
            )
        if note is None and any(self.lake.parts(stage.key) for stage in STAGES):
            self.outcome.warnings.append(
                f"{self.lake.root / NOTE}: gone; it is written again with epoch "
                f"{self.request.place.epoch}"
            )
