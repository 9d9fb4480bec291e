"""Runs that kill themselves: ``python -m tests.worlds.crash RAW LAKE:POINT …``, for ``test_crash``.

A run is a child process of its own on its lake. It is killed as it begins its POINTth write: the
moving of a staged file to its place, or a row group on its way to the disk. Prints each child's
exit status and how many writes it began (0 stands for no kill).
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.worlds.two_months import make


def killed_at(point: int, count: list[int], write: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what writes: the process is killed when it begins for the given time."""

    def begin(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*args, **kwargs)

    return begin


def run_child(raw: Path, lake: Path, point: int) -> int:
    """Run and return the status; a killed run has none."""
    count = [0]
    os.replace = killed_at(point, count, os.replace)
    pq.ParquetWriter.write_table = killed_at(point, count, pq.ParquetWriter.write_table)
    errors = make(raw, lake).errors
    Path(f"{lake}.writes").write_text(str(count[0]))
    return len(errors)


if __name__ == "__main__":
    for word in sys.argv[2:]:
        lake, _, point = word.rpartition(":")
        child = os.fork()
        if child == 0:
            os._exit(run_child(Path(sys.argv[1]), Path(lake), int(point)))
        print(os.waitpid(child, 0)[1], flush=True)
