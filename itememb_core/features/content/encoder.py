"""Features of content: an image block and a text block for each row, fitted and stored together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

from itememb_core import schemas
from itememb_core.errors import ItemembError
from itememb_core.features.content.image import ImageEncoder, ImageFacts, Mapping, Space, fit_image
from itememb_core.features.content.text import TextEncoder, TextFacts, TitleEncoder, fit_text
from itememb_core.features.reduction import Reduction
from itememb_core.items.vectors import vector_column
from itememb_core.model_files import read_json, read_parquet, read_tensors
from itememb_core.progress import Progress, silent
from itememb_core.settings import ContentFeaturesSettings

WEIGHTS_FILE: Final = "content.safetensors"
BUCKETS_FILE: Final = "title_buckets.parquet"
FACTS_FILE: Final = "content.json"
MODEL: Final = "content_features"

BUCKETS: Final = pa.schema([("bucket", pa.int64()), ("idf", pa.float32())])


class ContentVectors(NamedTuple):
    """Blocks of each row, at norm 1, or zero where a row lacks what the block is of.

    Attributes:
        image: float32 [rows, image_dim].
        text: float32 [rows, text_dim].
        has_image: Which rows have an image block that is not zero, bool [rows].
        has_text: The same of text.
    """

    image: NDArray[np.float32]
    text: NDArray[np.float32]
    has_image: NDArray[np.bool_]
    has_text: NDArray[np.bool_]


class ContentFacts(TypedDict):
    """What a fit saw, by block."""

    rows: int
    image: ImageFacts
    text: TextFacts


@dataclass(frozen=True)
class ContentEncoder:
    """A fitted image block and text block.

    Attributes:
        image: Of pictures' vectors.
        text: Of titles and texts' vectors.
        facts: Counts and explained variances.
    """

    image: ImageEncoder
    text: TextEncoder
    facts: ContentFacts

    def transform(self, rows: pa.Table, progress: Progress = silent) -> ContentVectors:
        """Both blocks of each row.

        Args:
            rows: As in :func:`fit_content`; variants of a group must be in one call.
            progress: Called after each block of rows.

        Raises:
            ItemembError: The folder of the fit's sentence encoder is not what it was.
        """
        image, has_image = self.image.transform(rows, progress)
        text, has_text = self.text.transform(rows, progress)
        return ContentVectors(image, text, has_image, has_text)

    def save(self, folder: Path) -> None:
        """Write tensors, buckets of n-grams, settings and facts into an existing folder."""
        from safetensors.numpy import save_file

        text = self.text
        arrays = _tensors("image", self.image.reduction)
        for space, mapping in self.image.mappings.items():
            arrays |= {
                f"{_key(space)}.weight": mapping.weight,
                f"{_key(space)}.bias": mapping.bias,
            }
        arrays |= _tensors("titles", text.titles.reduction) | {"means": text.means}
        if text.joint is not None:
            arrays |= _tensors("joint", text.joint)
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS_FILE)
        buckets = [pa.array(text.titles.buckets), pa.array(text.titles.idf)]
        pq.write_table(pa.Table.from_arrays(buckets, schema=BUCKETS), folder / BUCKETS_FILE)
        about = {"facts": self.facts, "settings": text.settings.model_dump(mode="json")}
        (folder / FACTS_FILE).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ContentEncoder":
        """Read what :meth:`save` wrote.

        Raises:
            ItemembError: A file is missing or damaged, or the files disagree.
        """
        path = folder / FACTS_FILE
        about = read_json(path, MODEL)
        try:
            settings = ContentFeaturesSettings.model_validate(about.get("settings"))
            facts = cast(ContentFacts, cast(dict[str, JsonValue], about["facts"]))
        except (KeyError, ValidationError) as error:
            raise ItemembError(f"{MODEL}: {path} lacks settings or facts of a fit") from error
        buckets = read_parquet(folder / BUCKETS_FILE, MODEL, BUCKETS)
        image, text = facts["image"], facts["text"]
        wanted = _shapes(image, text, settings, buckets.num_rows)
        arrays = read_tensors(folder / WEIGHTS_FILE, MODEL, wanted)
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ItemembError(
                    f"{MODEL}: {folder / WEIGHTS_FILE} has {name} of {list(arrays[name].shape)}, "
                    f"expected {list(shape)}"
                )
        titles = TitleEncoder(
            buckets["bucket"].to_numpy(),
            buckets["idf"].to_numpy(),
            _reduction(arrays, "titles", text["title_variance"]),
        )
        joint = None
        if "joint.components" in wanted:
            joint = _reduction(arrays, "joint", text["explained_variance"])
        return cls(
            _image(arrays, image),
            TextEncoder(titles, arrays["means"], joint, settings, text),
            facts,
        )


def content_features(
    rows: pa.Table, encoder: ContentEncoder, progress: Progress = silent
) -> pa.Table:
    """Return ``schemas.content_features(image_dim, text_dim)``, a row a row.

    Args:
        rows: As in :func:`fit_content`.
        encoder: What was fitted on such rows.
        progress: Called after each block of rows.
    """
    made = encoder.transform(rows, progress)
    dims = made.image.shape[1], made.text.shape[1]
    known = pa.array(made.has_image), pa.array(made.has_text)
    columns = [rows["item_id"], rows["side"], vector_column(made.image), known[0]]
    columns += [vector_column(made.text), known[1]]
    return pa.Table.from_arrays(columns, schema=schemas.content_features(*dims))


def fit_content(
    rows: pa.Table,
    settings: ContentFeaturesSettings,
    seed: int,
    progress: Progress = silent,
    *,
    links: pa.Table | None = None,
) -> ContentEncoder:
    """Fit the image block and the text block, each on a sample of the rows that can have it.

    Args:
        rows: ``item_id``, ``side``, and any of ``title``, ``embedding``, ``image_embedding``,
            ``text_embedding`` and ``group_id``, which may hold nulls alone.
        settings: Widths, size of the sample, n-grams, sentence encoder.
        seed: Of the sample and the reductions.
        progress: Called after each block of rows.
        links: ``item_a`` and ``item_b``, items that are one thing: where they have vectors of
            different spaces, a map between them is learned. It may say nothing that a backtest
            holds out.

    Raises:
        ItemembError: ``text_model`` is no folder of a sentence encoder.
    """
    text = fit_text(rows, settings, seed, progress)
    image = fit_image(rows, links, settings, seed, progress)
    facts = ContentFacts(rows=rows.num_rows, image=image.facts, text=text.facts)
    return ContentEncoder(image, text, facts)


def _key(space: Space) -> str:
    return f"map.{space.column}.{space.width}"


def _tensors(name: str, reduction: Reduction) -> dict[str, NDArray[np.float32]]:
    """A reduction's arrays."""
    made = {f"{name}.components": reduction.components}
    return made if reduction.mean is None else made | {f"{name}.mean": reduction.mean}


