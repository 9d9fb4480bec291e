"""Writing the demo world to disk: all of it or nothing.

What does not belong here: what the tables hold.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from itememb_core.demo import tables
from itememb_core.demo.settings import DemoSettings
from itememb_core.demo.source import DAY_US, Source, read_source
from itememb_core.demo.world import DIRECT, RECEIPTS_ONLY, World, make_world
from itememb_core.errors import ItemembError
from itememb_core.progress import Progress, silent


@dataclass(frozen=True)
class DemoSummary:
    """What a demo world holds; lines and events are rows.

    ``lines_without_quantity`` and ``lines_without_catalog`` are left out of the files: nothing was
    bought, or the basket went to the catalogs and none holds the product.
    """

    households: int
    products: int
    direct: int
    receipts_only: int
    receipt_lines: int
    retail_events: int
    marketplace_events: int
    offers_events: int
    lines_without_quantity: int
    lines_without_catalog: int
    files: int


def truth_path(raw: Path) -> Path:
    """Return where the truth of a demo folder stands: beside it."""
    return raw.absolute().parent / f"{raw.absolute().name}_truth.parquet"


def write_demo(raw: Path, settings: DemoSettings, progress: Progress = silent) -> DemoSummary:
    """Write the demo world as a T-ECD raw folder, and its truth beside it.

    Real are the purchases (who, what, when, for how much) and redemptions of Complete Journey.
    Arranged is the split: each basket goes whole to ``payments/receipts`` or to the catalog
    channels. There grocery departments are retail orders (``fmcg_``), all others marketplace
    clickouts (``nfmcg_``), and only lines of products that a catalog holds stay; the rest is
    counted in the summary. Receipts name a product by its catalog id (``direct``) or by an opaque
    one, at a marked-up, noisy price, mostly without brand. There are no ``payments/events`` and
    no reviews. A day without rows has no file.

    Args:
        raw: The folder to make; it may exist if it is empty.
        settings: Options and seed; equal ones give equal bytes.
        progress: Called with files written.

    Returns:
        Counts of what was written and left out.

    Raises:
        ItemembError: The folder is not empty or cannot be written, or the data are not installed.
    """
    raw = raw.absolute()
    staging = raw.parent / f"_{raw.name}.staging"
    try:
        _check_empty(raw)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        source = read_source(settings)
        world = make_world(source, settings)
        summary = _write(staging, source, world, settings, progress)
        pq.write_table(tables.truth(source, world), staging / "truth.parquet")
        # The folder comes last: where it stands, the whole world and its truth do.
        os.replace(staging / "truth.parquet", truth_path(raw))
        os.replace(staging, raw)
    except OSError as error:
        raise ItemembError(f"demo folder {raw}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return summary


def _check_empty(raw: Path) -> None:
    if raw.is_symlink() or (raw.exists() and (not raw.is_dir() or any(raw.iterdir()))):
        raise ItemembError(f"demo folder {raw}: not empty, expected an empty or a new folder")


def _write(
    folder: Path, source: Source, world: World, settings: DemoSettings, progress: Progress
) -> DemoSummary:
    """Write every file of the layout and count."""
    daily = {
        "payments/receipts": tables.receipts(source, world, settings),
        "retail/events": tables.purchases(source, world, retail=True),
        "marketplace/events": tables.purchases(source, world, retail=False),
        "offers/events": tables.redemptions(source),
    }
    single = {
        "users.pq": tables.users(source),
        "brands.pq": tables.brands(source),
        "retail/items.pq": tables.items(source, world, True, settings),
        "marketplace/items.pq": tables.items(source, world, False, settings),
        "offers/items.pq": tables.offers(source),
    }
    files = _write_days(folder, daily, progress)
    for name, table in single.items():
        pq.write_table(table, folder / name)
    return DemoSummary(
        households=source.households.num_rows,
        products=source.products.num_rows,
        direct=tables.count_true(world.kind == DIRECT),
        receipts_only=tables.count_true(world.kind == RECEIPTS_ONLY),
        receipt_lines=daily["payments/receipts"].num_rows,
        retail_events=daily["retail/events"].num_rows,
        marketplace_events=daily["marketplace/events"].num_rows,
        offers_events=daily["offers/events"].num_rows,
        lines_without_quantity=source.without_quantity,
        lines_without_catalog=tables.count_true(~world.on_receipts & ~world.in_catalog),
        files=files + len(single),
    )


def _write_days(folder: Path, daily: dict[str, pa.Table], progress: Progress) -> int:
    """Write each table's days as ``{folder}/{day:05}.pq``; return how many files."""
    cuts = {name: tables.days(table, DAY_US) for name, table in daily.items()}
    total = sum(number.size for number, _ in cuts.values())
    done = 0
    for name, table in daily.items():
        (folder / name).mkdir(parents=True)
        number, start = cuts[name]
        for day, low, high in zip(number, start[:-1], start[1:], strict=True):
            pq.write_table(table.slice(low, high - low), folder / name / f"{day:05}.pq")
            done += 1
            progress("demo", done, total)
    return done
