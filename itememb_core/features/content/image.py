"""The image block: vectors of pictures in one space, by principal components.

Vectors share a space if they are of one column and one width. The most common space is the block's;
another is mapped onto it where enough pairs of the two are known, else its items are absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.features.inputs import BLOCK, blocks, column, parts_of, sample, vectors_by_width
from itememb_core.features.reduction import Reduction, directed, fit_pca, unit
from itememb_core.progress import Progress, silent
from itememb_core.settings import ContentFeaturesSettings

#: Columns of vectors of pictures; an item's first is taken.
IMAGE_COLUMNS: Final = ("image_embedding", "embedding")


class Space(NamedTuple):
    """Vectors that can be compared: those of one column and width."""

    column: str
    width: int


@dataclass(frozen=True)
class Mapping:
    """A ridge regression from another space onto the block's: weight [width, own width], bias."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class SpaceFacts(TypedDict):
    """A space in the rows fitted on: usable vectors; pairs with the block's; whether it is mapped.

    Of the block's own space ``pairs`` is 0 and ``mapped`` false.
    """

    column: str
    width: int
    rows: int
    pairs: int
    mapped: bool


class ImageFacts(TypedDict):
    """What a fit saw: the block's space first, ``bad`` vectors not finite or of norm zero.

    ``other_width``: rows whose only vectors are of a space that is not mapped. ``fitted``: vectors,
    averaged over variants, that the components are of.
    """

    spaces: list[SpaceFacts]
    bad: int
    other_width: int
    fitted: int
    explained_variance: float


@dataclass(frozen=True)
class ImageEncoder:
    """The block's space, maps onto it, and components.

    Attributes:
        space: The block's; None where no row had a vector.
        mappings: Of other spaces.
        reduction: Of the space to the block's width.
        facts: Counts and the explained variance.
    """

    space: Space | None
    mappings: dict[Space, Mapping]
    reduction: Reduction
    facts: ImageFacts

    def transform(
        self, rows: pa.Table, progress: Progress = silent
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit vectors float32 [rows, dim], zero where absent, and which are there, bool [rows].

        Rows of one side and ``group_id`` all have the mean of the group's vectors, which is the
        same before and after a linear map; so a variant without a vector has that of the others.
        """
        made = np.zeros((rows.num_rows, self.reduction.components.shape[1]), np.float32)
        has = np.zeros(rows.num_rows, bool)
        if self.space is None:
            return made, has
        for first, block in blocks(rows):
            own = slice(first, first + len(block))
            self._project(block, made[own], has[own])
            progress("content_features: images", min(first + BLOCK, len(rows)), len(rows))
        _share_in_groups(groups_of(rows), made, has)
        for first in range(0, len(made), BLOCK):
            own = slice(first, first + BLOCK)
            made[own] = unit(made[own])
            has[own] &= directed(made[own])
        return made, has

    def _project(self, block: pa.Table, made: NDArray[np.float32], has: NDArray[np.bool_]) -> None:
        """Fill in the rows of a block; vectors of the block's own space go first."""
        found = {
            Space(name, each.width): each
            for name in IMAGE_COLUMNS
            for each in vectors_by_width(column(block, name))
        }
        for space in (self.space, *self.mappings):
            if space is None or space not in found:
                continue
            free = ~has[found[space].rows]
            rows, vectors = found[space].rows[free], found[space].unit[free]
            if space in self.mappings:
                mapping = self.mappings[space]
                vectors = unit(vectors @ mapping.weight + mapping.bias)
                left = directed(vectors)
                rows, vectors = rows[left], vectors[left]
            made[rows] = self.reduction.apply(vectors)
            has[rows] = True


def groups_of(rows: pa.Table) -> NDArray[np.int64]:
    """Number of each row's group of variants (side and ``group_id``), int64 [rows]; -1: none."""
    groups = column(rows, "group_id")
    if pa.types.is_null(groups.type):
        return np.full(rows.num_rows, -1)
    codes = _codes(groups.cast(pa.string()))
    sides = _codes(column(rows, "side").cast(pa.string()))
    return np.where(codes >= 0, codes * (sides.max(initial=0) + 2) + sides + 1, -1)


def _codes(words: pa.Array) -> NDArray[np.int64]:
    """A number for each distinct word; -1 for null and the empty word."""
    known = pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)
    codes = pc.fill_null(known.dictionary_encode().indices, -1)
    return codes.to_numpy(zero_copy_only=False).astype(np.int64)


