"""CIFAR's files in both versions, written here as the originals are: by Python 2, in protocol 2, with text as bytes."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats.cifar import detect
from shardpack.sources.formats.cifar import open as open_cifar
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, find_format
from shardpack.sources.row_source import BadRow
from tests.sources.trees import write_tree

PIXELS = np.random.default_rng(7).integers(0, 256, (4, 3072), np.uint8)
NAMES = ("airplane", "automobile", "bird")


def dumped(value):
    return pickle.dumps(value, 2)


def cifar_10(folder="cifar-10-batches-py/"):
    files = {
        f"{folder}{name}": dumped({
            b"batch_label": b"batch 1",
            b"labels": [2, 0][:count],
            b"data": PIXELS[:count],
            b"filenames": [f"{name}_{n}.png".encode() for n in range(count)],
        })
        for name, count in (("data_batch_1", 2), ("data_batch_2", 1), ("test_batch", 2))
    }  # fmt: skip
    meta = {b"num_cases_per_batch": 2, b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}
    return files | {f"{folder}batches.meta": dumped(meta), f"{folder}readme.html": b"<html>"}


def cifar_100():
    files = {
        name: dumped({
            "data": PIXELS[:count],
            "fine_labels": [1, 0][:count],
            "coarse_labels": [0, 1][:count],
            "filenames": [f"{n}.png" for n in range(count)],
        })
        for name, count in (("train", 2), ("test", 1))
    }  # fmt: skip
    return files | {"meta": dumped({"fine_label_names": ["apple", "fish"], "coarse_label_names": ["fruit", "animal"]})}


def rows_of(path, **options):
    source = open_cifar(find_files(path), FormatOptions(**{"unpickle": "numpy"} | options))
    source = pickle.loads(pickle.dumps(source))
    return source, [row for unit in range(len(source.units)) for row in source.rows(unit, 0, None)]


def image_of(pixels):
    return pixels.reshape(3, 32, 32).transpose(1, 2, 0)


def test_cifar_10(tmp_path):
    write_tree(tmp_path, cifar_10())
    assert find_format(find_files(tmp_path)) == "cifar"
    source, rows = rows_of(tmp_path)
    assert [unit.split for unit in source.units] == ["train", "train", "test"]
    assert [row.key for row in rows] == ["train/000000", "train/000001", "train/000002", "test/000000", "test/000001"]
    assert rows[0].fields["json"] == {"label": 2, "class": "bird", "filename": "data_batch_1_0.png"}
    assert np.array_equal(rows[1].fields["png"], image_of(PIXELS[1]))
    assert rows[1].fields["png"].shape == (32, 32, 3)
    assert source.classes == NAMES
    assert source.sentence == (
        "CIFAR: 5 images in 3 files; a sample is png + json (label, class; 3 classes); key: row number; "
        "1 other file is not read: cifar-10-batches-py/readme.html"
    )
    assert next(iter(source.rows(0, 1, 2))).key == rows[1].key


def test_cifar_100_has_two_labels(tmp_path):
    write_tree(tmp_path, cifar_100())
    _, rows = rows_of(tmp_path, key_column="filename", raw="npy")
    assert [row.key for row in rows] == ["train/0", "train/1", "test/0"]
    assert rows[0].fields["json"] == {
        "label": 1, "class": "fish", "coarse_label": 0, "coarse_class": "fruit", "filename": "0.png",
    }  # fmt: skip
    assert "npy" in rows[0].fields


def test_the_binary_version_of_cifar_10(tmp_path):
    records = b"".join(bytes([label]) + pixels.tobytes() for label, pixels in zip([2, 0, 1, 1], PIXELS, strict=True))
    write_tree(tmp_path, {"data_batch_1.bin": records, "test_batch.bin": records, "batches.meta.txt": "\n".join(NAMES)})
    assert detect(find_files(tmp_path))
    source, rows = rows_of(tmp_path, unpickle=None)
    assert [row.fields["json"]["class"] for row in rows[:4]] == ["bird", "airplane", "automobile", "automobile"]
    assert np.array_equal(rows[6].fields["png"], image_of(PIXELS[2]))
    assert len(rows) == sum(unit.num_rows for unit in source.units) == 8


def test_the_binary_version_of_cifar_100(tmp_path):
    records = b"".join(bytes([1, label]) + pixels.tobytes() for label, pixels in zip([2, 0], PIXELS, strict=False))
    names = {"fine_label_names.txt": "\n".join(NAMES), "coarse_label_names.txt": "fruit\nanimal\n"}
    write_tree(tmp_path, {"train.bin": records, "test.bin": records, **names})
    assert detect(find_files(tmp_path))
    _, rows = rows_of(tmp_path, unpickle=None)
    assert rows[0].fields["json"] == {"label": 2, "class": "bird", "coarse_label": 1, "coarse_class": "animal"}


def test_the_archive_as_downloaded(tmp_path):
    files = cifar_10()
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path = tmp_path / "cifar-10-python.tar.gz"
    assert find_format(find_files(path)) == "cifar"
    _, rows = rows_of(path)
    _, unpacked = rows_of(write_tree(tmp_path / "unpacked", files))
    assert [(row.key, row.fields["json"]) for row in rows] == [(row.key, row.fields["json"]) for row in unpacked]


def test_pickles_are_read_only_on_request(tmp_path):
    write_tree(tmp_path, cifar_10())
    with pytest.raises(OptionError, match=r"pass unpickle='numpy' \(--unpickle numpy\)"):
        rows_of(tmp_path, unpickle=None)


def test_a_label_without_a_class_is_a_bad_row(tmp_path):
    batch = {"data": PIXELS[:2], "labels": [7, 1], "filenames": ["a.png", "b.png"]}
    write_tree(tmp_path, cifar_10("") | {"data_batch_1": dumped(batch)})
    _, rows = rows_of(tmp_path)
    assert rows[0] == BadRow("data_batch_1, image 0", "label is 7, and there are 3 classes")
    assert rows[1].key == "train/000001"


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ([1], "expected a dict"),
        ({"data": PIXELS[:, :100], "labels": [1] * 4}, "expected data of N x 3072"),
        ({"data": PIXELS.astype("f4"), "labels": [1] * 4}, "expected data of N x 3072"),
        ({"data": PIXELS, "labels": [1]}, "expected 4 labels beside"),
        ({"data": PIXELS, "labels": [1.5] * 4}, "expected 4 labels beside"),
        ({"data": PIXELS, "labels": [1] * 4, "filenames": ["a"]}, "expected 4 filenames"),
        ({"data": PIXELS}, "expected 4 labels"),
    ],
)
def test_other_pickles_are_refused(tmp_path, batch, reason):
    write_tree(tmp_path, cifar_10("") | {"data_batch_1": dumped(batch)})
    with pytest.raises(SourceError, match=reason) as caught:
        rows_of(tmp_path)
    assert caught.value.path == "data_batch_1"


class _Run:
    def __reduce__(self):
        return print, ("ran",)


def test_nothing_is_run(tmp_path, capsys):
    write_tree(tmp_path, cifar_10("") | {"data_batch_1": dumped({"data": _Run()})})
    with pytest.raises(SourceError, match=r"__builtin__\.print"):
        rows_of(tmp_path)
    assert not capsys.readouterr().out


def test_a_binary_file_of_another_length_is_refused(tmp_path):
    write_tree(tmp_path, {"data_batch_1.bin": bytes(3073), "data_batch_2.bin": bytes(3000)})
    with pytest.raises(SourceError, match="3000 bytes are not a number of CIFAR images"):
        rows_of(tmp_path, unpickle=None)


def test_other_folders_are_not_cifar(tmp_path):
    write_tree(tmp_path, {"train": b"\x80text", "test": b"\x80", "a.bin": b"x"})
    assert not detect(find_files(tmp_path))
