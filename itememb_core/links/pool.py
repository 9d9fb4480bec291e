"""``link_pool``: blocking by vectors, users and text, with the comparisons of each pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.items.index import same_items
from itememb_core.items.vectors import behaviour_vectors
from itememb_core.links import profiles
from itememb_core.links.evidence import ItemFacts, ReceiptFacts, compare, item_facts
from itememb_core.links.likelihood import PairScores, fit_shape
from itememb_core.links.nodes import LinkNodes, link_nodes
from itememb_core.links.text.evidence import (
    COMPARISONS,
    LETTER,
    TextEvidence,
    text_evidence,
)
from itememb_core.parts import THREADS, PartExecutor
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.csls import CslsLists
from itememb_core.retrieval.csls_lists import near_lists
from itememb_core.retrieval.indexed import SearchFacts
from itememb_core.schemas import LINK_POOL
from itememb_core.settings import LinkPoolSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Receipt items whose pairs are made at once, at most.
CHUNK = 512

#: Days of a window in which an item's purchases are counted for the correlations in time.
WEEK_DAYS, MONTH_DAYS = 7, 28


@dataclass(frozen=True)
class LinkData:
    """What pairs are compared by, nothing of it after the cut.

    Attributes:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        user_items: ``day`` and ``schemas.USER_ITEMS``.
        facts: Of receipt lines.
        catalog: ``schemas.CATALOG``; item_id, price, brand_id and title are read.
    """

    embeddings: pa.Table
    vocabulary: pa.Table
    user_items: pa.Table
    facts: ReceiptFacts
    catalog: pa.Table


class Pool(NamedTuple):
    """A pool being made.

    Attributes:
        about: How the nearest by vectors were searched (``near_lists``), and what
            ``settings.user_cap`` cut, if anything; empty: no side has items.
        parts: Tables of ``schemas.LINK_POOL`` of some receipt items each, receipt items in the
            vocabulary's order, their candidates in its order, too.
    """

    about: SearchFacts
    parts: Iterator[pa.Table]


def link_pool(
    data: LinkData,
    settings: LinkPoolSettings,
    expected_dim: int | None = None,
    progress: Progress = silent,
    parts: PartExecutor = THREADS,
) -> pa.Table:
    """All parts of :func:`open_pool` as one table."""
    tables = open_pool(data, settings, expected_dim, progress, parts).parts
    return pa.concat_tables([LINK_POOL.empty_table(), *tables]).combine_chunks()


def open_pool(
    data: LinkData,
    settings: LinkPoolSettings,
    expected_dim: int | None = None,
    progress: Progress = silent,
    parts: PartExecutor = THREADS,
) -> Pool:
    """The best candidates of each query, by CSLS, the users' log-likelihood ratio, and text.

    What is held at once: vectors and profiles of both sides, n-grams of their texts, 48 bytes a
    pair of the pool, and ``settings.pairs_at_once`` a worker.

    Args:
        data: Vectors, purchases and facts.
        settings: Candidates an item, neighbourhood of CSLS, which items are candidates.
        expected_dim: As in :func:`behaviour_vectors`.
        progress: Called after each block of each pass.
        parts: Runs both passes over some receipt items at a time.

    Returns:
        The pool; without parts where a side is empty (see ``no_links_reason``).

    Raises:
        ItemembError: As :func:`behaviour_vectors` and :func:`same_items`.
    """
    values = behaviour_vectors(data.embeddings, expected_dim)
    same_items(data.vocabulary, data.embeddings)
    nodes = link_nodes(data.vocabulary, settings)
    if not len(nodes.receipts) or not len(nodes.catalog):
        return Pool({}, iter(()))
    near, about = near_lists(values[nodes.receipts], values[nodes.catalog], settings, progress)
    text = text_evidence(
        data.facts.texts, data.catalog, data.vocabulary, nodes, settings.by_text, progress
    )
    pairs = _Pairs(data, values, nodes, (near, text), settings)
    return Pool(about | pairs.cut, pairs.tables(data.vocabulary, progress, parts))


class _Found(NamedTuple):
    """The pairs of some receipt items: their ranks by each blocking; [pairs] each.

    ``query`` counts from the first of ``rows``; a rank of 0: that list does not hold the pair.
    """

    rows: slice
    query: NDArray[np.int32]
    base: NDArray[np.int32]
    users_llr: NDArray[np.float32]
    rank_users: NDArray[np.int16]
    rank_csls: NDArray[np.int16]
    rank_reverse: NDArray[np.int16]
    rank_text: NDArray[np.int32]
    text: dict[str, NDArray[np.float32]]

    @property
    def text_users(self) -> NDArray[np.float32]:
        """``users_llr`` less what the letters that the title does not explain take, [pairs]."""
        return self.users_llr - np.float32(LETTER) * np.nan_to_num(self.text["text_missed"])


class _Pairs:
    """Everything by row of the two sides, and the pairs made of it, part by part."""

    def __init__(
        self,
        data: LinkData,
        values: NDArray[np.float32],
        nodes: LinkNodes,
        near: tuple[CslsLists, TextEvidence | None],
        settings: LinkPoolSettings,
    ) -> None:
        self.nodes, (self.near, self.text), self.settings = nodes, near, settings
        self.receipts, self.catalog = values[nodes.receipts], values[nodes.catalog]
        bought = profiles.purchases(data.user_items, data.vocabulary, nodes)
        self.scores: dict[str, PairScores] = {}
        self.cut: SearchFacts = {}
        for name, window in profiles.WINDOWS.items():
            queries, base = profiles.sides(bought, nodes, window)
            queries, base, *cut = profiles.without_wide(queries, base, settings.user_cap)
            if cut[0]:
                self.cut |= {f"users capped, {name}": cut[0], f"items cut, {name}": cut[1]}
            if window is None:
                self.parts = _parts(queries.counts, base.counts, settings.pairs_at_once)
            shape = float(np.sqrt(fit_shape(queries) * fit_shape(base)))
            self.scores[name] = PairScores(queries, base, shape)
        self.weekly = profiles.by_time(bought, nodes, WEEK_DAYS)
        self.monthly = profiles.by_time(bought, nodes, MONTH_DAYS)
        self.ends = profiles.first_and_last(bought, nodes)
        self.facts: ItemFacts = item_facts(data.facts, data.catalog, data.vocabulary, nodes)

    def tables(
        self, vocabulary: pa.Table, progress: Progress, parts: PartExecutor
    ) -> Iterator[pa.Table]:
        """The pairs with all comparisons.

        Two passes: a catalog item's best pairs are known after the first.
        """
        ids = vocabulary["item_id"].combine_chunks()
        rivals, with_text = (Rivals(len(self.catalog)) for _ in range(2))
        kept: list[_Found] = []
        for found in parts.map(_Pairs.found, self, self.parts):
            rivals.add(found.users_llr, found.base)
            with_text.add(found.text_users, found.base)
            kept.append(found)
            progress("link_pool: pairs", found.rows.stop, len(self.receipts))
        evidence = parts.map(_Pairs.evidence, self, kept)
        for found, columns in zip(kept, evidence, strict=True):
            lead = found.users_llr - rivals.of(found.users_llr, found.base)
            columns["users_llr_lead"] = lead
            lead = found.text_users - with_text.of(found.text_users, found.base)
            columns["text_users_lead"] = np.where(np.isnan(columns["text_missed"]), np.nan, lead)
            arrays = [
                ids.take(pa.array(self.nodes.receipts[found.rows][found.query])),
                ids.take(pa.array(self.nodes.catalog[found.base])),
                *(_column(columns[field.name], field.type) for field in list(LINK_POOL)[2:]),
            ]
            yield pa.Table.from_arrays(arrays, schema=LINK_POOL)
            progress("link_pool: evidence", found.rows.stop, len(self.receipts))

    def found(self, rows: slice) -> _Found:
        """The pairs of some receipt items."""
        m, users = len(self.catalog), self.scores["users_llr"]
        shared = users.shared(rows)
        by_users = _best(shared, users.ratios(shared, rows), self.settings.by_users)
        by_csls = _listed(self.near.candidate[rows], m)
        by_text = self._by_text(rows, shared)
        keys = np.unique(np.concatenate([by_users.key, by_csls.key, by_text.key]))
        query, base = np.divmod(keys, m)
        return _Found(
            rows,
            query.astype(np.int32),
            base.astype(np.int32),
            users.at(shared, rows, query, base),
            _ranks(by_users.key, by_users.rank, keys),
            _ranks(by_csls.key, by_csls.rank, keys),
            _ranks(by_csls.key, self.near.reverse[rows].ravel(), keys),
            _ranks(by_text.key, by_text.rank, keys, np.int32),
            self._texts(query + rows.start, base),
        )

    def _texts(self, own: NDArray[np.int64], base: NDArray[np.int64]) -> dict[str, NDArray]:
        """Comparisons of texts, float32 [pairs] each."""
        if self.text is None:
            return dict.fromkeys(COMPARISONS, np.full(len(own), np.nan, np.float32))
        return self.text.compare(own, base)

    def _by_text(self, rows: slice, shared: "csr_matrix") -> "_List":
        """The best by the users' log-likelihood ratio less the logarithm of the rank by text.

        As if the text gave each of r items that it fits as well 1 / r of the evidence: what it
        cannot tell apart, the users do.
        """
        if self.text is None or not self.settings.by_text:
            return _List(np.empty(0, np.int64), np.empty(0, np.int32))
        near = self.text.near_items(rows, np.split(shared.indices, shared.indptr[1:-1]))
        ratio = self.scores["users_llr"].at(shared, rows, near.query, near.base)
        order = np.lexsort((near.base, np.log(near.rank) - ratio, near.query))
        query = near.query[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        order = order[place < self.settings.by_text]
        key = near.query[order] * np.int64(len(self.catalog)) + near.base[order]
        return _List(key, near.rank[order].astype(np.int32))

    def evidence(self, found: _Found) -> dict[str, NDArray]:
        """All columns of the pool but the ids and the lead, [pairs] each."""
        rows, base = found.rows, found.base.astype(np.int64)
        query = found.query.astype(np.int64)
        own = query + rows.start
        similarity = _dots(self.receipts, self.catalog, own, base)
        hubs = self.near.mean_query[own] + self.near.mean_base[base]
        columns = {**found._asdict(), "similarity": similarity, "csls": 2.0 * similarity - hubs}
        for name in ("months_llr", "weeks_llr"):
            scores = self.scores[name]
            columns[name] = scores.at(scores.shared(rows), rows, query, base)
        columns["weekly_correlation"] = _dots(*self.weekly, own, base)
        columns["monthly_correlation"] = _dots(*self.monthly, own, base)
        ends = self.ends[0][own] - self.ends[1][base]  # [pairs, 2]
        columns |= {"first_gap": ends[:, 0], "last_gap": ends[:, 1]}
        return columns | found.text | compare(self.facts, own, base)


def _parts(queries: "csr_matrix", base: "csr_matrix", most: int) -> list[slice]:
    """Receipt items in parts of at most ``CHUNK``, and of at most ``most`` pairs that share a user.

    One item is a part at least, whatever it shares.
    """
    buyers = np.diff(base.tocsc().indptr)  # catalog items by column
    shared = np.zeros(queries.shape[0] + 1)
    shared[1:] = np.minimum((queries > 0) @ buyers, base.shape[0]).cumsum()
    parts, start = [], 0
    while start < queries.shape[0]:
        fits = int(np.searchsorted(shared, shared[start] + most, side="right")) - 1
        end = min(max(fits, start + 1), start + CHUNK, queries.shape[0])
        parts.append(slice(start, end))
        start = end
    return parts


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
    key: NDArray[np.int64],
    rank: NDArray[np.int32],
    wanted: NDArray[np.int64],
    kind: type[np.signedinteger] = np.int16,
) -> NDArray:
    """Rank of each wanted key, in ascending order and with all of ``key`` in it; 0: none."""
    ranks = np.zeros(len(wanted), kind)
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


class Rivals:
    """The two highest users' log-likelihood ratios of every catalog item, over all parts of a pool.

    No rival counts as less than 0, the ratio of a pair without evidence.
    """

    def __init__(self, catalog: int) -> None:
        self.best, self.second = np.zeros((2, catalog), np.float32)

    def add(self, ratio: NDArray[np.float32], base: NDArray[np.int32]) -> None:
        """Take in some pairs, [pairs] each."""
        order = np.lexsort((-ratio, base))
        first = np.flatnonzero(np.diff(base[order], prepend=-1))
        length = np.diff(first, append=len(order))
        item = base[order[first]]  # [catalog items here]
        top = ratio[order[first]].clip(min=0.0)
        second = ratio[order[np.minimum(first + 1, len(order) - 1)]].clip(min=0.0)
        second[length == 1] = 0.0
        lower = np.minimum(self.best[item], top)
        self.second[item] = np.maximum(np.maximum(self.second[item], second), lower)
        self.best[item] = np.maximum(self.best[item], top)

    def of(self, ratio: NDArray[np.float32], base: NDArray[np.int32]) -> NDArray[np.float32]:
        """The best other pair of each pair's catalog item, float32 [pairs]."""
        best = self.best[base]
        return np.where(ratio == best, self.second[base], best)


def _column(values: NDArray, kind: pa.DataType) -> pa.Array:
    """A column of the table; no rank (0) and no number are null."""
    missing = values == 0 if pa.types.is_integer(kind) else np.isnan(values)
    return pa.array(values, kind, mask=missing)
