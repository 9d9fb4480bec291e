"""Nearest-neighbour probes of item vectors: category, domain."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.evaluation.figures import QueryMetrics, Values
from itememb_core.items.vectors import behaviour_vectors, vectors
from itememb_core.items.vocabulary import ALL_SIDE, node_counts
from itememb_core.retrieval.exact import nearest_others

#: Neighbours that vote.
NEIGHBOURS: Final = 10
#: Most queries, and most candidates: seeded samples.
QUERIES: Final = 2000
CANDIDATES: Final = 100_000

Codes = NDArray[np.int64]


def category_probe(
    embeddings: pa.Table, vocabulary: pa.Table, catalog: pa.Table, rng: np.random.Generator
) -> QueryMetrics | None:
    """Accuracy of a catalog item's category and domain by a vote of its ten nearest neighbours.

    Candidates are the catalog items with training events whose category is known; of those that
    are no query a sample where there are very many.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY``.
        catalog: ``item_id`` and ``category``; other columns are ignored.
        rng: Draws the samples.

    Returns:
        ``category_accuracy`` and ``domain_accuracy`` of the neighbours' vote (``nearest_10``), of
        the most frequent label (``majority``) and of a random candidate's label (``random``), by
        domain; None where fewer than two such items are known.
    """
    known = catalog.filter(pc.is_valid(catalog["category"]))
    place = pc.index_in(vocabulary["item_id"], value_set=known["item_id"].combine_chunks())
    named = place.fill_null(-1).to_numpy()
    whole = pc.equal(vocabulary["side"], ALL_SIDE).to_numpy()
    touched = node_counts(vocabulary).sum(axis=1) > 0
    nodes = np.flatnonzero((named >= 0) & whole & touched)
    if len(nodes) < 2:
        return None
    nodes = np.sort(rng.permutation(nodes)[:CANDIDATES])
    domain, domains = _codes(vocabulary["domain"].take(pa.array(nodes)))
    category = _codes(known["category"].take(pa.array(named[nodes])))[0]
    queries = np.sort(rng.permutation(len(nodes))[:QUERIES])
    rows = vectors(embeddings)[nodes]
    near = nearest_others(rows, queries, NEIGHBOURS, np.arange(len(nodes)))
    values: dict[tuple[str, str], Values] = {}
    for metric, label in (("category_accuracy", category), ("domain_accuracy", domain)):
        for method, right in _accuracies(label, queries, near).items():
            values[method, metric] = right
    slices = {f"catalog, {name}": domain[queries] == i for i, name in enumerate(domains)}
    return QueryMetrics(values, {}, {"catalog": np.ones(len(queries), bool), **slices})


def domain_mixing(
    rows: NDArray[np.float32], domain: Codes, rng: np.random.Generator
) -> tuple[Values, Values, Codes]:
    """How often a near item is of another domain.

    Args:
        rows: Unit vectors ``[items, dim]``, at least two.
        domain: Code of each item's domain ``[items]``.
        rng: Draws the samples.

    Returns:
        For each query the share of its ten nearest neighbours that are of another
        domain, the same share of all other items (chance), and its domain, ``[queries]`` each.
    """
    some = np.sort(rng.permutation(len(rows))[:CANDIDATES])
    rows, domain = rows[some], domain[some]
    queries = np.sort(rng.permutation(len(rows))[:QUERIES])
    near = nearest_others(rows, queries, NEIGHBOURS, np.arange(len(rows)))  # [queries, neighbours]
    foreign = (domain[near] != domain[queries][:, None]).mean(axis=1)
    sizes = np.bincount(domain)[domain[queries]]
    return foreign, (len(rows) - sizes) / (len(rows) - 1), domain[queries]


def mixing_figures(
    embeddings: pa.Table, vocabulary: pa.Table, rng: np.random.Generator
) -> QueryMetrics | None:
    """``other_domain_share`` among the nearest ten of items with training events, beside chance."""
    touched = np.flatnonzero(node_counts(vocabulary).sum(axis=1) > 0)
    if len(touched) < 2:
        return None
    domain, names = _codes(vocabulary["domain"].take(pa.array(touched)))
    found, chance, of = domain_mixing(behaviour_vectors(embeddings)[touched], domain, rng)
    metric = "other_domain_share"
    slices = {f"items, {name}": of == i for i, name in enumerate(names)}
    slices = {"items": np.ones(len(of), bool), **slices}
    return QueryMetrics({("nearest_10", metric): found}, {("random", metric): chance}, slices)


def vote(labels: Codes) -> Codes:
    """The most frequent label of each row, of equally frequent ones the first, ``[rows]``."""
    times = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)  # [rows, neighbours]
    return labels[np.arange(len(labels)), times.argmax(axis=1)]


def _accuracies(label: Codes, queries: Codes, near: Codes) -> dict[str, Values]:
    own, sizes = label[queries], np.bincount(label)
    return {
        "nearest_10": (vote(label[near]) == own).astype(np.float64),
        "majority": (own == sizes.argmax()).astype(np.float64),
        "random": (sizes[own] - 1) / (len(label) - 1),
    }


def _codes(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    """Position of each value among the distinct ones, and those in ascending order."""
    names, codes = np.unique(column.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return codes.astype(np.int64), names.tolist()
