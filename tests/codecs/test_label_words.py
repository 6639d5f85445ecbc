"""Names come apart into words, however they are written."""

from __future__ import annotations

import pytest

from shardpack.codecs.label_words import LISTS, NUMBERS, OTHERS, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bbox_xyxy", {"bbox", "xyxy", "bboxxyxy"}),
        ("facePolygon", {"face", "polygon", "facepolygon"}),
        ("top-left", {"top", "left", "topleft"}),
        ("keypoints2d", {"keypoints2", "d", "keypoints", "keypoints2d"}),
        ("RGB", {"rgb"}),
    ],
)
def test_words(name, words):
    assert words_of(name) == words


def test_no_word_means_two_things():
    assert not LISTS & OTHERS
    assert not NUMBERS & OTHERS
