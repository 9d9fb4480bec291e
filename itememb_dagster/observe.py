"""Seconds and peak memory of each stage, for the closing table and Dagster's metadata.

Wall-clock figures never go into the lake.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageTime:
    """One stage's run: seconds of computing and writing, and the highest resident memory."""

    name: str
    seconds: float
    peak_bytes: int


@dataclass
class Recorder:
    """Collects the stages of one command, and why a stage had nothing to do."""

    stages: list[StageTime] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    current: str = ""
    peak_bytes: int = 0
    _started: float = 0.0
    _stage_peak: int = 0

    def start(self, name: str) -> None:
        """A stage begins."""
        self.current, self._started, self._stage_peak = name, time.perf_counter(), 0

    def end(self) -> None:
        """The stage that began last is written."""
        if self.current:
            seconds = time.perf_counter() - self._started
            self.stages.append(StageTime(self.current, seconds, self._stage_peak))
            self.current = ""

    @property
    def seconds(self) -> float:
        """Seconds that stages took, without Dagster's own."""
        return sum(stage.seconds for stage in self.stages)

    def sample(self, resident: int) -> None:
        """Note the process's resident memory, bytes."""
        self._stage_peak = max(self._stage_peak, resident)
        self.peak_bytes = max(self.peak_bytes, resident)


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def recorder() -> Recorder:
    """Return the command's recorder, or one that nobody reads."""
    return _recorder.get() or Recorder()


@contextmanager
def recording(interval: float = 0.1) -> Iterator[Recorder]:
    """Record the stages run inside, sampling memory every ``interval`` seconds."""
    import psutil

    found = Recorder()
    token = _recorder.set(found)
    stop = threading.Event()
    process = psutil.Process(os.getpid())

    def watch() -> None:
        while not stop.wait(interval):
            found.sample(process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        _recorder.reset(token)
