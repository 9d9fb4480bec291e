"""Processes that take the steps of a run side by side and last as long as the command.

Dagster's multiprocess executor starts a process a step, which imports and resolves everything
anew: about two seconds a step, and a run has over a hundred. Here a process builds the definitions
once and then takes step after step. What does not belong here: what a step does; the order of
steps (``side_by_side``).
"""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts

from itememb_core.progress import Progress
from itememb_dagster.lake.lock import adopt, engine_scratch, lent
from itememb_dagster.runtime.engine import MEMORY_MB
from itememb_dagster.runtime.profiling import Recorder, recording
from itememb_dagster.runtime.resources import Place, reporting_to
from itememb_dagster.runtime.threads import one_of_workers

#: Seconds between two reports of one thing's progress.
REPORT_SECONDS: Final = 0.1

#: What a worker says: a kind (``event``, ``progress``, ``stage``, ``nothing``, ``done``) with what.
Message = tuple[str, Any]


@dataclass(frozen=True)
class Task:
    """One step of a run."""

    run_id: str
    step: str
    known: KnownExecutionState


@dataclass
class Worker:
    """One process, with the step that it is at."""

    process: SpawnProcess
    pipe: Connection
    step: str | None = None

    def submit(self, task: Task) -> None:
        """Give it a step."""
        self.step = task.step
        self.pipe.send(task)

    def interrupt(self) -> None:
        """Ask it to end the step that it is at."""
        if self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes started inside."""
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


@dataclass
class Workers:
    """The processes of a command; the cores and the engine's memory are shared among them.

    Where ``ITEMEMB_MEMORY`` is set, each may hold that much.

    Attributes:
        place: What their definitions are built for.
        count: How many there are; one that dies is replaced when it is needed.
        progress: Where their progress goes.
        recorder: Where their times go.
    """

    place: Place
    count: int
    progress: Progress
    recorder: Recorder
    all: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        for _ in range(self.count):  # they import while the run is planned
            self._start()

    @property
    def idle(self) -> int:
        """How many more steps can be taken now."""
        return self.count - sum(worker.step is not None for worker in self.all)

    def free(self) -> Worker:
        """Return a worker without a step, started if there is none; there must be an ``idle``."""
        for worker in [worker for worker in self.all if worker.step is None]:
            if worker.process.is_alive():
                return worker
            self.all.remove(worker)
        return self._start()

    def _start(self) -> Worker:
        spawn = multiprocessing.get_context("spawn")
        pipe, other = spawn.Pipe()
        threads = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0] or os.cpu_count() or 1)
        share = max(threads // self.count, 1)
        memory = os.environ.get("ITEMEMB_MEMORY") or f"{MEMORY_MB // self.count}MB"
        with _environment({"OMP_NUM_THREADS": str(share), "ITEMEMB_MEMORY": memory}):
            lock = _Lock(lent(Path(self.place.lake)))
            process = spawn.Process(target=_serve, args=(other, self.place, lock, threads))
            process.start()
        other.close()
        worker = Worker(process, pipe)
        self.all.append(worker)
        return worker

    def messages(self, timeout: float) -> Iterator[tuple[Worker, Message]]:
        """Give what busy workers say within ``timeout`` seconds; ``dead`` where one has died."""
        busy = {worker.pipe: worker for worker in self.all if worker.step}
        for pipe in wait(list(busy), timeout):
            worker = busy[pipe]  # type: ignore[index]
            try:
                kind, what = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                self.all.remove(worker)
                kind, what = "dead", worker.process.exitcode
            if kind == "progress":
                self.progress(*what)
            elif kind == "stage":
                self.recorder.stages.append(what)
            elif kind == "nothing":
                self.recorder.reasons.update(what)
            else:
                yield worker, (kind, what)

    def close(self) -> None:
        """End all processes; they end at once, so what their engines spilled is left to remove."""
        for worker in self.all:
            worker.pipe.close()
        for worker in self.all:
            worker.process.join()
            scratch = engine_scratch(Path(self.place.lake), worker.process.pid)
            shutil.rmtree(scratch, ignore_errors=True)
        self.all.clear()


class _Lock:
    """A file descriptor that a process started with it gets, too."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __getstate__(self) -> Any:
        return DupFd(self.fd)

    def __setstate__(self, sent: Any) -> None:
        self.fd = sent.detach()


def _serve(pipe: Connection, place: Place, lock: _Lock, threads: int) -> None:
    """Take steps until the command closes the pipe or has died."""
    os.setpgrp()  # Ctrl-C is the command's: it says what is to end
    adopt(Path(place.lake), lock.fd)
    tasks: SimpleQueue[Task] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
    say = _Voice(pipe)
    import itememb_dagster.definitions  # noqa: F401  while the command plans

    first = tasks.get()  # only the command makes a new instance's databases
    tasks.put(first)
    with (
        capture_interrupts(),
        dg.DagsterInstance.get() as instance,
        reporting_to(say.progress),
        one_of_workers(threads),
        recording() as recorder,
    ):
        while True:
            task, failed, error = tasks.get(), False, None
            try:
                for event in _step_events(instance, place, task):
                    say("event", event)
                    failed |= event.is_step_failure
                    if event.is_resource_init_failure:
                        error = event.engine_event_data.error
            except (dg.DagsterError, dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
                error = serializable_error_info_from_exc_info(sys.exc_info())
            for stage in recorder.stages:
                say("stage", stage)
            say("nothing", recorder.reasons)
            recorder.stages.clear()
            say("done", None if failed else error)


def _listen(pipe: Connection, tasks: "SimpleQueue[Task]") -> None:
    """Queue what the command sends; without a command there is nothing to work for."""
    try:
        while True:
            tasks.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


class _Voice:
    """Sends messages, and of progress not more than people can read."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._told: dict[str, float] = {}

    def __call__(self, kind: str, what: Any) -> None:
        with self._lock:
            self._pipe.send((kind, what))

    def progress(self, what: str, done: int, total: int) -> None:
        """Report progress."""
        now = time.monotonic()
        if 0 < total <= done or now - self._told.get(what, 0.0) > REPORT_SECONDS:
            self._told[what] = now
            self("progress", (what, done, total))


def _step_events(
    instance: dg.DagsterInstance, place: Place, task: Task
) -> Iterator[dg.DagsterEvent]:
    """Execute a step, whose events are stored here and given."""
    run = instance.get_run_by_id(task.run_id)
    assert run is not None
    job = _job(place, run.job_name, run.asset_selection)
    plan = create_execution_plan(
        job, run.run_config, step_keys_to_execute=[task.step], known_state=task.known,
        tags=run.tags,
    )  # fmt: skip
    yield from execute_plan_iterator(plan, job, run, instance, run_config=run.run_config)


@cache
def _job(place: Place, name: str, selection: frozenset[dg.AssetKey]) -> InMemoryJob:
    from itememb_dagster.definitions import build_defs

    job = build_defs(place).resolve_job_def(name)
    return InMemoryJob(job.get_subset(asset_selection=selection))
