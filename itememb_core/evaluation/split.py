"""Held-out data of the backtest: direct matches kept apart, and the days after the cut."""

import hashlib
from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from itememb_core.errors import ItemembError
from itememb_core.items.vocabulary import item_domains
from itememb_core.schemas import LINK_HOLDOUT
from itememb_core.services import RECEIPT_DOMAIN, RECEIPTS
from itememb_core.settings import DomainSettings


def direct_matches(counts: pa.Table, domains: DomainSettings) -> pa.Array:
    """Catalog ids that were seen on receipts.

    Args:
        counts: Columns ``item_id``, ``channel``, ``n`` (rows seen).
        domains: Which prefix means which catalog.

    Returns:
        Distinct ids in ascending order.
    """
    channel = counts["channel"].to_numpy(zero_copy_only=False)
    seen = counts.filter(pa.array((channel == RECEIPTS) & (counts["n"].to_numpy() > 0)))
    ids = seen["item_id"].combine_chunks().unique()
    catalog = item_domains(ids, domains).to_numpy(zero_copy_only=False) != RECEIPT_DOMAIN
    return pa.array(sorted(ids.filter(pa.array(catalog)).to_pylist()), pa.string())


def link_holdout(direct_ids: Iterable[str], seed: int, share: float) -> pa.Table:
    """Choose the direct matches whose two sides the backtest keeps apart.

    An id's place depends on the seed, the share and the id alone, so it never moves in or out
    when other ids come or go. The hash is BLAKE2b keyed with the seed (RFC 7693).

    Args:
        direct_ids: Catalog ids seen on receipts.
        seed: Key of the hash.
        share: Share of the ids to hold out, 0 to 1.

    Returns:
        The held-out ids (``schemas.LINK_HOLDOUT``), distinct and in ascending order.

    Raises:
        ItemembError: If the share lies outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ItemembError(f"link_holdout.share: found {share}, expected 0 to 1")
    key = int(seed).to_bytes(8, "little")
    bound = round(share * 2**64)

    def held(item_id: str) -> bool:
        digest = hashlib.blake2b(item_id.encode(), key=key, digest_size=8).digest()
        return int.from_bytes(digest, "little") < bound

    ids = sorted({item_id for item_id in direct_ids if held(item_id)})
    return pa.table({"item_id": pa.array(ids, pa.string())}, schema=LINK_HOLDOUT)


def cut_day(last_day: date, holdout_days: int) -> date:
    """First day that the backtest does not see.

    Args:
        last_day: Last day with data.
        holdout_days: Days at the end to keep for evaluation; 0 keeps none.

    Returns:
        ``last_day - holdout_days + 1``; with 0 days the day after the last.
    """
    if holdout_days < 0:
        raise ItemembError(f"holdout_days: found {holdout_days}, expected 0 or more")
    return last_day - timedelta(days=holdout_days - 1)


def is_held_out(ids: pa.Array, holdout_ids: pa.Array) -> np.ndarray:
    """Whether each id is held out, as bool ``[ids]``."""
    import pyarrow.compute as pc

    return pc.is_in(ids, value_set=holdout_ids).to_numpy(zero_copy_only=False)
