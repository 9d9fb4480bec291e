"""Hides catalog items from behaviour: a second raw folder without their events and lines.

What belongs here: which files hold events of items, which items are drawn, the second folder. The
items files stay as they are, so that what is hidden is a catalog item without interactions.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.settings import DomainSettings

#: Share of the listed items with interactions that are hidden.
SHARE = 0.1


def event_column(path: Path) -> str | None:
    """The column of item ids of a file, by its path inside raw; None: it has no events of items."""
    folder = path.parent.as_posix()
    if folder == "payments/receipts":
        return "approximate_item_id"
    events = path.parent.name == "events" and folder != "payments/events"
    return "item_id" if events or folder in ("orders", "tracker") else None


def draw_hidden(raw: Path, seed: int, share: float = SHARE) -> pa.Array:
    """A seeded share of the items that an items file lists and an event or line names.

    Returns:
        Ids as the files have them, as strings, ascending.
    """
    seen = _distinct((path, event_column(path.relative_to(raw))) for path in _files(raw))
    listed = _distinct((path, "item_id" if _lists(path, raw) else None) for path in _files(raw))
    known = seen.filter(pc.is_in(seen, value_set=listed))
    known = known.take(pc.array_sort_indices(known))
    drawn = np.random.default_rng(seed).permutation(len(known))[: round(share * len(known))]
    return known.take(pa.array(np.sort(drawn)))


def hide(raw: Path, target: Path, hidden: pa.Array) -> tuple[int, int]:
    """Write ``raw`` without the rows of hidden items; what has none of them is a hard link.

    Returns:
        Rows of events and lines that were left out, and rows there were.
    """
    removed = rows = 0
    for path in _files(raw):
        inside = path.relative_to(raw)
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        column = event_column(inside)
        if column is None:
            _link(path, target / inside)
            continue
        with pq.ParquetFile(path) as file:  # a folder above may look like a partition
            table = file.read()
        lost = pc.is_in(table[column].cast(pa.string()), value_set=hidden)
        kept = table.filter(pc.invert(lost))
        rows, removed = rows + table.num_rows, removed + table.num_rows - kept.num_rows
        if kept.num_rows == table.num_rows:
            _link(path, target / inside)
        else:
            pq.write_table(kept, target / inside)
    return removed, rows


def lake_ids(raw: Path, hidden: pa.Array) -> pa.Array:
    """Ids as the lake has them: those of the Ozon layout get the marketplace's prefix."""
    if not (raw / "tracker").is_dir():
        return hidden
    return pc.binary_join_element_wise(DomainSettings().marketplace, hidden, "")


def _files(raw: Path) -> list[Path]:
    return [path for path in sorted(raw.rglob("*")) if path.suffix in (".pq", ".parquet")]


def _lists(path: Path, raw: Path) -> bool:
    inside = path.relative_to(raw)
    return inside.stem == "items" or inside.parent.as_posix() == "items"


def _distinct(columns: Iterator[tuple[Path, str | None]]) -> pa.Array:
    parts = [pa.array([], pa.string())]
    for path, column in columns:
        if column is not None:
            with pq.ParquetFile(path) as file:
                parts.append(file.read([column])[column].cast(pa.string()).unique().drop_null())
    return pa.concat_arrays(
        [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in parts]
    ).unique()


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
