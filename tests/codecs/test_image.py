"""Decoding names, and every odd kind of image: what comes out is stated, not left to chance."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardpack.codecs import image as images
from shardpack.codecs.decode import ImageDecoder, field_decoders
from shardpack.codecs.geometry import Geometry, turned_size
from shardpack.codecs.image import FORMS
from shardpack.codecs.image_options import ImageOptions
from shardpack.codecs.resize import Cutout
from shardpack.errors import DecodeError, FieldNotFoundError, MissingDependencyError, OptionError
from tests.codecs.photos import encoded
from tests.conftest import make_jpeg

ARRAYS = [name for name, form in FORMS.items() if form.kind == "numpy"]
EXIF_TURNS = {1: None, 2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
EXIF_TURNS |= {7: "TRANSVERSE", 8: "ROTATE_90"}
NOISE = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(payload, name="rgb8", **options):
    return ImageDecoder("jpg", name, ImageOptions(**options))(payload)


@pytest.fixture(params=[False, True], ids=["Pillow", "simplejpeg"])
def fast_jpeg(request):
    if request.param:
        pytest.importorskip("simplejpeg")
    return request.param


@pytest.mark.parametrize("name", ARRAYS)
def test_names_of_arrays(name):
    found = decoded(saved(Image.fromarray(NOISE)), name)
    mode = name.rstrip("8").upper()
    expected = np.asarray(Image.fromarray(NOISE).convert(mode))
    assert found.flags.c_contiguous
    assert found.flags.writeable
    if name.endswith("8"):
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)
    else:
        assert found.dtype == np.float32
        assert np.array_equal(found, expected.astype(np.float32) / 255)


@pytest.mark.parametrize(("name", "mode"), [("pil", "P"), ("pill", "L"), ("pilrgb", "RGB"), ("pilrgba", "RGBA")])
def test_names_of_pil_images(name, mode):
    assert decoded(saved(Image.fromarray(NOISE).quantize(8)), name).mode == mode


def test_names_of_tensors():
    torch = pytest.importorskip("torch")
    payload = saved(Image.fromarray(NOISE))
    for name in ("torch", "torchrgb", "torchrgb8", "torchrgba", "torchrgba8", "torchl", "torchl8"):
        found = decoded(payload, name)
        array = decoded(payload, name.removeprefix("torch") or "rgb")
        assert isinstance(found, torch.Tensor)
        assert found.is_contiguous()
        assert np.array_equal(found.numpy(), array if array.ndim == 2 else array.transpose(2, 0, 1))


def test_tensors_need_torch(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"shardpack\[torch\]"):
        ImageDecoder("jpg", "torchrgb", ImageOptions())


@pytest.mark.parametrize("name", FORMS)
def test_webdataset_gives_the_same(name):
    autodecode = pytest.importorskip("webdataset.autodecode")
    if FORMS[name].kind == "torch":
        pytest.importorskip("torch")
    payload = make_jpeg(31, 20)
    theirs = autodecode.imagehandler(name)("jpg", payload)
    ours = decoded(payload, name, fast_jpeg=False)
    # Their "l" is Pillow's grey of the RGB pixels, ours the Y of the file: a rounding apart.
    tolerance = 0 if FORMS[name].mode != "L" else 2 / 255 if FORMS[name].floats else 2
    assert np.allclose(np.asarray(theirs, np.float64), np.asarray(ours, np.float64), rtol=0, atol=tolerance)
    assert getattr(theirs, "dtype", None) == getattr(ours, "dtype", None)


def test_all_names_of_webdataset_are_known():
    autodecode = pytest.importorskip("webdataset.autodecode")
    assert set(autodecode.imagespecs) == set(FORMS)


@pytest.mark.parametrize("orientation", EXIF_TURNS)
def test_exif_orientation_is_applied_only_when_asked(orientation, fast_jpeg):
    exif = Image.Exif()
    exif[0x0112] = orientation
    payload = saved(Image.fromarray(NOISE), "JPEG", exif=exif, quality=95)
    stored = decoded(payload, fast_jpeg=fast_jpeg)
    assert stored.shape == (20, 30, 3)
    turn = EXIF_TURNS[orientation]
    upright = Image.fromarray(stored) if turn is None else Image.fromarray(stored).transpose(Image.Transpose[turn])
    assert np.array_equal(decoded(payload, exif_transpose=True, fast_jpeg=fast_jpeg), np.asarray(upright))
    assert decoded(payload, exif_transpose=True, size=(8, 6), fast_jpeg=fast_jpeg).shape == (8, 6, 3)


def test_reduction_respects_the_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    payload = saved(Image.new("RGB", (400, 100)), "JPEG", exif=exif)
    assert decoded(payload, exif_transpose=True, min_size=(200, 50)).shape == (200, 50, 3)
    assert decoded(payload, exif_transpose=True, min_size=(50, 200)).shape == (400, 100, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("exif_transpose", [False, True])
def test_a_tiff_is_turned_once(orientation, exif_transpose):
    array = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    payload = encoded(array, "tif", orientation=orientation)
    upright = Geometry(4, 6, Cutout.unchanged(*turned_size(4, 6, orientation)), orientation).move_mask(array)
    assert np.array_equal(decoded(payload, exif_transpose=exif_transpose), upright)
    assert decoded(payload, exif_transpose=exif_transpose, size=(2, 3)).shape == (2, 3, 3)


@pytest.mark.parametrize("orientation", EXIF_TURNS)
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_crops_are_those_of_the_upright_image(orientation, flip, fast_jpeg):
    exif = Image.Exif()
    exif[0x0112] = orientation
    payload = saved(Image.fromarray(NOISE), "JPEG", exif=exif, quality=95)
    options = {"exif_transpose": True, "fast_jpeg": fast_jpeg, "fast_resize": False, "reduced": False}
    upright = Image.fromarray(decoded(payload, **options))
    options = ImageOptions(size=(8, 6), crop="random", flip=flip, **options)
    frame = options.frame(5)
    found = ImageDecoder("jpg", "rgb8", options)(payload, None, frame)
    box = frame.box(upright.height, upright.width)
    part = (box.left, box.top, box.left + box.width, box.top + box.height)
    expected = np.asarray(upright.resize((6, 8), Image.Resampling.BILINEAR, box=part))
    assert np.array_equal(found, expected[:, ::-1] if flip else expected)


def test_turned_images_are_reduced_only_where_nothing_is_shifted():
    """A reduced image whose sides are no multiple of the scale ends with padding, which turning would bring first."""
    ramp = np.repeat(np.linspace(0, 250, 65)[:, None], 64, axis=1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    payload = saved(Image.fromarray(ramp), "JPEG", exif=exif, quality=100)
    options = {"exif_transpose": True, "size": 8}
    found, whole = decoded(payload, "l8", **options), decoded(payload, "l8", reduced=False, **options)
    assert np.abs(found.astype(int) - whole).max() <= 2


def test_grey():
    grey = Image.fromarray(NOISE[..., 0])
    for payload in (saved(grey), saved(grey, "JPEG", quality=100, subsampling=0)):
        rgb = decoded(payload)
        assert np.array_equal(rgb, np.repeat(decoded(payload, "l8")[..., None], 3, axis=2))
        assert decoded(payload, "pil").mode == "L"


def test_one_bit():
    bits = Image.fromarray(NOISE[..., 0]).convert("1")
    assert set(np.unique(decoded(saved(bits), "l8"))) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_lose_their_lower_byte(kind):
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    payload = saved(Image.fromarray(deep), kind)
    assert np.array_equal(decoded(payload, "l8"), (deep >> 8).astype(np.uint8))
    assert np.array_equal(decoded(payload)[..., 1], (deep >> 8).astype(np.uint8))
    assert np.array_equal(np.asarray(decoded(payload, "pil")).astype(np.uint16), deep)


@pytest.mark.parametrize(("mode", "name"), [("F", "rgb8"), ("I", "l"), ("F", "pilrgb")])
def test_pixels_without_a_range_are_refused(mode, name):
    payload = saved(Image.new(mode, (5, 4), 7), "TIFF")
    with pytest.raises(DecodeError, match=f"mode '{mode}' have no agreed range; decode with \"pil\""):
        decoded(payload, name)
    assert decoded(payload, "pil").getpixel((0, 0)) == 7


def test_cmyk(fast_jpeg):
    cmyk = Image.fromarray(NOISE).convert("CMYK")
    payload = saved(cmyk, "JPEG", quality=100)
    assert decoded(payload, "pil").mode == "CMYK"
    found = decoded(payload, fast_jpeg=fast_jpeg).astype(int)
    assert np.abs(found - NOISE).mean() < 6


def test_alpha_is_dropped_not_blended():
    rgba = np.dstack((NOISE, np.full((20, 30), 3, np.uint8)))
    payload = saved(Image.fromarray(rgba))
    assert np.array_equal(decoded(payload), NOISE)
    assert np.array_equal(decoded(payload, "rgba8"), rgba)
    grey = saved(Image.fromarray(rgba).convert("LA"))
    assert np.array_equal(decoded(grey, "l8"), np.asarray(Image.fromarray(rgba).convert("LA"))[..., 0])


def test_opaque_images_have_full_alpha(fast_jpeg):
    for payload in (saved(Image.fromarray(NOISE)), make_jpeg()):
        for options in ({}, {"size": (7, 9)}):
            assert (decoded(payload, "rgba8", fast_jpeg=fast_jpeg, **options)[..., 3] == 255).all()


@pytest.mark.parametrize("transparency", [2, bytes([0, 128, 255])])
def test_palettes_and_their_transparency(transparency):
    palette = Image.fromarray(NOISE).quantize(8)
    payload = saved(palette, transparency=transparency)
    assert decoded(payload, "pil").mode == "P"
    assert np.array_equal(decoded(payload), np.asarray(palette.convert("RGB")))
    alpha = decoded(payload, "rgba8")[..., 3]
    assert alpha.min() == 0
    assert alpha.max() == 255


def test_transparent_colour_of_a_png():
    payload = saved(Image.new("RGB", (5, 4), (1, 2, 3)), transparency=(1, 2, 3))
    assert (decoded(payload) == [1, 2, 3]).all()
    assert (decoded(payload, "rgba8") == [1, 2, 3, 0]).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_animations_give_the_first_frame(kind):
    frames = [Image.new("L", (5, 4), shade) for shade in (10, 200, 90)]
    payload = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert (decoded(payload, "l8") == 10).all()


def test_a_bomb_is_an_error(monkeypatch, fast_jpeg):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    for payload in (make_jpeg(), saved(Image.new("L", (40, 30)))):
        with pytest.raises(DecodeError, match="limit"):
            decoded(payload, fast_jpeg=fast_jpeg)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decoded(make_jpeg(), fast_jpeg=fast_jpeg).shape == (24, 32, 3)


def test_errors_name_the_field_and_the_cause(fast_jpeg):
    for payload in (b"", b"x", make_jpeg()[:300], b"\xff\xd8\xff" + bytes(50), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(DecodeError, match=r"^field 'jpg' does not decode as rgb8: .*; look at it with"):
            decoded(payload, fast_jpeg=fast_jpeg)


@given(st.binary(max_size=300), st.sampled_from(["rgb8", "l", "pil"]), st.integers(3, 500))
def test_only_decode_errors_are_raised(noise, name, at):
    payload = make_jpeg()
    for broken in (noise, payload[:at] + noise + payload[at:]):
        with suppress(DecodeError):
            decoded(broken, name)


def test_size_stretches_as_pillow_does():
    payload = make_jpeg(64, 48)
    expected = Image.open(io.BytesIO(payload)).resize((9, 21), Image.Resampling.BILINEAR)
    assert np.array_equal(decoded(payload, size=(21, 9), reduced=False, fast_jpeg=False), np.asarray(expected))
    assert np.array_equal(decoded(payload, "pil", size=(21, 9), reduced=False), np.asarray(expected))
    assert decoded(saved(Image.fromarray(NOISE)), "l", size=7).shape == (7, 7)


@pytest.mark.parametrize(("side", "expected"), [(12, (13, 16)), (24, (25, 32)), (49, (50, 63)), (50, (99, 125))])
def test_reduced_images_are_at_least_as_large_as_requested(side, expected, fast_jpeg):
    payload = make_jpeg(125, 99)
    assert decoded(payload, min_size=side, fast_jpeg=fast_jpeg).shape[:2] == expected
    assert decoded(payload, min_size=side, reduced=False, fast_jpeg=fast_jpeg).shape[:2] == (99, 125)


@given(st.integers(32, 90), st.integers(32, 90), st.integers(4, 40), st.integers(4, 40))
def test_reduced_images_are_close_to_full_ones(width, height, tall, wide):
    """Where an image is smooth; on photographs of 800 x 600 brought to 224 x 224 the mean is 0.6 of 255."""
    down, across = np.mgrid[0 : 250 : 1j * height, 0 : 250 : 1j * width]
    payload = saved(Image.fromarray(np.dstack((down, across, 250 - down)).astype(np.uint8)), "JPEG", quality=95)
    least = decoded(payload, min_size=(tall, wide))
    assert all(least.shape[i] >= min((tall, wide)[i], (height, width)[i]) for i in range(2))
    whole = decoded(payload, size=(tall, wide), reduced=False).astype(int)
    assert np.abs(decoded(payload, size=(tall, wide)).astype(int) - whole).mean() < 4


@given(
    st.sampled_from(["rgb8", "rgba8", "l8", "rgb", "l"]),
    st.sampled_from([{}, {"size": (12, 10)}, {"min_size": 5}, {"size": (24, 32)}]),
    st.sampled_from([{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}, {"grey": True}]),
    st.integers(1, 70),
)
def test_simplejpeg_is_within_two_steps_of_pillow(name, options, made, width):
    """Equal if both are built on one libjpeg-turbo; versions of it may round differently."""
    pytest.importorskip("simplejpeg")
    image = Image.open(io.BytesIO(make_jpeg(width, 24)))
    grey = made.get("grey")
    payload = saved(image.convert("L") if grey else image, "JPEG", **({} if grey else made))
    slow, fast = (decoded(payload, name, fast_jpeg=choice, fast_resize=False, **options) for choice in (False, True))
    assert slow.shape == fast.shape
    assert slow.dtype == fast.dtype
    assert np.allclose(slow.astype(float), fast.astype(float), rtol=0, atol=2 / 255 if slow.dtype != np.uint8 else 2)


@pytest.mark.parametrize("name", [*ARRAYS, "torchrgb", "torchrgb8", "torchl"])
@pytest.mark.parametrize("size", [(24, 32), (12, 16), (10, 11)])
def test_images_are_decoded_into_out_rows(name, size, fast_jpeg):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    decode = ImageDecoder("jpg", name, ImageOptions(size=size, fast_jpeg=fast_jpeg))
    out_rows = decode.out_rows(3)
    out_rows[:] = 77
    decode(make_jpeg(), out_rows[1])
    assert np.array_equal(out_rows[1], np.asarray(decode(make_jpeg())))
    assert (out_rows[0] == 77).all()
    assert (out_rows[2] == 77).all()


def test_out_rows_need_a_known_shape():
    assert ImageDecoder("jpg", "rgb8", ImageOptions(min_size=5)).out_rows(3) is None
    assert ImageDecoder("jpg", "pil", ImageOptions(size=5)).out_rows(3) is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 5, "min_size": 5}, "not both"),
        ({"size": 0}, "size is 0; expected .height, width."),
        ({"size": (1, 2, 3)}, "size is"),
        ({"min_size": "big"}, "min_size is 'big'"),
        ({"size": (5.0, 5)}, "size is"),
        ({"size": 70_000}, "size is"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(OptionError, match=text):
        ImageOptions(**options)


def test_field_decoders():
    fields, options = ("bin", "cls", "jpg", "json", "seg.png"), ImageOptions()
    assert field_decoders(fields, None, options) == {}
    assert set(field_decoders(fields, "rgb8", options)) == {"cls", "jpg", "json", "seg.png"}
    chosen = field_decoders(fields, {"jpg": "rgb8", "bin": len, "json": None}, options)
    assert set(chosen) == {"bin", "cls", "jpg"}
    assert chosen["bin"](b"abc") == 3
    with pytest.raises(DecodeError, match=r"field 'bin' does not decode as int: ValueError"):
        field_decoders(fields, {"bin": int}, options)["bin"](b"x")
    with pytest.raises(FieldNotFoundError, match="'png'; there are: bin, cls"):
        field_decoders(fields, {"png": "rgb8"}, options)
    for wrong in ("rgb9", 5, {"jpg": "rgb9"}, {"jpg": 5}):
        with pytest.raises(OptionError, match=r"decoding name|decode is"):
            field_decoders(fields, wrong, options)
    with pytest.raises(OptionError, match="choose one of pil, pill"):
        field_decoders(("bin",), "rgb9", options)


def test_only_known_formats_are_tried(monkeypatch):
    asked = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, formats, **k: asked.extend(formats) or real(*a, formats=formats, **k))
    images.open_image(make_jpeg())
    assert not {"EPS", "WMF", "PDF", "PSD"} & set(asked)
