"""Texts of receipt items and titles of catalog items as blocking and as comparisons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itememb_core.items.vocabulary import UNKNOWN
from itememb_core.links.nodes import LinkNodes
from itememb_core.links.text.abbreviations import Words, as_letters, likeness
from itememb_core.links.text.ngrams import Nearest, Ngrams, nearest_titles
from itememb_core.links.text.words import Texts, skeleton, texts_on_nodes
from itememb_core.progress import Progress, silent
from itememb_core.services import RECEIPTS, RETAIL

#: Comparisons that :meth:`TextEvidence.compare` makes.
COMPARISONS: Final = (
    "text_cosine",
    "text_skeleton",
    "text_explained",
    "text_missed",
    "title_explained",
    "text_numbers",
)

#: What a letter of the text that the title does not explain takes from a pair's log-likelihood
#: ratio: the entropy of a letter whose neighbours are not known, 4.14 bits of English (Shannon,
#: "Prediction and entropy of printed English", 1951), in nats. It is what each explained letter
#: would add, less what is the same for all titles of a text.
LETTER: Final = 2.87

#: Items near by text that are looked at for each that is kept.
LOOKED_AT: Final = 5
#: Items that are looked at most of all: more only where they share users.
MOST: Final = 1000
#: Pairs of a text and a title whose words are compared at once.
PAIRS: Final = 1 << 15


class NearItems(NamedTuple):
    """Catalog items near by text, [pairs] each; ``query`` ascends from 0.

    ``rank`` is how many catalog items have a title at least as near: equal ones share theirs.
    """

    query: NDArray[np.int64]
    base: NDArray[np.int64]
    rank: NDArray[np.int64]


@dataclass(frozen=True)
class TextEvidence:
    """What is known of the two sides, of distinct texts and titles.

    Attributes:
        text: Of each receipt item, int64 [n]; -1: none.
        title: Of each catalog item, int64 [m]; -1: none.
        words: Words of texts and titles.
        whole: N-grams of words.
        bones: N-grams of words without their vowels.
        near: The nearest titles of each text.
        holders: Catalog items ordered by their title, and where each title's begin.
    """

    text: NDArray[np.int64]
    title: NDArray[np.int64]
    words: "PairWords"
    whole: Ngrams
    bones: Ngrams
    near: Nearest
    holders: tuple[NDArray[np.int64], NDArray[np.int64]]

    def near_items(self, rows: slice, shared: list[NDArray[np.int32]]) -> NearItems:
        """Catalog items with the nearest titles, of some receipt items.

        Args:
            rows: Some receipt items.
            shared: Catalog items that share a user with each; where more than ``MOST`` are near,
                the others of the farthest titles are left out.
        """
        order, begin = self.holders
        parts = [NearItems(*(np.empty(0, np.int64) for _ in range(3)))]
        for query, text in enumerate(self.text[rows]):
            if text == UNKNOWN:
                continue
            own = slice(self.near.ends[text], self.near.ends[text + 1])
            titles = self.near.title[own]
            length = begin[titles + 1] - begin[titles]
            place = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
            base = order[np.repeat(begin[titles], length) + place]
            rank = np.repeat(self.near.rank[own], length)
            if len(base) > MOST:
                kept = np.isin(base, shared[query])
                kept[:MOST] = True
                base, rank = base[kept], rank[kept]
            parts.append(NearItems(np.full(len(base), query), base, rank))
        return NearItems(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def compare(
        self, query: NDArray[np.int64], base: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """``COMPARISONS`` of pairs, float32 [pairs] each; NaN where a side has no text."""
        text, title = self.text[query], self.title[base]
        known = np.flatnonzero((text != UNKNOWN) & (title != UNKNOWN))
        key = text[known] * np.int64(max(len(self.words.title_begin), 1)) + title[known]
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        pair = text[known[first]], title[known[first]]  # of distinct texts and titles
        explained = self.words.explained(*pair)
        found = dict(
            zip(
                COMPARISONS,
                (self.whole.cosines(*pair), self.bones.cosines(*pair), *explained),
                strict=True,
            )
        )
        result = {name: np.full(len(query), np.nan, np.float32) for name in COMPARISONS}
        for name, values in found.items():
            result[name][known] = values[place]
        return result


class PairWords:
    """Words of distinct texts and titles, compared by pair."""

    def __init__(self, texts: list[list[str]], titles: list[list[str]]) -> None:
        """Number the words of both sides."""
        self.text_word, self.text_begin, self.short = _numbered(texts)
        self.title_word, self.title_begin, self.long = _numbered(titles)
        row = np.repeat(np.arange(len(titles)), np.diff(self.title_begin))
        size = len(self.long.length)
        seen = np.bincount(np.unique(row * size + self.title_word) % max(size, 1), minlength=size)
        self.idf = np.log((1 + len(titles)) / (1 + seen)) + 1

    def explained(self, text: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float32]:
        """How far words of one side are those of the other, float32 [4, pairs].

        The share of the text's letters in words that one of the title's fits, each by its likeness,
        and the number of the others; the share of the title's words, by inverse document frequency,
        that one of the text's fits; the share of the text's numbers that the title has, NaN where a
        side has no number.
        """
        result = np.empty((4, len(text)), np.float32)
        for low in range(0, len(text), PAIRS):
            part = slice(low, low + PAIRS)
            result[:, part] = self._explained(text[part], title[part])
        return result

    def _explained(self, text: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float32]:
        begin, other = self.text_begin[text], self.title_begin[title]
        own, width = self.text_begin[text + 1] - begin, self.title_begin[title + 1] - other
        cells, start = own * width, (own * width).cumsum() - own * width
        pair = np.repeat(np.arange(len(text)), cells)  # [cells], by pair, text word, title word
        place = np.arange(len(pair)) - start[pair]
        left, right = place // width[pair], place % width[pair]
        last = left == own[pair] - 1
        fits = self._likeness(
            self.text_word[begin[pair] + left], self.title_word[other[pair] + right], last
        )
        # The same cells by pair, title word, text word.
        turned = start[pair] + (place % own[pair]) * width[pair] + place // own[pair]
        words = _best_of(fits, np.repeat(width, own))
        titles = _best_of(fits[turned], np.repeat(own, width))
        word = self.text_word[_spread(begin, own)]
        size, number = self.short.length[word].astype(float), self.short.number[word]
        idf = self.idf[self.title_word[_spread(other, width)]]
        numbers = _shares(words, number.astype(float), own)
        lacks = _sums(self.long.number[self.title_word[_spread(other, width)]], width) == 0
        numbers[lacks] = np.nan
        letters = _shares(words, size, own)
        missed = (1.0 - letters) * _sums(size, own)
        return np.stack([letters, missed, _shares(titles, idf, width), numbers])

    def _likeness(
        self, left: NDArray[np.int64], right: NDArray[np.int64], last: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Likeness of words, each two compared once."""
        size = np.int64(max(len(self.long.length), 1))
        keys, place = np.unique((left * size + right) * 2 + last, return_inverse=True)
        both = keys // 2
        found = likeness(self.short, self.long, both // size, both % size, keys % 2 == 1)
        return found[place]


def text_evidence(
    texts: pa.Table | None,
    catalog: pa.Table,
    vocabulary: pa.Table,
    nodes: LinkNodes,
    kept: int,
    progress: Progress = silent,
) -> TextEvidence | None:
    """Bring texts to the two sides; None where a side has none.

    Args:
        texts: ``item_id``, ``title`` of receipt lines up to the cut, if they have any.
        catalog: ``schemas.CATALOG``; ``item_id`` and ``title`` are read.
        vocabulary: ``schemas.VOCABULARY``.
        nodes: The two sides.
        kept: Candidates of an item that will be kept by text; 0: texts are compared only.
        progress: Called after each block of texts.
    """
    if texts is None:
        return None
    left = texts_on_nodes(texts, RECEIPTS, vocabulary, nodes.receipts)
    right = texts_on_nodes(catalog, RETAIL, vocabulary, nodes.catalog)
    if not left.words or not right.words:
        return None
    whole, bones = (Ngrams.of(_joined(left, how), _joined(right, how)) for how in (str, skeleton))
    items = np.bincount(right.code[right.code != UNKNOWN], minlength=len(right.words))
    near = Nearest(np.zeros(len(left.words) + 1, np.int64), *(np.empty(0, np.int64),) * 2)
    if kept:
        near = nearest_titles(bones, items, LOOKED_AT * kept, progress)
    order = np.flatnonzero(right.code != UNKNOWN)
    order = order[np.argsort(right.code[order], kind="stable")]
    begin = np.concatenate([[0], items.cumsum()])
    words = PairWords(left.words, right.words)
    return TextEvidence(left.code, right.code, words, whole, bones, near, (order, begin))


def _joined(texts: Texts, how: Callable[[str], str]) -> list[str]:
    return [" ".join(map(how, words)) for words in texts.words]


def _numbered(texts: list[list[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64], Words]:
    """Number of each word of all texts, where each text's begin, and the distinct words."""
    numbers: dict[str, int] = {}
    coded = [numbers.setdefault(word, len(numbers)) for words in texts for word in words]
    begin = np.concatenate([[0], np.cumsum([len(words) for words in texts])]).astype(np.int64)
    return np.array(coded, np.int64), begin, as_letters(list(numbers))


def _spread(begin: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places ``begin`` to ``begin + length`` of each, one after the other."""
    return np.arange(length.sum()) + np.repeat(begin - (length.cumsum() - length), length)


def _best_of(values: NDArray[np.float32], length: NDArray[np.int64]) -> NDArray[np.float32]:
    """The best of each run of values; each has a length of at least 1."""
    if not len(length):
        return np.empty(0, np.float32)
    return np.maximum.reduceat(values, length.cumsum() - length)


def _sums(values: NDArray, length: NDArray[np.int64]) -> NDArray[np.float64]:
    if not len(length):
        return np.empty(0)
    return np.add.reduceat(values.astype(np.float64), length.cumsum() - length)


def _shares(
    values: NDArray[np.float32], weight: NDArray[np.float64], length: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Weighted mean of each run of values; NaN where nothing weighs."""
    total = _sums(weight, length)
    with np.errstate(invalid="ignore"):
        return (_sums(values * weight, length) / total).astype(np.float32)
