"""Files of NumPy as rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats import npz
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, find_format
from tests.sources.formats.damage import all_rows, opened

PIXELS = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("run_bytes", [1, 200, 1 << 20])
def test_samples_along_the_first_axis(tmp_path, save, run_bytes):
    save(tmp_path / "a.npz", images=PIXELS, labels=[[n] for n in range(5)], keys=[f"k{n}" for n in range(5)])
    found = find_files(tmp_path / "a.npz")
    assert find_format(found) == "npz"
    source = pickle.loads(pickle.dumps(npz.open(found, FormatOptions(), run_bytes=run_bytes)))
    assert source.sentence == "NumPy: 5 rows in 1 file; a sample is npy (image) + json (label; label: label); key: key"
    rows = all_rows(source)
    assert [row.key for row in rows] == [f"k{n}" for n in range(5)]
    assert [row.fields["json"] for row in rows] == [{"label": n} for n in range(5)]
    np.testing.assert_array_equal([row.fields["npy"] for row in rows], PIXELS)


def test_splits_by_names_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=np.arange(5), x_test=PIXELS[:2], y_test=np.arange(2))
    source = opened(tmp_path, "npz", raw="png")
    assert [(unit.split, unit.num_rows) for unit in source.units] == [("train", 5), ("test", 2)]
    assert [row.key for row in all_rows(source)][-2:] == ["test/000000", "test/000001"]
    assert all(row.fields.keys() == {"png", "json"} for row in all_rows(source))


def test_an_image_and_its_maps_are_one_sample(tmp_path):
    (tmp_path / "val").mkdir()
    for name in ("a", "b"):
        np.savez(tmp_path / "val" / f"{name}.npz", image=PIXELS[0], depth=np.zeros((4, 6), "f4"), label=3)
    source = opened(tmp_path, "npz", raw="png")
    assert source.sentence.startswith(
        "NumPy: 2 samples in 2 files; a sample is depth.npy (depth) + png (image) + json (label"
    )
    rows = all_rows(source)
    assert [row.key for row in rows] == ["val/a", "val/b"]
    assert rows[0].fields["json"] == {"label": 3}


def test_an_array_a_sample(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"n{i:02d}": PIXELS[0] for i in range(20)})
    rows = all_rows(opened(tmp_path / "a.npz", "npz"))
    assert [row.key for row in rows] == [f"n{i:02d}" for i in range(20)]
    np.testing.assert_array_equal(rows[7].fields["npy"], PIXELS[0])


def test_files_of_one_array(tmp_path):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", PIXELS[0])
    rows = all_rows(opened(tmp_path, "npz"))
    assert [(row.key, list(row.fields)) for row in rows] == [("a", ["npy"]), ("b", ["npy"])]


def test_files_that_differ_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.arange(5))
    np.savez(tmp_path / "b.npz", images=PIXELS, labels=np.arange(4))
    with pytest.raises(SourceError, match=r"do not share a first axis.*b\.npz"):
        opened(tmp_path, "npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file of NumPy"):
        opened(tmp_path / "empty", "npz")


def test_images_and_labels_of_other_lengths_are_no_sample(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.arange(4))
    with pytest.raises(SourceError, match=r"do not share a first axis.*a\.npz"):
        opened(tmp_path / "a.npz", "npz")


def test_a_damaged_file_is_a_bad_row(tmp_path):
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", PIXELS[0])
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY nothing")
    rows = all_rows(opened(tmp_path, "npz"))
    assert rows[2].name == "c.npy"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
@pytest.mark.parametrize("run_bytes", [1, 1 << 20])
def test_texts_in_the_label_column_are_classes(tmp_path, save, shape, run_bytes):
    save(tmp_path / "a.npz", images=PIXELS, labels=np.array(["wolf", "ant", "ant", "ant", "bee"]).reshape(shape))
    source = npz.open(find_files(tmp_path / "a.npz"), FormatOptions(), run_bytes=run_bytes)
    assert source.classes == ("ant", "bee", "wolf")
    assert [row.fields["json"]["label"] for row in all_rows(source)] == [2, 0, 0, 0, 1]


def test_splits_have_the_same_classes(tmp_path):
    arrays = {"y_train": np.array(["c", "b", "a", "a", "a"]), "x_test": PIXELS[:2], "y_test": np.array([b"d", b"a"])}
    np.savez(tmp_path / "a.npz", x_train=PIXELS, **arrays)
    source = opened(tmp_path, "npz", raw="png")
    assert source.classes == ("a", "b", "c", "d")
    assert [row.fields["json"]["label"] for row in all_rows(source)] == [2, 1, 0, 0, 0, 3, 0]


def test_texts_of_a_file_a_sample_are_classes(tmp_path):
    for name, label in (("a", "wolf"), ("b", "ant"), ("c", "bee")):
        np.savez(tmp_path / f"{name}.npz", image=PIXELS[0], depth=np.zeros((4, 6), "f4"), label=label)
    (tmp_path / "d.npz").write_bytes(b"PK\3\4 nothing")
    source = opened(tmp_path, "npz", raw="png")
    assert source.classes == ("ant", "bee", "wolf")
    *rows, bad = all_rows(source)
    assert [row.fields["json"] for row in rows] == [
        {"label": 2, "class": "wolf"},
        {"label": 0, "class": "ant"},
        {"label": 1, "class": "bee"},
    ]
    assert bad.name == "d.npz"
