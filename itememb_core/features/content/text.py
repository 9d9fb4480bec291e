"""The text block: titles by hashed n-grams of characters, joined with vectors of text.

N-grams are of words with a blank at each end (``char_wb``): they mark where a word begins and ends,
and do not depend on the order of words, which differs between shops. In scripts without blanks a
whole title is one word, so nothing is lost there.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.errors import ItemembError
from itememb_core.features.content.sentences import SentenceEncoder
from itememb_core.features.inputs import (
    blocks,
    column,
    parts_of,
    sample,
    spelled_codes,
    vectors_by_width,
)
from itememb_core.features.reduction import Reduction, directed, fit_pca, fit_svd, unit
from itememb_core.progress import Progress, silent
from itememb_core.settings import ContentFeaturesSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Rows whose n-grams are held at once.
TEXT_BLOCK: Final = 8_192


class TextFacts(TypedDict):
    """What a fit saw.

    ``titles``, ``cut``: rows with a title, and with one that was too long. ``vectors``: rows with a
    usable ``text_embedding`` of the common ``width`` (None: of no row); ``other_width``, ``bad``:
    rows with one of another, or not finite or of norm zero. ``encoder``: hash of the sentence
    encoder's weights. ``title_variance``: share that the n-grams' SVD explains;
    ``explained_variance``: that of the block, the same where nothing is joined.
    """

    titles: int
    cut: int
    vectors: int
    width: int | None
    other_width: int
    bad: int
    encoder: str | None
    encoder_width: int
    fitted: int
    buckets: int
    title_variance: float
    explained_variance: float


@dataclass(frozen=True)
class TitleEncoder:
    """TF-IDF of hashed n-grams, reduced.

    Attributes:
        buckets: Those that the fit saw, int64, ascending.
        idf: Their inverse document frequency, float32.
        reduction: Of them to the block's width.
    """

    buckets: NDArray[np.int64]
    idf: NDArray[np.float32]
    reduction: Reduction

    def transform(
        self, titles: list[str], settings: ContentFeaturesSettings
    ) -> NDArray[np.float32]:
        """Unit vectors float32 [titles, dim]; zero where no n-gram is known."""
        return unit(self.reduction.apply(self._weighted(_counts(titles, settings))))

    @classmethod
    def fit(
        cls, titles: list[str], settings: ContentFeaturesSettings, seed: int, progress: Progress
    ) -> "TitleEncoder":
        """Find document frequencies and the SVD."""
        from scipy.sparse import csr_matrix, vstack

        parts = [csr_matrix((0, settings.title_buckets), dtype=np.float32)]
        for first in range(0, len(titles), TEXT_BLOCK):
            parts.append(_counts(titles[first : first + TEXT_BLOCK], settings))
            done = min(first + TEXT_BLOCK, len(titles))
            progress("content_features: n-grams", done, len(titles))
        counts = vstack(parts, format="csr")
        seen = np.bincount(counts.indices, minlength=settings.title_buckets)
        buckets = np.flatnonzero(seen)
        idf = (np.log((1 + len(titles)) / (1 + seen[buckets])) + 1).astype(np.float32)
        bare = cls(buckets, idf, Reduction(np.empty((0, 0), np.float32), None, 1.0))
        progress("content_features: SVD", 0, 1)
        reduction = fit_svd(bare._weighted(counts), settings.text_dim, seed)
        progress("content_features: SVD", 1, 1)
        return cls(buckets, idf, reduction)

    def _weighted(self, counts: "csr_matrix") -> "csr_matrix":
        """Rows of (1 + log tf) idf at norm 1, of the buckets that the fit saw."""
        from sklearn.preprocessing import normalize

        own = counts[:, self.buckets]
        own.data = (np.log(own.data) + 1) * self.idf[own.indices]
        return normalize(own, copy=False) if own.nnz else own


def _counts(titles: list[str], settings: ContentFeaturesSettings) -> "csr_matrix":
    """How often each bucket is hit, float32 [titles, buckets]."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(settings.ngram_min, settings.ngram_max),
        n_features=settings.title_buckets,
        alternate_sign=False,
        norm=None,
        lowercase=False,  # they are spelled already
        dtype=np.float32,
    )
    return hashing.transform(titles)


