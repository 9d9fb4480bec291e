"""Speed and memory of one pass of the user model over synthetic histories.

``python -m tests.bench.user_epoch [EVENTS ...]`` prints a row for each number of events (default
1,000,000 and 10,000,000), each in a process of its own: seconds of packing and of the pass, the
share of the pass spent waiting for batches, peak memory beyond what the imports take.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from itememb_core.schemas import USER_HISTORIES, VOCABULARY, item_embeddings
from itememb_core.services import CHANNELS
from itememb_core.settings import UserModelSettings
from itememb_core.users.items import ItemSpace, item_space
from itememb_core.users.shards import pack_histories
from itememb_core.users.training.fit import fit_user_model

ITEMS, DIM, PER_USER, USERS_PER_SHARD = 50_000, 128, 500, 200
SETTINGS = UserModelSettings(dim=128, hidden=128, negatives=512)
START = np.datetime64(datetime(2024, 1, 1), "us")


def items() -> ItemSpace:
    """Random unit vectors of catalog items, all of them with an interaction."""
    rng = np.random.default_rng(0)
    ids = pa.array([f"fmcg_{i}" for i in range(ITEMS)])
    side, domain = pa.array(["all"] * ITEMS), pa.array(["retail"] * ITEMS)
    counts = [pa.array(np.full(ITEMS, channel == "retail", np.int64)) for channel in CHANNELS]
    index = pa.array(np.arange(ITEMS, dtype=np.int32))
    vocabulary = pa.Table.from_arrays([index, ids, side, domain, *counts], schema=VOCABULARY)
    values = rng.standard_normal((ITEMS, DIM)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM)
    bias = pa.array(np.zeros(ITEMS, np.float32))
    columns = [ids, side, domain, pa.array(["behaviour"] * ITEMS), column, column, bias]
    return item_space(vocabulary, pa.Table.from_arrays(columns, schema=item_embeddings(DIM)))


def shards(events: int) -> Iterator[pa.Table]:
    """Histories of ``PER_USER`` events a user, items by Zipf, half of them repeats."""
    users = events // PER_USER
    for first in range(0, users, USERS_PER_SHARD):
        n = min(USERS_PER_SHARD, users - first)
        yield _shard(np.random.default_rng(first), first, n)


def _shard(rng: np.random.Generator, first: int, users: int) -> pa.Table:
    size = users * PER_USER
    item = (ITEMS * rng.random(size) ** 4).astype(np.int64).reshape(users, PER_USER)
    again = rng.random((users, PER_USER)) < 0.5
    again[:, 0] = False
    earlier = (rng.random((users, PER_USER)) * np.arange(PER_USER)).astype(np.int64)
    item = np.where(again, np.take_along_axis(item, earlier, axis=1), item)
    gap = rng.exponential(6e4, (users, PER_USER)).cumsum(axis=1).astype("timedelta64[s]")
    columns = {
        "user_id": np.repeat(np.arange(first, first + users), PER_USER),
        "position": np.tile(np.arange(PER_USER), users),
        "timestamp": (START + gap).ravel(),
        "item_id": np.char.add("fmcg_", item.ravel().astype(str)),
        "strength": np.full(size, 8, np.int32),
        "shard": np.zeros(size, np.int32),
    }
    constant = {"channel": "retail", "action": "order"}
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns
        else pa.array([constant[field.name]] * size, field.type) if field.name in constant
        else pa.nulls(size, field.type)
        for field in USER_HISTORIES
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=USER_HISTORIES)


def peak_mib() -> float:
    """Peak memory of this process and of its largest worker, MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def measure(events: int) -> dict[str, float]:
    """One pass over that many events."""
    import time

    space = items()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        packed = pack_histories(shards(events), space, Path(folder))
        packing = time.perf_counter() - begun
        model = fit_user_model(packed, space, SETTINGS, seed=0, epochs=1)
    return {
        "events": packed.events,
        "seconds packing": packing,
        "seconds of the pass": model.timing.seconds,
        "seconds a million events": model.timing.seconds / packed.events * 1e6,
        "share waiting": model.timing.waited / model.timing.seconds,
        "peak MiB": peak_mib(),
    }


def main(arguments: list[str]) -> int:
    """Print a line for each size."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(int(arguments[1]))))
        return 0
    for events in [int(word) for word in arguments] or [1_000_000, 10_000_000]:
        command = [sys.executable, "-m", "tests.bench.user_epoch", "--one", str(events)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        print("  ".join(f"{name} {value:,.3f}" for name, value in found.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
