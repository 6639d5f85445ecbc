"""Loads: each is read in the way that suits its store and samples, and never beyond the budget."""

from __future__ import annotations

import random

import numpy as np
import pytest

import shardpack
from shardpack.storage.local import LocalStore
from shardpack.stream.block_buffer import slice_block
from shardpack.stream.limits import ReaderSetup
from shardpack.stream.load import Buffered, DoesNotFit, Lazy, LoadReader, ReadAlone, SamplesInMemory
from shardpack.stream.plan import Load, LoadId
from tests.format.builders import judge_module
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed, write

SAMPLES = numbered(40, size=300)
FILES = packed(SAMPLES, max_shard_samples=20)
BLOCK, RUN = LoadId(0, 0, 0), LoadId(-1, 0, 0)


class RemoteStore(CountingStore):
    remote = True


def reader_of(store, *, fields=None, **setup):
    return LoadReader(shardpack.open(store).stream_input(fields), ReaderSetup(**setup))


@pytest.mark.parametrize("load_id", [BLOCK, RUN], ids=["block", "run"])
def test_what_is_cut_off_a_shard_is_not_cut_from_its_map(tmp_path, load_id):
    folder = write(tmp_path, SAMPLES)
    reader = reader_of(LocalStore(folder), neighbours=True)
    load = Load(load_id, np.arange(40))
    (tar,) = folder.glob("*.tar")
    assert isinstance(reader.read(load), Buffered)
    with open(tar, "rb+") as file:
        file.truncate(10_000)
    assert isinstance(reader.read(load), ReadAlone)


def load(load_id, *positions):
    return Load(load_id, np.array(positions, np.int64))


def test_a_block_is_one_buffer_and_one_request():
    store = RemoteStore(FILES)
    reader = reader_of(store)
    content = reader.read(load(BLOCK, *range(3, 9)))
    assert isinstance(content, Buffered)
    assert content.held_bytes == content.block.num_bytes > 0
    samples = slice_block(content.block, np.arange(6), np.arange(3, 9))
    assert as_dicts(list(samples)) == expected(SAMPLES, range(3, 9))
    assert len([path for path, *_ in store.calls if path.endswith(".tar")]) == 1


def test_a_block_of_a_shard_that_is_compressed_better_than_others_is_still_one_buffer():
    judge_module("zstandard")
    rng = random.Random(1)
    samples = {f"{i:03d}": {"txt": b"text " * 400 if i // 100 == 1 else rng.randbytes(2000)} for i in range(900)}
    store = RemoteStore(packed(samples, max_shard_samples=100, compress={"shards": "zstd:1"}))
    content = reader_of(store, load_bytes=20_000).read(load(BLOCK, *range(100, 200)))
    assert isinstance(content, Buffered)
    assert as_dicts(list(slice_block(content.block, np.arange(100), np.arange(100, 200)))) == expected(
        samples, range(100, 200)
    )
    assert isinstance(reader_of(store, load_bytes=20_000).read(load(BLOCK, *range(100))), ReadAlone)
    little = reader_of(store, load_bytes=20_000, memory_bytes=400_000)
    assert isinstance(little.read(load(BLOCK, *range(100, 200))), ReadAlone), "a quarter of the memory at most"


@pytest.mark.parametrize("positions", [(5, 2, 30), (19, 20)], ids=["any order", "two shards"])
def test_other_samples_are_a_list(positions):
    content = reader_of(RemoteStore(FILES)).read(load(RUN, *positions))
    assert isinstance(content, SamplesInMemory)
    assert as_dicts(content.samples) == expected(SAMPLES, positions)


class CachedStore(LocalStore):
    """A folder all of which is in the page cache."""

    def is_cached(self, *_):
        return True


def test_local_samples_in_memory_are_made_when_they_are_asked_for(tmp_path):
    reader = reader_of(CachedStore(write(tmp_path / "data", SAMPLES, max_shard_samples=20)))
    content = reader.read(load(RUN, 7, 31))
    assert isinstance(content, Lazy)
    assert content.held_bytes == 0
    assert as_dicts(list(content.samples)) == expected(SAMPLES, (7, 31))


def framed(folder):
    """Return a folder of shards of 20 samples in frames of 5 or so, and a reader of what comes as stored."""
    judge_module("zstandard")
    write(folder, SAMPLES, max_shard_samples=20, compress={"shards": "zstd:1"}, frame_bytes=8192)
    return folder, reader_of(LocalStore(folder), neighbours=True)


@pytest.mark.parametrize(
    "positions",
    [range(40), range(33, 38), [*range(35, 40), 0, 1], [7, 31, 2, 2, 39, 0]],
    ids=["all", "", "padded", "any"],
)
def test_local_samples_in_frames_are_cut_out_of_one_after_the_other(tmp_path, positions):
    _, reader = framed(tmp_path / "data")
    content = reader.read(load(RUN, *positions))
    assert isinstance(content, Lazy)
    assert content.held_bytes == 0
    assert as_dicts(list(content.samples)) == expected(SAMPLES, positions)


def test_samples_before_a_damaged_frame_are_there(tmp_path):
    folder, reader = framed(tmp_path / "data")
    tar = folder / "shard-000001.tar.zst"
    data = tar.read_bytes()
    content = reader.read(load(RUN, *range(40)))
    ds = shardpack.open(folder)
    frame = ds.locate(33).fields["bin"].stored
    tar.write_bytes(data[: frame.start] + bytes(frame.length) + data[frame.start + frame.length :])
    found = []
    with pytest.raises(shardpack.errors.CorruptShardError, match="a zstd frame is damaged") as caught:
        found.extend(content.samples)
    assert (caught.value.path, caught.value.offset) == (tar.name, frame.start)
    assert 20 < len(found) <= 33
    assert as_dicts(found) == expected(SAMPLES, range(len(found)))
    assert ds.locate(len(found)).fields["bin"].stored.start == frame.start


def test_a_load_that_does_not_fit_is_not_read_until_memory_is_released():
    store = RemoteStore(FILES)
    reader = reader_of(store, memory_bytes=1)
    first = reader.read(load(BLOCK, 0, 1))
    store.taken()
    assert isinstance(reader.read(load(BLOCK, 2, 3)), DoesNotFit)
    assert not [path for path in store.taken() if path.endswith(".tar")]
    reader.release(first)
    assert isinstance(reader.read(load(BLOCK, 2, 3)), Buffered)


def test_damaged_loads_are_left_to_be_read_alone():
    files = {**FILES, "shard-000000.tar": bytes(len(FILES["shard-000000.tar"]))}
    reader = reader_of(RemoteStore(files))
    assert isinstance(reader.read(load(BLOCK, 0, 1)), ReadAlone)
    with pytest.raises(shardpack.errors.CorruptShardError):
        list(map(list, reader.read_alone(np.array([0]))))
    assert [sample.position for part in reader.read_alone(np.array([25, 21])) for sample in part] == [25, 21]
