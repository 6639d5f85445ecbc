"""Energon's files: those of its own tool, byte for byte and row for row."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

import shardpack
from shardpack.errors import InvalidKeyError
from shardpack.export.indexes.energon import index_name, index_uuid, split_yaml
from tests.export.indexes.samples import exported, members
from tests.export.indexes.test_index_source import write_tar


def test_the_files_of_its_own_tool(ds, golden, tmp_path):
    made = exported(ds, tmp_path, "energon")
    texts = {name: made[name].decode() for name in golden["energon"]["texts"]}
    assert texts == golden["energon"]["texts"]
    assert {name: data.hex() for name, data in made.items() if name.endswith(".idx")} == golden["energon"]["indexes"]
    assert UUID(made[".nv-meta/index.uuid"].decode()).version == 4
    assert len(made) == 3 + 5


def test_offsets_are_those_of_first_headers(ds, tmp_path):
    made = exported(ds, tmp_path, "energon")
    for info in ds.shards:
        judged = members(tmp_path.parent / ds.location / info.name)
        starts = struct.unpack(f"<{info.num_samples + 1}Q", made[f"{info.name}.idx"])
        assert set(starts[:-1]) <= {one.offset for one in judged}
        assert starts[-1] == info.num_bytes - 1024


@pytest.mark.parametrize(("tar", "index"), [("a.tar", "a.tar.idx"), ("d/x.y.tar", "d/x.y.tar.idx"), ("x", "x.tar.idx")])
def test_names_of_indexes(tar, index):
    assert index_name(tar) == index


def test_the_uuid_is_that_of_the_content():
    assert index_uuid("a") == index_uuid("a") != index_uuid("b")


def test_splits():
    splits = {"train": ["train-0.tar", "train-1.tar"], "validation": ["validation-0.tar"], "true": ["a b.tar"]}
    assert split_yaml([], splits).decode() == (
        "split_parts:\n  train:\n  - train-{0..1}.tar\n  val:\n  - validation-0.tar\n"
        '  "true":\n  - "a b.tar"\nexclude: []\n'
    )


def test_names_beyond_the_first_plane_are_not_escaped():
    assert (
        '  "\N{CAT FACE}":\n  - "\N{CAT FACE}.tar"\n' in split_yaml([], {"\N{CAT FACE}": ["\N{CAT FACE}.tar"]}).decode()
    )


def test_two_splits_of_one_name_to_it_are_one():
    made = split_yaml([], {"val": ["a.tar"], "valid": ["b.tar"]}).decode()
    assert made == "split_parts:\n  val:\n  - a.tar\n  - b.tar\nexclude: []\n"


def test_files_that_it_would_take_for_samples_are_refused(tmp_path):
    write_tar(tmp_path / "x.tar", {"d/a.jpg": b"1", "d/._a.jpg": b"2"})
    shardpack.index(tmp_path)
    with pytest.raises(InvalidKeyError, match="Energon would take it for a sample") as caught:
        exported(shardpack.open(tmp_path), tmp_path / "out", "energon")
    assert caught.value.key == "d/._a.jpg"


def test_files_that_are_no_samples_to_it_either_stay(tmp_path):
    write_tar(tmp_path / "x.tar", {"README": b"0", "d/a.JPG": b"1", "__meta__/b.json": b"{}", "d/b.jpg": b"2"})
    shardpack.index(tmp_path)
    made = exported(shardpack.open(tmp_path), tmp_path / "out", "energon")
    assert struct.unpack("<3Q", made["x.tar.idx"]) == (1024, 3072, 4096)