def _add_rows(
    sums: NDArray[np.float32], to: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Add each vector to the row of ``sums`` that ``to`` names, which may be named often."""
    from scipy.sparse import csr_matrix

    own, inverse = np.unique(to, return_inverse=True)
    ones = np.ones(len(to), np.float32)
    adder = csr_matrix((ones, (inverse, np.arange(len(to)))), shape=(len(own), len(to)))
    sums[own] += adder @ vectors


def _share_in_groups(
    groups: NDArray[np.int64], made: NDArray[np.float32], has: NDArray[np.bool_]
) -> None:
    """Give all rows of a group the mean of those that have a vector."""
    rows = np.flatnonzero(groups >= 0)
    if not len(rows):
        return
    distinct, group = np.unique(groups[rows], return_inverse=True)
    counts = np.bincount(group, weights=has[rows], minlength=len(distinct))
    means = np.zeros((len(distinct), made.shape[1]), np.float32)
    for first in range(0, len(rows), BLOCK):
        own = slice(first, first + BLOCK)
        _add_rows(means, group[own], made[rows[own]])  # absent rows are zero
    means /= np.maximum(counts, 1)[:, None].astype(np.float32)
    for first in range(0, len(rows), BLOCK):
        own = slice(first, first + BLOCK)
        made[rows[own]] = means[group[own]]
        has[rows[own]] = counts[group[own]] > 0


def fit_image(
    rows: pa.Table,
    links: pa.Table | None,
    settings: ContentFeaturesSettings,
    seed: int,
    progress: Progress = silent,
) -> ImageEncoder:
    """Choose the space, map others onto it and find the components, as ``fit_content`` says."""
    found, bad = _survey(rows, progress)
    spaces = _by_rows(found)
    if not spaces:
        nothing = fit_pca(np.zeros((0, 0), np.float32), settings.image_dim, seed)
        facts = ImageFacts(spaces=[], bad=bad, other_width=0, fitted=0, explained_variance=1.0)
        return ImageEncoder(None, {}, nothing, facts)
    first = spaces[0]
    mappings, others = _mappings(rows, links, found, spaces, settings, seed)
    own = SpaceFacts(
        column=first.column, width=first.width, rows=len(found[first]), pairs=0, mapped=False
    )
    means = _variant_means(rows, first, found[first], settings.fit_rows, seed)
    reduction = fit_pca(means, settings.image_dim, seed)
    able = np.unique(np.concatenate([found[space] for space in (first, *mappings)]))
    every = np.unique(np.concatenate(list(found.values())))
    facts = ImageFacts(
        spaces=[own, *others],
        bad=bad,
        other_width=len(every) - len(able),
        fitted=len(means),
        explained_variance=reduction.explained,
    )
    return ImageEncoder(first, mappings, reduction, facts)


def _mappings(
    rows: pa.Table,
    links: pa.Table | None,
    found: dict[Space, NDArray[np.int64]],
    spaces: list[Space],
    settings: ContentFeaturesSettings,
    seed: int,
) -> tuple[dict[Space, Mapping], list[SpaceFacts]]:
    """Maps onto the first space of those with a pair for each of their columns, and all facts."""
    made: dict[Space, Mapping] = {}
    facts = []
    for space in spaces[1:]:
        pairs = _pairs(rows, links, found[space], found[spaces[0]])
        if len(pairs) >= space.width:
            seen = pairs[sample(np.arange(len(pairs)), settings.fit_rows, seed)]
            made[space] = _fit_mapping(rows, (space, spaces[0]), seen, settings.ridge)
        facts.append(
            SpaceFacts(
                column=space.column,
                width=space.width,
                rows=len(found[space]),
                pairs=len(pairs),
                mapped=space in made,
            )
        )
    return made, facts


def _survey(rows: pa.Table, progress: Progress) -> tuple[dict[Space, NDArray[np.int64]], int]:
    """Rows with a usable vector of each space, ascending, and how many vectors are not usable."""
    found: dict[Space, list[NDArray[np.int64]]] = {}
    bad = 0
    for first, block in blocks(rows):
        for name in IMAGE_COLUMNS:
            for each in vectors_by_width(column(block, name)):
                found.setdefault(Space(name, each.width), []).append(first + each.rows)
                bad += each.bad
        progress("content_features: image spaces", min(first + BLOCK, len(rows)), len(rows))
    whole = {space: np.concatenate(parts) for space, parts in found.items()}
    return {space: own for space, own in whole.items() if len(own)}, bad


def _by_rows(found: dict[Space, NDArray[np.int64]]) -> list[Space]:
    """Spaces by how many rows have them as their first vector, the most common first."""
    taken = np.empty(0, np.int64)
    counts: dict[Space, int] = {}
    for name in IMAGE_COLUMNS:
        own = [space for space in found if space.column == name]
        for space in own:
            counts[space] = len(np.setdiff1d(found[space], taken, assume_unique=True))
        taken = np.union1d(taken, np.concatenate([taken, *(found[space] for space in own)]))
    order = {name: number for number, name in enumerate(IMAGE_COLUMNS)}
    return sorted(counts, key=lambda each: (-counts[each], order[each.column], -each.width))


def _pairs(
    rows: pa.Table, links: pa.Table | None, of: NDArray[np.int64], onto: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows of one space and of another that show one thing, int64 [pairs, 2].

    They are linked items, either way round, and items that have both vectors.
    """
    both = np.intersect1d(of, onto, assume_unique=True)
    found = [np.stack([both, both], axis=1)]
    if links is not None and links.num_rows:
        ids = column(rows, "item_id")
        own, other = ids.take(pa.array(of)), ids.take(pa.array(onto))
        for left, right in (("item_a", "item_b"), ("item_b", "item_a")):
            a, b = (
                pc.fill_null(pc.index_in(links[name], value_set=among), -1).to_numpy()
                for name, among in ((left, own), (right, other))
            )
            known = (a >= 0) & (b >= 0)
            found.append(np.stack([of[a[known]], onto[b[known]]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _fit_mapping(
    rows: pa.Table, spaces: Sequence[Space], pairs: NDArray[np.int64], ridge: float
) -> Mapping:
    """Ridge regression with an intercept; the penalty is a share of the inputs' mean variance."""
    of, onto = (
        _gathered(rows, space, pairs[:, number]).astype(np.float64)
        for number, space in enumerate(spaces)
    )
    at, to = of.mean(axis=0), onto.mean(axis=0)
    of -= at
    gram = of.T @ of
    gram[np.diag_indices_from(gram)] += max(ridge * np.trace(gram) / len(gram), 1e-9)
    weight = np.linalg.solve(gram, of.T @ (onto - to))
    return Mapping(weight.astype(np.float32), (to - at @ weight).astype(np.float32))


def _gathered(rows: pa.Table, space: Space, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
    """The unit vectors of rows that have one in a space, in the order wanted."""
    distinct, inverse = np.unique(wanted, return_inverse=True)
    made = np.empty((len(distinct), space.width), np.float32)
    done = 0
    for end, part in parts_of(rows.select([space.column]), distinct):
        (own,) = vectors_by_width(column(part, space.column))
        made[done:end] = own.unit
        done = end
    return made[inverse]


def _variant_means(
    rows: pa.Table, space: Space, own: NDArray[np.int64], size: int, seed: int
) -> NDArray[np.float32]:
    """Vectors of one space averaged over variants: at most ``size``, float32 [units, width]."""
    groups = groups_of(rows)[own]
    single = groups < 0
    units = np.where(single, groups.max(initial=0) + 1 + np.arange(len(own)), groups)
    drawn = sample(np.unique(units), size, seed)
    seen = np.isin(units, drawn)
    number = np.searchsorted(drawn, units[seen])
    means = np.zeros((len(drawn), space.width), np.float32)
    done = 0
    for end, part in parts_of(rows.select([space.column]), own[seen]):
        (vectors,) = vectors_by_width(column(part, space.column))
        _add_rows(means, number[done:end], vectors.unit)
        done = end
    means /= np.bincount(number, minlength=len(drawn))[:, None].astype(np.float32)
    return means
