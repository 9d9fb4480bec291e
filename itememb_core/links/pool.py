"""``link_pool``: the wide pool of candidates of every opaque receipt item, with the evidence.

What belongs here: uniting what vectors and what users find, and one row a pair with all that is
compared. What does not: scoring (``scorer``), reading it back as lists (``lists``).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.index import same_items
from itememb_core.links import profiles
from itememb_core.links.csls import CslsLists, csls_lists
from itememb_core.links.evidence import ItemFacts, ReceiptFacts, compare, item_facts
from itememb_core.links.likelihood import PairScores, fit_shape
from itememb_core.links.nodes import LinkNodes, link_nodes
from itememb_core.links.trees import threads
from itememb_core.progress import Progress, silent
from itememb_core.schemas import LINK_POOL
from itememb_core.settings import LinkPoolSettings
from itememb_core.vectors import vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Receipt items whose pairs are made at once.
CHUNK = 512

#: Days of a window in which an item's purchases are counted for its rhythm and its season.
RHYTHM_DAYS, SEASON_DAYS = 7, 28


@dataclass(frozen=True)
class LinkData:
    """What pairs are compared by, nothing of it after the cut.

    Attributes:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        user_items: ``day`` and ``schemas.USER_ITEMS``.
        facts: Of receipt lines.
        catalog: ``schemas.CATALOG``; item_id, price and brand_id are read.
    """

    embeddings: pa.Table
    vocabulary: pa.Table
    user_items: pa.Table
    facts: ReceiptFacts
    catalog: pa.Table


def link_pool(
    data: LinkData,
    settings: LinkPoolSettings,
    expected_dim: int | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """The best candidates by CSLS and by users of opaque items and held-out receipts sides.

    Args:
        data: Vectors, purchases and facts.
        settings: Candidates an item, neighbourhood of CSLS, who may be a candidate.
        expected_dim: As in :func:`vectors`.
        progress: Told of each block of each pass.

    Returns:
        ``schemas.LINK_POOL``, receipt items in the vocabulary's order, their candidates in its
        order, too; empty where a side is (``no_links_reason`` says which).

    Raises:
        ItemembError: As :func:`vectors` and :func:`same_items`.
    """
    values = vectors(data.embeddings, expected_dim)
    same_items(data.vocabulary, data.embeddings)
    nodes = link_nodes(data.vocabulary, settings)
    if not len(nodes.receipts) or not len(nodes.catalog):
        return LINK_POOL.empty_table()
    pairs = _Pairs(data, values, nodes, settings, progress)
    chunks = list(pairs.chunks())
    columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    columns["lead_users"] = _lead(columns["users"], columns["base"])
    ids = data.vocabulary["item_id"].combine_chunks()
    arrays = [
        ids.take(pa.array(nodes.receipts[columns["query"]])),
        ids.take(pa.array(nodes.catalog[columns["base"]])),
        *(_column(columns[field.name], field.type) for field in list(LINK_POOL)[2:]),
    ]
    return pa.Table.from_arrays(arrays, schema=LINK_POOL)


class _Pairs:
    """Everything by row of the two sides, and the pairs made of it, chunk by chunk."""

    def __init__(
        self,
        data: LinkData,
        values: NDArray[np.float32],
        nodes: LinkNodes,
        settings: LinkPoolSettings,
        progress: Progress,
    ) -> None:
        self.settings, self.progress = settings, progress
        self.receipts, self.catalog = values[nodes.receipts], values[nodes.catalog]
        self.near: CslsLists = csls_lists(
            self.receipts, self.catalog, settings.size, settings.csls_neighbors, progress
        )
        bought = profiles.purchases(data.user_items, data.vocabulary, nodes)
        self.scores: dict[str, PairScores] = {}
        for name, window in profiles.WINDOWS.items():
            queries, base = profiles.sides(bought, nodes, window)
            shape = float(np.sqrt(fit_shape(queries) * fit_shape(base)))
            self.scores[name] = PairScores(queries, base, shape)
        self.rhythm = profiles.by_time(bought, nodes, RHYTHM_DAYS)
        self.season = profiles.by_time(bought, nodes, SEASON_DAYS)
        self.ends = profiles.first_and_last(bought, nodes)
        self.facts: ItemFacts = item_facts(data.facts, data.catalog, data.vocabulary, nodes)

    def chunks(self) -> Iterator[dict[str, NDArray]]:
        """The pairs of some receipt items at a time, in order: columns of equal length."""
        n = len(self.receipts)
        parts = [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
        with ThreadPoolExecutor(threads()) as workers:  # products and sorts run without the lock
            for rows, columns in zip(parts, workers.map(self._chunk, parts), strict=True):
                yield columns
                self.progress("link_pool: pairs", rows.stop, n)

    def _chunk(self, rows: slice) -> dict[str, NDArray]:
        m, users = len(self.catalog), self.scores["users"]
        shared = users.shared(rows)
        by_users = _best(shared, users.ratios(shared, rows), self.settings.by_users)
        by_csls = _listed(self.near.candidate[rows], m)
        keys = np.union1d(by_users.key, by_csls.key)
        query, base = np.divmod(keys, m)  # queries count from the chunk's first
        return {
            "query": query + rows.start,
            "base": base,
            "rank_csls": _ranks(by_csls.key, by_csls.rank, keys),
            "rank_reverse": _ranks(by_csls.key, self.near.reverse[rows].ravel(), keys),
            "users": users.at(shared, rows, query, base),
            "rank_users": _ranks(by_users.key, by_users.rank, keys),
            **self._evidence(rows, query, base),
        }

    def _evidence(
        self, rows: slice, query: NDArray[np.int64], base: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """All that is compared but the users, float32 [pairs] each."""
        own = query + rows.start
        similarity = _dots(self.receipts, self.catalog, own, base)
        hubs = self.near.mean_query[own] + self.near.mean_base[base]
        columns = {"similarity": similarity, "csls": 2.0 * similarity - hubs}
        for name in ("months", "weeks"):
            scores = self.scores[name]
            columns[name] = scores.at(scores.shared(rows), rows, query, base)
        columns["rhythm"] = _dots(*self.rhythm, own, base)
        columns["season"] = _dots(*self.season, own, base)
        ends = self.ends[0][own] - self.ends[1][base]  # [pairs, 2]
        columns |= {"first_gap": ends[:, 0], "last_gap": ends[:, 1]}
        return columns | compare(self.facts, own, base)


class _List(NamedTuple):
    """Candidates of some queries: key (query * m + base), and rank from 1; [pairs] each."""

    key: NDArray[np.int64]
    rank: NDArray[np.int32]


def _best(shared: "csr_matrix", score: NDArray[np.float32], k: int) -> _List:
    """The best ``k`` stored entries of each row by ``score`` [entries], ties by column."""
    m, ends = np.int64(shared.shape[1]), shared.indptr
    keys, ranks = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for row in range(shared.shape[0]):
        part = slice(ends[row], ends[row + 1])
        own = score[part]
        places = np.arange(len(own))
        if len(own) > k:
            places = np.flatnonzero(own >= np.partition(own, len(own) - k)[len(own) - k])
        places = places[np.argsort(-own[places], kind="stable")][:k]
        keys.append(row * m + shared.indices[part][places])
        ranks.append(np.arange(1, len(places) + 1, dtype=np.int32))
    return _List(np.concatenate(keys), np.concatenate(ranks))


def _listed(candidate: NDArray[np.int64], m: int) -> _List:
    """Lists of equal length, best first, int64 [queries, size]."""
    n, size = candidate.shape
    key = np.arange(n, dtype=np.int64)[:, None] * m + candidate
    return _List(key.ravel(), np.tile(np.arange(1, size + 1, dtype=np.int32), n))


def _ranks(
    key: NDArray[np.int64], rank: NDArray[np.int32], wanted: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Rank of each wanted key, in ascending order and with all of ``key`` in it; 0: none."""
    ranks = np.zeros(len(wanted), np.int32)
    ranks[np.searchsorted(wanted, key)] = rank
    return ranks


