"""How many threads a stage's arithmetic takes in a worker: the worker's share of the cores, or all.

What does not belong here: the engine's threads, which change no result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from itememb_dagster.factory.stage import Stage

_all: ContextVar[int] = ContextVar("threads of all workers", default=0)


@contextmanager
def one_of_workers(threads: int) -> Iterator[None]:
    """Be a worker, of those that have ``threads`` together; each was started with its share."""
    token = _all.set(threads)
    try:
        yield
    finally:
        _all.reset(token)


@contextmanager
def threads_for(stage: Stage) -> Iterator[None]:
    """Take all threads for a stage beside which nothing long runs.

    A number that followed what happens to run would make other bytes from run to run.
    """
    if not (stage.alone and _all.get()):
        yield
        return
    import torch

    share = torch.get_num_threads()
    torch.set_num_threads(_all.get())
    try:
        yield
    finally:
        torch.set_num_threads(share)
