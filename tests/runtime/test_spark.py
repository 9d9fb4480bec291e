"""Engine parity: DuckDB and a real Spark cluster make the same lake, byte by byte."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itememb_core import edges, raw
from itememb_core.demo import write_demo
from itememb_core.demo.settings import DemoSettings
from itememb_core.schemas import CROSS_DOMAIN_LINKS
from itememb_core.services import CHANNELS
from itememb_core.tables import clean_events, read_catalog, split_clean
from itememb_core.users.histories import user_histories
from itememb_dagster.assets import STAGES
from itememb_dagster.checks.gates import CHECKS
from itememb_dagster.cli.options import parse_settings
from itememb_dagster.lake import Lake
from itememb_dagster.lake.staleness import Planner
from itememb_dagster.lake.writer import write_file
from tests.worlds.odd_rows import write_odd_rows, write_side_tables
from tests.worlds.shortened import keep_days
from tests.worlds.spark_cluster import cluster

pytestmark = pytest.mark.slow

#: Offers begin on the last of them.
DAYS = 22
#: Days for a backtest of its own, and the table that is off by default.
SET = ("holdout_days=4", "bridge_edges.enabled=true")
#: The share of the demo's households; ``ITEMEMB_PARITY_HOUSEHOLDS=1`` compares all of them.
HOUSEHOLDS = float(os.environ.get("ITEMEMB_PARITY_HOUSEHOLDS", "0.02"))
EPOCH, LAST = date(2017, 1, 1), date(2017, 1, DAYS)
RELATIONAL = [stage for stage in STAGES if stage.relational]
#: It needs links, hence vectors, which no engine makes: it is run on links written by hand.
ENRICHED = ("enriched_receipts",)
SELECT = " or ".join(f'key:"{s.name}"' for s in RELATIONAL if s.key != ENRICHED)
SELECT += ' or key:"raw_inventory"'
NOTHING = pa.schema([("nothing", pa.int64())])
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has what a URL spells otherwise."""
    made = tmp_path_factory.mktemp("spark") / "a + b %20"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def world(folder: Path) -> Path:
    """The first days of a small demo, with odd rows on the second."""
    write_demo(folder / "raw", DemoSettings(households=HOUSEHOLDS), lambda *_: None)
    keep_days(folder / "raw", DAYS)
    write_odd_rows(folder / "raw")
    write_side_tables(folder / "raw")
    return folder / "raw"


@pytest.fixture(scope="module")
def spark_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as env:
        yield env


def make(
    world: Path, lake: Path, engine: str, env: dict[str, str], select: str = SELECT
) -> subprocess.CompletedProcess:
    words = ["run", "--raw", world, "--lake", lake, "--engine", engine, "--select", select]
    words += [word for setting in SET for word in ("--set", setting)]
    return subprocess.run(
        [BIN / "itememb", *words], env=os.environ | env, capture_output=True, text=True, check=False
    )


def make_well(world: Path, lake: Path, engine: str, env: dict[str, str], select: str) -> None:
    done = make(world, lake, engine, env, select)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [n for n in done.stderr.splitlines() if "WARN" in n or "Warning" in n] == []


@pytest.fixture(scope="module")
def lakes(folder: Path, world: Path, spark_env: dict[str, str]) -> dict[str, Path]:
    """A lake of each engine, made by the command."""
    for engine in ("duckdb", "spark"):
        lake = folder / f"{engine} lake"
        make_well(world, lake, engine, spark_env, SELECT)
        write_links(world, Lake(lake))
        make_well(world, lake, engine, spark_env, 'key:"enriched_receipts"')
    return {engine: folder / f"{engine} lake" for engine in ("duckdb", "spark")}


def write_links(world: Path, lake: Lake) -> None:
    """Link some receipt items to catalog items, as if that stage and all before it had run."""
    plan = Planner(STAGES, CHECKS, lake, raw.scan(world, EPOCH), parse_settings(SET))
    stage = plan.stages["cross_domain_links",]
    met = pq.read_table(lake.root / "receipts", columns=["item_id"])["item_id"].to_pylist()
    catalog = pq.read_table(lake.root / "catalog", columns=["item_id", "domain"]).to_pylist()
    pairs = zip(sorted(set(met))[::3], catalog, strict=False)
    rows = [
        {
            "receipt_item": item,
            "catalog_item": row["item_id"],
            "catalog_domain": row["domain"],
            "probability": 0.75,
            "method": "learned",
        }
        for item, row in pairs
    ]
    links = pa.Table.from_pylist(rows, CROSS_DOMAIN_LINKS)
    for key in sorted(plan.upstream(plan.stages[ENRICHED])):
        made = plan.stages[key]
        if made.daily or plan.held(made, None) is not None:
            continue
        stamp = plan.stamp(made, None, plan.expected)
        if made.table is None:
            with lake.new_version(key, stamp) as version:
                pq.write_table(pa.table({}), version / "history.parquet")
        else:
            table = links if made is stage else (made.table.schema or NOTHING).empty_table()
            write_file(lake, lake.part(key), [table], table.schema, stamp)
    again = Planner(STAGES, CHECKS, lake, plan.scan, parse_settings(SET))
    for item in again.unjudged():
        held = again.held(again.stages[item.asset], None)
        assert held is not None
        verdict = {"version": held.id, "content": lake.content(item.asset), "code": item.code}
        passed = {"passed": True, "severity": "ERROR", "why": "written by hand"}
        lake.record_check(item.asset, item.name, verdict | passed)


