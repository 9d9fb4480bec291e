"""The items of the user model: vectors of all nodes, and which nodes may be recommended.

A *target* is a catalog or offer item with an interaction in any channel. A *cold* item has none,
but a vector of its features. A *context* node is
anything else: an opaque receipt item, the receipts side of a held-out match, an unknown id.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.vectors import FROM_FEATURES, behaviour_vectors
from itememb_core.items.vocabulary import ALL_SIDE, UNKNOWN, node_counts, node_index
from itememb_core.services import RECEIPT_DOMAIN


@dataclass(frozen=True)
class ItemSpace:
    """The items as a user model sees them; rows of ``vectors`` are nodes of the vocabulary."""

    vocabulary: pa.Table
    vectors: NDArray[np.float32]  # [nodes, dim], unit norm
    targets: NDArray[np.int32]  # [targets], node of each target, ascending
    target_of: NDArray[np.int32]  # [nodes], target of each node or -1
    link: NDArray[np.int32]  # [nodes], node of the accepted catalog item, else the node itself
    counts: NDArray[np.int64]  # [targets], events before training's end
    cold: NDArray[np.int32]  # [cold], nodes that nobody interacted with, but features tell of

    @property
    def dim(self) -> int:
        """Length of an item vector."""
        return self.vectors.shape[1]

    def targets_of(self, nodes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Target of each node ``[n]``; -1 where it is none or the node is unknown (-1)."""
        # UNKNOWN indexes what is added at the end.
        return np.append(self.target_of, np.int32(UNKNOWN))[nodes]

    def ids(self, targets: NDArray[np.integer]) -> pa.Array:
        """Item ids of targets ``[n]``."""
        return self.names(self.targets[targets])

    def names(self, nodes: NDArray[np.integer]) -> pa.Array:
        """Item ids of nodes ``[n]``."""
        return self.vocabulary["item_id"].combine_chunks().take(pa.array(nodes))


def item_space(
    vocabulary: pa.Table,
    embeddings: pa.Table,
    links: pa.Table | None = None,
    *,
    dim: int | None = None,
) -> ItemSpace:
    """Join the vocabulary, the vectors and the accepted links.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        embeddings: ``schemas.item_embeddings(dim)``, a row for each node, in their order.
        links: ``schemas.CROSS_DOMAIN_LINKS``; only learned links are used, since a direct match
            is a target by itself. None: no links.
        dim: Dimension that the vectors must have; None takes theirs.

    Raises:
        ItemembError: On another dimension (both are named), or if the two tables hold other items.
    """
    values = behaviour_vectors(embeddings, dim)
    for column in ("item_id", "side"):
        if not vocabulary[column].equals(embeddings[column]):
            raise ItemembError(
                f"user model: item vectors ({embeddings.num_rows} rows) and the vocabulary "
                f"({vocabulary.num_rows} rows) differ in {column}, expected the same rows"
            )
    counts = node_counts(vocabulary).sum(axis=1)  # [nodes]
    catalog = pc.not_equal(vocabulary["domain"], RECEIPT_DOMAIN)
    whole = pc.equal(vocabulary["side"], ALL_SIDE)
    able = pc.and_(catalog, whole).to_numpy() & (counts > 0)
    targets = np.flatnonzero(able).astype(np.int32)
    target_of = np.full(len(values), UNKNOWN, np.int32)
    target_of[targets] = np.arange(len(targets), dtype=np.int32)
    link = _links(vocabulary, links)
    told = pc.equal(embeddings["source"], FROM_FEATURES).to_numpy().astype(bool)
    cold = np.flatnonzero(told & (counts == 0)).astype(np.int32)
    return ItemSpace(vocabulary, values, targets, target_of, link, counts[targets], cold)


def target_ids(items: ItemSpace) -> str:
    """A digest of the targets' ids in their order: a trained row belongs to one id."""
    digest = hashlib.blake2b(digest_size=16)
    for name in items.ids(np.arange(len(items.targets))).to_pylist():
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()


def _links(vocabulary: pa.Table, links: pa.Table | None) -> NDArray[np.int32]:
    link = np.arange(vocabulary.num_rows, dtype=np.int32)
    if links is None or not links.num_rows:
        return link
    learned = links.filter(pc.not_equal(links["method"], "direct"))
    opaque = node_index(vocabulary, learned["receipt_item"], "receipts")
    catalog = node_index(vocabulary, learned["catalog_item"], "retail")
    known = (opaque != UNKNOWN) & (catalog != UNKNOWN)
    link[opaque[known]] = catalog[known]
    return link
