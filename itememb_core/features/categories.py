"""The category tree of a catalog, and each item's place in it.

A category is named by its path from the domain down (``retail > drinks > tea``), so equal names
under different parents are different categories, no circle is possible, and one root joins the
domains.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core import schemas
from itememb_core.features.poincare import PoincareEmbedding

SEPARATOR: Final = " > "
#: Above the domains.
ROOT: Final = "all"


class CategoryTree(NamedTuple):
    """The tree and who is in it.

    Attributes:
        edges: ``child`` and ``parent``, each edge once, sorted.
        of_item: Name of each item's category, in the catalog's order; null: it has none.
        levels: Levels of the longest path, the root not counted.
    """

    edges: pa.Table
    of_item: pa.Array
    levels: int


def category_tree(catalog: pa.Table) -> CategoryTree:
    """Find the tree of all categories that items are in.

    Args:
        catalog: ``domain`` and ``category_path`` (null: none), of ``schemas.CATALOG``.
    """
    joined = pc.binary_join(catalog["category_path"], SEPARATOR)
    named = pc.binary_join_element_wise(catalog["domain"], joined, SEPARATOR)
    one = named.combine_chunks() if isinstance(named, pa.ChunkedArray) else named
    parents: dict[str, str] = {}
    levels = 0
    for name in one.drop_null().unique().to_pylist():
        levels = max(levels, name.count(SEPARATOR) + 1)
        node = name
        while node not in parents and node != ROOT:
            parents[node] = node.rpartition(SEPARATOR)[0] or ROOT
            node = parents[node]
    children = sorted(parents)
    edges = pa.table({"child": children, "parent": [parents[child] for child in children]})
    return CategoryTree(edges, one, levels)


def category_vectors(
    tree: CategoryTree, embedding: PoincareEmbedding | None, dim: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Each item's category in the tangent space at the origin, float32 [items, dim], and whether.

    Args:
        tree: The tree.
        embedding: Of its nodes; None where there are no edges.
        dim: Width of the vectors.
    """
    known = pc.is_valid(tree.of_item).to_numpy(zero_copy_only=False)
    values = np.zeros((len(known), dim), np.float32)
    if embedding is not None and known.any():
        names = pa.array(embedding.nodes, pa.string())
        place = pc.index_in(tree.of_item.filter(pa.array(known)), value_set=names)
        values[known] = embedding.tangent().astype(np.float32)[place.to_numpy()]
    return values, known


def category_embeddings(
    catalog: pa.Table, tree: CategoryTree, embedding: PoincareEmbedding | None, dim: int
) -> pa.Table:
    """Return ``schemas.category_embeddings(dim)``, a row an item of the catalog."""
    values, known = category_vectors(tree, embedding, dim)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim)
    columns = [catalog["item_id"], catalog["category_path"], flat, pa.array(known)]
    return pa.Table.from_arrays(columns, schema=schemas.category_embeddings(dim))
