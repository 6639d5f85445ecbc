"""Articles before words that messages do not choose."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.runtime.words import a_type, with_article


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1, "an int"),
        ({}, "a dict"),
        (object(), "an object"),
        (None, "a NoneType"),
        (np.zeros(1), "an ndarray"),
        (np.uint8(1), "a uint8"),
        (OSError(), "an OSError"),
    ],
)
def test_a_type(value, said):
    assert a_type(value) == said


@pytest.mark.parametrize("word", ["avif", "ellipse", "image"])
def test_an_before_a_vowel(word):
    assert with_article(word) == f"an {word}"


@pytest.mark.parametrize("word", ["jpg", "polygon", ""])
def test_a_before_others(word):
    assert with_article(word) == f"a {word}"
