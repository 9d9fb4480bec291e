"""Spoiled raw folders: what a run makes of each, and that nothing gets lost.

``python -m tests.bench.bad_inputs [N] [--seed S]`` spoils one file of a tiny world N times (500),
spread over every kind of file and of fault, and makes its day tables, its other tables and the
inventory without Dagster, as a run does. It ends with 1 if a case was a traceback, a hang of over a
minute, a silent loss (rows or values of files that no error names), or kept good days from being
made.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bad_inputs.case import Result, cases, write_worlds
from tests.bench.bad_inputs.fault import FAULTS
from tests.bench.bad_inputs.run import run_cases


def table_of(results: Sequence[Result]) -> str:
    """Cases by kind of fault and how they ended, as Markdown."""
    ends = ("error", "rejected rows", "warning", "harmless")
    lines = [f"| fault | cases | {' | '.join(ends)} | wrong |", f"| --- |{' ---: |' * 6}"]
    kinds = [*FAULTS, "all"]
    for kind in kinds:
        own = [r for r in results if kind in (r.case.kind, "all")]
        count = Counter(r.ended for r in own)
        cells = [len(own), *(count[end] for end in ends), sum(bool(r.wrong) for r in own)]
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the cases and print the table, and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    options = parser.parse_args(arguments)
    found = cases(options.count, options.seed)
    found = [case for case in found if options.only in (None, case.number)]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="bad_worlds") as folder:
        write_worlds(Path(folder))
        for result in run_cases(found, Path(folder), options.workers):
            results.append(result)
            if result.wrong:
                print(result.case, result.did, *result.wrong, sep="\n    ", flush=True)
            elif options.only is not None:
                print(result)
            elif len(results) % 50 == 0:
                print(f"{len(results)} cases", flush=True)
    print(table_of(results))
    slow = max(result.seconds for result in results)
    bad = sum(bool(result.wrong) for result in results)
    print(f"\n{len(results)} cases, {bad} wrong; the slowest took {slow:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
