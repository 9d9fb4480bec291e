"""Whether one word may be what a till prints of another: edit distance in which vowels are free.

A short form keeps the first letter of its word and the order of the letters (Schwartz & Hearst,
"A simple algorithm for identifying abbreviation definitions in biomedical text", PSB 2003). So a
vowel of the long form that is missing costs nothing, a consonant one, a letter too many or another
letter one; at the end of a text, which may be cut, the rest of the long form costs nothing either.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itememb_core.links.text.words import LETTERS, VOWELS, skeleton

#: Pairs of words compared at once.
PAIRS: Final = 1 << 16
#: Likenesses below this are chance: more letters are wrong than right.
LEAST: Final = 0.5


class Words(NamedTuple):
    """Distinct words as letters.

    Attributes:
        letters: Code points, int32 [words, LETTERS]; 0 pads.
        length: int64 [words], at least 1.
        consonants: Letters of the skeleton, int64 [words].
        spared: Whether a letter may be left out for nothing, bool [words, LETTERS].
        number: Whether it is a number, bool [words].
    """

    letters: NDArray[np.int32]
    length: NDArray[np.int64]
    consonants: NDArray[np.int64]
    spared: NDArray[np.bool_]
    number: NDArray[np.bool_]


def as_letters(words: list[str]) -> Words:
    """Words of at most ``LETTERS`` letters each."""
    letters = np.zeros((len(words), LETTERS), np.int32)
    for row, word in enumerate(words):
        letters[row, : len(word)] = np.frombuffer(word.encode("utf-32-le"), np.int32)
    spared = np.isin(letters, [ord(letter) for letter in VOWELS])
    spared[:, 0] = False
    return Words(
        letters,
        (letters != 0).sum(axis=1),
        np.array([len(skeleton(word)) for word in words], np.int64),
        spared,
        np.array([word[0].isdigit() for word in words], bool),
    )


def likeness(
    short: Words,
    long: Words,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    cut: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """How well each short form fits each long form, from 0 to 1, float32 [pairs].

    1 - cost / (the letters of the short form, or the consonants of the long one if more), and 0
    where that is below ``LEAST`` or the first letters differ. Numbers fit where they are equal, or
    the beginning of one at a cut.

    Args:
        short: Words of texts.
        long: Words of titles.
        left: Rows of ``short``, [pairs].
        right: Rows of ``long``, [pairs].
        cut: Whether the short form is the last of its text, bool [pairs].
    """
    result = np.zeros(len(left), np.float32)
    first = short.letters[left, 0] == long.letters[right, 0]
    rows = np.flatnonzero(first & (short.number[left] == long.number[right]))
    for low in range(0, len(rows), PAIRS):
        part = rows[low : low + PAIRS]
        one, other, end = left[part], right[part], cut[part]
        cost = _costs(short, long, one, other, end)
        size = np.maximum(short.length[one], np.where(end, 0, long.consonants[other]))
        fits = (1.0 - cost / size).astype(np.float32)
        fits[(fits < LEAST) | (short.number[one] & (fits < 1.0))] = 0.0
        result[part] = fits
    return result


def _costs(
    short: Words,
    long: Words,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    cut: NDArray[np.bool_],
) -> NDArray[np.int16]:
    """Least cost of making each short form from its long form, int16 [pairs]."""
    own, other = short.letters[left].T, long.letters[right].T  # [letters, pairs]
    length, width = short.length[left], long.length[right]
    leave = (~long.spared[right]).T.astype(np.int16)
    # Behind the end of the long form nothing is left out: the last column is carried on.
    leave[np.arange(LETTERS)[:, None] >= width] = 0
    most = int(width.max(initial=0))
    costs = np.zeros((most + 1, len(left)), np.int16)
    costs[1:] = leave[:most].cumsum(axis=0)
    result = np.zeros(len(left), np.int16)
    for row in range(int(length.max(initial=0))):
        above = costs.copy()
        costs[0] = row + 1
        for column in range(most):
            step = above[column] + (own[row] != other[column])
            np.minimum(step, above[column + 1] + 1, out=step)
            np.minimum(step, costs[column] + leave[column], out=costs[column + 1])
        done = length == row + 1
        if done.any():
            whole = costs[width[done], np.flatnonzero(done)]
            result[done] = np.where(cut[done], costs[:, done].min(axis=0), whole)
    return result
