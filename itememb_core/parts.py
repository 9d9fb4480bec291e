"""Who takes the parts of a numeric stage: this thread, several threads, or another executor.

A stage that goes part by part (pairs and comparisons of links, their scoring, user vectors,
recommendations) gives an executor a task, what all parts share, and the parts. Tasks are functions
of a module that take ``(shared, part)`` and give a value, so that another process or machine can
run them: it gets what is shared once, then parts.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from itememb_core.device import threads

_Shared = TypeVar("_Shared")
_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


class PartExecutor(Protocol):
    """Runs a task over parts; ``tests/test_parts.py`` is the contract."""

    def map(
        self,
        task: Callable[[_Shared, _Part], _Result],
        shared: _Shared,
        parts: Iterable[_Part],
    ) -> Iterator[_Result]:
        """Give ``task(shared, part)`` of every part, in the order of the parts.

        Lazy: nothing is started before the first result is requested, and no more parts are taken
        from the iterable, or worked on, than there are workers beyond the results given. What a
        part raises is raised to the consumer, in that part's turn. Closing the iterator ends the
        work: no further part is started, and those in work are waited for.
        """
        ...


@dataclass(frozen=True)
class InOrder:
    """One part after the other, in the thread that takes the results."""

    def map(
        self,
        task: Callable[[_Shared, _Part], _Result],
        shared: _Shared,
        parts: Iterable[_Part],
    ) -> Iterator[_Result]:
        """See :meth:`PartExecutor.map`."""
        for part in parts:
            yield task(shared, part)


@dataclass(frozen=True)
class Threads:
    """Several parts at a time, for tasks whose products and sorts run without Python's lock.

    Attributes:
        workers: Threads; None: as many as numeric work has when the first result is requested.
    """

    workers: int | None = None

    def map(
        self,
        task: Callable[[_Shared, _Part], _Result],
        shared: _Shared,
        parts: Iterable[_Part],
    ) -> Iterator[_Result]:
        """See :meth:`PartExecutor.map`."""
        workers = self.workers or threads()
        waiting: deque[Future[_Result]] = deque()
        source = iter(parts)
        pool = ThreadPoolExecutor(workers)
        try:
            while True:
                for part in islice(source, workers - len(waiting)):
                    waiting.append(pool.submit(task, shared, part))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


IN_ORDER: Final = InOrder()
THREADS: Final = Threads()
