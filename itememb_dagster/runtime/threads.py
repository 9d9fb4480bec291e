"""How many threads a stage's arithmetic takes: its share of the cores, or all of them.

A number that followed what happens to run would make other bytes from run to run. What does not
belong here: the engine's threads, which change no result.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from itememb_core.errors import ItemembError

OMP: Final = "OMP_NUM_THREADS"


def positive(name: str, found: str | int) -> int:
    """Return the number that an environment variable holds, or stands in for.

    Raises:
        ItemembError: It is no positive number.
    """
    text = str(found)
    if not text.isdecimal() or int(text) < 1:
        raise ItemembError(f"{name}: found {text!r}, expected a number of 1 or more")
    return int(text)


def all_threads() -> int:
    """Return the threads of all workers together: ``OMP_NUM_THREADS``, else the cores.

    Raises:
        ItemembError: The variable is no positive number.
    """
    return positive(OMP, os.environ.get(OMP, "").split(",")[0] or os.cpu_count() or 1)


def threads_of(alone: bool, workers: int) -> int:
    """Return the threads of a stage: all where it runs alone, else its share."""
    return all_threads() if alone else max(all_threads() // workers, 1)


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Compute with so many threads inside, in every library that is loaded."""
    torch = sys.modules.get("torch")
    if torch is None:  # nothing numeric runs: relational stages leave threads to the engine
        yield
        return
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    try:
        with threadpool_limits(threads):
            torch.set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads(before)
