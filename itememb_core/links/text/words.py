"""Texts as words that tills and catalogs share: one spelling, no accents, numbers apart.

A till prints few letters: it leaves out vowels and accents, cuts words and the whole line, and
hardly ever changes the order of what is left. So a word is compared by what survives of it.
"""

import re
import unicodedata
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from itememb_core.features.inputs import spelled
from itememb_core.items.vocabulary import UNKNOWN, node_index

#: What is compared of a text at most: characters, words, letters of a word.
CHARS: Final = 256
WORDS: Final = 24
LETTERS: Final = 24

#: Letters that an abbreviation leaves out first, of Latin, Cyrillic and Greek without accents;
#: what other scripts write are consonants or syllables, none of which can be spared.
VOWELS: Final = frozenset("aeiouyаеиоуыэюяієαεηιουω")

_WORD: Final = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")


def words_of(text: str) -> list[str]:
    """Words and numbers of a text, case folded, without accents; none where it has no letter.

    ``Crème 1,5L`` is ``creme``, ``1.5``, ``l``.
    """
    parted = unicodedata.normalize("NFD", spelled(text[:CHARS])[:CHARS])
    plain = "".join(letter for letter in parted if not unicodedata.category(letter).startswith("M"))
    found = _WORD.findall(unicodedata.normalize("NFC", plain))[:WORDS]
    return [word[:LETTERS].replace(",", ".") for word in found]


def skeleton(word: str) -> str:
    """The first letter of a word and its consonants; numbers as they are: ``mlk`` of ``milk``."""
    return word[0] + "".join(letter for letter in word[1:] if letter not in VOWELS)


class Texts(NamedTuple):
    """The distinct texts of some items.

    Attributes:
        words: Of each distinct text, at least one each.
        code: Its number for each item, int64 [items]; -1: none, or no word in it.
    """

    words: list[list[str]]
    code: NDArray[np.int64]


def texts_on_nodes(
    table: pa.Table, channel: str, vocabulary: pa.Table, nodes: NDArray[np.int64]
) -> Texts:
    """Texts of nodes as a channel knows them.

    Args:
        table: ``item_id``, ``title``, one row an item; without the second no item has text.
        channel: Whose node of an id is meant, where it has two.
        vocabulary: ``schemas.VOCABULARY``.
        nodes: Rows of it, [items].
    """
    of_node = np.full(vocabulary.num_rows, UNKNOWN, np.int64)
    words: list[list[str]] = []
    if "title" in table.column_names:
        known = table.filter(pc.is_valid(table["title"]))
        node = node_index(vocabulary, known["item_id"], channel)
        words, code = _distinct(known["title"].filter(pa.array(node != UNKNOWN)))
        of_node[node[node != UNKNOWN]] = code
    code = of_node[nodes]
    used, code[code != UNKNOWN] = np.unique(code[code != UNKNOWN], return_inverse=True)
    return Texts([words[number] for number in used], code)


def _distinct(titles: pa.ChunkedArray) -> Texts:
    cut = pc.utf8_slice_codeunits(titles.cast(pa.large_string()), 0, CHARS)
    coded = cut.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    numbers: dict[tuple[str, ...], int] = {}
    own = np.full(len(coded.dictionary), UNKNOWN, np.int64)
    for place, text in enumerate(coded.dictionary.to_pylist()):
        words = tuple(words_of(text))
        if words:
            own[place] = numbers.setdefault(words, len(numbers))
    return Texts([list(words) for words in numbers], own[coded.indices.to_numpy()])
