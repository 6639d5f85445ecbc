"""JPEGs by simplejpeg: what it does, and what it leaves to Pillow."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.codecs.image import FORMS
from shardpack.codecs.image_options import ImageOptions
from shardpack.codecs.jpeg_turbo import decode_jpeg, installed
from tests.conftest import make_jpeg

simplejpeg = pytest.importorskip("simplejpeg")


def test_installed_returns_the_module():
    assert installed() is simplejpeg


def test_pixels_in_place():
    out = np.empty((24, 32, 3), np.uint8)
    found = decode_jpeg(simplejpeg, make_jpeg(32, 24), FORMS["rgb8"], ImageOptions(), out=out)
    assert np.shares_memory(found, out)
    assert decode_jpeg(simplejpeg, make_jpeg(32, 24), FORMS["l8"], ImageOptions()).shape == (24, 32)
    assert decode_jpeg(simplejpeg, make_jpeg(32, 24), FORMS["rgb8"], ImageOptions(size=(5, 7))).shape == (5, 7, 3)


@pytest.mark.parametrize("payload", [b"", b"\x89PNG\r\n\x1a\n", make_jpeg()[:100], b"\xff\xd8\xff" + bytes(50)])
def test_unsupported_files_are_left_to_pillow(payload):
    assert decode_jpeg(simplejpeg, payload, FORMS["rgb8"], ImageOptions()) is None
