"""Kills of whole process groups: ``python -m tests.bench.kills N [--forced] [--seed S]``.

Each of N runs over a small world is killed, at moments spread over an undisturbed run, or with
``--forced`` in the moment between an asset and the verdict of one of its checks, and is then run
again. The second run must end as the undisturbed one did: the same exit code, the same files with
the same bytes, verdicts among them, and a third one must find nothing to do. One world passes its
checks; in the other, whose users all turn to what is popular after the cut, an untrained user model
fails a blocking check, so that what follows must not be made. Prints a line for each kill and exits
1 when one of them ended otherwise.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.lake import Lake
from itememb_dagster.lake.lock import LOCK
from itememb_dagster.runtime.home import use_dagster_home
from itememb_dagster.runtime.place import Place
from tests.worlds.tiny import FOLDERS, write_tiny_world

DAYS, USERS, PRODUCTS, HOLDOUT = 10, 110, 60, 4
SMALL = (
    f"holdout_days={HOLDOUT}",
    "content_features.title_buckets=4096",
    "item_model.dim=16",
    "item_model.max_steps=30",
    "item_model.validation_days=1",
    "item_model.batch_size=128",
    "user_model.dim=8",
    "user_model.hidden=8",
    "user_model.batch_size=32",
    "user_model.negatives=32",
    "user_histories.shards=2",
)
IMPORTED = ("itememb_dagster.runtime.preloaded", "torch._dynamo", "matplotlib.pyplot")
#: With these the user model is as it began.
UNTRAINED = ("user_model.learning_rate=1e-12", "user_model.row_learning_rate=1e-12")


def turn_to_popular(raw: Path, days: int, top: int = 5) -> None:
    """Let all events of the last days be of the most popular items of their channel."""
    for folder in FOLDERS.values():
        paths = sorted((raw / folder).iterdir())
        name = "approximate_item_id" if "receipts" in folder else "item_id"
        seen = pa.concat_arrays(
            chunk for path in paths[:-days] for chunk in pq.read_table(path)[name].chunks
        )
        counts = sorted(seen.value_counts().to_pylist(), key=lambda e: (-e["counts"], e["values"]))
        popular = [entry["values"] for entry in counts[:top]]
        for path in paths[-days:]:
            rows = pq.read_table(path)
            items = pa.array(
                (popular[k % top] for k in range(rows.num_rows)), rows.schema.field(name).type
            )
            at = rows.column_names.index(name)
            pq.write_table(rows.set_column(at, rows.schema.field(name), items), path)


@dataclass(frozen=True)
class World:
    """What is run, and what an undisturbed run leaves.

    Attributes:
        name: Shown in the lines.
        raw: Raw folder.
        settings: Assignments.
    """

    name: str
    raw: Path
    settings: tuple[str, ...]

    def run(self, lake: Path, verify: bool = False) -> "Ended":
        """Run in this process."""
        from itememb_dagster.automation.runner import Request, Runner

        os.environ["DAGSTER_HOME"] = str(lake.parent / "home")
        use_dagster_home()
        place = Place.from_env(str(self.raw), str(lake), "2017-01-01", "duckdb")
        request = Request(place, parse_settings(self.settings), verify=verify)
        try:
            outcome = Runner(request).run()
        except ItemembError as error:  # as the command shows it
            return Ended(1, 0, [str(error)])
        done = outcome.asset_days + outcome.tables + outcome.judged
        return Ended(int(bool(outcome.errors)), done, outcome.errors + outcome.warnings)


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, how much it made or judged, its errors and warnings."""

    code: int
    done: int
    told: list[str]


