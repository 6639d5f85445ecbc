"""Images that no decoder reads, and JSON that no parser does: told, in every kind of place."""

from __future__ import annotations

import io

import pytest
from PIL import Image

import shardpack
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.fakes import file_contents


def image_bytes(number):
    """A PNG of 4 x 4 pixels, all of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 7, 9)).save(file, "PNG")
    return file.getvalue()


IMAGE = image_bytes(1)
SAMPLES = {
    "a": {"png": IMAGE, "json": b"{}"},
    "b": {"png": IMAGE[:45], "json": b"{}"},
    "c": {"png": IMAGE, "json": b"{"},
    "d": {"txt": b"no image"},
    "e": {"png": b"no image"},
}


@pytest.fixture
def dataset(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_ones_are_told(dataset, jobs):
    done = []
    report = shardpack.verify(
        dataset, check_images=True, jobs=jobs, progress=lambda phase, *numbers: done.append((phase, *numbers))
    )
    assert [(one.kind, one.key, one.command) for one in report.problems] == [
        ("undecodable", key, "delete") for key in "bce"
    ]
    assert [one.message.partition(":")[0] for one in report.problems] == ["png", "json", "png"]
    assert done[-1] == ("decode", 5, 5)
    assert shardpack.verify(dataset).ok


def test_deleted_samples_are_not_looked_at(dataset):
    edits.deleted(dataset, 1, 2, 4)
    assert shardpack.verify(dataset, check_images=True).ok


def test_elsewhere(dataset):
    report = shardpack.verify(MemoryStore(file_contents(dataset)), check_images=True)
    assert [(one.shard, one.key) for one in report.problems] == [
        ("shard-000000.tar", "b"),
        ("shard-000001.tar", "c"),
        ("shard-000002.tar", "e"),
    ]


def test_a_damaged_index_is_told_once(dataset):
    next(dataset.glob(".shardpack/index/shard-000001.index")).unlink()
    kinds = [one.kind for one in shardpack.verify(dataset, check_images=True).problems]
    assert kinds.count("missing") >= 1
