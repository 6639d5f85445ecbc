"""Samples cut out of one frame after the other, and what is left to other ways of reading."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.read.framed_cut import cut_framed
from shardpack.read.read_plan import plan_read
from tests.format.builders import judge_module
from tests.read.datasets import as_dicts, expected, numbered, write

SAMPLES = numbered(200, size=300)
FRAMES = {"compress": {"shards": "zstd:1"}, "frame_bytes": 4096}


def cut(folder, rows, fields=None, **options):
    judge_module("zstandard")
    ds = shardpack.open(folder)
    positions = np.array(rows, np.int64)
    found = cut_framed(plan_read(ds.stream_input().cache.get(0), positions, fields), positions, **options)
    return None if found is None else as_dicts(list(found))


@pytest.mark.parametrize("rows", [range(200), range(57, 63), range(0, 200, 2), [199], [3, 3, 4]])
def test_samples_in_their_order(tmp_path, rows):
    folder = write(tmp_path / "data", SAMPLES, **FRAMES)
    assert len(shardpack.open(folder).stream_input().cache.get(0).index.frames) > 10
    assert cut(folder, rows) == expected(SAMPLES, list(rows))


def test_some_of_their_fields(tmp_path):
    folder = write(tmp_path / "data", SAMPLES, **FRAMES)
    model = {key: {"json": fields["json"]} for key, fields in SAMPLES.items()}
    assert cut(folder, range(200), ("json",)) == expected(model)
    assert cut(folder, range(200), ("bin", "json")) == expected(SAMPLES)


@pytest.mark.parametrize("size", [0, 20_000])
def test_empty_and_long_payloads(tmp_path, size):
    samples = {f"{i:03d}": {"txt": b"" if i % 3 else b"x" * size, "a": b"" if i % 4 else b"y"} for i in range(60)}
    folder = write(tmp_path / "data", samples, **FRAMES)
    assert cut(folder, range(60)) == expected(samples)
    assert cut(folder, range(60), ("txt",)) == expected({key: {"txt": one["txt"]} for key, one in samples.items()})


def test_what_is_left_to_others(tmp_path):
    framed = write(tmp_path / "data", SAMPLES, **FRAMES)
    assert cut(framed, range(199, -1, -1)) is None, "in another order"
    assert cut(framed, [0, 199]) is None, "most frames are unwanted"
    assert cut(framed, range(200), max_frame_bytes=4000) is None, "frames are long"
    assert cut(framed, range(200), ("txt",)) is None, "the shard has none of the fields"
    assert cut(write(tmp_path / "plain", SAMPLES), range(200)) is None, "no frames"
    some = {key: {"bin": fields["bin"]} if at % 2 else fields for at, (key, fields) in enumerate(SAMPLES.items())}
    assert cut(write(tmp_path / "some", some, **FRAMES), range(200)) is None, "some samples lack a field"


def test_samples_that_extend_over_several_frames_are_left_to_others(tmp_path):
    module = judge_module("zstandard")
    (tar,) = write(tmp_path / "plain", SAMPLES).glob("*.tar")
    data, compressor = tar.read_bytes(), module.ZstdCompressor(level=1)
    frames = [compressor.compress(data[at : at + 5000]) for at in range(0, len(data), 5000)]
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar.zst").write_bytes(b"".join(frames))
    shardpack.index(tmp_path / "tars" / "*.tar.zst", out=tmp_path / "out", jobs=1)
    assert cut(tmp_path / "out", range(200)) is None
    assert cut(tmp_path / "out", [0]) == expected(SAMPLES, [0])
