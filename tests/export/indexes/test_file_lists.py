"""The JSON of hfutils and webshart: what their own tools write."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import DuplicateKeyError
from shardpack.export.indexes.file_lists import index_name
from tests.export.indexes.samples import exported, members
from tests.export.indexes.test_index_source import write_tar


@pytest.mark.parametrize("hashes", [False, True])
def test_hfutils(ds, golden, tmp_path, hashes):
    for name, made in exported(ds, tmp_path, "hfutils", hashes=hashes).items():
        expected = golden["hfutils"][f"{name}, hashes {hashes}"]
        if hashes:
            assert made.decode() == expected  # byte for byte
            continue
        assert json.loads(made) == {
            name: value for name, value in json.loads(expected).items() if name not in ("hash", "hash_lfs")
        }


@pytest.mark.parametrize("hashes", [False, True])
def test_webshart(ds, golden, tmp_path, hashes):
    for name, text in exported(ds, tmp_path, "webshart", hashes=hashes).items():
        made, expected = json.loads(text), golden["webshart"][name]
        for entry in expected["files"].values():
            entry.pop("json_metadata", None)  # a payload
        assert all(("sha256" in entry) is hashes for entry in made["files"].values())
        for entry in made["files"].values():
            entry.pop("sha256", None)
        assert made == expected


def test_names_that_json_escapes(tmp_path):
    names = {'q"uote.jpg': b"1", "back\\slash.jpg": b"22", "é.JPG": b"333", "line\nfeed.jpg": b"4444"}
    write_tar(tmp_path / "x.tar", names)
    ds = shardpack.open(tmp_path, index="memory")
    files = json.loads(exported(ds, tmp_path / "out", "hfutils")["x.json"])["files"]
    assert files == {one.name: {"offset": one.offset_data, "size": one.size} for one in members(tmp_path / "x.tar")}
    assert list(files) == list(names)


def test_names_of_lists():
    assert index_name("d/x.y.tar") == "d/x.y.json"


@pytest.mark.parametrize("to", ["hfutils", "webshart"])
def test_keys_that_repeat_are_refused(tmp_path, to):
    write_tar(tmp_path / "x.tar", {"a.jpg": b"1", "b.jpg": b"2", "a.json": b"{}"})
    shardpack.index(tmp_path, on_duplicate="keep")
    with pytest.raises(DuplicateKeyError, match=f"{to} knows each name once"):
        exported(shardpack.open(tmp_path), tmp_path / "out", to)
