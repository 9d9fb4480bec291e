"""Many days as sets beside a loop of days, and one new day on top of them.

``python -m tests.bench.days RAW WORK [DAYS]`` makes the daily tables of the first days (all, unless
told) of a raw folder in the T-ECD layout twice with the same stages and writer, and without
Dagster: each stage over all days at once, and day by day. Then it makes a lake with ``itememb run``
up to the edges, once without the last day, once more with it and once with nothing to do, and all
of it anew; what the run's settings leave out (``bridge_edges``) is empty.
"""

import resource
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from itememb_core.raw import RawScan, scan
from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.automation.outcome import Outcome
from itememb_dagster.automation.runner import Request, Runner
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.factory.compute import make_stage
from itememb_dagster.factory.stage import Stage
from itememb_dagster.lake import Lake
from itememb_dagster.lake.io_manager import LakeIOManager, save_days
from itememb_dagster.lake.staleness import Planner, lake_days
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place
from tests.bench.bad_inputs.tables import context_of

EPOCH = date(2017, 1, 1)
DAILY = [stage for stage in STAGES if stage.daily]
EDGES = '+key:"edges" or +key:"bridge_edges"'


def make_days(stage: Stage, found: RawScan, lake: Lake, days: Sequence[date]) -> None:
    """Make and write days of one stage, as an asset does."""
    planner = Planner(STAGES, CHECKS, lake, found, Settings())
    ctx = context_of(lake, found, days)
    manager = LakeIOManager(root=str(lake.root))
    inputs = {}
    for name, spec in stage.inputs.items():
        needed = {*days, *([days[0] - timedelta(days=1)] if spec.before else [])}
        inputs[name] = manager.load_ibis(spec.key, [d.isoformat() for d in sorted(needed)])
    writer = save_days(lake, make_stage(stage, planner, ctx, inputs), found.epoch)
    assert not writer.refused
    assert not writer.failure


def timed(found: RawScan, lake: Lake, parts: Sequence[Sequence[date]]) -> dict[str, float]:
    """Seconds by stage of making all parts of the days, one after the other."""
    lake.prepare(found.epoch)
    seconds: dict[str, float] = defaultdict(float)
    for days in parts:
        for stage in DAILY:
            begun = time.perf_counter()
            make_days(stage, found, lake, days)
            seconds[stage.name] += time.perf_counter() - begun
    return dict(seconds)


def equal_files(first: Path, second: Path) -> bool:
    """Whether two lakes hold the same bytes."""
    names = [
        sorted(p.relative_to(lake) for p in lake.rglob("*.parquet")) for lake in (first, second)
    ]
    return names[0] == names[1] and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names[0]
    )


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(raw: Path, lake: Path, title: str) -> Outcome:
    """Make what is stale up to the edges; tell how long it took."""
    place, before = Place.from_env(str(raw), str(lake), EPOCH.isoformat(), "duckdb"), cpu_seconds()
    outcome = Runner(Request(place, Settings(), select=EDGES)).run()
    assert outcome.errors == [], outcome.errors
    print(
        f"{title}: {outcome.seconds:.1f} s, of which Dagster {outcome.dagster_seconds:.1f} s; "
        f"CPU {cpu_seconds() - before:.1f} s",
        flush=True,
    )
    return outcome


def by_stage(outcome: Outcome) -> dict[str, float]:
    """Seconds by stage of a run."""
    return {stage.name: stage.seconds for stage in outcome.recorder.stages}


def show(title: str, columns: Mapping[str, Mapping[str, float]]) -> None:
    """Print seconds by stage as a table, with sums and the ratio of the first column to others."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rest = ("catalog", "brands", "payments_events", "reviews", "users", "raw_inventory")
    print(f"\n| {title} | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    sums = {"all": names, "daily tables and edges": [n for n in names if n not in rest]}
    for name in names:
        cells = [f"{column.get(name, 0):.2f}" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    for label, own in sums.items():
        totals = [sum(column.get(name, 0) for name in own) for column in columns.values()]
        ratio = ", ".join(f"{totals[0] / total:.1f}" for total in totals[1:])
        print(f"| {label} | {' | '.join(f'{total:.2f}' for total in totals)} | ratio {ratio}")
    sys.stdout.flush()


def sets_and_loop(raw: Path, work: Path, most: int) -> None:
    """Compare all days at once with a loop of days."""
    found = scan(raw, EPOCH)
    days = lake_days(found)[:most]
    loop = timed(found, Lake(work / "loop"), [[day] for day in days])
    sets = timed(found, Lake(work / "sets"), [days])
    show(f"{len(days)} days, seconds", {"in a loop": loop, "as sets": sets})
    print("equal files:", equal_files(work / "loop", work / "sets"))


def one_more_day(raw: Path, work: Path) -> None:
    """Compare a new last day on top of a lake with making the lake."""
    copy, last = work / "raw", scan(raw, EPOCH).days[-1]
    shutil.copytree(raw, copy)
    late = [copy / file.path for file in scan(raw, EPOCH).files if file.day == last]
    for path in late:
        path.rename(path.with_name(f"_{path.name}"))
    run(copy, work / "lake", "everything but the last day")
    for path in late:
        path.with_name(f"_{path.name}").rename(path)
    new = run(copy, work / "lake", "a new day")
    run(copy, work / "lake", "nothing to do")
    whole = run(copy, work / "anew", "everything")
    show("seconds", {"everything": by_stage(whole), "a new day": by_stage(new)})
    print("equal files:", equal_files(work / "lake", work / "anew"))


def main(arguments: list[str]) -> int:
    """Print both comparisons."""
    if len(arguments) not in (2, 3):
        print(__doc__)
        return 2
    raw, work = Path(arguments[0]), Path(arguments[1])
    use_dagster_home()
    sets_and_loop(raw, work / "days", int(arguments[2]) if len(arguments) == 3 else 10**6)
    one_more_day(raw, work / "new")
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
