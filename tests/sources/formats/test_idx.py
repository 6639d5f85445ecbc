"""MNIST's files: written here by the layout that its page gives, plain and gzipped."""

from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest

from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.idx import detect
from shardpack.sources.formats.idx import open as open_idx
from shardpack.sources.formats.importer import FormatOptions, find_format
from tests.sources.trees import write_tree

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx_of(array, *, kind=8):
    header = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


def mnist(*, packed=lambda data: data, ending=""):
    files = {}
    for split, count in (("train", 5), ("t10k", 2)):
        files[f"{split}-images-idx3-ubyte{ending}"] = packed(idx_of(IMAGES[:count]))
        files[f"{split}-labels-idx1-ubyte{ending}"] = packed(idx_of(LABELS[:count]))
    return files


def rows_of(folder, unit=0, first=0, stop=None, **options):
    source = pickle.loads(pickle.dumps(open_idx(find_files(folder), FormatOptions(**options))))
    return source, list(source.rows(unit, first, stop))


@pytest.mark.parametrize(("packed", "ending"), [(bytes, ""), (gzip.compress, ".gz")])
def test_images_with_their_labels(tmp_path, packed, ending):
    write_tree(tmp_path, mnist(packed=packed, ending=ending))
    assert find_format(find_files(tmp_path)) == "idx"
    source, rows = rows_of(tmp_path)
    assert [(unit.split, unit.num_rows) for unit in source.units] == [("train", 5), ("test", 2)]
    assert [row.key for row in rows] == [f"train/{n:06d}" for n in range(5)]
    assert [row.fields["json"] for row in rows] == [{"label": label} for label in LABELS.tolist()]
    assert all(np.array_equal(row.fields["png"], image) for row, image in zip(rows, IMAGES, strict=True))
    _, some = rows_of(tmp_path, 0, 2, 4)
    assert [row.key for row in some] == [row.key for row in rows[2:4]]
    assert np.array_equal(some[1].fields["png"], IMAGES[3])
    assert source.sentence == ("idx (MNIST): 7 images of 4x3 pixels; a sample is png + json (label); key: row number")


def test_what_was_unpacked_beside_the_download_counts_once(tmp_path):
    write_tree(tmp_path, mnist() | mnist(packed=gzip.compress, ending=".gz"))
    source, _ = rows_of(tmp_path)
    assert [unit.name for unit in source.units] == ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"]
    assert "not read" not in source.sentence


def test_one_file_of_images_finds_its_labels(tmp_path):
    write_tree(tmp_path, mnist())
    _, rows = rows_of(tmp_path / "t10k-images-idx3-ubyte", raw="npy", classes=tuple("abcdefg"))
    assert [row.key for row in rows] == ["000000", "000001"]
    assert rows[0].fields["json"] == {"label": 3, "class": "d"}
    assert "npy" in rows[0].fields


def test_files_without_labels(tmp_path):
    write_tree(tmp_path, {name: data for name, data in mnist().items() if "labels" not in name})
    source, rows = rows_of(tmp_path)
    assert set(rows[0].fields) == {"png"}
    assert "without labels" in source.sentence


def test_labels_of_qmnist(tmp_path):
    labels = np.array([[7, 0, 1], [2, 5, 6]], ">i4")
    files = {
        "qmnist-test-images-idx3-ubyte.gz": gzip.compress(idx_of(IMAGES[:2])),
        "qmnist-test-labels-idx2-int.gz": gzip.compress(idx_of(labels, kind=12)),
    }
    write_tree(tmp_path, files)
    source, rows = rows_of(tmp_path)
    assert source.units[0].split == "test"
    assert [row.fields["json"]["label"] for row in rows] == [7, 2]


def test_emnist_is_said_to_be_transposed(tmp_path):
    write_tree(tmp_path, {f"emnist-letters-{name}": data for name, data in mnist().items() if "train" in name})
    source, _ = rows_of(tmp_path)
    assert "transposed" in source.sentence
    assert source.units[0].split == "train"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("train-labels-idx1-ubyte", idx_of(LABELS[:4]), "4 labels for 5 images"),
        ("train-images-idx3-ubyte", idx_of(IMAGES)[:-1], "says 5 rows, so 76 bytes; it has 75"),
        ("train-images-idx3-ubyte", idx_of(IMAGES) + b"x", "says 5 rows, so 76 bytes; it has 77"),
        ("train-images-idx3-ubyte", b"\1" + idx_of(IMAGES)[1:], "not an idx file"),
        ("train-images-idx3-ubyte", idx_of(IMAGES.astype(">i4"), kind=12), "expected images of bytes"),
        ("train-images-idx3-ubyte", b"\0\0\x08\3" + b"\xff" * 12, "copy it again"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, data, reason):
    write_tree(tmp_path, mnist() | {name: data})
    with pytest.raises(SourceError, match=reason) as caught:
        rows_of(tmp_path)
    assert caught.value.path == name


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_files_truncated_at_every_offset_are_refused(tmp_path, packed):
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    whole = dict(zip(names, (packed(idx_of(IMAGES)), packed(idx_of(LABELS))), strict=True))
    for name in names:
        for length in range(len(whole[name])):
            write_tree(tmp_path, whole | {name: whole[name][:length]})
            with pytest.raises(ShardpackError):
                rows_of(tmp_path)


def test_options_that_mean_nothing_are_refused(tmp_path):
    write_tree(tmp_path, mnist())
    with pytest.raises(OptionError, match="key_column"):
        rows_of(tmp_path, key_column="x")


def test_other_files(tmp_path):
    write_tree(tmp_path, {"train-images-idx3-ubyte": b"text", "a.txt": b"text"})
    assert not detect(find_files(tmp_path))
    with pytest.raises(SourceError, match="no idx file of images"):
        rows_of(tmp_path / "a.txt")
