"""A Dagster executor over the command's workers: what can run beside each other does.

What does not belong here: processes and pipes (``workers``).
"""

import signal
from collections.abc import Iterator, Mapping
from typing import Final

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster_shared.error import SerializableErrorInfo

from itememb_core.errors import ItemembError
from itememb_dagster.runtime.workers import Task, Workers

#: Seconds to wait for what workers say before looking for an interrupt.
WAIT_SECONDS: Final = 0.1


def descendants(needs: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how many steps need each step, directly or not, from what each needs itself."""
    needed_by: dict[str, set[str]] = {step: set() for step in needs}
    for step, direct in needs.items():
        for other in direct & needs.keys():
            needed_by[other].add(step)
    found: dict[str, set[str]] = {}

    def below(step: str) -> set[str]:
        if step not in found:
            own = needed_by[step]
            found[step] = own.union(*map(below, own))
        return found[step]

    return {step: len(below(step)) for step in needs}


class SideBySide(dg.Executor):
    """Runs steps in workers; of those that are ready, the one that most others need is first."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    @property
    def retries(self) -> RetryMode:
        """No step is tried twice."""
        return RetryMode.DISABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Give the events of all steps.

        Raises:
            dg.DagsterExecutionInterruptedError: When interrupted; no step goes on.
        """
        count = self.workers.count
        yield dg.DagsterEvent.engine_event(
            plan_context, f"Executing steps in {count} processes", EngineEventData()
        )
        needed = descendants(execution_plan.get_all_step_deps())

        def order(step: ExecutionStep) -> float:
            return -needed[step.key]

        with ActiveExecution(execution_plan, self.retries, order, count) as active:
            stopping = False
            while any(w.step for w in self.workers.all) or not (stopping or active.is_complete):
                if active.check_for_interrupts():
                    stopping = True
                    active.mark_interrupted()
                    for worker in self.workers.all:
                        worker.interrupt()
                if not stopping:
                    self._submit(plan_context, active)
                yield from self._events(plan_context, active)
                yield from active.plan_events_iterator(plan_context)
            if stopping:
                raise dg.DagsterExecutionInterruptedError

    def _submit(self, plan_context: PlanOrchestrationContext, active: ActiveExecution) -> None:
        """Give steps that are ready to workers without one."""
        for step in active.get_steps_to_execute(limit=self.workers.idle):
            task = Task(plan_context.run_id, step.key, active.get_known_state())
            self.workers.free().submit(task)

    def _events(
        self, plan_context: PlanOrchestrationContext, active: ActiveExecution
    ) -> Iterator[dg.DagsterEvent]:
        """Give the events that workers have now; a step whose process died has failed."""
        for worker, (kind, what) in self.workers.messages(WAIT_SECONDS):
            step = worker.step
            assert step is not None
            event, error = what if kind == "event" else None, what if kind == "done" else None
            if kind == "dead":
                error = _death(what)
            if error is not None:
                context = plan_context.for_step(active.get_step_by_key(step))
                known = active.get_known_state()
                event = self.log_failure_or_retry_event_after_error(context, error, known)
            if event is not None:
                active.handle_event(event)
                yield event
            if kind != "event":
                worker.step = None
                active.verify_complete(plan_context, step)


def _death(status: int) -> SerializableErrorInfo:
    """Return why a step has failed whose process ended with an exit status, or by -signal."""
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    hint = ", perhaps because memory ran out" if status == -signal.SIGKILL else ""
    why = f"its process died ({how}{hint}); run again to go on"
    return SerializableErrorInfo(why, [], ItemembError.__name__)
