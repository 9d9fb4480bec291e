"""What tills print of a product, and the brands that are invented for it.

The real data name no brand and no receipt text. A text is made of the product's type, package size
and an invented brand of its manufacturer, and of nothing else: products that share the three share
the text, as on real receipts.
"""

import hashlib
from typing import Final

import numpy as np
import pyarrow as pa

from itememb_core.demo.settings import DemoSettings
from itememb_core.demo.source import Source

#: How a till shortens: chances of a vowel inside a word, of a word, of a slip in a word; letters.
VOWEL_LOST, WORD_LOST, TYPO, LETTERS = 0.5, 0.1, 0.05, 18

_ONSETS: Final = ("b", "br", "d", "f", "g", "gr", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v")
_VOWELS: Final = "aeiou"
_CODAS: Final = ("", "l", "m", "n", "r", "s", "x")
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Invented brands: so few that half of the texts are those of several products (of Complete
#: Journey's: 0.51, and 0.86 of the products share theirs).
_BRANDS: Final = 12


def _rng(settings: DemoSettings, *words: str) -> np.random.Generator:
    """A stream of the seed for some words: equal words give equal draws."""
    key = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return np.random.default_rng([settings.seed, 30, int.from_bytes(key, "little")])


def brand_name(number: int, settings: DemoSettings) -> str:
    """Return an invented brand, two or three syllables: ``Brakelo``."""
    rng = _rng(settings, "brand", str(number))
    parts = [
        options[int(rng.integers(len(options)))]
        for _ in range(int(rng.integers(2, 4)))
        for options in (_ONSETS, _VOWELS, _CODAS)
    ]
    return "".join(parts).capitalize()


def brands(source: Source, settings: DemoSettings) -> list[str | None]:
    """Return the invented brand of each product, the same for all of a manufacturer's.

    None where no manufacturer is known.
    """
    makers = source.products["manufacturer_id"].to_pylist()
    chosen = {maker: _rng(settings, "maker", str(maker)).integers(_BRANDS) for maker in set(makers)}
    names = {maker: brand_name(int(number), settings) for maker, number in chosen.items()}
    return [None if maker is None else names[maker] for maker in makers]


def till_text(name: str, settings: DemoSettings) -> str:
    """Return what a till prints of a name: in capitals, shortened, with slips, cut at 18 letters.

    Each vowel after a word's first letter is dropped with chance 0.5, each word with 0.1 (never
    all of them), and a letter of a word is another with 0.05.
    """
    rng = _rng(settings, "till", name)
    words = [_shortened(word, rng) for word in name.upper().replace("/", " ").split()]
    kept = [word for word in words if rng.random() >= WORD_LOST] or words[:1]
    return " ".join(kept)[:LETTERS].strip()


def _shortened(word: str, rng: np.random.Generator) -> str:
    dropped = rng.random(len(word)) < VOWEL_LOST
    letters = [
        letter
        for place, letter in enumerate(word)
        if place == 0 or not dropped[place] or letter.lower() not in _VOWELS
    ]
    if rng.random() < TYPO:
        letters[int(rng.integers(len(letters)))] = _ALPHABET[int(rng.integers(26))]
    return "".join(letters)


def full_names(source: Source, settings: DemoSettings) -> list[str | None]:
    """Return each product's brand, type and size in words; None where nothing is known."""
    columns = (
        brands(source, settings),
        source.products["product_type"].to_pylist(),
        source.products["package_size"].to_pylist(),
    )
    rows = zip(*columns, strict=True)
    return [" ".join(filter(None, row)) or None for row in rows]


def receipt_texts(source: Source, settings: DemoSettings) -> pa.Array:
    """Return the text of each product on receipts; null where nothing is known of it."""
    names = full_names(source, settings)
    printed = {name: till_text(name, settings) for name in set(names) if name is not None}
    return pa.array([None if name is None else printed[name] for name in names], pa.large_string())
