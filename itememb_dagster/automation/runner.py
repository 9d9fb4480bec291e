"""Runs what is stale: ranges of days, then the rest; the gate is its own evaluations.

What does not belong here: printing (the command's), computing (the core's), how steps execute
(``executor``).
"""

import os
import re
import signal
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg

from itememb_core.errors import UsageError
from itememb_core.progress import Progress, silent
from itememb_core.raw import RawScan, scan, unclaimed
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.automation.jobs import DAYS_JOB, REST_JOB, range_tags
from itememb_dagster.definitions import build_defs, job_of
from itememb_dagster.factory.asset import FORCE_TAG
from itememb_dagster.lake import Key, Lake
from itememb_dagster.lake.io_manager import WRITER_TAG
from itememb_dagster.lake.lock import sweep_scratch
from itememb_dagster.lake.staleness import Planner, ranges
from itememb_dagster.lake.store import FORMAT
from itememb_dagster.runtime.engine import connect
from itememb_dagster.runtime.executor import WORKERS, start_fork_server
from itememb_dagster.runtime.place import EMBEDDED, Place
from itememb_dagster.runtime.profiling import Recorder, Sampler
from itememb_dagster.runtime.reporting import ADDRESS_TAG, Listener, listening

INTERRUPTED: Final = "interrupted; run again to go on with what is not made yet"

#: What Dagster says of a process that ended without a word.
_DIED: Final = re.compile(r"(?<=terminated by )signal \d+|(?<=exited with )code \d+")
_KILLED: Final = f"signal {int(signal.SIGKILL)}"


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        start: First day to make; None: the first that raw holds.
        end: Last day to make.
        select: Dagster's asset selection syntax; None: everything.
        force: Make what is up to date, too.
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
    workers: int = 1
    shown: Progress = silent


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        asset_days: Asset-days made.
        tables: Stages without days made.
        errors: One line for each failure; the run is good only when there is none.
        warnings: One line for each check that warned.
        seconds: Of the whole run.
        dagster_seconds: Of those, without any stage running: Dagster's own (its event log, mostly).
    """

    asset_days: int = 0
    tables: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    dagster_seconds: float = 0.0
    recorder: Recorder = field(default_factory=Recorder)

    @property
    def interrupted(self) -> bool:
        """Whether a person or the system stopped it."""
        return any(error.endswith(INTERRUPTED) for error in self.errors)

    @property
    def reasons(self) -> dict[str, str]:
        """Why stages had nothing to do, by stage."""
        return self.recorder.reasons


def _death(result: dg.JobExecutionResult, step: str | None) -> str | None:
    """Return how a step's process died, where it did; Dagster logs it in another event."""
    for event in result.all_events:
        death = _DIED.search(event.message or "") if event.step_key == step else None
        if death:
            hint = ", perhaps because memory ran out" if death.group() == _KILLED else ""
            return f"its process died ({death.group()}{hint}); run again to go on"
    return None


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


def _root_message(error: Any) -> str:
    """Return the first line of the innermost cause of a serialized error."""
    while getattr(error, "cause", None):
        error = error.cause
    text = str(error.message).strip()
    if "DagsterExecutionInterruptedError" in text:
        return INTERRUPTED
    name, _, rest = text.partition(": ")
    return (rest if name.endswith(("Failure", "ItemembError")) else text).splitlines()[0]


def _failures(result: dg.JobExecutionResult) -> Iterable[str]:
    """Yield one line for each failed step, or for the run where no step failed."""
    steps = any(event.is_step_failure for event in result.all_events)
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            message = data.user_failure_data.description if data.user_failure_data else None
            message = message or _death(result, event.step_key) or _root_message(data.error)
            name = event.step_key.replace("__", "/") if event.step_key else "run"
            yield f"{name}: {message}"
        elif (
            not steps
            and event.is_run_failure
            and event.job_failure_data
            and event.job_failure_data.error
        ):
            yield _root_message(event.job_failure_data.error)


class Runner:
    """One command's run over one place."""

    def __init__(self, request: Request) -> None:
        self.request = request
        place = request.place
        settings = request.settings
        self.scan: RawScan = scan(
            place.raw, place.epoch, settings.domains, settings.raw, strict=False
        )
        self.lake = Lake(Path(place.lake))
        self.outcome = Outcome()
        self.writer = uuid.uuid4().hex
        self.listener = Listener()

    def planner(self) -> Planner:
        """Return a planner of the lake as it is now."""
        return Planner(STAGES, self.lake, self.scan, self.request.settings)

    def _selected(self) -> set[Key]:
        if self.request.select is None:
            return {s.key for s in STAGES}
        try:
            found = dg.AssetSelection.from_string(self.request.select).resolve(
                build_defs(self.request.place).resolve_asset_graph()
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
                f"{options}: no such days in raw {self.scan.root}, "
                f"which holds {planner.days[0]} to {planner.days[-1]}"
            )
        return days

    def _execute(self, job: str, keys: Collection[Key], tags: dict[str, str]) -> bool:
        if self.request.workers > 1 and self.request.place.engine == EMBEDDED:
            start_fork_server()
        if any(s.relational for s in STAGES if s.key in keys):
            # If it cannot start: one error, not one a stage.
            connect(self.request.place.engine, self.lake.root)
        result = self._result(job, keys, tags)
        failures = list(_failures(result))
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
        self, job: str, keys: Collection[Key], tags: dict[str, str]
    ) -> dg.JobExecutionResult:
        """Execute a job as the UI and the daemon do."""
        place, settings = self.request.place, self.request.settings
        where = {
            "raw": place.raw,
            "lake": place.lake,
            "epoch": place.epoch.isoformat(),
            "engine": place.engine,
        }
        own = {WRITER_TAG: self.writer, ADDRESS_TAG: self.listener.address}
        if self.request.force:
            own[FORCE_TAG] = "true"
        with dg.DagsterInstance.get() as instance:
            return dg.execute_job(
                dg.build_reconstructable_job(
                    job_of.__module__,
                    job_of.__name__,
                    reconstructable_kwargs={"name": job, **where},
                ),
                instance,
                run_config={
                    "resources": {"settings": {"config": settings.model_dump(mode="json")}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                tags={**tags, **own},
                asset_selection=[dg.AssetKey(list(key)) for key in keys],
            )

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
            if self._execute(DAYS_JOB, keys, range_tags(first.isoformat(), last.isoformat())):
                self.outcome.asset_days += count

    def make_rest(self, selected: set[Key]) -> None:
        """Make the stale stages that have no days, in one run."""
        stale = [s.key for s in STAGES if not s.daily]
        if not self.request.force:
            stale = self.planner().stale_tables()
        keys = [key for key in stale if key in selected]
        if keys and self._execute(REST_JOB, keys, {}):
            self.outcome.tables += len(keys)

    def run(self) -> Outcome:
        """Run days, then the rest unless a day failed.

        Raises:
            ItemembError: The lake cannot be written, has another epoch, or another run writes it.
        """
        began = time.perf_counter()
        selected = self._selected()
        sampler = Sampler()
        with _environment(self._variables()), self._reports(), self._written():
            self.make_days(selected)
            if not self.outcome.errors:
                self.make_rest(selected)
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
            note = self.lake.note()
            if note is not None and note.format < FORMAT:
                self.outcome.warnings.append(
                    f"lake {self.lake.root}: written in format {note.format}, now {FORMAT}; its "
                    "stamps say less, so that every stage is made again"
                )
            self.outcome.warnings += unclaimed(self.scan)
            self.lake.prepare(self.request.place.epoch, self.scan.days)
            yield
            sweep_scratch(self.lake.root)
