"""The closing tables of a run: what came in, what came out, each figure beside its baselines."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.table import Table

from itememb_dagster.lake import Key, Lake

if TYPE_CHECKING:  # it takes seconds to import
    from itememb_dagster.automation.outcome import Outcome

MIB: Final = 1 << 20

#: Evaluation, slice and metrics that the closing tables show; the tables in the lake hold more.
SHOWN: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("link_evaluation", "all", ("hit@1", "hit@10", "precision", "coverage")),
    ("item_evaluation", "all", ("hit@20", "hit@100", "mrr")),
    ("user_evaluation", "all_repeats", ("ndcg@10", "ndcg@100", "recall@100")),
    ("user_evaluation", "all_new", ("ndcg@10", "ndcg@100", "recall@100")),
)


def closing_tables(lake: Lake, outcome: "Outcome") -> Iterator[Table]:
    """Yield the tables of what the lake holds now and what the run took."""
    world = world_table(lake)
    if world.row_count:
        yield world
    for name, part, metrics in SHOWN:
        table = evaluation_table(lake, name, part, metrics)
        if table is not None:
            yield table
    if outcome.recorder.stages:
        yield time_table(outcome)


def _read(lake: Lake, key: Key, columns: list[str]) -> pa.Table | None:
    parts = lake.parts(key)
    if not parts:
        return None
    lake.check_files(parts)
    # A single file needs no data set, whose module takes a while to import.
    return pa.concat_tables(pq.ParquetFile(path).read(columns) for path in parts)


def _rows(lake: Lake, key: Key) -> int:
    return sum(pq.read_metadata(path).num_rows for path in lake.parts(key))


def world_table(lake: Lake) -> Table:
    """Rows in, rejected, edges by relation, nodes by domain, losses, links."""
    out = Table("figure", "value", title="what the lake holds")
    inventory = _read(lake, ("raw_inventory",), ["rows", "rejected"])
    if inventory is not None:
        out.add_row("raw rows", f"{pc.sum(inventory['rows']).as_py() or 0:,}")
        out.add_row("rejected rows", f"{pc.sum(inventory['rejected']).as_py() or 0:,}")
    edges = _read(lake, ("edges",), ["channel"])
    for channel, n in sorted(_tally(edges, "channel").items()):
        out.add_row(f"edges, {channel}", f"{n:,}")
    if bridge := _rows(lake, ("bridge_edges",)):
        out.add_row("edges, bridge (best partners)", f"{bridge:,}")
    vocabulary = _read(lake, ("vocabulary",), ["domain"])
    for domain, n in sorted(_tally(vocabulary, "domain").items()):
        out.add_row(f"items, {domain}", f"{n:,}")
    for name in ("backtest/item_model", "item_model"):
        for what, value in _last_losses(lake, tuple(name.split("/"))):
            out.add_row(f"{name}, {what}", value)
    links = _read(lake, ("cross_domain_links",), ["method"])
    for method, n in sorted(_tally(links, "method").items()):
        out.add_row(f"links, {method}", f"{n:,}")
    return out


def _tally(table: pa.Table | None, column: str) -> Counter[str]:
    if table is None:
        return Counter()
    return Counter({e["values"]: e["counts"] for e in table[column].value_counts().to_pylist()})


def _last_losses(lake: Lake, key: Key) -> Iterator[tuple[str, str]]:
    if lake.stamp(key) is None:
        return
    path = lake.version(key, only="history.parquet") / "history.parquet"
    history = pq.ParquetFile(path).read().to_pydict()
    for name, values in history.items():
        known = [v for v in values if v is not None]
        if "loss" in name and known:
            yield name.replace("_", " "), f"{known[0]:.3f} → {known[-1]:.3f}"


def evaluation_table(lake: Lake, name: str, part: str, metrics: tuple[str, ...]) -> Table | None:
    """Methods as rows, metrics as columns, over one slice."""
    parts = lake.parts((name,))
    lake.check_files(parts)
    rows = pq.ParquetFile(parts[0]).read().to_pylist() if parts else []
    rows = [r for r in rows if r["slice"] == part and r["metric"] in metrics]
    if not rows:
        return None
    out = Table("method", *metrics, title=f"{name} of the backtest, {part}")
    for method in dict.fromkeys(r["method"] for r in rows):
        found = {r["metric"]: r for r in rows if r["method"] == method}
        out.add_row(method, *(_cell(found.get(metric)) for metric in metrics))
    return out


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    value = row["value"]
    text = f"{value:,.0f}" if value > 2 else f"{value:.3f}"
    if row["low"] is None:
        return text
    return f"{text} [{row['low']:.3f}, {row['high']:.3f}]"


def time_table(outcome: "Outcome") -> Table:
    """Seconds and peak memory of each stage, and Dagster's own share."""
    out = Table("stage", "seconds", "peak MiB", title="what it took")
    for stage in outcome.recorder.stages:
        out.add_row(stage.name, f"{stage.seconds:.1f}", f"{stage.peak_bytes / MIB:,.0f}")
    share = outcome.dagster_seconds / outcome.seconds
    name = f"event log and the rest of Dagster ({outcome.asset_days:,} asset-days)"
    out.add_row(name, f"{outcome.dagster_seconds:.1f} ({share:.0%})", "")
    peak = outcome.recorder.peak_bytes / MIB
    out.add_row("all", f"{outcome.seconds:.1f}", f"{peak:,.0f}")
    return out
