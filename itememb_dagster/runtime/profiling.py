"""Seconds and peak memory of each stage, for the closing table and Dagster's metadata.

Wall-clock figures never go into the lake.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import psutil


@dataclass(frozen=True)
class StageTime:
    """One stage's run: computing and writing, and the highest memory of its process and children.

    Attributes:
        began: Seconds of the system's monotonic clock, which all processes share.
        seconds: How long it took.
    """

    name: str
    began: float
    seconds: float
    peak_bytes: int


@dataclass
class Recorder:
    """Collects the stages of one command, and why a stage had nothing to do.

    Attributes:
        peak_bytes: The highest resident memory of all processes together; files that several map
            count once.
    """

    stages: list[StageTime] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    current: str = ""
    peak_bytes: int = 0
    _began: float = 0.0
    _stage_peak: int = 0

    def start(self, name: str) -> None:
        """A stage begins."""
        self.current, self._began, self._stage_peak = name, time.monotonic(), 0

    def end(self) -> None:
        """The stage that began last is written."""
        if self.current:
            seconds = time.monotonic() - self._began
            self.stages.append(StageTime(self.current, self._began, seconds, self._stage_peak))
            self.current = ""

    @property
    def seconds(self) -> float:
        """Seconds in which at least one stage ran: all but Dagster's own."""
        total, until = 0.0, 0.0
        for stage in sorted(self.stages, key=lambda stage: stage.began):
            end = stage.began + stage.seconds
            total += max(end - max(stage.began, until), 0.0)
            until = max(until, end)
        return total

    def sample(self) -> None:
        """Note the resident memory of this process and of those it started."""
        own = psutil.Process()
        taken = [_memory(process) for process in (own, *own.children(recursive=True))]
        resident = sum(alone for alone, _ in taken) + max(shared for _, shared in taken)
        self._stage_peak = max(self._stage_peak, resident)
        self.peak_bytes = max(self.peak_bytes, resident)


def _memory(process: psutil.Process) -> tuple[int, int]:
    """Resident bytes of a process alone, and of files and memory that others may map as well.

    Told at once by the system; what each page is shared by would take it as long as a stage.
    """
    try:
        found = process.memory_info()
    except psutil.NoSuchProcess:
        return 0, 0
    shared = getattr(found, "shared", 0)
    return found.rss - shared, shared


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def recorder() -> Recorder:
    """Return the command's recorder, or one that nobody reads."""
    return _recorder.get() or Recorder()


@contextmanager
def recording(interval: float = 0.2) -> Iterator[Recorder]:
    """Record the stages run inside, sampling memory every ``interval`` seconds."""
    found = Recorder()
    token = _recorder.set(found)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(interval):
            found.sample()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        _recorder.reset(token)
