"""npz: NumPy reads decoded images, keys and labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import shardpack
from shardpack.errors import DecodeError, ExportError, OptionError
from shardpack.export.formats.npz import NpzExporter
from tests.conftest import make_jpeg
from tests.export.datasets import dataset, files


def load(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def png(array, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_pixels_keys_and_labels(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="npz", jobs=1)
    arrays = load(tmp_path / "out" / "00000.npz")
    assert sorted(arrays) == ["class", "images", "keys", "labels"]
    assert arrays["images"].shape == (6, 24, 32, 3)
    for sample, image, key, label in zip(pets, arrays["images"], arrays["keys"], arrays["labels"], strict=True):
        assert np.array_equal(image, np.asarray(sample.decode("jpg")))
        assert (str(key), int(label)) == (sample.key, sample.decode("json")["label"])


def test_masks_arrays_and_values(tmp_path):
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    indexed = Image.fromarray(mask)
    indexed.putpalette([7] * 768)
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG")
    sample = {"png": png(mask), "seg.png": buffer.getvalue(), "npy": np.ones(3, "f4"), "json": {"x": 0.5, "s": "é"}}
    shardpack.export(dataset(tmp_path / "ds", {"a": sample}), tmp_path / "out", to="npz", jobs=1)
    arrays = load(tmp_path / "out" / "00000.npz")
    assert arrays["images"].tolist() == [mask.tolist()]
    assert arrays["seg"].tolist() == [mask.tolist()]
    assert (arrays["npy"].dtype, arrays["npy"].tolist()) == (np.dtype("f4"), [[1, 1, 1]])
    assert (arrays["x"].tolist(), arrays["s"].tolist()) == ([0.5], ["é"])


def test_files_are_cut_by_pixels(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="npz", max_file_bytes=2 * 24 * 32 * 3, jobs=2)
    names = ["00000.npz", "00001.npz", "00002.npz"]
    assert sorted(files(tmp_path / "out")) == [*names, "shardpack-classes.yaml"]
    keys = [key for name in names for key in load(tmp_path / "out" / name)["keys"]]
    assert keys == list(pets.keys())
    shardpack.export(pets, tmp_path / "again", to="npz", max_file_bytes=2 * 24 * 32 * 3, jobs=1)
    assert files(tmp_path / "out") == files(tmp_path / "again")


def test_images_of_other_sizes_are_refused_with_the_way_out(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": make_jpeg()}, "b": {"jpg": make_jpeg(8, 8)}, "c": {"jpg": make_jpeg()}})
    with pytest.raises(ExportError, match=r"expected image as uint8 of shape \(24, 32, 3\), got .*8, 8, 3.*--resize"):
        shardpack.export(ds, tmp_path / "out", to="npz")
    report = shardpack.export(ds, tmp_path / "two", to="npz", on_error="skip")
    assert [key for key, _ in report.rejected] == ["b"]
    assert load(tmp_path / "two" / "00000.npz")["keys"].tolist() == ["a", "c"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"json": {"boxes": []}}, r"'boxes' of the labels is not; leave it out \(--drop boxes\)"),
        ({"json": {"x": None}}, r"--drop x"),
        ({"bin": b"1"}, "'bin' is neither"),
    ],
)
def test_what_npz_cannot_hold_is_a_question(tmp_path, fields, message):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": make_jpeg(), **fields}})
    with pytest.raises(OptionError, match=message):
        shardpack.export(ds, tmp_path / "out", to="npz")


@pytest.mark.parametrize("name", ["labels", "keys", "images"])
def test_two_arrays_of_one_name_are_a_question(tmp_path, name):
    sample = {"jpg": make_jpeg(), "json": {"label": 1}, f"{name}.npy": np.ones(3)}
    ds = dataset(tmp_path / "ds", {"a": sample})
    with pytest.raises(OptionError, match=f"two arrays '{name}'.*--fields"):
        shardpack.export(ds, tmp_path / "out", to="npz")


def test_a_payload_that_some_samples_lack(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": make_jpeg()}, "b": {"jpg": make_jpeg(), "npy": np.ones(1)}})
    with pytest.raises(OptionError, match="'a' lacks npy"):
        shardpack.export(ds, tmp_path / "out", to="npz")
    with pytest.raises(ExportError, match=r"expected npy as float64 of shape \(1,\), got nothing.*key='a'"):
        shardpack.export(ds.select([1, 0]), tmp_path / "out", to="npz")


def test_an_image_that_does_not_decode_is_named(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"\xff\xd8\xff"}})
    with pytest.raises(DecodeError, match="key='a'"):
        shardpack.export(ds, tmp_path / "out", to="npz")


def test_palettes_become_colours(tmp_path):
    image = Image.fromarray(np.zeros((2, 2), np.uint8))
    image.putpalette([9, 8, 7] * 256)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    shardpack.export(dataset(tmp_path / "ds", {"a": {"png": buffer.getvalue()}}), tmp_path / "out", to="npz")
    assert load(tmp_path / "out" / "00000.npz")["images"][0, 0, 0].tolist() == [9, 8, 7]


def test_memory_bounds_a_file():
    exporter = NpzExporter(None, (("image", (100, 100, 3), "|u1"),), 90_000)
    assert exporter.limits.max_samples == 3
