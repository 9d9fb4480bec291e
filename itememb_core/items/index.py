"""The stored FAISS index over item vectors: exact where small, inverted lists where large."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.items.vectors import FROM_FEATURES, parts_of, vectors
from itememb_core.items.vocabulary import node_counts
from itememb_core.model_files import existing, read_json, read_parquet
from itememb_core.progress import Progress, silent
from itememb_core.retrieval.exact import top_k
from itememb_core.retrieval.recall import RECALL_AT, recall, tuned_probes
from itememb_core.settings import ItemIndexSettings

if TYPE_CHECKING:
    import faiss

INDEX_FILE = "index.faiss"
IDS_FILE = "ids.parquet"
ABOUT_FILE = "index.json"

IDS = pa.schema([("position", pa.int64()), ("item_id", pa.string()), ("side", pa.string())])


class IndexFacts(TypedDict):
    """What an index is: ``kind`` is none, flat or ivf.

    Items ``without_vectors``, of which nothing is known, are left out.

    ``recall`` is that of the exact ``recall_at`` nearest on ``recall_sample`` items; ``lists`` and
    ``probed``: inverted lists, and how many of them a search reads.
    """

    metric: str
    dim: int
    items: int
    without_vectors: int
    kind: str
    recall: float | None
    recall_sample: int
    recall_at: NotRequired[int]
    lists: NotRequired[int]
    probed: NotRequired[int]


@dataclass(frozen=True)
class ItemIndex:
    """A FAISS index of inner products over unit vectors, and what its positions are.

    Attributes:
        index: The FAISS index; ``None`` when there is no item.
        ids: Position, item id and side, one row a vector.
        about: Its facts.
    """

    index: "faiss.Index | None"
    ids: pa.Table
    about: IndexFacts

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions int64 [n, k] (-1: none found) and cosines float32 [n, k], best first.

        Raises:
            ItemembError: The queries' dimension is not the index's.
        """
        if queries.shape[1] != self.about["dim"]:
            raise ItemembError(
                f"item_index: queries have dimension {queries.shape[1]}, "
                f"the index {self.about['dim']}"
            )
        if self.index is None:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        scores, positions = self.index.search(np.ascontiguousarray(queries), k)
        return positions, scores

    def save(self, folder: Path) -> None:
        """Write the index, its ids and a JSON of its facts into an existing folder."""
        if self.index is not None:
            import faiss

            faiss.write_index(self.index, str(folder / INDEX_FILE))
        pq.write_table(self.ids, folder / IDS_FILE)
        (folder / ABOUT_FILE).write_text(json.dumps(self.about, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path, expected_dim: int | None = None) -> "ItemIndex":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: A file is missing or damaged, the files disagree, or the dimension is not
                the expected.
        """
        about = cast(IndexFacts, read_json(folder / ABOUT_FILE, "item_index"))
        if expected_dim is not None and about["dim"] != expected_dim:
            raise ItemembError(
                f"item_index: {folder / ABOUT_FILE} has dimension {about['dim']}, "
                f"expected {expected_dim}"
            )
        ids = read_parquet(folder / IDS_FILE, "item_index", IDS)
        if about["items"] == 0:
            return cls(None, ids, about)
        path = existing(folder / INDEX_FILE, "item_index")
        import faiss

        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ItemembError(f"item_index: {path} cannot be read ({error})") from error
        if (index.ntotal, index.d) != (ids.num_rows, about["dim"]):
            raise ItemembError(
                f"item_index: {path} holds {index.ntotal} vectors of dimension {index.d}, "
                f"expected {ids.num_rows} of {about['dim']}"
            )
        return cls(index, ids, about)


def same_items(vocabulary: pa.Table, embeddings: pa.Table) -> None:
    """Check that two tables list the same items in the same order.

    Raises:
        ItemembError: They do not.
    """
    if vocabulary.num_rows != embeddings.num_rows:
        raise ItemembError(
            f"item_embeddings: {embeddings.num_rows} rows, the vocabulary has {vocabulary.num_rows}"
        )
    for column in ("item_id", "side"):
        if not vocabulary[column].equals(embeddings[column].cast(pa.string())):
            raise ItemembError(f"item_embeddings: {column} differs from the vocabulary's")


def rows_with_vectors(vocabulary: pa.Table, embeddings: pa.Table) -> NDArray[np.int64]:
    """Rows of items with an interaction or a vector of their features, int64 [items].

    What has neither has a vector that says nothing.
    """
    made = pc.equal(embeddings["source"], FROM_FEATURES).to_numpy().astype(bool)
    return np.flatnonzero(made | (node_counts(vocabulary).sum(axis=1) > 0))


def build_index(
    embeddings: pa.Table,
    vocabulary: pa.Table,
    settings: ItemIndexSettings,
    seed: int,
    *,
    expected_dim: int | None = None,
    progress: Progress = silent,
) -> ItemIndex:
    """Index the unit vectors of every item with interactions or features; measure recall.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``.
        vocabulary: ``schemas.VOCABULARY``, in the same order.
        settings: Size up to which the index is exact, recall wanted beyond it.
        seed: Of the sample and of the clusters.
        expected_dim: As in :func:`vectors`.
        progress: Called while recall is measured.

    Raises:
        ItemembError: As :func:`vectors` and :func:`same_items`.
    """
    parts_of(embeddings)
    every = vectors(embeddings, expected_dim)
    same_items(vocabulary, embeddings)
    rows = rows_with_vectors(vocabulary, embeddings)
    values = np.ascontiguousarray(every[rows])  # [items, dim]
    ids = embeddings.select(["item_id", "side"]).take(pa.array(rows))
    ids = ids.add_column(0, "position", pa.array(np.arange(len(rows)))).cast(IDS)
    about: dict[str, Any] = {
        "metric": "inner product of unit vectors (cosine)",
        "dim": every.shape[1],
        "items": len(rows),
        "without_vectors": len(every) - len(rows),
    }
    if not len(rows):
        nothing = {"kind": "none", "recall": None, "recall_sample": 0}
        return ItemIndex(None, ids, cast(IndexFacts, about | nothing))
    index, measured = _measured_index(values, settings, seed, progress)
    return ItemIndex(index, ids, cast(IndexFacts, about | measured))


def _measured_index(
    values: NDArray[np.float32], settings: ItemIndexSettings, seed: int, progress: Progress
) -> tuple[Any, dict[str, Any]]:
    """The kind of index that the size requires, and its recall at RECALL_AT."""
    n = len(values)
    size = min(settings.recall_sample, n)
    queries = values[np.sort(np.random.default_rng(seed).choice(n, size, replace=False))]
    _, wanted = top_k(queries, values, RECALL_AT, progress=progress, what="item_index: recall")
    about = {"recall_at": RECALL_AT, "recall_sample": size}
    if n <= settings.exact_up_to:
        index = _flat(values)
        found, _ = index.search(queries, wanted.shape[1])  # [n, k]
        return index, about | {"kind": "flat", "recall": recall(found, wanted)}
    index = _inverted_lists(values, seed)

    def measure(probes: int) -> float:
        index.nprobe = probes
        return recall(index.search(queries, wanted.shape[1])[0], wanted)

    index.nprobe, reached = tuned_probes(measure, settings.recall, index.nlist, first=1, growth=2.0)
    lists = {"lists": index.nlist, "probed": index.nprobe}
    return index, about | lists | {"kind": "ivf", "recall": reached}


def _flat(values: NDArray[np.float32]) -> Any:
    """All vectors, compared one by one."""
    import faiss

    index = faiss.IndexFlatIP(values.shape[1])
    index.add(values)
    return index


def _inverted_lists(values: NDArray[np.float32], seed: int) -> Any:
    """Vectors in clusters, of which a search reads the nearest few.

    Inverted lists and not HNSW, whose graph depends on how its threads took turns.
    """
    import faiss

    n, dim = values.shape
    lists = max(1, int(4 * np.sqrt(n)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = 64
    index.train(values)
    index.add(values)
    return index