def files(lake: Path) -> dict[str, Path]:
    found = sorted(path for path in lake.rglob("*") if path.is_file())
    return {path.relative_to(lake).as_posix(): path for path in found}


def test_both_engines_make_the_same_files(lakes):
    duckdb, spark = files(lakes["duckdb"]), files(lakes["spark"])
    assert sorted(duckdb) == sorted(spark)
    assert [n for n, path in duckdb.items() if path.read_bytes() != spark[n].read_bytes()] == []


def test_the_worlds_are_worth_comparing(lakes):
    rows = {
        stage.name: pq.read_table(lakes["spark"] / stage.name, columns=[]).num_rows
        for stage in RELATIONAL
    }
    print(rows)
    assert [name for name, n in rows.items() if not n] == []
    for channel in ("receipts", "retail_events", "marketplace_events"):
        bad = pq.read_table(lakes["spark"] / f"{channel}_rejected", partitioning=None)
        assert len(set(bad["reason"].to_pylist())) > 1


def test_a_lake_is_continued_on_the_other_engine(lakes, world, spark_env):
    done = make(world, lakes["spark"], "duckdb", spark_env)
    assert done.returncode == 0
    assert "nothing to do: the lake is up to date" in done.stdout


def relations(world: Path, threads: int) -> dict[str, pa.Table]:
    """Every relation of the first days on DuckDB, ordered as the lake orders it."""
    con = ibis.duckdb.connect(threads=threads, preserve_insertion_order=False)
    scan, settings = raw.scan(world, EPOCH), parse_settings(SET)
    days = [day for day in scan.days if day <= LAST]
    judged = {
        channel: clean_events(raw.read_events(con, scan, channel, days), channel, settings.domains)
        for channel in CHANNELS
    }
    clean = {channel: split_clean(rows) for channel, rows in judged.items()}
    receipts, *catalog = (clean[channel] for channel in CHANNELS)
    met = edges.user_items(ibis.union(*clean.values()))
    bought = edges.copurchase_edges(receipts, settings.copurchase_edges)
    seen = edges.coview_edges(ibis.union(*catalog), settings.coview_edges, days[0], LAST)
    made = {
        **judged,
        "catalog": read_catalog(con, scan, met, settings.domains).rows,
        "copurchase_edges": bought,
        "coview_edges": seen,
        "user_items": met,
        "edges": edges.edges_by_month(bought, seen),
        "bridge_edges": edges.bridge_edges(
            met, settings.bridge_edges, settings.item_model.window_days
        ),
        "user_histories": user_histories(ibis.union(*clean.values()), settings.user_histories),
    }
    return {name: ordered(rows) for name, rows in made.items()}


def ordered(rows: ir.Table) -> pa.Table:
    """By every column that is no list: rows that tie in all of them are equal."""
    plain = [name for name, kind in rows.schema().items() if not kind.is_array()]
    return rows.order_by(plain).to_pyarrow()


def test_duckdb_gives_the_same_rows_on_one_thread_and_on_two(world):
    first = relations(world, 1)
    assert min(table.num_rows for table in first.values()) > 0
    for threads in (1, 2, 2):
        for name, rows in relations(world, threads).items():
            # The text of a row tells NaN from NaN no more than a reader could.
            assert repr(rows.to_pylist()) == repr(first[name].to_pylist()), name


def test_a_master_that_is_none_is_one_line(world, tmp_path, spark_env):
    done = make(world, tmp_path / "lake", "spark", spark_env | {"ITEMEMB_SPARK_MASTER": "nonsense"})
    assert done.returncode == 1
    (line,) = {line for line in done.stderr.splitlines() if line.startswith("error: ")}
    assert "engine spark: no session at nonsense" in line
    assert "Master" in line  # the reason in Java's own words