def _dots(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    row: NDArray[np.int64],
    other: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Dot products of pairs of rows, float32 [pairs]; ``row`` ascends.

    A row at a time: what is gathered stays in the cache.
    """
    result = np.empty(len(row), np.float32)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(row)), strict=True):
        np.dot(right[other[start:end]], left[row[start]], out=result[start:end])
    return result


def _lead(users: NDArray[np.float32], base: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far a pair stands above the best other of its catalog item's pairs, float32 [pairs].

    A stranger's log ratio, 0, is the least that the best other can be.
    """
    order = np.lexsort((-users, base))
    first = np.flatnonzero(np.diff(base[order], prepend=-1))
    length = np.diff(first, append=len(order))
    best = users[order[first]].clip(min=0.0)  # [catalog items]
    second = users[order[np.minimum(first + 1, len(order) - 1)]].clip(min=0.0)
    second[length == 1] = 0.0
    rival = np.repeat(best, length)
    rival[first] = second
    lead = np.empty(len(users), np.float32)
    lead[order] = users[order] - rival
    return lead


def _column(values: NDArray, kind: pa.DataType) -> pa.Array:
    """A column of the table; no rank (0) and no number are null."""
    missing = values == 0 if pa.types.is_integer(kind) else np.isnan(values)
    return pa.array(values, kind, mask=missing)
