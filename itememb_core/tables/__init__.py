"""Clean tables from raw rows, each an Ibis expression; conservation and reasons for rejection.

What belongs here: validating rows, merging the catalog, the inventory of files. What does not: how
files are found and read (:mod:`itememb_core.raw`), pairs and sessions.
"""

from itememb_core.tables.catalog import read_catalog
from itememb_core.tables.clean import (
    REJECTED,
    clean_events,
    count_unknown,
    day_counts,
    epoch_errors,
    most_frequent,
    split_clean,
    split_rejected,
)
from itememb_core.tables.domains import domain_of, from_pandas, has_catalog_prefix
from itememb_core.tables.inventory import (
    FileCount,
    conservation_violations,
    file_counts,
    raw_inventory,
)
from itememb_core.tables.merge import MergedRows
from itememb_core.tables.side import (
    read_brands,
    read_payments_events,
    read_reviews,
    read_users,
)

__all__ = [
    "REJECTED",
    "FileCount",
    "MergedRows",
    "clean_events",
    "conservation_violations",
    "count_unknown",
    "day_counts",
    "domain_of",
    "epoch_errors",
    "file_counts",
    "from_pandas",
    "has_catalog_prefix",
    "most_frequent",
    "raw_inventory",
    "read_brands",
    "read_catalog",
    "read_payments_events",
    "read_reviews",
    "read_users",
    "split_clean",
    "split_rejected",
]
