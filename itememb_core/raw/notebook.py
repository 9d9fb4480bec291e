"""The notebook layout: single files, each with the cleaned rows of all days.

What belongs here: its file names and columns. How files are listed, checked and read is the same
for every layout and stands beside this module.
"""

from typing import Final

import ibis
import ibis.expr.types as ir

from itememb_core.raw import tecd
from itememb_core.raw.columns import Column
from itememb_core.raw.files import DayRules, RawFile, RawScan, stem_of, table_file, unique
from itememb_core.raw.listing import list_folder
from itememb_core.raw.spans import with_spans
from itememb_core.services import MARKETPLACE, RECEIPTS, RETAIL

LAYOUT: Final = "notebook"

#: File, without suffix, to the channel whose events it holds.
EVENT_FILES: Final = {
    "payments_receipts_clean": RECEIPTS,
    "retail_events_clean": RETAIL,
    "marketplace_events_clean": MARKETPLACE,
}
ITEM_FILES: Final = {
    "retail_items_clean": f"{RETAIL}_items",
    "marketplace_items_clean": f"{MARKETPLACE}_items",
}
#: Its files, for people.
KNOWN: Final = tuple(f"{stem}.parquet" for stem in (*EVENT_FILES, *ITEM_FILES))
_NEEDED: Final = ("timestamp", "user_id", "item_id", "approximate_item_id", "transaction_hash")

#: Those of T-ECD, but notebooks keep only what they use: the rest may be missing.
COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    name: tuple(Column(c.source, c.kind, c.source in _NEEDED, c.name) for c in tecd.COLUMNS[name])
    for name in (*EVENT_FILES.values(), *ITEM_FILES.values())
}


def find(root: str, rules: DayRules) -> tuple[RawFile, ...]:
    """Every file of the layout in ``root``, sorted by path; empty where there is none.

    Two files for one thing, and an event file whose days cannot be found, have a fault.
    """
    names = {**EVENT_FILES, **ITEM_FILES}
    files = unique(
        table_file(path, names[stem], entry)
        for path, entry in list_folder(root).items()
        if (stem := stem_of(path)) in names
    )
    events = [file for file in files if file.name in EVENT_FILES.values()]
    items = [file for file in files if file not in events]
    found = [*with_spans(root, events, columns, rules), *items]
    return tuple(sorted(found, key=lambda file: file.path))


def columns(file: RawFile) -> tuple[Column, ...]:
    """The columns of a file."""
    return COLUMNS[file.name]


def shape(_con: ibis.BaseBackend, _scan: RawScan, _name: str, rows: ir.Table) -> ir.Table:
    """Rows as they are: the columns' names say it all."""
    return rows
