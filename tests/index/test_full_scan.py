"""The index of one local tar; tests/conformance compares its samples with webdataset's."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE
from tests.format.builders import entry
from tests.read.datasets import collections, packed
from tests.strategies import damaged, examples

END = bytes(1024)
GOOD = entry(b"a.jpg", b"1") + entry(b"a.json", b"22") + entry(b"b.JPG", b"333") + END


@pytest.fixture
def indexed(tmp_path):
    def index(data, name="x.tar"):
        (tmp_path / name).write_bytes(data)
        return scan_whole(TarFile(str(tmp_path), name, DEFAULT_IGNORE))

    return index


@examples(30)
@given(collections(), st.integers(1, 5))
def test_our_own_shards_get_the_index_they_were_packed_with(tmp_path_factory, samples, per_shard):
    folder = tmp_path_factory.mktemp("tar")
    files = packed(samples, max_shard_samples=per_shard)
    for name in [name for name in files if name.endswith(".tar")]:
        (folder / name).write_bytes(files[name])
    report = shardpack.index(folder, jobs=1)
    assert report.num_samples == len(samples)
    for name, data in files.items():
        if not name.startswith(".shardpack/manifest"):  # which say how the dataset came to be
            assert (folder / name).read_bytes() == data, name


def test_all_that_an_index_holds(indexed):
    tar = indexed(GOOD)
    index = tar.index
    assert (tar.name, tar.without_key, tar.ignored) == ("x.tar", 0, {})
    assert index.keys() == ["a", "b"]
    assert index.fields == ("jpg", "json")
    assert (index.member_start.tolist(), index.field.tolist()) == ([0, 2, 3], [0, 1, 0])
    assert index.data_offset.tolist() == [512, 1536, 2560]
    assert index.size.tolist() == [1, 2, 3]
    assert index.header_bytes.tolist() == [512, 512, 512]
    assert index.crc32c.tolist() == [crc32c(b"1"), crc32c(b"22"), crc32c(b"333")]
    assert (index.shard_bytes, index.shard_crc32c, index.end_of_data) == (len(GOOD), crc32c(GOOD), len(GOOD) - 1024)


@pytest.mark.parametrize("tail", [b"", bytes(512), bytes(20 * 512), END + b"whatever an old disk held" * 50_000])
def test_what_follows_the_end_is_part_of_the_file_only(indexed, tail):
    data = GOOD[:-1024] + tail
    index = indexed(data).index
    assert (index.shard_bytes, index.shard_crc32c, index.end_of_data) == (len(data), crc32c(data), len(GOOD) - 1024)


def test_files_without_a_key_are_counted_and_part_of_no_sample(indexed):
    data = entry(b"README", b"x") + entry(b"a.jpg", b"1") + entry(b"Makefile", b"") + entry(b"a.cls", b"2")
    data += entry(b"__meta__/x.json", b"{}") + entry(b"folder/", kind=b"5") + END
    tar = indexed(data)
    assert tar.index.keys() == ["a"]
    assert tar.index.fields == ("cls", "jpg")
    assert tar.without_key == 3, "a folder is not a file"


def test_a_key_that_comes_back_begins_another_sample(indexed):
    data = entry(b"a.jpg", b"1") + entry(b"b.jpg", b"2") + entry(b"a.cls", b"3") + END
    assert indexed(data).index.keys() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("data", "text", "key", "offset"),
    [
        (b"", "not a tar: the file is empty", None, 0),
        (b"\x1f\x8b" + bytes(600), "compressed with gzip, which does not allow random access; decompress it", None, 0),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed with zstd", None, 0),
        (b"x" * 600, "not a tar: the first block is not a header", None, 0),
        (END, r"tar has no samples \(0 files without a key and a field\); leave this tar out", None, None),
        (entry(b"a", b"1") + END, r"tar has no samples \(1 files", None, None),
        (GOOD[:1000], "tar is truncated: it ends inside a member", None, 1000),
        (GOOD[:1024] + b"x" * 512, "tar is damaged: expected a header", None, 1024),
        (
            entry(b"a.jpg", b"1") + entry(b"a.JPG", b"2") + END,
            "sample has field 'jpg' twice, first at 0; rename one of the files",
            "a",
            1024,
        ),
        (
            entry(b"a.jpg", b"1") + entry(b"a.__bad__", b"2") + END,
            "webdataset reserves the field '__bad__' for itself; rename",
            "a",
            1024,
        ),
        (entry(b"a.__KEY__", b"2") + END, "webdataset reserves the field '__key__'", "a", 0),
    ],
)
def test_what_is_refused(indexed, data, text, key, offset):
    with pytest.raises(CorruptShardError, match=text) as caught:
        indexed(data)
    assert (caught.value.shard, caught.value.key, caught.value.offset) == ("x.tar", key, offset)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ShardNotFoundError, match="the tar is missing"):
        scan_whole(TarFile(str(tmp_path), "x.tar", DEFAULT_IGNORE))
    (tmp_path / "x.tar").mkdir()
    with pytest.raises(StorageError, match=r"cannot read the tar: Is a directory; try again"):
        scan_whole(TarFile(str(tmp_path), "x.tar", DEFAULT_IGNORE))


def test_a_fifo_or_device_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo.tar")
    (tmp_path / "zero.tar").symlink_to("/dev/zero")
    for name in ("fifo.tar", "zero.tar"):
        with pytest.raises(StorageError, match="it is a FIFO, socket or device, not a file") as caught:
            scan_whole(TarFile(str(tmp_path), name, DEFAULT_IGNORE))
        assert caught.value.shard == name


def test_a_tar_that_ends_without_samples_is_not_read_on(tmp_path):
    with open(tmp_path / "x.tar", "wb") as file:
        file.write(entry(b"Makefile", b"1"))
        file.truncate(100 << 30)  # a hole: zeros without end
    read = []
    with pytest.raises(CorruptShardError, match=r"tar has no samples \(1 files without a key and a field\)"):
        scan_whole(TarFile(str(tmp_path), "x.tar", DEFAULT_IGNORE), advance=read.append)
    assert not read


@given(damaged(GOOD + entry(b"c.jpg", bytes(700)) + END))
def test_damaged_tars_are_refused_or_read_as_they_stand(tmp_path_factory, data):
    """Never another error, and never an offset outside the file."""
    folder = tmp_path_factory.mktemp("tar")
    (folder / "x.tar").write_bytes(data)
    try:
        index = scan_whole(TarFile(str(folder), "x.tar", DEFAULT_IGNORE)).index
    except CorruptShardError:
        return
    assert ((index.data_offset + index.size) <= len(data)).all()
    for start, size, checksum in zip(index.data_offset.tolist(), index.size.tolist(), index.crc32c, strict=True):
        assert crc32c(data[start : start + size]) == checksum


def test_memory_does_not_grow_with_payloads(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("a.bin")
        info.size = 64 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    tracemalloc.start()
    try:
        scan_whole(TarFile(str(tmp_path), "x.tar", DEFAULT_IGNORE))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
