"""An item id's domain as an expression, and DataFrames as tables.

What does not belong here: the prefixes themselves (settings), rules about rows.
"""

from typing import TYPE_CHECKING, cast

import ibis
import ibis.expr.types as ir

from itememb_core.services import CATALOG_CHANNELS, RECEIPT_DOMAIN
from itememb_core.settings import DomainSettings

if TYPE_CHECKING:
    import pandas as pd


def from_pandas(frame: "pd.DataFrame") -> ir.Table:
    """A DataFrame as an Ibis table, so that any relational function here takes one.

    The columns' dtypes decide the types: ``datetime64`` for times and days, ``Int64`` for whole
    numbers with gaps. The index is left out. The rows stay in memory.
    """
    return ibis.memtable(frame.reset_index(drop=True))


def domain_of(item_ids: ir.Value, domains: DomainSettings) -> ir.StringValue:
    """``retail``, ``marketplace``, ``offers`` or ``receipt`` by prefix; null for a null id.

    Where one prefix begins with another, the longer one decides.
    """
    ids = cast(ir.StringValue, item_ids)
    prefixes = {channel: str(getattr(domains, channel)) for channel in CATALOG_CHANNELS}
    longest_first = sorted(CATALOG_CHANNELS, key=lambda channel: -len(prefixes[channel]))
    branches = [(ids.startswith(prefixes[channel]), channel) for channel in longest_first]
    domain = ibis.cases((ids.isnull(), None), *branches, else_=RECEIPT_DOMAIN)
    return cast(ir.StringValue, domain.cast("string"))


def has_catalog_prefix(item_ids: ir.Value, domains: DomainSettings) -> ir.BooleanValue:
    """Whether the id is a catalog item's, listed in an items file or not."""
    return domain_of(item_ids, domains) != RECEIPT_DOMAIN
