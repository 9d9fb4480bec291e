"""What a network reads of each node: its blocks but popularity, and its path of categories."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.features.fused import ItemFeatures, rows_of
from itememb_core.features.inputs import SEPARATOR
from itememb_core.items.vectors import one_array

#: What an item without interactions never has.
POPULARITY: Final = "popularity"


class Paths(NamedTuple):
    """Categories of nodes, from the broadest: the domain, then each level of its path.

    Attributes:
        names: Each category's domain and path, joined by ``SEPARATOR``; parents come first.
        parent: int64 [categories], -1: a domain.
        deepest: int64 [nodes], the narrowest category of each node.
    """

    names: list[str]
    parent: NDArray[np.int64]
    deepest: NDArray[np.int64]

    @property
    def depth(self) -> NDArray[np.int64]:
        """Parents above each category, int64 [categories]."""
        depth = np.zeros(len(self.parent), np.int64)
        for number, above in enumerate(self.parent):  # parents come first
            depth[number] = depth[above] + 1 if above >= 0 else 0
        return depth

    def lineage(self) -> NDArray[np.int64]:
        """Each category with all above it, the broadest first, int64 [categories, levels]; -1 pads.

        So a row's place is its depth.
        """
        depth = self.depth
        table = np.full((len(depth), int(depth.max(initial=0)) + 1), -1, np.int64)
        for number, above in enumerate(self.parent):
            if above >= 0:
                table[number] = table[above]
            table[number, depth[number]] = number
        return table


def paths_of(vocabulary: pa.Table, categories: pa.Table) -> Paths:
    """The category of each node.

    Args:
        vocabulary: ``schemas.VOCABULARY``.
        categories: ``item_id`` and ``category_path``, a list from the broadest or null; a node of
            side ``receipts`` has none.
    """
    row = rows_of(vocabulary, categories)  # [nodes]
    path = one_array(categories["category_path"])
    code, distinct = _distinct(path)
    domain = one_array(vocabulary["domain"]).dictionary_encode()
    domains = domain.dictionary.to_pylist()
    own = np.append(code, -1)[row]  # [nodes], -1: no path
    keys = domain.indices.to_numpy().astype(np.int64) * (len(distinct) + 1) + own + 1
    wanted, inverse = np.unique(keys, return_inverse=True)
    numbers: dict[str, int] = {}
    parents: list[int] = []
    deepest = np.empty(len(wanted), np.int64)
    for place, key in enumerate(wanted.tolist()):
        which, number = divmod(key, len(distinct) + 1)
        name, above = "", -1
        for level in (domains[which], *(distinct[number - 1] if number else ())):
            name = f"{name}{SEPARATOR}{level}" if above >= 0 else str(level)
            found = numbers.setdefault(name, len(parents))
            if found == len(parents):
                parents.append(above)
            above = found
        deepest[place] = above
    return Paths(list(numbers), np.array(parents, np.int64), deepest[inverse])


def _distinct(path: pa.Array) -> tuple[NDArray[np.int64], list[list[str]]]:
    """The number of each path, int64 [rows], -1: null or empty, and the distinct paths."""
    joined = pc.binary_join(path.cast(pa.list_(pa.string())), SEPARATOR).dictionary_encode()
    code = joined.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    distinct = [name.split(SEPARATOR) if name else [] for name in joined.dictionary.to_pylist()]
    return code, distinct


class NodeInputs(NamedTuple):
    """What is known of nodes beside their interactions.

    Attributes:
        values: float32 [nodes, width], the blocks that any node has, but popularity; zeros where
            a node lacks one.
        known: bool [nodes, blocks], which it has.
        dims: Width of each block by name.
        paths: Their categories.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    dims: dict[str, int]
    paths: Paths


def node_inputs(features: ItemFeatures, paths: Paths) -> NodeInputs:
    """Take the blocks that any node has: what is absent everywhere tells nothing and costs time."""
    names = list(features.dims)
    kept = [
        name
        for column, name in enumerate(names)
        if name != POPULARITY and features.known[:, column].any()
    ]
    parts = [features.block(name) for name in kept]
    nodes = len(features.values)
    values = [np.empty((nodes, 0), np.float32), *(part.values for part in parts)]
    known = [part.known[:, None] for part in parts]
    return NodeInputs(
        np.concatenate(values, axis=1),
        np.concatenate([np.empty((nodes, 0), bool), *known], axis=1),
        {name: features.dims[name] for name in kept},
        paths,
    )
