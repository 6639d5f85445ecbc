"""Bad images and labels are found, good ones pass, and warnings of decoders are not shown."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardpack.codecs.field_types import (
    IMAGE_EXTENSIONS,
    SIGNATURE_BYTES,
    parse_json,
    signature_problem,
)
from shardpack.codecs.image import decode_problem
from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import no_progress
from shardpack.sources.image_check import check_images, check_range
from shardpack.sources.image_files import group_files
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from tests.conftest import make_jpeg
from tests.fakes import file_listing, inline_listing
from tests.sources.trees import write_tree
from tests.strategies import examples

FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM"}


def make_image(extension):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(make_jpeg())).save(buffer, FORMATS[extension])
    return buffer.getvalue()


def check_folder(folder, mode):
    listing = group_files(scan(folder, Problems()), Problems())
    return {listing.keys[sample]: reason for sample, reason in check_range(listing, mode)}


@pytest.mark.parametrize("extension", FORMATS)
def test_real_images_are_good(extension):
    image = make_image(extension)
    assert signature_problem(extension, image[:SIGNATURE_BYTES]) is None
    assert decode_problem(extension, image) is None
    assert decode_problem(f"seg.{extension}", image) is None


@pytest.mark.parametrize("extension", FORMATS)
@examples(15)
@given(data=st.data())
def test_truncated_images_are_bad(extension, data):
    image = make_image(extension)
    kept = data.draw(st.integers(0, len(image) // 2))
    assert decode_problem(extension, image[:kept])


@given(st.sampled_from(sorted(IMAGE_EXTENSIONS)), st.binary(max_size=64))
def test_garbage_is_never_an_exception(extension, garbage):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem = decode_problem(extension, garbage)
    assert problem is None or "0x" not in problem  # no memory address: equal input, equal text
    assert signature_problem("txt", garbage) is decode_problem("txt", garbage) is None


def test_signature_says_what_it_looks_like_instead():
    assert signature_problem("jpg", make_image("png")[:12]) == "does not begin like a jpg image, but like a png"
    assert signature_problem("seg.png", b"no image") == "does not begin like a png image"
    assert signature_problem("jpg", b"") == "an empty image"


def test_too_many_pixels_are_a_problem_and_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # the image has 768: a warning for Pillow
    assert decode_problem("jpg", make_jpeg()).startswith(
        "does not decode: 32 x 24 pixels are more than Pillow's limit of 600; raise"
    )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # an error for Pillow
    assert "DecompressionBombError" in decode_problem("jpg", make_jpeg())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_problem("jpg", make_jpeg()) is None


def test_only_the_named_format_is_tried():
    assert decode_problem("jpg", make_image("png")) == "does not decode: Pillow knows no jpg that begins like this"


def test_formats_that_pillow_lacks_count_as_good(monkeypatch):
    monkeypatch.setattr(Image, "registered_extensions", dict)
    assert decode_problem("jpg", b"garbage") is None


@examples(30)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_is_read_as_written(value):
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "not JSON: "),
        (b"", "not JSON: "),
        (b"[NaN]", "not JSON: NaN is not a JSON number; write null"),
        (b"-Infinity", "not JSON: -Infinity is"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON: "),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8 at byte 7"),
        ("{}".encode("utf-16"), "not UTF-8 at byte 0"),
        (b"[" * 100_000, "not JSON: "),
    ],
)
def test_bad_json(text, why):
    with pytest.raises(DecodeError, match=why):
        parse_json(text)


def test_each_mode_finds_its_kind_of_bad_file(tmp_path):
    good = make_jpeg()
    write_tree(tmp_path, {"good.jpg": good, "good.json": "{}", "good.txt": "{", "cut.jpg": good[:200]})
    write_tree(tmp_path, {"fake.jpg": make_image("png"), "label.jpg": good, "label.json": '{"a": '})
    write_tree(tmp_path, {"mask.jpg": good, "mask.seg.png": good, "mask.meta.json": "nonsense"})
    signature = check_folder(tmp_path, "signature")
    assert signature == {
        "fake": "jpg: does not begin like a jpg image, but like a png",
        "label": signature["label"],
        "mask": signature["mask"],
    }
    assert signature["label"].startswith("json: not JSON: ")
    assert signature["mask"].startswith("meta.json: not JSON: ")  # the first bad field
    decode = check_folder(tmp_path, "decode")
    assert decode == {**signature, "cut": decode["cut"]}
    assert decode["cut"].startswith("jpg: does not decode: OSError: ")


def test_signature_reads_only_the_first_bytes(tmp_path, monkeypatch):
    write_tree(tmp_path, {f"{number}.jpg": make_jpeg() for number in range(3)})
    listing = group_files(scan(tmp_path, Problems()), Problems())
    read = []
    real = io.FileIO.read
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: CountingFile(*args, read=read, real=real, **kwargs))
    assert check_range(listing, "signature") == []
    assert read == [SIGNATURE_BYTES] * 3


class CountingFile(io.FileIO):
    def __init__(self, path, mode, *, buffering, read, real):
        assert buffering == 0
        super().__init__(path, mode)
        self._sizes, self._real = read, real

    def read(self, size=-1):
        self._sizes.append(size)
        return self._real(self, size)


def test_slices_together_find_what_the_whole_finds(tmp_path):
    write_tree(tmp_path, {f"{number}.jpg": b"bad" if number % 3 == 0 else make_jpeg() for number in range(10)})
    listing = pickle.loads(pickle.dumps(group_files(scan(tmp_path, Problems()), Problems())))
    whole = check_range(listing, "decode")
    assert [sample for sample, _ in whole] == [0, 3, 6, 9]
    spans = [(0, 4), (4, 4), (4, 5), (5, 10)]
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda span: check_range(listing.slice(*span), "decode"), spans)
    joined = [(first + sample, why) for (first, _), part in zip(spans, parts, strict=True) for sample, why in part]
    assert joined == whole


def test_inline_payloads_are_checked_too():
    image = make_jpeg()
    samples = {"a": {"jpg": image, "json": b"{}"}, "b": {"jpg": b""}, "c": {"jpg": image, "json": b"{"}}
    bad = check_range(inline_listing(samples), "signature")
    assert [sample for sample, _ in bad] == [1, 2]


def test_vanished_and_unreadable_files_are_bad(tmp_path):
    write_tree(tmp_path, {"a.jpg": make_jpeg(), "b.jpg": make_jpeg(), "c.jpg": make_jpeg()})
    listing = group_files(scan(tmp_path, Problems()), Problems())
    os.unlink(tmp_path / "a.jpg")
    os.unlink(tmp_path / "b.jpg")
    os.mkdir(tmp_path / "b.jpg")
    for mode in ("signature", "decode"):
        assert check_range(listing, mode) == [
            (0, "jpg: unreadable: No such file or directory"),
            (1, "jpg: unreadable: Is a directory"),
        ]


def test_no_warning_escapes(tmp_path):
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = b"\0" * 256
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    write_tree(tmp_path, {"a.png": buffer.getvalue(), "b.tif": make_image("tif")[:60]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_folder(tmp_path, "decode").keys() == {"b"}


def test_other_modes_are_refused():
    with pytest.raises(OptionError, match="check_images is 'full'; choose 'signature' or 'decode'"):
        check_range(inline_listing({}), "full")


# A whole listing, in parallel: the same verdict as one by one, in the listing's order.

GOOD, BAD = make_jpeg(), b"no image"


def samples(bad, count=23):
    return {f"{i:02d}": {"jpg": BAD if i in bad else GOOD, "txt": b"x"} for i in range(count)}


def check(listing, *, jobs=1, on_error="skip", progress=no_progress, mode="signature"):
    problems = Problems()
    with start_workers(jobs) as engine:
        good = check_images(
            listing, problems, mode, engine=engine, on_error=on_error, progress=progress, samples_per_task=4
        )
    return good, problems


@pytest.mark.parametrize(
    ("bad", "jobs"),
    [(set(), 1), ({0}, 1), ({22}, 1), ({3, 4, 5, 11}, 1), ({3, 4, 5, 11}, 3), (set(range(0, 23, 2)), 2)],
)
def test_the_bad_ones_are_left_out_in_order(tmp_path, jobs, bad):
    listing = file_listing(tmp_path, samples(bad))
    good, problems = check(listing, jobs=jobs)
    assert list(good.keys) == [f"{i:02d}" for i in range(23) if i not in bad]
    assert [name for name, _ in problems.rejected] == [f"{i:02d}.jpg" for i in sorted(bad)]
    assert all(reason == "jpg: does not begin like a jpg image" for _, reason in problems.rejected)
    if not bad:
        assert good is listing


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_adds_up(jobs):
    calls = []
    check(inline_listing(samples({5})), jobs=jobs, progress=lambda *call: calls.append(call))
    assert calls == [("check", done, 23) for done in (4, 8, 12, 16, 20, 23)]


def test_without_skipping_all_are_counted_in_one_error():
    with pytest.raises(SourceError, match=r"^4 problems in the source: '00'.*; and 1 more; correct them"):
        check(inline_listing(samples({0, 1, 2, 3})), on_error="raise")


def test_nothing_good_is_an_error_also_when_skipping():
    with pytest.raises(SourceError, match=r"all 5 samples are bad, such as '04': .*; replace them"):
        check(inline_listing(samples(set(range(5)), count=5)))


def test_fields_that_only_bad_samples_had_are_gone():
    listing = inline_listing({"a": {"jpg": GOOD}, "b": {"png": BAD}})
    good, _ = check(listing)
    assert good.fields == ("jpg",)


@pytest.mark.parametrize("jobs", [1, 2])
def test_another_mode_is_refused(jobs):
    with pytest.raises(OptionError, match="check_images is 'x'"):
        check(inline_listing(samples(set())), jobs=jobs, mode="x")


def test_no_samples():
    good, problems = check(inline_listing({}))
    assert good.num_samples == 0
    assert problems.rejected == []
