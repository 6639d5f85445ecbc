"""HDF5 files, with h5py as the writer."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.runtime import worker
from shardpack.sources.formats import hdf5
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow
from tests.conftest import make_jpeg
from tests.sources.formats.tables import open_source, samples_of
from tests.strategies import damaged, examples

JPEGS = [make_jpeg(seed=i) for i in range(6)]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Read in this process, as a worker does; the tests of `guarded.py` read in a child."""
    monkeypatch.setattr(worker, "_serving", [True])


def add_images(group, name, payloads):
    dataset = group.create_dataset(name, (len(payloads),), h5py.vlen_dtype("u1"))
    for number, payload in enumerate(payloads):
        dataset[number] = np.frombuffer(payload, "u1")


def test_a_folder_without_files_of_the_format_is_an_error(tmp_path):
    (tmp_path / "a.log").touch()
    with pytest.raises(SourceError, match=r"no HDF5 file is in .*; expected names such as \*\.h5"):
        hdf5.open_here(find_files(tmp_path), FormatOptions())


def test_a_table_of_encoded_images_becomes_samples(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        add_images(file, "images", JPEGS)
        file["labels"] = np.arange(6) % 2
        file["keys"] = [f"x/{i}.jpg" for i in range(6)]
        file["boxes"] = np.arange(24, dtype=np.float32).reshape(6, 4)
        file["embedding"] = np.zeros((6, 65), np.float16)
        file["class_names"] = ["cat", "dog"]
        file["mean"] = np.zeros(3)
    source = open_source(hdf5, tmp_path / "t.h5")
    assert source.classes == ("cat", "dog")
    assert source.sentence == (
        "HDF5: 6 samples in 1 file; a sample is embedding.npy (embedding) + jpg (images) + json (2 columns; label: "
        "labels); key: keys; 1 dataset is not read: mean"
    )
    for i, (key, fields) in enumerate(samples_of(source)):
        assert fields.pop("embedding.npy").startswith(b"\x93NUMPY")
        boxes = [4.0 * i + j for j in range(4)]
        assert (key, fields) == (
            f"x/{i}",
            {"jpg": JPEGS[i], "json": {"boxes": boxes, "label": i % 2, "class": ("cat", "dog")[i % 2]}},
        )


@pytest.mark.parametrize("raw", [None, "png"])
def test_arrays_keep_their_pixels(tmp_path, raw):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 5, 4, 3), np.uint8)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("image", data=pixels, chunks=(3, 5, 4, 3), compression="gzip")
        file.create_dataset("label", data=np.array([0, 1] * 5), dtype=h5py.enum_dtype({"cat": 0, "dog": 1}))
    source = open_source(hdf5, tmp_path / "t.h5", raw=raw)
    assert source.classes == ("cat", "dog")
    fields = [fields for _, fields in samples_of(source)]
    assert all((part[raw or "npy"] == pixels[i]).all() for i, part in enumerate(fields))
    assert [key for key, *_ in source.rows(0, 7, 9)] == ["000007", "000008"]


@given(st.data())
@examples(30)
def test_values_come_back(tmp_path_factory, data):
    rows = data.draw(st.integers(1, 40))
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
    kinds = {
        "i": st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(allow_nan=False, allow_infinity=False),
        "b": st.booleans(),
        "s": texts,
        "v": st.lists(st.integers(0, 9), max_size=3),
        "p": st.binary(max_size=9).map(lambda tail: JPEGS[0][:3] + tail),
    }
    columns = {name: data.draw(st.lists(kind, min_size=rows, max_size=rows)) for name, kind in kinds.items()}
    path = tmp_path_factory.mktemp("h") / "t.h5"
    with h5py.File(path, "w") as file:
        for name in "if":
            file[name] = np.array(columns[name], "i8" if name == "i" else "f8")
        file["b"] = np.array(columns["b"])
        file.create_dataset("s", data=columns["s"], dtype=h5py.string_dtype())
        lists = file.create_dataset("v", (rows,), h5py.vlen_dtype("i4"))
        for number, value in enumerate(columns["v"]):
            lists[number] = value
        add_images(file, "p", columns["p"])
    found = samples_of(open_source(hdf5, path))
    assert [fields["jpg"] for _, fields in found] == columns["p"]
    assert [fields["json"] for _, fields in found] == [
        {name: columns[name][row] for name in "bfisv"} for row in range(rows)
    ]


