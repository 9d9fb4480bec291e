"""The category tree of a catalog, and each item's place in it.

A category is named by its path from the domain down, joined by a character that no category holds,
so equal names under different parents are different categories, no circle is possible, and one root
joins the domains.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.categories.poincare import PoincareEmbedding
from itememb_core.features.inputs import SEPARATOR
from itememb_core.items.vectors import vector_column

#: Above the domains.
ROOT: Final = "all"


class CategoryTree(NamedTuple):
    """The tree and who is in it.

    Attributes:
        edges: (child, parent), each once, and the root, which has no parent, with itself.
        of_item: Name of each item's category, in the catalog's order; null: it has none.
        levels: Levels of the longest path, domains among them; 0: no item has a category.
    """

    edges: list[tuple[str, str]]
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
    return CategoryTree([(ROOT, ROOT), *sorted(parents.items())], one, levels)


def category_embeddings(catalog: pa.Table, embedding: PoincareEmbedding) -> pa.Table:
    """Return ``schemas.category_embeddings(dim)``, a row an item of the catalog.

    Args:
        catalog: ``item_id``, ``domain`` and ``category_path``.
        embedding: Of the catalog's :func:`category_tree`.

    Raises:
        ItemembError: The embedding lacks a category of the catalog.
    """
    of_item = category_tree(catalog).of_item
    dim = embedding.vectors.shape[1]
    known = pc.is_valid(of_item).to_numpy(zero_copy_only=False)
    place = pc.index_in(of_item.filter(pa.array(known)), value_set=pa.array(embedding.ids))
    if place.null_count:
        raise ItemembError("category_embeddings: categories that the category model lacks")
    values = np.zeros((len(known), dim), np.float32)
    values[known] = embedding.tangent().astype(np.float32)[place.to_numpy()]
    columns = [catalog["item_id"], catalog["category_path"], vector_column(values), pa.array(known)]
    return pa.Table.from_arrays(columns, schema=schemas.category_embeddings(dim))
