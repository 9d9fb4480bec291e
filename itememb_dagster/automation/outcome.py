"""How a run ended: what was made, what failed, in one line each.

What does not belong here: running (``runner``), printing (the command's).
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from itememb_dagster.runtime.profiling import Recorder

INTERRUPTED: Final = "interrupted; run again to go on with what is not made yet"

#: What Dagster says of a process that ended without a word.
_DIED: Final = re.compile(r"(?<=terminated by )signal \d+|(?<=exited with )code \d+")
_KILLED: Final = f"signal {int(signal.SIGKILL)}"


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        asset_days: Asset-days made.
        tables: Stages without days made.
        judged: Checks judged of what was made before.
        errors: One line for each failure; the run is good only when there is none.
        warnings: One line for each check that warned.
        notes: One line for each version that depends on the one before.
        seconds: Of the whole run.
        dagster_seconds: Of those, without any stage running: Dagster's own (its event log, mostly).
    """

    asset_days: int = 0
    tables: int = 0
    judged: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
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


def _root_message(error: Any) -> str:
    """Return the first line of the innermost cause of a serialized error."""
    while getattr(error, "cause", None):
        error = error.cause
    text = str(error.message).strip()
    if "DagsterExecutionInterruptedError" in text:
        return INTERRUPTED
    name, _, rest = text.partition(": ")
    ours = name.endswith(("Failure", "ItemembError", "DamagedError"))
    return (rest if ours else text).splitlines()[0]


def failures_of(result: dg.JobExecutionResult) -> Iterable[str]:
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
