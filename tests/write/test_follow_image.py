"""Masks keep their numbers and stay on their image; labels move or ask."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardpack.codecs.arrays import encode_npy, encode_npz, view_npy
from shardpack.codecs.encode import encode_field
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.image_codec import ImageCodec
from shardpack.codecs.resize import Cutout, Resize
from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.write.follow_image import check_mask_codec, check_no_coordinates, move_labels, move_mask
from tests.codecs.geometries import geometries
from tests.codecs.photos import animation, decoded, encoded, png_of_16_bit_colour
from tests.strategies import examples

HALF = Geometry(40, 60, Cutout(20, 30, 0, 0, 40, 60))
CROPPED = Geometry(40, 60, Cutout(20, 20, 0, 10, 40, 40))
PALETTE = [value for colour in range(256) for value in (colour, 255 - colour, 7)]


def numbers(height, width, most=256, dtype=np.uint8):
    return (np.arange(height * width).reshape(height, width) * 37 % most).astype(dtype)


def stored(array, kind):
    """Return a mask as payload."""
    if kind == "npy":
        return encode_npy(array)
    image = Image.fromarray(array)
    if kind == "palette":
        image.putpalette(PALETTE)
    elif kind == "bits":
        image = Image.fromarray((array % 2 * 255).astype(np.uint8)).convert("1")
    return encoded(image, "png")


def numbers_of(payload, kind):
    return view_npy(payload) if kind == "npy" else np.asarray(decoded(payload))


@examples(100)
@given(geometries(), st.sampled_from(["grey", "palette", "bits", "npy", "deep", "colour"]))
def test_numbers_are_those_of_the_nearest_pixels(geometry, kind):
    array = numbers(geometry.height, geometry.width)
    if kind == "deep":
        array = numbers(geometry.height, geometry.width, 60000, np.uint16)
    elif kind == "colour":  # panoptic: a number in three channels
        array = np.stack((array, array // 2, array // 3), axis=2)
    payload = stored(array, kind)
    before = numbers_of(payload, kind)
    name, made = move_mask(f"seg.{'npy' if kind == 'npy' else 'png'}", payload, geometry, None, None)
    assert name.startswith("seg.")
    after = numbers_of(made, kind)
    np.testing.assert_array_equal(after, geometry.move_mask(before))
    assert after.dtype == before.dtype
    if geometry.is_unchanged:
        assert made is payload
    if kind == "palette":
        assert decoded(made).getpalette() == decoded(payload).getpalette()


def test_ids_stay_ids():
    array = np.array([0, 5, 255], np.uint8)[np.random.default_rng(0).integers(0, 3, (40, 60))]
    _, made = move_mask("seg.png", stored(array, "grey"), HALF, None, None)
    assert set(np.unique(numbers_of(made, "grey"))) <= {0, 5, 255}


def test_a_transparent_colour_stays():
    image = Image.fromarray(numbers(40, 60, 3))
    image.putpalette(PALETTE)
    payload = encoded(image, "png", transparency=2)
    assert decoded(move_mask("seg.png", payload, HALF, None, None)[1]).info["transparency"] == 2


def test_lossy_masks_become_png_only_where_they_change():
    payload = encoded(np.zeros((40, 60), np.uint8))
    assert move_mask("mask.jpg", payload, Geometry.unchanged(40, 60), None, None) == ("mask.jpg", payload)
    name, made = move_mask("mask.jpg", payload, HALF, None, None)
    assert name == "mask.png"
    assert decoded(made).size == (30, 20)


def test_codecs_of_masks():
    array = numbers(40, 60)
    name, made = move_mask("seg.png", stored(array, "grey"), HALF, None, ImageCodec("npy"))
    assert name == "seg.npy"
    np.testing.assert_array_equal(view_npy(made), HALF.move_mask(array))
    name, made = move_mask("seg.npy", encode_npy(array), None, None, ImageCodec("png"))
    assert name == "seg.png"
    np.testing.assert_array_equal(numbers_of(made, "grey"), array)
    for text in ("jpg", "webp", "webp:lossless", "npy:rgb"):
        with pytest.raises(
            OptionError, match=r"'seg\.png' is a mask, and .* would change its numbers; choose png or npy"
        ):
            check_mask_codec("seg.png", ImageCodec.parse(text))


def test_masks_without_an_image_are_resized_by_themselves():
    array = numbers(40, 60)
    _, made = move_mask("seg.png", stored(array, "grey"), None, Resize.parse("short=20"), None)
    np.testing.assert_array_equal(numbers_of(made, "grey"), HALF.move_mask(array))
    payload = stored(array, "grey")
    assert move_mask("seg.png", payload, None, None, None) == ("seg.png", payload)


def test_values_of_a_function_stay_values():
    array = numbers(40, 60)
    name, made = move_mask("seg.png", array, HALF, None, None)
    assert (name, type(made)) == ("seg.png", np.ndarray)
    name, made = move_mask("seg.png", Image.fromarray(array), HALF, None, None)
    assert (name, made.size) == ("seg.png", (30, 20))
    np.testing.assert_array_equal(np.asarray(made), HALF.move_mask(array))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(SourceError, match="width 30 and height 40, but its image has width 60 and height 40"):
        move_mask("seg.png", stored(numbers(40, 30), "grey"), HALF, None, None)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (animation("gif"), "several frames"),
        (png_of_16_bit_colour(40, 60), "16 bits a channel"),
    ],
)
def test_masks_that_would_lose_something_are_refused(payload, reason):
    with pytest.raises(SourceError, match=reason):
        move_mask("seg.png", payload, HALF, None, None)


def test_an_array_without_height_and_width_is_refused():
    with pytest.raises(SourceError, match=r"not a mask: an array of shape \(3,\)"):
        move_mask("seg.npy", encode_npy(np.zeros(3)), HALF, None, None)


def test_numbers_that_png_cannot_hold_are_refused():
    with pytest.raises(SourceError, match="numbers that a png cannot hold"):
        move_mask("seg.npy", encode_npy(np.full((40, 60), 70000, np.int32)), HALF, None, ImageCodec("png"))


BOXES = {"annotations": [{"bbox": [10, 20, 20, 10]}]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("json", b'{"label": 3}'),
        ("json", b'{ "label" : 3 , "annotations": [] }'),
        ("json", b"[1, 2, 3]"),
        ("cls", b"3"),
        ("txt", b"a cat"),
        ("emb.npy", encode_npy(np.zeros(512))),
        ("emb.npy", encode_npy(np.zeros((40, 61)))),
        ("emb.npy", np.zeros((60, 40))),
        ("mp4", b"..."),
        ("json", {"label": 3}),
        ("txt", "0.5 0.5"),
        ("npz", {"emb": np.zeros((40, 61))}),
        ("npz", encode_npz({"emb": np.zeros(4)})),
    ],
)
def test_labels_without_coordinates_are_the_very_bytes(field, value):
    assert move_labels(field, value, CROPPED) is value


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 2)])
def test_arrays_with_a_number_for_each_pixel_are_asked_about(shape):
    array = np.zeros(shape, np.float32)
    for value in (array, encode_npy(array)):
        with pytest.raises(
            OptionError, match=r"'depth.npy' has the height and width of the image.*--nearest depth.npy"
        ):
            move_labels("depth.npy", value, HALF)
    for value in ({"depth": array}, encode_npz({"depth": array})):
        with pytest.raises(OptionError, match=r"'npz' has the height and width of the image.*--keep npz"):
            move_labels("npz", value, HALF)


def test_compressed_arrays_are_looked_into():
    pytest.importorskip("zstandard")
    boxes = np.array([[10, 20, 40, 30]])
    for field, value in (("npy.zst", boxes), ("npz.zst", {"a": boxes}), ("mask.npy.zst", np.zeros((40, 60)))):
        for stored_or_not in (value, encode_field(field, value)):
            with pytest.raises(OptionError, match=f"'{field}'.*(--labels keep|--keep {field})"):
                move_labels(field, stored_or_not, HALF)


def test_labels_move():
    moved = move_labels("json", json.dumps(BOXES).encode(), HALF)
    assert moved == b'{"annotations":[{"bbox":[5,10,10,5]}]}'
    assert move_labels("json", BOXES, HALF) == {"annotations": [{"bbox": [5, 10, 10, 5]}]}
    assert move_labels("left.json", json.dumps(BOXES).encode(), HALF) == moved


def test_compressed_labels_move():
    pytest.importorskip("zstandard")
    from shardpack.codecs.compression import Compression
    from shardpack.codecs.decode import decode_field

    moved = move_labels("json.zst", Compression().compress(json.dumps(BOXES).encode()), HALF)
    assert decode_field("json.zst", moved) == {"annotations": [{"bbox": [5, 10, 10, 5]}]}


def test_values_of_msgpack_are_looked_into():
    pytest.importorskip("msgpack")
    assert move_labels("msgpack", value := {"label": 3}, HALF) is value
    with pytest.raises(OptionError, match=r"'msgpack' holds coordinates \(boxes\)"):
        move_labels("msgpack", {"boxes": [[1, 2, 3, 4]]}, HALF)


def test_values_that_cannot_be_stored_are_errors_of_their_sample():
    with pytest.raises(SourceError, match="'npz' cannot be stored"):
        move_labels("npz", 3, HALF)


def test_gzip_is_only_read():
    assert move_labels("json.gz", plain := gzip.compress(b"{}"), HALF) is plain
    with pytest.raises(OptionError, match="gzip is only read"):
        move_labels("json.gz", gzip.compress(json.dumps(BOXES).encode()), HALF)


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("json", b'{"bbox": [1, 2, 3, 4]}'),
        ("boxes.json", b"[[1, 2, 3, 4]]"),
        ("xml", b"<annotation><bndbox>"),
        ("boxes.npy", b"..."),
        ("txt", b"0 0.5 0.5 0.5 0.5"),
        ("txt", "0 0.5 0.5 0.5 0.5"),
        ("xml", "<annotation><bndbox>"),
        ("npz", {"boxes": np.zeros((1, 4))}),
    ],
)
def test_coordinates_in_another_shape_are_asked_about(field, payload):
    with pytest.raises(OptionError, match=r"\(--labels keep\)"):
        move_labels(field, payload, CROPPED)
    with pytest.raises(SourceError, match="images of different sizes"):
        check_no_coordinates(field, payload)


def test_relative_coordinates_stay_right_while_the_whole_image_is_shown():
    lines = b"0 0.5 0.5 0.5 0.5\n"
    assert move_labels("txt", lines, HALF) is lines
    with pytest.raises(OptionError):
        move_labels("txt", lines, Geometry(40, 60, Cutout(60, 40, 0, 0, 60, 40), 6))


def test_labels_that_do_not_parse_are_told():
    with pytest.raises(DecodeError, match="not JSON"):
        move_labels("json", b"{", HALF)


def test_labels_without_coordinates_may_have_several_images():
    check_no_coordinates("json", b'{"label": 3}')
    check_no_coordinates("json", {"label": 3})
    with pytest.raises(SourceError):
        check_no_coordinates("json", BOXES)


@pytest.mark.parametrize("text", ['"score": 1e999', r'"name": "\ud800"'])
def test_json_that_cannot_be_written_again_is_an_error_of_its_sample(text):
    payload = "{" + text + ', "annotations": [{"bbox": [0, 0, 4, 4]}]}'
    with pytest.raises(DecodeError, match="cannot be stored"):
        move_labels("json", payload.encode(), Geometry(8, 8, Cutout(4, 4, 0, 0, 8, 8)))
