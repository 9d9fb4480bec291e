"""What a step reports to its command: progress, its time and memory, why it did nothing.

A step of another process sends it through a local socket, whose address is a tag of the run. A
step that nobody listens to (a run of the UI) logs its progress.
"""

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import dagster as dg

from itememb_core.progress import Progress, silent
from itememb_dagster.runtime.profiling import Recorder, StageTime

#: Tag of a run: where its steps report to.
ADDRESS_TAG: Final = "itememb/reports"

#: Seconds between two reports of one thing's progress.
REPORT_SECONDS: Final = 0.1
_LARGEST: Final = 1 << 16


class Reports(Protocol):
    """Where a step reports to."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So much is done of something."""

    def ended(self, stage: StageTime) -> None:
        """A stage is made and written."""

    def nothing(self, stage: str, why: str) -> None:
        """A stage had nothing to do."""


@dataclass
class Listener:
    """The command's side.

    Attributes:
        shown: Where progress is shown.
        recorder: Where times and reasons are kept.
        address: Of the socket, for steps of other processes.
    """

    shown: Progress = silent
    recorder: Recorder = field(default_factory=Recorder)
    address: str = ""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show progress."""
        self.shown(what, done, total)

    def ended(self, stage: StageTime) -> None:
        """Keep a stage's time."""
        self.recorder.stages.append(stage)

    def nothing(self, stage: str, why: str) -> None:
        """Keep a reason."""
        self.recorder.reasons[stage] = why

    def take(self, message: bytes) -> None:
        """Take what a ``Sender`` sent."""
        kind, *what = json.loads(message)
        if kind == "ended":
            self.ended(StageTime(**what[0]))
        elif kind == "nothing":
            self.nothing(*what)
        else:
            self.progress(*what)


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(shown: Progress, recorder: Recorder) -> Iterator[Listener]:
    """Listen to the steps of this process and of those that get the address."""
    with (
        tempfile.TemporaryDirectory(prefix="itememb") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        listener = Listener(shown, recorder, str(Path(folder) / "reports"))
        end.bind(listener.address)
        thread = threading.Thread(target=_receive, args=(end, listener), daemon=True)
        thread.start()
        token = _listener.set(listener)
        try:
            yield listener
        finally:
            _listener.reset(token)
            Sender(listener.address).close_listener()
            thread.join()


def _receive(end: socket.socket, listener: Listener) -> None:
    while message := end.recv(_LARGEST):
        listener.take(message)


class Sender:
    """A step's side of the socket; a listener that is gone misses what is sent."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sent: dict[str, float] = {}

    def _send(self, *message: Any) -> None:
        self._send_bytes(json.dumps(message).encode())

    def _send_bytes(self, message: bytes) -> None:
        try:
            self._socket.sendto(message, self._address)
        except (ConnectionRefusedError, FileNotFoundError):
            return

    def close_listener(self) -> None:
        """Send, after all other messages, that there are no more."""
        self._send_bytes(b"")
        self._socket.close()

    def progress(self, what: str, done: int, total: int) -> None:
        """Send progress, not more often than people can read."""
        now = monotonic()
        if 0 < total <= done or now - self._sent.get(what, 0.0) > REPORT_SECONDS:
            self._sent[what] = now
            self._send("progress", what, done, total)

    def ended(self, stage: StageTime) -> None:
        """Send a stage's time."""
        self._send("ended", asdict(stage))

    def nothing(self, stage: str, why: str) -> None:
        """Send a reason."""
        self._send("nothing", stage, why)


class Logged:
    """Reports of a run that no command listens to: tenths of progress in the run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._logged: dict[str, int] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        """Log each tenth."""
        tenth = 10 * done // total if total else 0
        if self._logged.get(what) != tenth:
            self._logged[what] = tenth
            self._log.info(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

    def ended(self, stage: StageTime) -> None:
        """Nothing: its output's metadata has it."""

    def nothing(self, stage: str, why: str) -> None:
        """Nothing: its output's metadata has it."""


def reports_of(run: dg.DagsterRun, log: dg.DagsterLogManager) -> Reports:
    """Return where a step of a run reports to."""
    listener = _listener.get()
    if listener is not None:
        return listener
    address = run.tags.get(ADDRESS_TAG)
    return Sender(address) if address and Path(address).exists() else Logged(log)
