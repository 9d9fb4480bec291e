"""Time, memory and spilled bytes of the daily stages, by number of events.

``python -m tests.bench.scale WORK EVENTS ...`` writes a shop of each size (``shop_days``), makes
its tables with the pipeline itself, each stage in a process of its own, prints a table and keeps
the figures in ``WORK/scale.json``; what it wrote is removed. ``python -m tests.bench.scale plot
JSON PNG`` draws them.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from itememb_core.settings import Settings
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place
from tests.bench.shop_days import Shop, write_shop

CLEAN = ("receipts", "retail_events", "marketplace_events", "offers_events")
#: Stage as people call it to its tables.
STAGES = {
    "cleaning": CLEAN,
    "co-purchase": ("copurchase_edges",),
    "co-view": ("coview_edges",),
    "user_items": ("user_items",),
}
MIB = 1 << 20


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; those that vanish meanwhile are none."""
    total = 0
    for name, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(name, file)).st_size
            except FileNotFoundError:
                continue
    return total


@contextmanager
def watching_spill(lake: Path) -> Iterator[list[int]]:
    """Give a list of one number: the most bytes seen in the lake's scratch folders."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            most[0] = max(most[0], sum(map(size_of, lake.glob("_scratch*"))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def run_stage(stage: str, raw: Path, lake: Path) -> dict[str, Any]:
    """Make a stage's tables of all days in this process and measure it."""
    place = Place.from_env(str(raw), str(lake), "2017-01-01", "duckdb")
    select = " or ".join(f'key:"{name}"' for name in STAGES[stage])
    begun = time.perf_counter()
    with watching_spill(lake) as spilled:
        outcome = Runner(Request(place, Settings(), select=select)).run()
    if outcome.errors:
        raise SystemExit("\n".join(outcome.errors))
    files = [path for name in STAGES[stage] for path in lake.glob(f"{name}/*/*.parquet")]
    return {
        "stage": stage,
        "seconds": time.perf_counter() - begun,
        "dagster_seconds": outcome.dagster_seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "spilled_bytes": spilled[0],
        "rows": sum(pq.read_metadata(path).num_rows for path in files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def measure(work: Path, events: int) -> Iterator[dict[str, Any]]:
    """Figures of each stage on a shop of that many events."""
    place = Path(tempfile.mkdtemp(dir=work, prefix=f"{events}_"))
    try:
        begun = time.perf_counter()
        raw, lake = place / "raw", place / "lake"
        written = write_shop(raw, Shop(events))
        told = f"{written:,} events, {size_of(raw) / MIB:,.0f} MiB"
        print(f"{told}, written in {time.perf_counter() - begun:.0f} s", flush=True)
        for stage in STAGES:
            command = [sys.executable, "-m", "tests.bench.scale", "stage", stage, raw, lake]
            home = {"DAGSTER_HOME": str(place / "home")}
            done = subprocess.run(
                command, env=os.environ | home, stdout=subprocess.PIPE, text=True, check=True
            )
            figures = {"events": written, **json.loads(done.stdout.splitlines()[-1])}
            print(row_of(figures), flush=True)
            yield figures
    finally:
        shutil.rmtree(place)


def row_of(figures: dict[str, Any]) -> str:
    """A row of the table."""
    cells = (
        f"{figures['events']:,}",
        figures["stage"],
        f"{figures['rows']:,}",
        f"{figures['seconds']:.1f}",
        f"{figures['seconds'] * 1e6 / figures['events']:.2f}",
        f"{figures['peak_bytes'] / MIB:,.0f}",
        f"{figures['spilled_bytes'] / MIB:,.0f}",
        f"{figures['bytes'] / MIB:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def plot(figures: list[dict[str, Any]], png: Path) -> None:
    """Draw time and memory by the number of events."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for stage in STAGES:
        own = [f for f in figures if f["stage"] == stage]
        events = [f["events"] for f in own]
        left.plot(events, [f["seconds"] for f in own], "o-", label=stage)
        right.plot(events, [f["peak_bytes"] / 2**30 for f in own], "o-", label=stage)
    left.set(xscale="log", yscale="log", xlabel="events", ylabel="seconds")
    right.set(xscale="log", xlabel="events", ylabel="peak memory, GiB", ylim=(0, None))
    right.axhline(4, color="gray", linestyle=":", linewidth=1)
    left.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(png, dpi=110)


def main(arguments: list[str]) -> int:
    """Measure, run one stage, or draw."""
    if arguments[:1] == ["stage"] and len(arguments) == 4:
        use_dagster_home()
        print(json.dumps(run_stage(arguments[1], Path(arguments[2]), Path(arguments[3]))))
    elif arguments[:1] == ["plot"] and len(arguments) == 3:
        plot(json.loads(Path(arguments[1]).read_text()), Path(arguments[2]))
    elif len(arguments) > 1 and all(word.isdigit() for word in arguments[1:]):
        work = Path(arguments[0])
        work.mkdir(parents=True, exist_ok=True)
        print("| events | stage | rows | seconds | µs an event | peak MiB | spilled MiB | MiB |")
        print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        figures = [row for word in arguments[1:] for row in measure(work, int(word))]
        (work / "scale.json").write_text(json.dumps(figures, indent=1) + "\n")
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