def _reduction(arrays: dict[str, np.ndarray], name: str, explained: float) -> Reduction:
    return Reduction(arrays[f"{name}.components"], arrays.get(f"{name}.mean"), explained)


def _shapes(
    image: ImageFacts, text: TextFacts, settings: ContentFeaturesSettings, buckets: int
) -> dict[str, tuple[int, ...]]:
    """The arrays that facts and settings promise, with their shapes."""
    spaces = image["spaces"]
    width = spaces[0]["width"] if spaces else 0
    made: dict[str, tuple[int, ...]] = {
        "image.components": (width, settings.image_dim),
        "image.mean": (width,),
        "titles.components": (buckets, settings.text_dim),
    }
    for each in spaces:
        if each["mapped"]:
            key = _key(Space(each["column"], each["width"]))
            made |= {f"{key}.weight": (each["width"], width), f"{key}.bias": (width,)}
    joined = 0
    if text["width"] is not None or text["encoder"] is not None:
        joined = settings.text_dim + (text["width"] or 0) + text["encoder_width"]
        made |= {"joint.components": (joined, settings.text_dim), "joint.mean": (joined,)}
    return made | {"means": (joined,)}


def _image(arrays: dict[str, np.ndarray], facts: ImageFacts) -> ImageEncoder:
    """The image block of a stored fit."""
    spaces = [Space(each["column"], each["width"]) for each in facts["spaces"]]
    mappings = {
        space: Mapping(arrays[f"{_key(space)}.weight"], arrays[f"{_key(space)}.bias"])
        for space, each in zip(spaces, facts["spaces"], strict=True)
        if each["mapped"]
    }
    reduction = _reduction(arrays, "image", facts["explained_variance"])
    return ImageEncoder(spaces[0] if spaces else None, mappings, reduction, facts)
