"""Whole samples of tars that break off anywhere, or are damaged somewhere."""

from __future__ import annotations

import io
import tarfile

import pytest

import shardpack
from shardpack.edit.salvage import find_whole_samples, salvaged_parts
from shardpack.index.frame_scan import find_frames, scan_compressed
from shardpack.storage.memory import MemoryStore
from tests.edit.lost_files import contents, make

NAME = "shard-000000.tar"


@pytest.fixture(scope="module")
def tar(tmp_path_factory):
    """A tar of three samples with two members each, and where each sample ends."""
    data = contents(make(tmp_path_factory.mktemp("x") / "out", 3))[NAME]
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        members = opened.getmembers()
    ends = [member.offset_data + -(-member.size // 512) * 512 for member in members[1::2]]
    return data, ends


def salvage(data):
    store = MemoryStore({NAME: data})
    found = find_whole_samples(store, NAME)
    return found, b"".join(salvaged_parts(store, found))


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return opened.getnames()


def test_a_tar_that_breaks_off_anywhere(tar):
    data, ends = tar
    for length in (*range(0, len(data), 100), *ends, *(end - 1 for end in ends), *(end + 1 for end in ends)):
        found, saved = salvage(data[:length])
        whole = [end for end in ends if end <= length]
        # The first sample has no sample before it that tells what fields it should have.
        expected = whole if len(whole) != 1 or length >= ends[0] + 512 else []
        assert found.num_samples == len(expected), length
        assert found.num_bytes == (expected[-1] if expected else 0)
        if expected:
            assert names(saved) == names(data)[: 2 * len(expected)]
            assert saved[: found.num_bytes] == data[: found.num_bytes]
            assert saved[found.num_bytes :] == bytes(1024)


def test_a_sample_without_all_fields_is_not_whole(tar):
    data, ends = tar
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        half = opened.getmembers()[4].offset_data + 512  # the first member of the last sample
    found, _ = salvage(data[:half])
    assert found.num_samples == 2
    assert found.num_bytes == ends[1]


def test_damage_in_the_middle_says_what_it_is(tar):
    data, ends = tar
    found, saved = salvage(data[: ends[0]] + b"\xff" * 512 + data[ends[0] + 512 :])
    assert found.num_samples == 0, "whether the first sample is whole, nothing tells"
    found, saved = salvage(data[: ends[1]] + b"\xff" * 512 + data[ends[1] + 512 :])
    assert (found.num_samples, found.num_bytes) == (2, ends[1])
    assert len(names(saved)) == 4
    assert found.reason


def test_a_whole_tar_is_all_saved(tar):
    data, _ = tar
    found, saved = salvage(data)
    assert (found.num_samples, found.reason) == (3, "")
    assert saved == data


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A compressed tar of six samples, each in a frame, and where its frames begin and end."""
    pytest.importorskip("zstandard")
    folder = tmp_path_factory.mktemp("zst") / "out"
    with shardpack.ShardWriter(folder, compress={"shards": "zstd:3"}, frame_bytes=512) as writer:
        for number in range(6):
            writer.write(f"k/{number}", {"bin": b"%d" % number * 300, "txt": "x"})
    data = (folder / "shard-000000.tar.zst").read_bytes()
    store = MemoryStore({"x.tar.zst": data})
    return data, find_frames(store, "x.tar.zst", len(data), has_table=True).stored.tolist()


def salvage_compressed(data):
    store = MemoryStore({"x.tar.zst": data})
    found = find_whole_samples(store, "x.tar.zst")
    store.put("saved.tar.zst", b"".join(salvaged_parts(store, found)))
    return found, store


def test_a_compressed_tar_that_breaks_off_anywhere(compressed):
    data, edges = compressed
    for length in (*range(0, len(data), 37), *edges[1:], *(edge - 1 for edge in edges[1:])):
        found, store = salvage_compressed(data[:length])
        frames = sum(edge <= length for edge in edges[1:-1])
        if length < edges[-2]:  # behind it are the last samples, and the end of the archive
            assert found.num_samples == (frames if frames > 1 else 0), length
        if found.num_samples:
            index = scan_compressed(store, "saved.tar.zst", ignore=()).index
            assert [index.key(row) for row in range(index.num_samples)] == [f"k/{n}" for n in range(found.num_samples)]
            assert found.reason or length >= edges[-2]


def test_a_compressed_tar_that_is_damaged_gives_the_frames_before(compressed):
    data, edges = compressed
    at = (edges[3] + edges[4]) // 2
    found, store = salvage_compressed(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    assert found.num_samples == 3
    assert scan_compressed(store, "saved.tar.zst", ignore=()).index.num_samples == 3
