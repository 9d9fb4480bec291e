"""A map of the vectors: near items lie near each other, coloured by domain and by category."""

import io
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.items.vectors import vectors
from itememb_core.items.vocabulary import node_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most items shown, a seeded sample; with fewer than the least there is no picture.
SHOWN: Final = 2000
LEAST: Final = 10
#: Components of the PCA that t-SNE starts from, its steps, neighbourhood and coarseness.
COMPONENTS: Final = 50
STEPS: Final = 500
PERPLEXITY: Final = 30
ANGLE: Final = 0.7
#: Categories with a colour of their own.
CATEGORIES: Final = 10
OTHERS: Final = "others"


def item_map(
    embeddings: pa.Table, vocabulary: pa.Table, catalog: pa.Table, seed: int, caption: str = ""
) -> bytes | None:
    """A map of the items with an interaction, in two panels.

    Args:
        embeddings: ``schemas.item_embeddings(dim)``, in the vocabulary's order.
        vocabulary: ``schemas.VOCABULARY``.
        catalog: ``item_id`` and ``category``; other columns are ignored.
        seed: Of the sample and of the map.
        caption: Text above the panels.

    Returns:
        A PNG; None with fewer than ``LEAST`` such items.
    """
    nodes = sampled(node_counts(vocabulary).sum(axis=1), seed)
    if len(nodes) < LEAST:
        return None
    points = two_dimensions(vectors(embeddings)[nodes], seed)
    items = vocabulary.take(pa.array(nodes))
    place = pc.index_in(items["item_id"], value_set=catalog["item_id"].combine_chunks())
    category = catalog["category"].take(place.combine_chunks()).to_numpy(zero_copy_only=False)
    return _plot(points, items["domain"].to_numpy(zero_copy_only=False), category, caption)


def sampled(counts: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Nodes to show, ascending: touched ones, drawn by the root of their counts.

    The root shows the popular ones and leaves room for the long tail.
    """
    touched = np.flatnonzero(counts > 0)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    # The largest keys are a weighted sample without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(rng.random(len(touched))) / np.sqrt(counts[touched])
    return np.sort(touched[np.argsort(-keys, kind="stable")[:SHOWN]])


def two_dimensions(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """t-SNE after a PCA (van der Maaten and Hinton 2008), ``[items, 2]``.

    Args:
        rows: Unit vectors ``[items, dim]``: their distances order as their cosines.
        seed: Of both.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    few = PCA(min(COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows)
    near = min(PERPLEXITY, (len(rows) - 1) / 3)
    model = TSNE(perplexity=near, max_iter=STEPS, angle=ANGLE, init="pca", random_state=seed)
    return np.asarray(model.fit_transform(few), np.float32)


def _plot(
    points: NDArray[np.float32],
    domain: NDArray[np.object_],
    category: NDArray[np.object_],
    caption: str,
) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, points, domain, "domain")
    known = np.array([text is not None for text in category])
    names, times = np.unique(category[known].astype(str), return_counts=True)
    frequent = set(names[np.argsort(-times, kind="stable")][:CATEGORIES].tolist())
    shown = [text if text in frequent else OTHERS for text in category]
    _scatter(right, points, np.array(shown, object), "category (catalog items)")
    figure.suptitle(caption, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()


def _scatter(
    panel: "Axes", points: NDArray[np.float32], label: NDArray[np.object_], title: str
) -> None:
    """Points in the colours of their labels, the most frequent label first; others in grey."""
    from matplotlib import colormaps

    names, times = np.unique(label.astype(str), return_counts=True)
    order = sorted(zip(names != OTHERS, -times, names, strict=True))
    for i, (own_colour, _, name) in enumerate(order):
        mine = label == name
        colour = colormaps["tab10"](i % 10) if own_colour else "lightgrey"
        size, front = (5, 2) if own_colour else (3, 1)
        x, y = points[mine].T
        panel.scatter(x, y, s=size, color=colour, zorder=front, linewidths=0, label=str(name))
    panel.set(title=title, xticks=[], yticks=[])
    panel.legend(fontsize=7, markerscale=3, loc="center left", bbox_to_anchor=(1, 0.5))
