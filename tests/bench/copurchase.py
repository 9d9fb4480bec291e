"""Co-purchase pairs of the whole Complete Journey baskets, beside the plain double loop.

``python -m tests.bench.copurchase`` counts the pairs of all 1,469,307 lines by day, with baskets
over the cap cut to it, and those of the baskets that are within the cap as one table: each with the
package and with a double loop over pandas groups, in a process of its own.
"""

import json
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from typing import Any

import ibis
import pandas as pd

from itememb_core.demo.source import data_folder
from itememb_core.edges import copurchase_edges
from itememb_core.settings import CopurchaseSettings

CAP = CopurchaseSettings().basket_cap
CASES = ("all baskets by day", "baskets within the cap")
WAYS = ("double loop", "itememb")
#: What the engine may hold; beyond it, it spills.
MEMORY = "1GB"


def lines_of(case: str) -> Any:
    """A connection on two threads with the receipt lines as the table ``lines``."""
    con = ibis.duckdb.connect(threads=2, preserve_insertion_order=False, memory_limit=MEMORY)
    file = f"'{data_folder() / 'transactions.parquet'}'"
    day, where = "transaction_timestamp::DATE", ""
    if case == CASES[1]:
        day = f"(SELECT min({day}) FROM {file})"
        where = f"""WHERE basket_id IN (
            SELECT basket_id FROM {file} GROUP BY ALL HAVING count(DISTINCT product_id) <= {CAP})"""
    con.raw_sql(f"""
        CREATE TABLE lines AS
        SELECT {day} AS day, household_id::BIGINT AS user_id, product_id::VARCHAR AS item_id,
            basket_id::VARCHAR AS transaction_hash, 8::INTEGER AS strength
        FROM {file} {where}""")
    return con


def loop(lines: pd.DataFrame) -> dict[str, int]:
    """Plain Python over the groups of a DataFrame."""
    pairs: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for (day, _, _), basket in lines.groupby(["day", "user_id", "transaction_hash"]):
        items = Counter(basket["item_id"])
        kept = sorted(sorted(items, key=lambda item: (-items[item], item))[:CAP])
        share = 2**20 // len(kept)
        for i, first in enumerate(kept):
            for second in kept[i + 1 :]:
                pair = pairs[day, first, second]
                pair[0] += share
                pair[1] += 1
    weight, n = map(sum, zip(*pairs.values(), strict=True))
    return {"rows": len(pairs), "n": n, "weight": weight}


def query(con: Any) -> dict[str, int]:
    """The package's expression, its rows made and kept in the engine."""
    made = copurchase_edges(con.table("lines"), CopurchaseSettings())
    con.raw_sql(f"CREATE TABLE pairs AS {con.compile(made)}")
    rows, n, weight = con.raw_sql("SELECT count(*), sum(n), sum(weight) FROM pairs").fetchone()
    return {"rows": rows, "n": int(n), "weight": int(weight)}


def measure(case: str, way: str) -> dict[str, float]:
    """One way on one case, in this process: what it made, seconds, peak memory."""
    con = lines_of(case)
    frame = con.table("lines").to_pandas() if way == WAYS[0] else None
    begun, used = time.perf_counter(), time.process_time()
    made = query(con) if frame is None else loop(frame)
    return {
        **made,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - used,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: list[str]) -> int:
    """Print a table of both ways on both cases."""
    if arguments:
        print(json.dumps(measure(*arguments)))
        return 0
    print("| baskets | way | pairs | rows | seconds | CPU seconds | peak MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for case in CASES:
        found = {}
        for way in WAYS:
            command = [sys.executable, "-m", "tests.bench.copurchase", case, way]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[way] = f = json.loads(done.stdout)
            print(
                f"| {case} | {way} | {f['n']:,} | {f['rows']:,} | {f['seconds']:.1f} | "
                f"{f['cpu_seconds']:.1f} | {f['peak_mib']:,.0f} |",
                flush=True,
            )
        slow, fast = (found[way] for way in WAYS)
        same = all(slow[name] == fast[name] for name in ("rows", "n", "weight"))
        times = slow["seconds"] / fast["seconds"]
        print(f"{case}: {times:.1f} times as fast, {'equal' if same else 'DIFFERENT'} sums")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
