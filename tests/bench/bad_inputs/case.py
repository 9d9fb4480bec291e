"""Which file of which world is spoiled, and how; the worlds.

What does not belong here: spoiling (``spoil_bytes``, ``spoil_rows``), what becomes of it.
"""

import shutil
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.bad_inputs import spoil_bytes, spoil_rows
from tests.bench.bad_inputs.fault import FAULTS
from tests.worlds import layouts
from tests.worlds.tiny import write_tiny_world

#: Whose import fills ``FAULTS``.
SPOILERS = (spoil_bytes, spoil_rows)
#: Kind of file to one file of it, by world.
FILES = {
    "tecd": {
        "users": "users.pq",
        "brands": "brands.pq",
        **{f"{c} items": f"{c}/items.pq" for c in ("retail", "marketplace", "offers")},
        **{f"{c} events": f"{c}/events/00001.pq" for c in ("retail", "marketplace", "offers")},
        "receipts": "payments/receipts/00001.pq",
        "payments events": "payments/events/00001.pq",
        "reviews": "reviews/00001.pq",
    },
    "notebook": {
        "notebook receipts": "payments_receipts_clean.parquet",
        "notebook events": "retail_events_clean.parquet",
        "notebook items": "retail_items_clean.parquet",
    },
    "ozon": {
        "ozon orders": "orders/part-0.parquet",
        "ozon tracker": "tracker/part-1.parquet",
        "ozon items": "items/part-0.parquet",
        "ozon categories": "categories.parquet",
    },
}


#: The stage that reads a file.
READERS = {
    "users.pq": "users",
    "brands.pq": "brands",
    "payments/receipts/00001.pq": "receipts",
    "payments/events/00001.pq": "payments_events",
    "reviews/00001.pq": "reviews",
    "payments_receipts_clean.parquet": "receipts",
    "retail_events_clean.parquet": "retail_events",
    "retail_items_clean.parquet": "catalog",
    "orders/part-0.parquet": "marketplace_events",
    "tracker/part-1.parquet": "marketplace_events",
    "items/part-0.parquet": "catalog",
    "categories.parquet": "catalog",
    **{f"{c}/items.pq": "catalog" for c in ("retail", "marketplace", "offers")},
    **{f"{c}/events/00001.pq": f"{c}_events" for c in ("retail", "marketplace", "offers")},
}


@dataclass(frozen=True)
class Case:
    """A file to spoil, and how."""

    number: int
    world: str
    file: str
    kind: str
    which: int
    seed: int


@dataclass
class Result:
    """What became of a case: how it ended, and what was wrong."""

    case: Case
    ended: str = "harmless"
    did: str = ""
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def write_worlds(root: Path) -> None:
    """The worlds that are spoiled: small, with every kind of file."""
    small = {"days": 4, "users": 12, "products": 40}
    write_tiny_world(root / "tecd", **small)
    rng = np.random.default_rng(0)
    for day in range(4):
        times = pa.array(day * 86_400 + rng.integers(0, 86_400, 30), pa.int64())
        ids = pa.array(rng.integers(1, 12, 30), pa.uint64())
        review = {"user_id": ids, "brand_id": ids, "rating": rng.random(30)}
        pay = {"user_id": ids, "price": rng.random(30), "transaction_hash": [str(k) for k in ids]}
        stamp = {"timestamp": times.cast(pa.duration("s")).cast(pa.duration("us"))}
        for folder, rows in (("reviews", review), ("payments/events", pay)):
            (root / "tecd" / folder).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({**stamp, **rows}), root / "tecd" / folder / f"{day:05}.pq")
    layouts.write_notebook_world(root / "notebook", **small)
    shutil.rmtree(root / "notebook_days")
    layouts.write_ozon_world(root / "ozon", days=4, users=12, items=20)


def cases(count: int, seed: int) -> list[Case]:
    """Cases spread over all files and faults; each pair once before any comes again."""
    files = [(world, path) for world, found in FILES.items() for path in found.values()]
    faults = [(kind, k) for kind, those in FAULTS.items() for k in range(len(those))]
    pairs = list(product(files, faults))
    rng = np.random.default_rng(seed)
    order = [int(k) for _ in range(-(-count // len(pairs))) for k in rng.permutation(len(pairs))]
    return [
        Case(n, *pairs[at][0], *pairs[at][1], seed=seed * 1_000_003 + n)
        for n, at in enumerate(order[:count])
    ]
