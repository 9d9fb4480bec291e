"""Invented receipt texts: how tills shorten, and that equal names get equal texts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itememb_core.demo import texts
from itememb_core.demo.settings import DemoSettings

SETTINGS = DemoSettings(receipt_text=True)
NAMES = [f"Brakelo SPECIALTY COOKIES {k} OZ" for k in range(4000)]


def test_a_text_is_the_same_for_the_same_name_and_seed_alone():
    name = NAMES[0]
    assert texts.till_text(name, SETTINGS) == texts.till_text(name, SETTINGS)
    other = [texts.till_text(name, DemoSettings(seed=seed)) for seed in range(1, 9)]
    assert len(set(other)) > 4


@given(st.text("ABCDEIO /xyz-", min_size=1).filter(lambda name: name.replace("/", " ").strip()))
def test_a_text_is_short_and_never_empty(name):
    found = texts.till_text(name, SETTINGS)
    assert 1 <= len(found) <= texts.LETTERS
    assert found == found.strip() == found.upper()


def test_vowels_and_words_are_lost_as_often_as_said():
    # The word is long enough for its vowels to be counted, short enough not to be cut.
    one = [texts.till_text(f"XAEIOUAEIO{k}", SETTINGS) for k in range(3000)]
    vowels = np.array([sum(letter in "AEIOU" for letter in text) for text in one])
    assert abs(vowels.mean() / 9 - 0.5) < 0.02
    # The first of three words is there when none or only others are lost.
    three = [texts.till_text(f"XX{k} YY ZZ", SETTINGS) for k in range(3000)]
    lost = np.mean(["Z" not in text.split()[-1] for text in three])
    assert abs(lost - texts.WORD_LOST) < 0.06
    typos = np.mean(
        [texts.till_text(f"BCDFG {k}", SETTINGS).split()[0] != "BCDFG" for k in range(3000)]
    )
    assert 0.03 < typos - texts.WORD_LOST < 0.07


def test_brands_are_few_and_can_be_read():
    names = {texts.brand_name(number, SETTINGS) for number in range(100)}
    assert len(names) > 95
    assert all(name.isalpha() and name.istitle() and 4 <= len(name) <= 15 for name in names)
