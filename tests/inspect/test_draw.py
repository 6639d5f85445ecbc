"""Samples are drawn evenly, with all their fields; the figures are those of the whole source."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

import shardpack
from shardpack.errors import SourceError
from shardpack.inspect.draw import draw_evenly
from shardpack.sources.folder import FolderSource
from shardpack.sources.source import ListOptions
from shardpack.storage.memory import MemoryStore


def listed(folder, files):
    for name, payload in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
    return FolderSource(folder, "files").list(ListOptions()).listing


@pytest.fixture
def listing(tmp_path):
    files = {f"a/{i:03d}.jpg": b"\xff\xd8\xff" + bytes(i) for i in range(50)}
    files |= {f"a/{i:03d}.seg.png": b"\x89PNG\r\n\x1a\n" for i in range(50)}
    files |= {f"a/{i:03d}.json": b"{}" for i in range(50)}
    return listed(tmp_path, files)


@pytest.mark.parametrize("count", [1, 3, 50, 80])
def test_evenly(listing, count):
    draw = draw_evenly(listing, count)
    numbers = [int(sample.name[2:5]) for sample in draw.samples]
    assert numbers == [i * 50 // min(count, 50) for i in range(min(count, 50))]
    for number, sample in zip(numbers, draw.samples, strict=True):
        assert sample.image == "jpg", "a mask is not the image"
        assert sample.payload == b"\xff\xd8\xff" + bytes(number)
        assert set(sample.fields) == {"jpg", "json", "seg.png"}
    assert draw.num_images == 50
    assert draw.image_bytes == pytest.approx(3 + 49 / 2)


def test_the_bytes_of_a_tar(listing):
    draw = draw_evenly(listing, 50)
    buffer, payload = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for sample in draw.samples:
            for name, data in sample.fields.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                payload += len(data)
        members = tar.offset
    assert draw.overhead == pytest.approx(1 - payload / members)
    assert draw.other_bytes == 2 * 1024


def test_a_source_without_images(tmp_path):
    listing = listed(tmp_path, {"a.jpg": b"\xff\xd8\xff", "a.json": b"{}"})
    masks = replace(listing, fields=("json", "seg.png"), field_code=np.array([1, 0], np.uint16))
    assert len(draw_evenly(listing, 3).samples) == 1
    with pytest.raises(SourceError, match="no images to try"):
        draw_evenly(masks, 3)


def test_a_shard_that_is_gone():
    store = MemoryStore({})
    shardpack.pack(((str(i), {"jpg": b"\xff\xd8\xff"}) for i in range(4)), store, max_shard_samples=2)
    listing = shardpack.open(store).listing()
    store.delete("shard-000001.tar")
    draw = draw_evenly(listing, 4)
    assert [sample.name for sample in draw.samples] == ["0", "1"]
    assert list(draw.unread) == ["2", "3"]
    assert "shard-000001.tar" in draw.unread["2"]


def test_a_file_that_is_gone(listing, tmp_path):
    (tmp_path / "a/000.jpg").unlink()
    draw = draw_evenly(listing, 2)
    assert draw.unread == {"a/000.jpg": "cannot be read: No such file or directory"}
    assert [sample.name for sample in draw.samples] == ["a/025.jpg"]
