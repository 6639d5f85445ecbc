"""From a store to its manifest and its shards: one read, or a clear word about what is there instead."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import (
    CorruptManifestError,
    DatasetNotFoundError,
    OptionError,
    ShardpackError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.read.open_dataset import load_manifest, missing_dataset, open_shards, reload_manifest
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.fakes import contents
from tests.format.builders import entry
from tests.read.datasets import CountingStore, numbered, packed

FILES = packed(numbered(12), max_shard_samples=4)


def test_opening_costs_one_read():
    store = CountingStore(FILES)
    shards = open_shards(store, limits=CacheLimits(index_bytes=5))
    assert (len(shards), shards.verify, shards.limits.index_bytes) == (3, True, 5)
    assert len(store.taken()) == 1
    assert not open_shards(store, verify=False).verify


def test_nothing_there():
    for found in ({}, {"sidecars": MemoryStore({}, location="memory://other")}):
        with pytest.raises(DatasetNotFoundError, match=r"no dataset in 'memory://.* is missing; pack one with"):
            open_shards(MemoryStore(FILES if found else {}, location="memory://here"), **found)


def test_a_generation_has_its_own_layers(tmp_path):
    edits.write(tmp_path, FILES)
    edits.write(tmp_path / "layer", FILES)
    edits.layered(tmp_path, tmp_path / "layer", [1, 0, 2])
    assert [layer.ref.location for layer in open_shards(LocalStore(str(tmp_path))).layers] == ["layer"]
    assert open_shards(LocalStore(str(tmp_path)), generation=1).layers == ()


def test_sidecars_of_another_store():
    tars = {name: data for name, data in FILES.items() if name.endswith(".tar")}
    rest = {name: data for name, data in FILES.items() if name not in tars}
    shards = open_shards(MemoryStore(tars), sidecars=MemoryStore(rest))
    assert shards.read(7).key == "k/0007"


def test_a_manifest_beyond_all_measure_is_not_read(tmp_path):
    (tmp_path / "ds" / ".shardpack").mkdir(parents=True)
    with (tmp_path / "ds" / MANIFEST_PATH).open("wb") as file:
        file.truncate(200 << 30)
    with pytest.raises(CorruptManifestError, match="too large"):
        open_shards(LocalStore(tmp_path / "ds"))


def test_what_is_elsewhere_must_be_the_tar_that_the_index_tells_of(tmp_path):
    """A manifest of a stranger cannot make a reader hand out just any file of this machine."""
    data = entry(b"a.jpg", b"x" * 700) + bytes(1024)
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(data)
    shardpack.index(tmp_path / "tars", out=tmp_path / "idx", jobs=1)
    (tmp_path / "tars" / "x.tar").write_bytes(b"secret".ljust(len(data), b"!"))
    for verify in (None, True, False):
        with pytest.raises(ShardpackError, match=r"does not match its shard|is damaged"):
            open_shards(LocalStore(tmp_path / "idx"), verify=verify).read(0)


def test_as_it_is_written_and_as_a_value(tmp_path):
    shardpack.pack([("a", {"bin": b"1"})], tmp_path)
    text, whole = load_manifest(LocalStore(tmp_path))
    assert text == (tmp_path / MANIFEST_PATH).read_bytes()
    assert whole.num_samples == 1


@pytest.fixture
def generations(tmp_path):
    """Return the files of a dataset with two generations."""
    shardpack.pack([("a", {"bin": b"1", "txt": "x"})], tmp_path)
    shardpack.index(tmp_path, force=True, ignore=["*.txt"])
    return contents(tmp_path)


def test_one_read_whichever_generation(generations):
    for number in (1, 2, None):
        store = CountingStore(generations)
        text, found = load_manifest(store, number)
        assert found.generation == (number or 2)
        assert text == generations[manifest_path(number or 2)]
        assert len(store.taken()) == 1
        assert reload_manifest(store, found.generation, crc32c(text)) == found


@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_a_generation_that_is_missing_or_damaged(generations, damage):
    for number in (1, 2):
        path = manifest_path(number)
        store = {name: data for name, data in generations.items() if name != path}
        store = MemoryStore(store | ({} if damage is None else {path: damage}))
        if number == 2:
            assert load_manifest(store, 2)[1].generation == 2, "manifest.json is a copy of it"
        else:
            what = "a damaged manifest of generation 1" if damage else "no generation 1"
            with pytest.raises(OptionError, match=f"{what}; the newest is generation 2, open that or an earlier one"):
                load_manifest(store, 1)
    with pytest.raises(DatasetNotFoundError, match="no dataset in 'memory://'"):
        load_manifest(MemoryStore({}), 1)


def test_none_or_a_damaged_one():
    with pytest.raises(DatasetNotFoundError, match="no dataset in 'memory://'"):
        load_manifest(MemoryStore({}))
    with pytest.raises(CorruptManifestError):
        load_manifest(MemoryStore({MANIFEST_PATH: b"{"}))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "no such folder: .*; check the path"),
        ("file", r"not a folder: .*; open the folder that holds .shardpack/manifest.json$"),
        ("x.tar", 'not a folder: .*, or index the tar with "shardpack index"'),
        ("empty", 'no dataset in .*: it has no .shardpack/manifest.json; make one with "shardpack pack"'),
        ("unfinished", "is unfinished; run the same pack command again: it continues where it stopped"),
        ("shards", r"holds 1 shard\(s\), but .* are missing, .*sidecars="),
        (
            "splits",
            r'holds 2 tar\(s\) without .*; if a copy left these out, .*sidecars= .*; otherwise .*index="memory"',
        ),
        ("tars", r'holds 1 tar\(s\) without an index; .*index="memory"'),
    ],
)
def test_every_reader_explains_it(tmp_path, name, says):
    for file in ("file", "x.tar"):
        (tmp_path / file).write_text("")
    for folder in ("empty", "shards", "splits", "tars", "unfinished/.shardpack/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "shards" / "shard-000000.tar").write_text("")
    (tmp_path / "tars" / "a.tar").write_text("")
    for split in ("train", "val"):  # of a packer, or of anybody
        (tmp_path / "splits" / f"{split}-000000.tar").write_text("")
    path = str(tmp_path / name)
    expected = str(missing_dataset(path))
    for read in (shardpack.open, shardpack.verify, lambda source: shardpack.copy(source, tmp_path / "target")):
        with pytest.raises(DatasetNotFoundError, match=says) as caught:
            read(path)
        assert str(caught.value) == expected
    assert not (tmp_path / "target").exists()


def test_a_lost_copy_of_the_manifest_is_made_again_by_repair(tmp_path):
    with shardpack.ShardWriter(tmp_path) as writer:
        for key in ("a", "b"):
            writer.write(key, {"txt": key})
    shardpack.delete(tmp_path, ["a"])
    (tmp_path / MANIFEST_PATH).unlink()
    with pytest.raises(DatasetNotFoundError, match=r'make it again with "shardpack repair .*"$'):
        shardpack.open(tmp_path)
    shardpack.repair(tmp_path)
    assert list(shardpack.open(tmp_path).keys()) == ["b"]


def test_compressed_tars_are_named_as_they_are(tmp_path):
    (tmp_path / "shard-000000.tar.zst").touch()
    message = str(missing_dataset(str(tmp_path)))
    assert message.endswith(f'"shardpack index {tmp_path / "*.tar.zst"}"')
    (tmp_path / "mine.tar").touch()
    assert f'"shardpack index {tmp_path / "*.tar"}"' in str(missing_dataset(str(tmp_path)))


def test_where_only_the_manifests_are_lost_repair_makes_one(tmp_path):
    shardpack.pack([("a", {"txt": "a"}), ("b", {"txt": "b"})], tmp_path, max_shard_samples=1)
    (tmp_path / MANIFEST_PATH).unlink()
    (tmp_path / manifest_path(1)).unlink()
    says = rf"holds 2 shard\(s\) and the indexes of shards.*\"shardpack repair --force {tmp_path}\""
    with pytest.raises(DatasetNotFoundError, match=says):
        shardpack.open(tmp_path)
    shardpack.repair(tmp_path, force=True)
    assert shardpack.verify(tmp_path, full=True).ok