def cut_titles(block: pa.Table, settings: ContentFeaturesSettings) -> tuple[pa.Array, int]:
    """Titles up to ``title_chars``, strings with nulls, and how many were longer."""
    titles = pc.utf8_trim_whitespace(column(block, "title").cast(pa.string()))
    longer = pc.sum(pc.greater(pc.utf8_length(titles), settings.title_chars)).as_py() or 0
    return pc.utf8_slice_codeunits(titles, 0, settings.title_chars), longer


def _spelled(titles: pa.Array, settings: ContentFeaturesSettings) -> list[str]:
    """Titles in one spelling; empty where there is none. NFKC can make one letter eighteen."""
    words, codes = spelled_codes(titles)
    cut = [word[: settings.title_chars] for word in words.to_pylist()]
    return [cut[code] if code >= 0 else "" for code in codes]


@dataclass(frozen=True)
class TextEncoder:
    """Titles, ``text_embedding`` and a sentence encoder, each at norm 1, reduced together.

    Attributes:
        titles: The n-grams' part.
        means: Mean of each joined part's columns over the rows that have the part, float32.
        joint: Of the joined parts, less their means; None where titles are the only part.
        settings: Those of the fit.
        facts: Counts and explained variances.
    """

    titles: TitleEncoder
    means: NDArray[np.float32]
    joint: Reduction | None
    settings: ContentFeaturesSettings
    facts: TextFacts

    def transform(
        self, rows: pa.Table, progress: Progress = silent
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit vectors float32 [rows, dim], zero where absent, and which are there, bool [rows].

        Raises:
            ItemembError: The sentence encoder's folder is not what it was in the fit.
        """
        sentences = self._sentences()
        made = np.zeros((rows.num_rows, self.settings.text_dim), np.float32)
        for first, block in blocks(rows, TEXT_BLOCK):
            joined = _joined(block, self.titles, self.facts["width"], sentences, self.settings)
            end = first + len(block)
            made[first:end] = (
                joined.vectors
                if self.joint is None
                else unit(self.joint.apply(joined.centred(self.means)))
            )
            progress("content_features: texts", end, rows.num_rows)
        return made, directed(made)

    def _sentences(self) -> SentenceEncoder | None:
        """The sentence encoder of the fit, if it had one."""
        sentences = _opened(self.settings)
        found = sentences.fingerprint if sentences is not None else None
        if found != self.facts["encoder"]:
            raise ItemembError(
                f"text_model: {self.settings.text_model} has weights {found}, "
                f"expected {self.facts['encoder']}, those of the fit"
            )
        return sentences


@dataclass(frozen=True)
class _Joined:
    """Parts side by side, float32 [rows, widths], and where each is there."""

    vectors: NDArray[np.float32]
    widths: list[int]

    def present(self) -> list[tuple[slice, NDArray[np.bool_]]]:
        """Columns of each part, and the rows that have it."""
        ends = np.cumsum([0, *self.widths])
        parts = [slice(*each) for each in pairwise(ends)]
        return [(part, directed(self.vectors[:, part])) for part in parts]

    def centred(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """Each part less its mean; where a part is absent it stays zero, which is the mean."""
        made = self.vectors.copy()
        for part, has in self.present():
            made[has, part] -= means[part]
        return made


def _joined(
    block: pa.Table,
    encoder: TitleEncoder,
    width: int | None,
    sentences: SentenceEncoder | None,
    settings: ContentFeaturesSettings,
) -> _Joined:
    """The parts of a block's rows: n-grams, then given vectors, then sentences."""
    titles, _ = cut_titles(block, settings)
    parts = [encoder.transform(_spelled(titles, settings), settings)]
    if width is not None:
        given = np.zeros((len(block), width), np.float32)
        for each in vectors_by_width(column(block, "text_embedding")):
            if each.width == width:
                given[each.rows] = each.unit
        parts.append(given)
    if sentences is not None:
        texts = titles.to_pylist()
        told = [row for row, text in enumerate(texts) if text and not text.isspace()]
        # Variants often share a title, and this is the slow part.
        distinct = {text: n for n, text in enumerate(dict.fromkeys(texts[row] for row in told))}
        vectors = sentences.encode(list(distinct))
        encoded = np.zeros((len(block), sentences.width), np.float32)
        encoded[told] = vectors[[distinct[texts[row]] for row in told]]
        parts.append(encoded)
    return _Joined(np.concatenate(parts, axis=1), [part.shape[1] for part in parts])


def _opened(settings: ContentFeaturesSettings) -> SentenceEncoder | None:
    if settings.text_model is None:
        return None
    return SentenceEncoder(Path(settings.text_model), settings.text_batch)


def fit_text(
    rows: pa.Table, settings: ContentFeaturesSettings, seed: int, progress: Progress = silent
) -> TextEncoder:
    """Fit the n-grams, and join what else there is, as ``fit_content`` says."""
    sentences = _opened(settings)
    rows = rows.drop_columns(
        [name for name in rows.column_names if name not in {"item_id", "title", "text_embedding"}]
    )
    has, facts = _survey(rows, settings, progress)
    seen = sample(np.flatnonzero(has), settings.fit_rows, seed)
    parts = [part for _, part in parts_of(rows, seen, TEXT_BLOCK)]
    spelt = [_spelled(cut_titles(part, settings)[0], settings) for part in parts]
    titles = TitleEncoder.fit(
        [word for own in spelt for word in own if word], settings, seed, progress
    )
    facts["fitted"], facts["buckets"] = len(seen), len(titles.buckets)
    facts["title_variance"] = facts["explained_variance"] = titles.reduction.explained
    if sentences is not None:
        facts["encoder"], facts["encoder_width"] = sentences.fingerprint, sentences.width
    if facts["width"] is None and sentences is None:
        return TextEncoder(titles, np.zeros(0, np.float32), None, settings, facts)
    widths = [settings.text_dim, facts["width"] or 0, facts["encoder_width"]]
    vectors = np.zeros((len(seen), sum(widths)), np.float32)
    done = 0
    for part in parts:
        own = _joined(part, titles, facts["width"], sentences, settings)
        vectors[done : done + len(part)] = own.vectors
        done += len(part)
        progress("content_features: joined texts", done, len(seen))
    joined = _Joined(vectors, [width for width in widths if width])
    means = _means(joined)
    joint = fit_pca(joined.centred(means), settings.text_dim, seed)
    facts["explained_variance"] = joint.explained
    return TextEncoder(titles, means, joint, settings, facts)


def _means(joined: _Joined) -> NDArray[np.float32]:
    """Mean of each part over the rows that have it; zero where none has."""
    made = np.zeros(joined.vectors.shape[1], np.float32)
    for part, has in joined.present():
        if has.any():
            made[part] = joined.vectors[has, part].mean(axis=0, dtype=np.float64)
    return made


def _survey(
    rows: pa.Table, settings: ContentFeaturesSettings, progress: Progress
) -> tuple[NDArray[np.bool_], TextFacts]:
    """Which rows have a title or a vector that counts, and the facts so far."""
    titled, given = np.zeros(rows.num_rows, bool), np.zeros(rows.num_rows, np.int64)
    cut = bad = 0
    for first, block in blocks(rows, TEXT_BLOCK):
        titles, longer = cut_titles(block, settings)
        cut += longer
        titled[first : first + len(block)] = spelled_codes(titles)[1] >= 0
        for each in vectors_by_width(column(block, "text_embedding")):
            given[first + each.rows] = each.width
            bad += each.bad
        progress("content_features: rows", first + len(block), rows.num_rows)
    widths, counts = np.unique(given[given > 0], return_counts=True)
    width = int(widths[len(counts) - 1 - np.argmax(counts[::-1])]) if len(widths) else None
    own = given == width
    facts = TextFacts(
        titles=int(titled.sum()),
        cut=cut,
        vectors=int(own.sum()),
        width=width,
        other_width=int(((given > 0) & ~own).sum()),
        bad=bad,
        encoder=None,
        encoder_width=0,
        fitted=0,
        buckets=0,
        title_variance=1.0,
        explained_variance=1.0,
    )
    return titled | own, facts
