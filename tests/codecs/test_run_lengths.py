"""Run lengths of masks: as pycocotools writes them, and back; damaged ones take no memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.run_lengths import decode_runs, encode_runs
from shardpack.errors import DecodeError
from tests.strategies import examples


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    runs = draw(st.lists(st.integers(1, 400), max_size=20))
    flat = np.repeat(np.arange(len(runs) + 1) % 2 == draw(st.integers(0, 1)), [*runs, 1600])[: height * width]
    return flat.reshape(height, width)


@examples(200)
@given(masks(), st.booleans())
def test_masks_come_back(mask, as_text):
    value = json.loads(json.dumps(encode_runs(mask, as_text=as_text)))
    assert isinstance(value["counts"], str) == as_text
    np.testing.assert_array_equal(decode_runs(value, *mask.shape), mask)


def small_mask():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = mask[0, 0] = True
    return mask


# Texts by pycocotools 2.0.11.
@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (small_mask(), "0141N0003"),
        (np.random.default_rng(0).integers(0, 2, (7, 9)).astype(bool), "0323ON0M00120NO110OO21NO0010O12ON20O"),
    ],
)
def test_text_is_that_of_pycocotools(mask, text):
    assert encode_runs(mask, as_text=True)["counts"] == text
    np.testing.assert_array_equal(decode_runs({"size": [*mask.shape], "counts": text}, *mask.shape), mask)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([3, -1, 4], "not a list of counts"),
        ([2.0, 4], "not a list of counts"),
        (None, "not a list of counts"),
        ([7], "hold 7 pixels, expected 6"),
        ([1 << 60], "hold 1152921504606846976 pixels"),
        ("", "hold 0 pixels"),
        ("P", "cut short"),
        ("\x7f", "damaged"),
        ("P" * 9 + "0", "damaged"),
    ],
)
def test_damage_is_told_before_memory_is_taken(counts, reason):
    with pytest.raises(DecodeError, match=reason):
        decode_runs({"size": [2, 3], "counts": counts}, 2, 3)


def test_runs_of_another_image_are_refused():
    with pytest.raises(DecodeError, match=r"size \[3, 2\], expected \[2, 3\]"):
        decode_runs({"size": [3, 2], "counts": [6]}, 2, 3)


@examples(200)
@given(st.text("0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmno~", max_size=40))
def test_any_text_is_a_mask_or_refused(text):
    try:
        mask = decode_runs({"size": [5, 8], "counts": text}, 5, 8)
    except DecodeError:
        return
    assert mask.shape == (5, 8)