def in_child(
    world: World, lake: Path, prepare: Callable[[], None], verify: bool = False
) -> Ended | int:
    """Run in a process group of its own; return its result, or the signal that ended it."""
    lake.parent.mkdir(parents=True, exist_ok=True)
    result = lake.parent / "result"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setsid()
        with (lake.parent / "log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        prepare()
        result.write_text(json.dumps(asdict(world.run(lake, verify))))
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return Ended(**json.loads(result.read_text()))


def nothing() -> None:
    """Prepare nothing."""


def after(seconds: float) -> Callable[[], None]:
    """Return what kills the group after a time."""

    def kill() -> None:
        time.sleep(seconds)
        os.killpg(0, signal.SIGKILL)

    return lambda: threading.Thread(target=kill, daemon=True).start()


def before_verdict(name: str) -> Callable[[], None]:
    """Return what kills the group when a check's verdict is about to be recorded."""

    def prepare() -> None:
        record = Lake.record_check

        def killing(self: Lake, key: tuple[str, ...], check: str, verdict: dict) -> None:
            if check == name:
                os.killpg(0, signal.SIGKILL)
            record(self, key, check, verdict)

        Lake.record_check = killing  # type: ignore[method-assign, assignment]

    return prepare


def tree(lake: Path) -> dict[str, str]:
    """Return the files of a lake with their content's hash."""
    files = sorted(p for p in lake.rglob("*") if p.is_file() and p.name != LOCK)
    return {str(p.relative_to(lake)): hashlib.blake2b(p.read_bytes()).hexdigest() for p in files}


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Return the files that are in one only, or differ."""
    return sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))


class NotKilledError(Exception):
    """A run ended before its kill, so nothing can be said of one."""


def killed(world: World, wanted: tuple[int, dict[str, str]], prepare: Callable[[], None],
           work: Path) -> str | None:  # fmt: skip
    """Kill a run, run again; return what is wrong, None: nothing.

    Raises:
        NotKilledError: The run ended before it was killed.
    """
    lake = work / "lake"
    first = in_child(world, lake, prepare)
    if first != signal.SIGKILL:
        raise NotKilledError(str(first))
    again = in_child(world, lake, nothing)
    if isinstance(again, int):
        return f"second run ended by signal {again}"
    if again.code != wanted[0]:
        return f"second run ended with {again}, undisturbed with {wanted[0]}"
    other = differences(tree(lake), wanted[1])
    if other:
        return f"{len(other)} files differ: {', '.join(other[:5])}"
    third = in_child(world, lake, nothing)
    if wanted[0] == 0 and (isinstance(third, int) or (third.code, third.done) != (0, 0)):
        return f"third run: {third}, expected nothing to do"
    return None


def killed_in_time(
    world: World, wanted: tuple[int, dict[str, str]], moment: float, work: Path
) -> tuple[str, str | None]:
    """Kill a run after some seconds, sooner where it ends first; return when and what is wrong."""
    while True:
        try:
            return f"after {moment:.2f} s", killed(world, wanted, after(moment), work)
        except NotKilledError:
            shutil.rmtree(work)
            moment *= 0.9


def undisturbed(world: World, work: Path) -> tuple[tuple[int, dict[str, str]], float]:
    """Return exit code and files of an undisturbed run, and its seconds."""
    began = time.perf_counter()
    done = in_child(world, work / "lake", nothing)
    took = time.perf_counter() - began
    assert not isinstance(done, int), (work / "log").read_text()
    return (done.code, tree(work / "lake")), took


def warm(folder: Path) -> None:
    """Import once what runs need, so that a child of this process takes seconds."""
    os.environ |= {"DAGSTER_HOME": f"{folder}/home", "ITEMEMB_WORKERS": "1"}
    use_dagster_home()
    for name in IMPORTED:
        importlib.import_module(name)


def main(words: Sequence[str]) -> int:
    """Run the campaign; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--forced", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    rng, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        warm(Path(folder))
        raws = [
            write_tiny_world(Path(folder) / name, days=DAYS, users=USERS, products=PRODUCTS).raw
            for name in ("raw", "other_raw")
        ]
        turn_to_popular(raws[1], HOLDOUT)
        worlds = [
            World("good", raws[0], SMALL),
            World("failing", raws[1], (*SMALL, *UNTRAINED)),
        ]
        wanted = [undisturbed(world, Path(folder) / world.name) for world in worlds]
        for world, ((code, files), took) in zip(worlds, wanted, strict=True):
            print(f"{world.name}: exit code {code}, {len(files)} files, {took:.1f} s", flush=True)
        assert [code for (code, _files), _took in wanted] == [0, 1]
        for number in range(given.kills):
            at = number % 2
            if given.forced:
                item = CHECKS[number % len(CHECKS)] if at == 0 else next(
                    c for c in CHECKS if c.name == "recommendations_beat_popularity"
                )  # fmt: skip
                what, prepare = f"before {item.name}", before_verdict(item.name)
            work = Path(folder) / f"kill{number}"
            if given.forced:
                try:
                    why = killed(worlds[at], wanted[at][0], prepare, work)
                except NotKilledError as error:
                    why = f"was not killed: {error}"
            else:
                moment = (number + rng.random()) / given.kills * wanted[at][1]
                what, why = killed_in_time(worlds[at], wanted[at][0], moment, work)
            print(f"{number + 1} {worlds[at].name} {what}: {why or 'as undisturbed'}", flush=True)
            bad += why is not None
            if why is None:
                shutil.rmtree(work)
            else:
                print((work / "log").read_text()[-3000:])
    print(f"{given.kills - bad} of {given.kills} ended as the undisturbed run")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
