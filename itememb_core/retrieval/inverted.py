"""Inverted lists of a few vectors each: the nearest of millions, searched a matrix at a time.

Queries of one domain lie far from the items of another, and the neighbours of a query are then
spread over many lists: few lists of many vectors must nearly all be read for a recall of 0.99. So
lists are short (``PER_LIST``) and many; their centres are found in two levels, and comparing a
query with every centre is one matrix product for a block of queries.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itememb_core.device import product_type
from itememb_core.retrieval.exact import GROUP, as_tensor, largest_columns

if TYPE_CHECKING:
    from torch import Tensor

#: Vectors of a list, on average.
PER_LIST = 30

#: Most vectors a centre that k-means looks at, rounds it makes.
PER_CENTRE, ROUNDS = 256, 15

#: Vectors that the codes are fitted on.
TRAINED = 65_536

#: Queries compared with all centres at once.
ROWS = 1024


class Codes(Protocol):
    """What is used of FAISS's inverted lists, whose stubs know the C++ signatures alone."""

    nprobe: int

    def search_preassigned(
        self,
        x: NDArray[np.float32],
        k: int,
        Iq: NDArray[np.int64],
        Dq: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distances and rows [n, k] of queries [n, dim] in given lists [n, nprobe]."""
        ...


@dataclass(frozen=True)
class InvertedLists:
    """Unit vectors in lists.

    Attributes:
        index: FAISS's inverted lists, inner product, of codes: 4 bits a dimension of what is
            left of a vector beyond the centre of its list.
        centres: Of the lists, in the type of products, [dim, lists padded to whole groups].
        count: How many lists there are.
        values: The vectors, float32 [n, dim].
    """

    index: Codes
    centres: "Tensor"
    count: int
    values: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> "InvertedLists":
        """Put unit vectors into lists, float32 [n, dim], n at least 1."""
        import faiss
        import torch

        n, dim = values.shape
        # In one piece, once, and not again in every search.
        values = np.require(values, requirements=["C", "W"])
        centres, own = _two_levels(values)
        lists = len(centres)
        coarse = faiss.IndexFlatIP(dim)
        coarse.add(centres)
        codes: Any = faiss.IndexIVFPQ(coarse, dim, lists, dim, 4, faiss.METRIC_INNER_PRODUCT)
        some = np.resize(spread(n, TRAINED), max(min(n, TRAINED), 1 << codes.pq.nbits))
        codes.pq.cp.min_points_per_centroid = 1
        codes.pq.train(values[some] - centres[own[some]])
        codes.is_trained = True
        # ``add`` would look for every row's list again. Named: FAISS holds no reference.
        every = np.arange(n, dtype=np.int64)
        codes.add_core(n, *(faiss.swig_ptr(part) for part in (values, every, own)))
        padded = torch.zeros(-(-lists // GROUP) * GROUP, dim)
        padded[:lists] = torch.from_numpy(centres)
        packed: Any = faiss.IndexIVFPQFastScan(codes)
        return cls(packed, padded.to(product_type("cpu")).T.contiguous(), lists, values)

    def search(
        self, queries: NDArray[np.float32], k: int, probes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``k`` nearest in the ``probes`` lists nearest to each query.

        Args:
            queries: Unit vectors, float32 [n, dim].
            k: Rows wanted, at most all.
            probes: Lists read, at most all.

        Returns:
            Rows int64 [n, k], -1 where the lists hold fewer, and their cosines float32 (-inf),
            best first, ties by row. They are the best by the codes; the cosines are exact.
        """
        rows = np.empty((len(queries), k), np.int64)
        cosines = np.empty((len(queries), k), np.float32)
        self.index.nprobe = probes
        for start in range(0, len(queries), ROWS):
            part = slice(start, start + ROWS)
            block = np.ascontiguousarray(queries[part])
            lists, near = self._nearest_lists(block, probes)
            found = self.index.search_preassigned(block, k, lists, near)[1]
            rows[part], cosines[part] = self._ordered(block, found)
        return rows, cosines

    def _nearest_lists(
        self, queries: NDArray[np.float32], probes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Lists [n, probes], in no order, and the inner products with their centres."""
        import torch

        scores = as_tensor(queries).to(self.centres.dtype) @ self.centres
        scores[:, self.count :] = -torch.inf
        ids, near = largest_columns(scores, probes)
        return ids.numpy(), near.float().numpy()

    def _ordered(
        self, queries: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows [n, k] by their exact cosines, best first, and these."""
        import torch

        chosen = as_tensor(self.values)[torch.from_numpy(rows.clip(0))]  # [n, k, dim]
        cosine = torch.bmm(chosen, as_tensor(queries)[:, :, None])[:, :, 0].numpy()
        cosine[rows < 0] = -np.inf
        order = np.lexsort((rows, -cosine), axis=-1)
        return np.take_along_axis(rows, order, 1), np.take_along_axis(cosine, order, 1)


def spread(n: int, most: int) -> NDArray[np.int64]:
    """Rows spread evenly over n, at most so many."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _two_levels(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Centres [lists, dim] and each row's list [n].

    K-means, then k-means within each cluster (hierarchical k-means, Nistér and Stewénius 2006): a
    million rows in 33,000 lists take seconds, in one level hours.
    """
    upper = max(1, round(np.sqrt(len(values) / PER_LIST)))
    _, cluster = _k_means(values, upper)
    by_cluster = np.argsort(cluster, kind="stable")
    ends = np.cumsum(np.bincount(cluster, minlength=upper))
    centres, own, lists = [], np.empty(len(values), np.int64), 0
    for members in np.split(by_cluster, ends[:-1]):
        if not len(members):
            continue
        found, chosen = _k_means(values[members], max(1, round(len(members) / PER_LIST)))
        own[members] = lists + chosen
        centres.append(found)
        lists += len(found)
    return np.concatenate(centres), own


def _k_means(
    values: NDArray[np.float32], centres: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Spherical k-means: unit centres [centres, dim], each row's nearest [n]."""
    import faiss
    import torch

    settings = {"spherical": True, "seed": 0, "min_points_per_centroid": 1}
    means = faiss.Kmeans(
        values.shape[1], centres, niter=ROUNDS, max_points_per_centroid=PER_CENTRE, **settings
    )
    means.train(values)
    found: NDArray[np.float32] = means.centroids  # type: ignore[assignment]
    own, low = np.empty(len(values), np.int64), torch.from_numpy(found).T
    for start in range(0, len(values), ROWS):
        scores = as_tensor(values[start : start + ROWS]) @ low
        own[start : start + ROWS] = scores.argmax(1).numpy()
    return found, own