def test_datasets_in_groups_are_samples_and_top_groups_are_splits(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for number, name in enumerate(("train/cat/a.jpg", "train/dog/a.jpg", "test/cat/b.jpg")):
            file[name] = np.frombuffer(JPEGS[number], "u1")
            file[name].attrs["weight"] = number
    source = open_source(hdf5, tmp_path / "t.h5")
    assert sorted((unit.split, unit.num_rows) for unit in source.units) == [("test", 1), ("train", 1), ("train", 1)]
    assert samples_of(source) == [
        ("test/cat/b", {"jpg": JPEGS[2], "json": {"weight": 2}}),
        ("train/cat/a", {"jpg": JPEGS[0], "json": {"weight": 0}}),
        ("train/dog/a", {"jpg": JPEGS[1], "json": {"weight": 1}}),
    ]


def test_groups_of_equal_datasets_are_samples(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for number in range(3):
            file[f"s{number}/image"] = np.void(JPEGS[number])
            file[f"s{number}/depth"] = np.full((2, 3), number, np.float32)
            file[f"s{number}/meta/name"] = f"n{number}"
    rows = samples_of(open_source(hdf5, tmp_path / "t.h5"))
    assert [(key, fields["jpg"], fields["json"]) for key, fields in rows] == [
        (f"s{number}", JPEGS[number], {"meta/name": f"n{number}"}) for number in range(3)
    ]
    assert rows[2][1]["depth.npy"].tolist() == [[2, 2, 2]] * 2


def test_names_of_datasets_tell_splits(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for split, rows in (("train", 4), ("test", 2)):
            file[f"{split}_set_x"] = np.zeros((rows, 3, 3), np.uint8)
            file[f"{split}_set_y"] = np.arange(rows)
        file["list_classes"] = ["a", "b", "c", "d"]
    source = open_source(hdf5, tmp_path / "t.h5")
    assert [(unit.split, unit.num_rows) for unit in source.units] == [("test", 2), ("train", 4)]
    assert samples_of(source)[-1][1]["json"] == {"label": 3, "class": "d"}


def test_several_files_are_one_source(tmp_path):
    for name, label in (("train.h5", "wolf"), ("val.h5", "ant")):
        with h5py.File(tmp_path / name, "w") as file:
            file["image"] = np.zeros((2, 3, 3), np.uint8)
            file["label"] = [label] * 2
    source = open_source(hdf5, tmp_path)
    assert source.classes == ("ant", "wolf")
    assert [(key, fields["json"]) for key, fields in samples_of(source)] == [
        *((f"train/00000{i}", {"label": 1, "class": "wolf"}) for i in range(2)),
        *((f"val/00000{i}", {"label": 0, "class": "ant"}) for i in range(2)),
    ]


def test_a_dataset_that_cannot_be_read_is_one_bad_row(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for number in range(3):
            pixels = np.full((64, 64), number, np.uint8)
            file.create_dataset(f"{number}.png", data=pixels, chunks=(64, 64), fletcher32=True)
    path = tmp_path / "t.h5"
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes([1]) * 4096, bytes([1]) * 4095 + b"\0"))
    rows = samples_of(open_source(hdf5, path))
    assert [row[0] for row in rows] == ["0", "t.h5, '1.png'", "2"]
    assert isinstance(rows[1], BadRow)


def test_matlab_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "t.mat", "w", userblock_size=512) as file:
        file["x"] = np.zeros((3, 3))
    with (tmp_path / "t.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    with pytest.raises(SourceError, match="MATLAB"):
        hdf5.open(find_files(tmp_path / "t.mat"), FormatOptions())


def test_options_of_others_are_refused(tmp_path):
    (tmp_path / "t.h5").touch()
    with pytest.raises(OptionError, match="unpickle"):
        hdf5.open(find_files(tmp_path / "t.h5"), FormatOptions(unpickle="plain"))


@pytest.mark.parametrize("length", [0, 8, 100, 500, 2000])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path, length):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        add_images(file, "image", JPEGS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SourceError, match=r"cannot read t\.h5"):
        hdf5.open(find_files(path), FormatOptions())


@given(st.data())
@examples(60)
def test_damage_is_one_error_of_ours_or_none(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("h") / "t.h5"
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((3, 4, 4), np.uint8)
        file["label"] = np.arange(3)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        samples_of(hdf5.open(find_files(path), FormatOptions()))
    except ShardpackError as error:
        assert "\n" not in str(error)  # noqa: PT017 - damage may leave a file that is whole
