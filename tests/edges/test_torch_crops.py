"""Crops in a DataLoader: the pixels of `Dataset.loader`, for any number of workers, and after resuming."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import OptionError
from tests.conftest import make_jpeg
from tests.edges.needs import many_workers, needs
from tests.read.datasets import write

torch = needs("torch")
from torch.utils.data import DataLoader  # noqa: E402 - behind the check

from shardpack.torch import MapDataset, StreamDataset  # noqa: E402

pytestmark = many_workers
HOW = {"size": 12, "crop": "random", "flip": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    samples = {f"{i:03d}": {"jpg": make_jpeg(60, 50 + i, seed=i)} for i in range(24)}
    return write(tmp_path_factory.mktemp("dataset"), samples, max_shard_samples=7)


@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_are_those_of_the_loader(folder, workers):
    expected = shardpack.open(folder).loader(6, seed=3, shuffle=True, decode="torchrgb8", **HOW)
    dataset = StreamDataset(folder, seed=3, shuffle=True, batch_size=6, decode="torchrgb8", **HOW)
    loader = DataLoader(dataset, batch_size=6, num_workers=workers)
    for epoch in (0, 1):
        expected.set_epoch(epoch)
        dataset.set_epoch(epoch)
        for batch, same in zip(loader, expected, strict=True):
            assert batch["__key__"] == same["__key__"]
            assert torch.equal(batch["jpg"], same["jpg"])


def test_resuming_changes_no_pixel(folder):
    def dataset():
        return StreamDataset(folder, shuffle=True, batch_size=6, decode="rgb8", batched=True, **HOW)

    first = dataset()
    first.set_epoch(5)
    steps = [[item["jpg"] for item in step] for step in first]
    again = dataset()
    again.load_state_dict(first.state_after(2))
    for step, same in zip(again, steps[2:], strict=True):
        assert all(np.array_equal(item["jpg"], image) for item, image in zip(step, same, strict=True))


def test_maps_are_for_center_crops(folder):
    dataset = MapDataset(folder, decode="rgb8", size=12, crop="center")
    expected = next(iter(shardpack.open(folder).loader(24, decode="rgb8", size=12, crop="center")))["jpg"]
    assert all(np.array_equal(dataset[i]["jpg"], expected[i]) for i in range(24))
    with pytest.raises(OptionError, match="a MapDataset knows no epoch to draw crops for"):
        MapDataset(folder, decode="rgb8", size=12, crop="random")


def test_boxes_follow_or_are_refused(tmp_path):
    moved = b'{"width": 40, "height": 40, "annotations": [{"bbox": [4, 4, 8, 8]}]}'
    write(tmp_path / "moved", {"a": {"jpg": make_jpeg(40, 40), "json": moved}})
    dataset = StreamDataset(tmp_path / "moved", decode="rgb8", size=20, crop=shardpack.CenterCrop(20), flip=1)
    assert next(iter(dataset))["json"]["annotations"] == [{"bbox": [14, 2, 4, 4]}]
    sizes = {"a.jpg": make_jpeg(20, 20), "jpg": make_jpeg(40, 40)}
    write(tmp_path / "sizes", {"a": {**sizes, "json": moved}, "b": {**sizes, "json": moved[28:].join((b"{", b""))}})
    items = iter(StreamDataset(tmp_path / "sizes", decode="rgb8", size=20))
    assert next(items)["json"]["annotations"] == [{"bbox": [2, 2, 4, 4]}]
    with pytest.raises(OptionError, match=r"'a.jpg' \(width 20, height 20\), 'jpg' \(width 40, height 40\).*key='b'"):
        next(items)
    write(tmp_path / "other", {"a": {"jpg": make_jpeg(40, 40), "json": b'{"box": [4, 4, 8, 8]}'}})
    with pytest.raises(OptionError, match="field 'json' holds coordinates"):
        next(iter(StreamDataset(tmp_path / "other", decode="rgb8", flip=0.5)))
