"""TF-IDF of n-grams of characters: cosines of any pairs, and the nearest titles of each text.

The frequencies are those of the titles, among which the text is looked for; an n-gram that no
title has counts as the rarest.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.progress import Progress, silent

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: N-grams within words, a blank at each end: letters an n-gram, buckets they are hashed into.
NGRAM: Final = (2, 4)
BUCKETS: Final = 1 << 18

#: Texts compared with all titles at once.
BLOCK: Final = 256
#: Titles that a text is compared with by its rarest n-grams: more are too common to tell.
POSTINGS: Final = 1 << 18
#: Pairs whose rows are held at once.
PAIRS: Final = 1 << 15
#: Digits of a cosine that are not rounding: equal texts in another order of words tie.
DIGITS: Final = 5


@dataclass(frozen=True)
class Ngrams:
    """Unit rows of texts and of titles.

    Attributes:
        texts: csr float32 [texts, BUCKETS].
        titles: csr float32 [titles, BUCKETS].
        seen: Titles that have each bucket, int64 [BUCKETS].
    """

    texts: "csr_matrix"
    titles: "csr_matrix"
    seen: NDArray[np.int64]

    @classmethod
    def of(cls, texts: list[str], titles: list[str]) -> "Ngrams":
        """Count and weigh the n-grams of both; at least one title."""
        counts, other = _counts(texts), _counts(titles)
        seen = np.bincount(other.indices, minlength=BUCKETS)
        idf = (np.log((1 + len(titles)) / (1 + seen)) + 1).astype(np.float32)
        return cls(_weighted(counts, idf), _weighted(other, idf), seen)

    def cosines(self, text: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosine of each pair of rows, float32 [pairs]."""
        result = np.empty(len(text), np.float32)
        for low in range(0, len(text), PAIRS):
            part = slice(low, low + PAIRS)
            both = self.texts[text[part]].multiply(self.titles[title[part]])
            result[part] = np.asarray(both.sum(axis=1)).ravel()
        return result


class Nearest(NamedTuple):
    """The nearest titles of each text, best first: entries ``ends[i]`` to ``ends[i + 1]``.

    Attributes:
        ends: int64 [texts + 1].
        title: int64 [entries].
        rank: int64 [entries], how many items have a title at least as near.
    """

    ends: NDArray[np.int64]
    title: NDArray[np.int64]
    rank: NDArray[np.int64]


def nearest_titles(
    space: Ngrams, items: NDArray[np.int64], most: int, progress: Progress = silent
) -> Nearest:
    """Titles by cosine until ``most`` items have one of them; titles that tie go together.

    Args:
        space: Texts and titles.
        items: Items of each title, positive, int64 [titles].
        most: Items of a text.
        progress: Called after each block of texts.
    """
    by_bucket = space.titles.T.tocsr()  # [BUCKETS, titles]
    n = space.texts.shape[0]
    titles, ranks, lengths = [], [], [0]
    for low in range(0, n, BLOCK):
        found = _rarest(space.texts[low : low + BLOCK], space.seen) @ by_bucket
        for row in range(found.shape[0]):
            own = slice(found.indptr[row], found.indptr[row + 1])
            title, rank = _best(found.indices[own], found.data[own], items, most)
            titles.append(title)
            ranks.append(rank)
            lengths.append(len(title))
        progress("link_pool: texts", min(low + BLOCK, n), n)
    empty = np.empty(0, np.int64)
    return Nearest(
        np.cumsum(lengths), np.concatenate([empty, *titles]), np.concatenate([empty, *ranks])
    )


def _best(
    title: NDArray[np.int32], cosine: NDArray[np.float32], items: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some titles and their ranks in items, ties shared; a title has an item at least."""
    cosine = cosine.round(DIGITS)
    if len(title) > most:
        kept = cosine >= np.partition(cosine, len(cosine) - most)[len(cosine) - most]
        title, cosine = title[kept], cosine[kept]
    order = np.lexsort((title, -cosine))
    ordered, cosine = title[order].astype(np.int64), cosine[order]
    last = np.searchsorted(-cosine, -cosine, side="right") - 1  # the last that ties
    rank = items[ordered].cumsum()[last]
    before = np.searchsorted(-cosine, -cosine, side="left")
    kept = np.concatenate([[0], items[ordered].cumsum()])[before] < most
    return ordered[kept], rank[kept]


def _rarest(texts: "csr_matrix", seen: NDArray[np.int64]) -> "csr_matrix":
    """Each text's rarest n-grams, which together are in ``POSTINGS`` titles at most; one always."""
    row = np.repeat(np.arange(texts.shape[0]), np.diff(texts.indptr))
    order = np.lexsort((texts.indices, seen[texts.indices], row))
    titles = seen[texts.indices[order]].cumsum()
    first = np.concatenate([[0], titles])[texts.indptr[:-1]]  # before each row
    own = titles - first[row[order]]
    begins = np.zeros(len(row), bool)
    begins[texts.indptr[:-1][np.diff(texts.indptr) > 0]] = True
    left_out = order[(own > POSTINGS) & ~begins]
    if not len(left_out):
        return texts
    kept = texts.copy()
    kept.data[left_out] = 0.0
    kept.eliminate_zeros()
    return kept


def _counts(texts: list[str]) -> "csr_matrix":
    """How often each bucket is hit, float32 [texts, BUCKETS]."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=NGRAM,
        n_features=BUCKETS,
        alternate_sign=False,
        norm=None,
        lowercase=False,  # they are folded already
        dtype=np.float32,
    )
    return hashing.transform(texts)


def _weighted(counts: "csr_matrix", idf: NDArray[np.float32]) -> "csr_matrix":
    """Rows of (1 + log tf) idf at norm 1."""
    from sklearn.preprocessing import normalize

    counts.data = (np.log(counts.data) + 1) * idf[counts.indices]
    return normalize(counts, copy=False) if counts.nnz else counts
