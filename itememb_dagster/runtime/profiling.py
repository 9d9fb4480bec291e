"""Seconds and peak memory of each stage, for the closing table and Dagster's metadata.

Wall-clock figures never go into the lake.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import psutil

SAMPLE_SECONDS: Final = 0.2


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
    peak_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Seconds in which at least one stage ran: all but Dagster's own."""
        total, until = 0.0, 0.0
        for stage in sorted(self.stages, key=lambda stage: stage.began):
            end = stage.began + stage.seconds
            total += max(end - max(stage.began, until), 0.0)
            until = max(until, end)
        return total


def resident() -> int:
    """Return the resident bytes of this process and of those it started."""
    own = psutil.Process()
    taken = [_memory(process) for process in (own, *own.children(recursive=True))]
    return sum(alone for alone, _ in taken) + max(shared for _, shared in taken)


def _memory(process: psutil.Process) -> tuple[int, int]:
    """Resident bytes of a process alone, and of files and memory that others may map as well.

    The system has it at once; what each page is shared by would take it as long as a stage.
    """
    try:
        found = process.memory_info()
    except psutil.NoSuchProcess:
        return 0, 0
    shared = getattr(found, "shared", 0)
    return found.rss - shared, shared


class Sampler:
    """The highest resident memory, looked at every now and then until it is stopped."""

    def __init__(self) -> None:
        self.peak_bytes = resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, resident())

    def stop(self) -> int:
        """Stop looking; return the highest."""
        self._stop.set()
        self._thread.join()
        return self.peak_bytes


class StageWatch:
    """Times one stage from its first input to its last file."""

    def __init__(self, name: str) -> None:
        self._name, self._began, self._sampler = name, time.monotonic(), Sampler()

    def stop(self) -> StageTime:
        """The stage has ended."""
        seconds = time.monotonic() - self._began
        return StageTime(self._name, self._began, seconds, self._sampler.stop())
