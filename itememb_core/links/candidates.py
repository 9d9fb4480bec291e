"""``link_candidates`` and ``cross_domain_links``: the pool ranked, and the threshold applied."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vocabulary import ALL_SIDE
from itememb_core.links.lists import PoolLists, pool_lists
from itememb_core.links.nodes import support
from itememb_core.links.scorer.model import LinkScorer
from itememb_core.parts import IN_ORDER, PartExecutor
from itememb_core.schemas import CROSS_DOMAIN_LINKS, LINK_CANDIDATES
from itememb_core.services import RECEIPT_DOMAIN

#: Columns of the pool that are shown beside a candidate.
EVIDENCE = tuple(LINK_CANDIDATES.names[7:])

DIRECT = "direct"
LEARNED = "learned"


def link_candidates(
    pool: pa.Table,
    vocabulary: pa.Table,
    scorer: LinkScorer | None,
    k: int,
    parts: PartExecutor = IN_ORDER,
) -> pa.Table:
    """The best ``k`` candidates of every receipt item of a pool.

    Ranked by probability, ties by CSLS, then by id. Without a fitted scorer, ranked by CSLS and
    the probability is null.

    Args:
        pool: ``schemas.LINK_POOL``.
        vocabulary: The vocabulary the pool was made with.
        scorer: Fitted on the backtest, or ``None``.
        k: Candidates an item; fewer where the pool has fewer.
        parts: Runs the scoring of some receipt items at a time.

    Returns:
        ``schemas.LINK_CANDIDATES``, receipt items in the pool's order, then rank.
    """
    lists = pool_lists(pool, vocabulary)
    probability = _probability(lists, vocabulary, scorer, parts)
    places = _best(lists, probability, vocabulary, k)  # [n, k]
    row, column = np.nonzero(np.take_along_axis(lists.valid, places, axis=1))
    chosen = (row, places[row, column])
    ids = vocabulary["item_id"].combine_chunks()
    catalog = pa.array(lists.catalog[chosen])
    scored = probability[chosen]
    columns = [
        ids.take(pa.array(lists.receipt[row])),
        ids.take(catalog),
        vocabulary["domain"].combine_chunks().take(catalog),
        pa.array((column + 1).astype(np.int32)),
        *(_known(lists.compared[name][chosen]) for name in ("similarity", "csls")),
        _known(scored),
        *(_known(lists.compared[name][chosen]) for name in EVIDENCE),
    ]
    return pa.Table.from_arrays(columns, schema=LINK_CANDIDATES)


def _probability(
    lists: PoolLists, vocabulary: pa.Table, scorer: LinkScorer | None, parts: PartExecutor
) -> NDArray[np.float64]:
    """Probability of every candidate, float64 [n, size]; NaN without a fitted scorer."""
    if scorer is None or scorer.model is None:
        return np.full(lists.catalog.shape, np.nan)
    return scorer.model.probabilities(lists, support(vocabulary), parts)


def cross_domain_links(
    candidates: pa.Table, vocabulary: pa.Table, scorer: LinkScorer | None
) -> pa.Table:
    """Direct links, then the learned ones that the threshold accepts.

    A receipt item gets at most one catalog item: its top-1 candidate or none. With the scorer's
    ``one_to_one`` a catalog item, too, is linked to one at most, and the others get none: the
    assignment of the greatest total probability. A direct link is a catalog id with a receipt
    line; there the id itself is the link, with probability 1.

    Args:
        candidates: ``schemas.LINK_CANDIDATES`` of the final pool.
        vocabulary: The final vocabulary.
        scorer: With its threshold; ``None`` or one that accepts nothing gives direct links only.

    Returns:
        ``schemas.CROSS_DOMAIN_LINKS``.
    """
    seen = pa.array(support(vocabulary).receipts > 0)
    catalog = pc.not_equal(vocabulary["domain"], RECEIPT_DOMAIN)
    known = pc.and_(pc.and_(catalog, pc.equal(vocabulary["side"], ALL_SIDE)), seen)
    direct = vocabulary.filter(known).sort_by("item_id")
    n = direct.num_rows
    ids = direct["item_id"]
    sure = pa.array(np.ones(n))
    columns = [ids, ids, direct["domain"], sure.cast(pa.float32()), sure, pa.array([DIRECT] * n)]
    links = [pa.table(columns, names=CROSS_DOMAIN_LINKS.names).cast(CROSS_DOMAIN_LINKS)]
    threshold = None if scorer is None else scorer.acceptance.threshold
    if threshold is not None:
        first = pc.equal(candidates["rank"], 1)
        taken = candidates.filter(
            pc.and_kleene(first, pc.greater_equal(candidates["probability"], threshold))
        )
        if scorer is not None and scorer.one_to_one:
            taken = _one_to_one(taken)
        method = pa.array([LEARNED] * taken.num_rows, pa.string())
        taken = taken.append_column("method", method).select(CROSS_DOMAIN_LINKS.names)
        links.append(taken.cast(CROSS_DOMAIN_LINKS))
    return pa.concat_tables(links).combine_chunks()


def without_receipt_items(links: pa.Table, receipt_items: pa.ChunkedArray) -> pa.Table:
    """Return the links of all other receipt items.

    Args:
        links: ``schemas.CROSS_DOMAIN_LINKS``.
        receipt_items: Ids whose links are left out.
    """
    left_out = pc.is_in(links["receipt_item"], value_set=receipt_items.combine_chunks())
    return links.filter(pc.invert(left_out))


def _one_to_one(taken: pa.Table) -> pa.Table:
    """The most probable row of each catalog item, ties by CSLS, then by id; in their order."""
    order = pc.sort_indices(
        taken,
        sort_keys=[
            ("catalog_item", "ascending"),
            ("probability", "descending"),
            ("csls", "descending"),
            ("receipt_item", "ascending"),
        ],
    ).to_numpy()
    codes = taken["catalog_item"].combine_chunks().dictionary_encode().indices.to_numpy()[order]
    first = np.append(True, codes[1:] != codes[:-1])[: len(codes)]
    return taken.take(pa.array(np.sort(order[first])))


def _known(values: NDArray[np.floating]) -> pa.Array:
    """A column with null where there is no number."""
    return pa.array(values, mask=np.isnan(values))


def _best(
    lists: PoolLists, probability: NDArray[np.float64], vocabulary: pa.Table, k: int
) -> NDArray[np.int64]:
    """Places of the best candidates of each list, int64 [n, min(k, size)]; padding goes last."""
    order = pc.array_sort_indices(vocabulary["item_id"].combine_chunks()).to_numpy()
    by_id = np.empty(len(order) + 1, np.int64)  # the last is the padding's, node -1
    by_id[order] = np.arange(len(order))
    by_id[-1] = len(order)
    first = np.where(lists.valid, np.nan_to_num(probability), -1.0)
    csls = np.where(lists.valid, lists.compared["csls"], -np.inf)
    return np.lexsort((by_id[lists.catalog], -csls, -first), axis=-1)[:, :k]
