"""One case after the other, in a process of its own."""

import multiprocessing
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from itememb_core.errors import ItemembError
from tests.bench.bad_inputs.case import FILES, READERS, Case, Result
from tests.bench.bad_inputs.fault import FAULTS
from tests.bench.bad_inputs.judge import judge, touched_files
from tests.bench.bad_inputs.tables import Made, make

HANG_S = 60.0


def make_bases(worlds: Path, work: Path) -> dict[str, Made]:
    """What the worlds come to as they are; their lakes are kept in ``work``."""
    bases = {}
    for world in FILES:
        bases[world] = make(worlds / world, work / "lake")
        assert bases[world].errors == []
        (work / "lake").rename(work / f"lake_{world}")
    return bases


def run_case(case: Case, worlds: Path, work: Path, bases: dict[str, Made]) -> Result:
    """Spoil a copy of a world, make its tables, and judge them."""
    begun, result = time.perf_counter(), Result(case)
    lake, root = work / "lake", work / f"raw{case.number}"  # an engine keeps what it read by path
    kept = work / f"lake_{case.world}"
    shutil.copytree(worlds / case.world, root)
    # Of the stage that reads the file nothing is made yet; what others have made is there.
    shutil.copytree(kept, lake, ignore=shutil.ignore_patterns(f"{READERS[case.file]}*"))
    change = FAULTS[case.kind][case.which]
    result.did = change(root / case.file, np.random.default_rng(case.seed))
    touched = touched_files(worlds / case.world, root) | {case.file}
    try:
        judge(result, bases[case.world], make(root, lake), root, touched)
    except ItemembError as error:
        result.ended, result.errors = "error", [str(error)]
        result.wrong = [f"nothing is made: {error}"]
    except Exception:  # noqa: BLE001 - it is what is looked for
        result.ended, result.wrong = "traceback", [traceback.format_exc()]
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(lake, ignore_errors=True)
    result.seconds = time.perf_counter() - begun
    return result


def _serve(pipe: Connection, worlds: Path) -> None:
    """A child's work: cases come, results go."""
    with tempfile.TemporaryDirectory(prefix="bad_inputs") as work:
        bases = make_bases(worlds, Path(work))
        pipe.send("ready")
        while (case := pipe.recv()) is not None:
            pipe.send(run_case(case, worlds, Path(work), bases))


class Child:
    """A process that makes cases, so that a hang or a crash is its own."""

    def __init__(self, worlds: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, worlds), daemon=True)
        self.process.start()
        other.close()
        assert self.pipe.recv() == "ready"

    def result(self, case: Case) -> Result:
        """What became of a case; the child has gone after a hang or a crash."""
        self.pipe.send(case)
        try:
            if self.pipe.poll(HANG_S):
                return self.pipe.recv()
            ended = "hang"
        except EOFError:
            self.process.join()
            ended = f"crash ({self.process.exitcode})"
        self.close()
        return Result(case, ended, wrong=[ended])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def run_cases(found: Iterable[Case], worlds: Path, workers: int) -> Iterator[Result]:
    """What became of cases, some at a time, each child with one after the other."""
    own = threading.local()

    def one(case: Case) -> Result:
        child: Child | None = getattr(own, "child", None)
        if child is None or not child.process.is_alive():
            own.child = child = Child(worlds)
        return child.result(case)

    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(one, case) for case in found]):
            yield future.result()
