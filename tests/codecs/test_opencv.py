"""OpenCV's linear resize is close to Pillow's antialiased one where it is used, and is not used elsewhere."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from shardpack.codecs import opencv
from shardpack.codecs.decode import ImageDecoder
from shardpack.codecs.image_options import ImageOptions
from tests.conftest import ROOT, make_jpeg

cv2 = pytest.importorskip("cv2")
pytest.importorskip("simplejpeg")

PHOTOS = [path.read_bytes() for path in sorted((ROOT / "examples" / "images").rglob("*.jpg"))]


def decibels(left, right):
    """Return the peak signal-to-noise ratio of two images."""
    error = np.square(left.astype(float) - right.astype(float)).mean()
    return 10 * np.log10(255**2 / max(error, 1e-9))


def shown(payload, key=0, name="rgb8", **options):
    options = ImageOptions(**options)
    return ImageDecoder("jpg", name, options)(payload, None, options.frame(key))


@pytest.mark.parametrize("options", [
    {},
    {"crop": "center"},
    {"crop": "random"},
    {"crop": "random", "flip": 1.0},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [224, 160])
def test_photos_are_within_35_decibels_of_pillow(options, size):
    """Of Pillow alone, which decodes all pixels and resizes with antialiasing."""
    for key, payload in enumerate(PHOTOS):
        fast = shown(payload, key, size=size, **options)
        # The same box: it is aligned for the reduced decoding of the fast way.
        frame = ImageOptions(size=size, **options).frame(key)
        exact = np.asarray(whole(payload, size, frame))
        assert decibels(fast, exact) >= 35, f"photo {key}"


def whole(payload, size, frame):
    image = Image.open(io.BytesIO(payload)).convert("RGB")
    if frame is None:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    box = frame.box(image.height, image.width)
    part = (box.left, box.top, box.left + box.width, box.top + box.height)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=part)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if frame.mirrored else image


def plan_of(height, width, **options):
    return ImageOptions(**options).plan(height, width, None)


def test_it_suits_only_what_the_decoder_brought_near_to_its_size():
    assert opencv.suits(plan_of(400, 500, size=224))
    assert opencv.suits(plan_of(50, 50, size=224))
    assert opencv.suits(plan_of(8 * 400, 8 * 500, size=224))
    assert not opencv.suits(plan_of(8 * 400, 8 * 500, size=224, reduced=False))
    assert not opencv.suits(plan_of(300, 900, size=224)), "shrinks to a quarter in one direction"
    assert not opencv.suits(plan_of(300, 300))


@pytest.mark.parametrize(("name", "channels"), [("rgb8", (3,)), ("l8", ()), ("rgba8", (4,))])
@pytest.mark.parametrize("size", [(20, 30), (15, 14), (60, 50)])
def test_forms_and_sizes(name, channels, size):
    payload = make_jpeg(61, 47)
    for flip in (0.0, 1.0):
        found = shown(payload, name=name, size=size, flip=flip)
        plain = shown(payload, name=name, size=size, flip=flip, fast_resize=False)
        assert found.shape == (*size, *channels)
        assert decibels(found, plain) > 25


def test_pixels_are_written_where_asked():
    pixels, out = np.full((40, 40, 3), 9, np.uint8), np.zeros((24, 24, 3), np.uint8)
    assert np.shares_memory(opencv.shown(cv2, pixels, plan_of(40, 40, size=24), out), out)
    assert (out == 9).all()


def test_padding_of_odd_sizes_is_not_shown():
    """At half size, 33 rows are 16 and a half: the last decoded one is half padding."""
    ramp = np.repeat(np.linspace(0, 250, 33)[:, None], 32, axis=1)
    half = np.pad(ramp, ((0, 1), (0, 0)), mode="edge").reshape(17, 2, 16, 2).mean(axis=(1, 3))
    half[-1] = ramp[-1, 0]
    found = opencv.shown(cv2, half.astype(np.uint8), plan_of(33, 32, size=16), None)
    expected = np.interp((np.arange(16) + 0.5) * 33 / 16 - 0.5, np.arange(33), ramp[:, 0])
    assert np.abs(found[:-1, 5] - expected[:-1]).max() < 3


@pytest.mark.parametrize("count", [1, 5])
def test_arrays_are_gathered_in_place(count):
    contents = list(np.random.default_rng(0).integers(0, 256, (count, 700), np.uint8))
    out = np.zeros((count + 2, 700), np.uint8)
    opencv.gather(cv2, contents, out[1:-1])
    assert np.array_equal(out[1:-1], contents)
    assert not out[[0, -1]].any()


def test_rows_longer_than_opencv_counts_are_gathered_too(monkeypatch):
    monkeypatch.setattr(opencv, "_MAX_LENGTH", 5)
    out = np.zeros((2, 6), np.uint8)
    opencv.gather(None, [np.full(6, 3, np.uint8), np.full(6, 4, np.uint8)], out)
    assert out.tolist() == [[3] * 6, [4] * 6]


def test_installed_returns_the_module():
    assert opencv.installed() is cv2
