"""Each tar gets an index; an earlier run's index is reused only if the tar has not changed."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.commit.transaction import Transaction
from shardpack.errors import CorruptShardError, DuplicateKeyError, StaleIndexError
from shardpack.format.layout import index_path
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.index import build as build_module
from shardpack.index.build import RepeatedKey, TarIndexer
from shardpack.index.find import find_tars
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.storage.memory import MemoryStore
from tests.format.builders import entry
from tests.strategies import examples

keys = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).filter(
    lambda found: all(one != other for one, other in pairwise(found))  # neighbours are one sample
)


def tar(*names: str) -> bytes:
    return b"".join(entry(f"{name}.jpg".encode(), name.encode()) for name in names) + bytes(1024)


def built(tars, *, target=None, **options):
    """Return the indexer of tars when it has finished in memory, and where its indexes went."""
    target = target or target_of(MemoryStore({}))
    found = find_tars(tars if isinstance(tars, (str, os.PathLike)) else MemoryStore(tars))
    with Transaction.index_beside(target) as transaction:
        indexer = TarIndexer(found, target, transaction, ignore=DEFAULT_IGNORE)
        indexer.index_all(**options)
    return indexer, target


@examples(40)
@given(st.lists(keys, min_size=1, max_size=4), st.sampled_from([1, 3]))
def test_repeats_are_all_but_the_first_of_a_key_in_the_order_of_the_dataset(shards, jobs):
    indexer, target = built({f"{number}.tar": tar(*names) for number, names in enumerate(shards)}, jobs=jobs)
    found = [
        (name, f"{number}.tar", 1024 * row) for number, names in enumerate(shards) for row, name in enumerate(names)
    ]
    first: dict[str, tuple] = {}
    expected = []
    for key, shard, offset in found:
        if (shard, offset) != first.setdefault(key, (shard, offset)):
            expected.append((key, shard, offset, *first[key]))
    if expected:
        with pytest.raises(DuplicateKeyError, match=rf"^{len(expected)} key\(s\) repeat"):
            indexer.check_unique("raise")
        indexer.repeated.clear()
    indexer.check_unique("keep")
    assert [(one.key, one.shard, one.offset, one.first_shard, one.first_offset) for one in indexer.repeated] == expected
    manifest, _ = indexer.encode()
    assert (manifest.num_samples, manifest.unique_keys) == (len(found), not expected)
    for info in indexer.shards:
        index = parse_index(target.read(info.index_path), name=info.index_path)
        assert index.keys() == shards[int(info.name.removesuffix(".tar"))]


def test_the_files_of_the_dataset_are_those_of_its_shards():
    indexer, _ = built({"x.tar": tar("a", "b"), "y.tar": tar("c")})
    manifest, files = indexer.encode("s3://bucket/tars")
    assert manifest.locations == ("s3://bucket/tars",)
    assert parse_manifest(b"".join(dict(files)[".shardpack/manifest.json"])) == manifest
    again, _ = indexer.encode()
    assert again.packed_with == manifest.packed_with
    assert again.fingerprint == manifest.fingerprint, "wherever the tars are"


def test_any_number_of_jobs_gives_the_same(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.tar").write_bytes(tar(*(f"{number}{letter}" for letter in "abc")))
    one, _ = built(tmp_path, jobs=1)
    other, _ = built(tmp_path, jobs=2)
    assert other.shards == one.shards
    assert other.encode()[0] == one.encode()[0]
    assert other.bytes_fetched == one.bytes_fetched == sum(path.stat().st_size for path in tmp_path.glob("*.tar"))


def test_without_checksums_payloads_on_disk_are_not_read(tmp_path):
    large = entry(b"a.jpg", bytes(4 << 20)) + bytes(1024)
    (tmp_path / "x.tar").write_bytes(large)
    indexer, _ = built(tmp_path, checksums=False)
    assert indexer.shards[0].crc32c is None
    assert indexer.bytes_fetched < len(large) / 2


@pytest.fixture
def folder(tmp_path):
    for name in "xy":
        (tmp_path / f"{name}.tar").write_bytes(tar(name))
    return tmp_path


def test_what_was_finished_is_taken_over(folder):
    first, target = built(folder, jobs=1)
    second, _ = built(folder, target=target, jobs=1)
    assert (second.resumed, second.bytes_fetched) == (2, 0)
    assert second.shards == first.shards
    assert second.encode()[0] == first.encode()[0]


@pytest.mark.parametrize("what", ["time", "content", "index", "lost index"])
def test_what_changed_meanwhile_is_indexed_again(folder, what):
    _, target = built(folder, jobs=1)
    changed = folder / "x.tar"
    if what == "time":
        os.utime(changed, ns=(1, 1))
    elif what == "content":
        changed.write_bytes(tar("other", "more"))
    elif what == "index":
        target.put(index_path("x.tar"), [b"damaged"])
    else:
        target.delete([index_path("x.tar")])
    indexer, _ = built(folder, target=target, jobs=1)
    assert (indexer.resumed, indexer.bytes_fetched) == (1, changed.stat().st_size)
    truth, _ = built(folder, jobs=1)
    assert indexer.shards == truth.shards
    assert parse_index(target.read(index_path("x.tar")), name="x").num_samples == (2 if what == "content" else 1)


def test_a_bad_tar_ends_the_others():
    tars = {f"{number}.tar": tar("a") for number in range(50)} | {"00.tar": b"no tar" * 1000}
    with pytest.raises(CorruptShardError) as caught:
        built(tars, jobs=4)
    assert caught.value.shard == "00.tar"


def test_keys_of_one_hash_are_not_taken_for_one(monkeypatch):
    monkeypatch.setattr(ShardIndex, "key_hashes", lambda self: np.zeros(self.num_samples, np.uint64))
    indexer, _ = built({"x.tar": tar("a", "b"), "y.tar": tar("c", "a")})
    indexer.check_unique("keep")
    assert [(one.key, one.shard, one.offset) for one in indexer.repeated] == [("a", "y.tar", 1024)]


def test_a_tar_that_changes_while_it_is_indexed_is_told(tmp_path, monkeypatch):
    path = tmp_path / "x.tar"
    path.write_bytes(tar("a.txt"))
    scan = build_module.scan_whole

    def scan_and_replace(*arguments, **options):
        indexed = scan(*arguments, **options)
        (tmp_path / "new").write_bytes(tar("b.txt"))
        os.replace(tmp_path / "new", path)
        return indexed

    monkeypatch.setattr(build_module, "scan_whole", scan_and_replace)
    with pytest.raises(StaleIndexError, match=r"changed while it was indexed; .* \(shard='x\.tar'\)"):
        shardpack.index(tmp_path, jobs=1)
    monkeypatch.undo()
    assert shardpack.index(tmp_path, jobs=1).num_samples == 1
    assert list(shardpack.open(tmp_path).keys()) == ["b"]


def test_a_repeated_key_says_where_both_samples_begin():
    repeated = RepeatedKey("it's", "b.tar", 4096, "a.tar", 0)
    assert str(repeated) == "\"it's\" in 'b.tar' at 4096, after 'a.tar' at 0"
