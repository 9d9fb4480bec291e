"""How the steps of a run execute: Dagster's multiprocess executor over a fork server.

A fork server imports the heavy packages once; each step is a fork of it, so that it begins within
milliseconds. The command, the UI, schedules and the sensor all use this executor; with one worker
steps execute in the run's own process.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import threading
from collections.abc import Mapping
from functools import cache
from typing import Final

import dagster as dg

from itememb_dagster.runtime.threads import positive

WORKERS: Final = "ITEMEMB_WORKERS"
#: Steps side by side unless the variable says otherwise: more need more memory.
DEFAULT_WORKERS: Final = 2

#: What the fork server imports.
PRELOADED: Final = ("itememb_dagster.runtime.preloaded",)


def worker_count() -> int:
    """Return how many steps execute side by side.

    Raises:
        ItemembError: ``ITEMEMB_WORKERS`` is no positive number.
    """
    return positive(WORKERS, os.environ.get(WORKERS) or min(os.cpu_count() or 1, DEFAULT_WORKERS))


def executor(workers: int) -> dg.ExecutorDefinition:
    """Return the executor for so many steps side by side."""
    if workers == 1:
        return dg.in_process_executor
    return dg.multiprocess_executor.configured(
        {
            "max_concurrent": workers,
            "start_method": {"forkserver": {"preload_modules": list(PRELOADED)}},
        },
        name="side_by_side",
    )


def start_fork_server() -> None:
    """Begin to import the heavy packages while Dagster prepares a run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    multiprocessing.forkserver.ensure_running()


@cache  # one thread a process: the fork server itself never calls it
def end_with_parent() -> None:
    """In a step's process: end when the process that started it has died, whatever of."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def priorities(needs: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how many steps need each step, directly or not, from what each needs itself.

    Of the steps that are ready, the one that most others wait for goes first.
    """
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
