"""Crops and mirroring in a loader: the same pixels on every way to a sample, and all of a sample moves alike."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import shardpack
from shardpack.codecs.arrays import encode_npy
from shardpack.errors import DecodeError, OptionError
from shardpack.stream import batch_memory
from tests.conftest import make_jpeg
from tests.read.datasets import CountingStore, packed
from tests.strategies import examples

COUNT = 24
TRAIN = {"decode": "rgb8", "size": 12, "crop": "random", "flip": 0.5}
IDS = {0, 5, 255}


def opened(samples, **options):
    return shardpack.open(CountingStore(packed(samples, **options)))


def png(pixels, **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def ds():
    return opened({f"{i:03d}": {"jpg": make_jpeg(60 + i, 50, seed=i)} for i in range(COUNT)}, max_shard_samples=7)


def pixels_of(*loaders):
    """Return the pixels of each key; a sample that comes twice must be the same twice."""
    found = {}
    for loader in loaders:
        for batch in loader:
            for key, image in zip(batch["__key__"], batch["jpg"], strict=True):
                assert np.array_equal(found.setdefault(key, image.copy()), image)
    return found


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


@examples(12)
@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.fixed_dictionaries(
        {
            "threads": st.sampled_from([1, 2, 8]),
            "shuffle": st.sampled_from(["none", "blocks", "global"]),
            "tail": st.sampled_from(["pad", "exact"]),
        }
    ),
)
def test_neither_threads_nor_ranks_nor_the_order_change_a_pixel(ds, batch_size, world_size, how):
    expected = pixels_of(ds.loader(5, threads=1, seed=4, **TRAIN))
    how = {"world_size": world_size, "seed": 4, **how}
    loaders = [ds.loader(batch_size, rank=rank, **how, **TRAIN) for rank in range(world_size)]
    assert same(pixels_of(*loaders), expected)


def test_resuming_changes_no_pixel(ds):
    whole = ds.loader(4, shuffle=True, **TRAIN)
    whole.set_epoch(2)
    batches = [batch["jpg"].copy() for batch in whole]
    stopped = ds.loader(4, shuffle=True, **TRAIN)
    stopped.set_epoch(2)
    iterator = iter(stopped)
    next(iterator)
    next(iterator)
    again = ds.loader(4, shuffle=True, threads=3, **TRAIN)
    again.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    rest = [batch["jpg"] for batch in again]
    assert len(rest) == len(batches) - 2
    assert all(np.array_equal(left, right) for left, right in zip(rest, batches[2:], strict=True))


def test_epochs_and_seeds_differ(ds):
    def of(epoch, seed):
        loader = ds.loader(6, seed=seed, **TRAIN)
        loader.set_epoch(epoch)
        return pixels_of(loader)

    first = of(0, 0)
    for other in (of(1, 0), of(0, 1)):
        assert sum(np.array_equal(first[key], other[key]) for key in first) < 3


def test_evaluation_is_the_same_in_every_epoch(ds):
    loader = ds.loader(6, decode="rgb8", size=12, crop=shardpack.CenterCrop(short=14))
    first = pixels_of(loader)
    loader.set_epoch(1)
    assert same(first, pixels_of(loader))


def test_kept_batches_are_never_overwritten():
    """Batches above the size from which memory is used again, some kept whole, some by a slice."""
    large = opened({f"{i:03d}": {"jpg": make_jpeg(40, 30, seed=i)} for i in range(40)})
    how = {"decode": "rgb8", "size": 200, "threads": 2}
    expected = [batch["jpg"].copy() for batch in large.loader(4, **how)]
    loader = large.loader(4, **how)
    for _ in range(3):
        kept, slices = [], []
        for number, batch in enumerate(loader):
            if number % 3 == 0:
                kept.append((number, batch["jpg"]))
            elif number % 3 == 1:
                slices.append((number, batch["jpg"][1, ::2]))
        assert all(np.array_equal(images, expected[number]) for number, images in kept)
        assert all(np.array_equal(image, expected[number][1, ::2]) for number, image in slices)


def test_memory_is_used_again(monkeypatch):
    made = []
    new_memory = batch_memory.new_memory
    monkeypatch.setattr(batch_memory, "new_memory", lambda *sizes: made.append(sizes) or new_memory(*sizes))
    large = opened({f"{i:03d}": {"jpg": make_jpeg(40, 30, seed=i)} for i in range(96)})
    loader = large.loader(4, decode="rgb8", size=200, threads=1, prefetch=1)
    num_batches = sum(1 for _ in range(2) for _ in loader)
    assert num_batches == 48
    assert len(made) < 12, "what the user, the loader and a slow thread hold at once"


def scene(i, height=60, width=80):
    """Return an image with a bright box, its mask, and its label."""
    rng = np.random.default_rng(i)
    top, left = int(rng.integers(5, 20)), int(rng.integers(5, 30))
    tall, wide = int(rng.integers(20, 30)), int(rng.integers(20, 30))
    pixels, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    pixels[top : top + tall, left : left + wide] = 255
    mask[top : top + tall, left : left + wide] = 5
    mask[:3] = 255
    label = {"width": width, "height": height, "annotations": [{"bbox": [left, top, wide, tall]}]}
    return {"png": png(pixels), "seg.png": png(mask), "json": json.dumps(label).encode()}


def test_images_masks_and_boxes_move_alike():
    scenes = opened({f"{i}": scene(i) for i in range(30)})
    how = {"size": 40, "crop": shardpack.RandomResizedCrop(scale=(0.3, 1.0)), "flip": 0.5}
    loader = scenes.loader(10, decode={"png": "l8", "seg.png": "l8"}, **how)
    num_boxes = 0
    for batch in loader:
        for image, mask, label in zip(batch["png"], batch["seg.png"], batch["json"], strict=True):
            assert set(np.unique(mask)) <= IDS
            bright = image > 127
            assert (bright != (mask == 5)).mean() < 0.1  # only edges differ
            assert (label["width"], label["height"]) == (40, 40)
            box = np.zeros_like(bright)
            for annotation in label["annotations"]:
                num_boxes += 1
                x, y, width, height = (round(number) for number in annotation["bbox"])
                box[y : y + height, x : x + width] = True
            assert (bright != box).mean() < 0.1
    assert num_boxes > 20


@pytest.mark.parametrize("transform", [None, dict], ids=["plain", "transform"])
def test_boxes_follow_a_size_alone(transform):
    scenes = opened({f"{i}": scene(i) for i in range(6)})
    stored = [json.loads(sample["json"]) for sample in scenes]
    loader = scenes.loader(6, decode="rgb8", size=(30, 20), transform=transform)  # half as high, a quarter as wide
    for label, before in zip(next(iter(loader))["json"], stored, strict=True):
        assert (label["height"], label["width"]) == (30, 20)
        x, y, width, height = before["annotations"][0]["bbox"]
        assert label["annotations"] == [{"bbox": [x / 4, y / 2, width / 4, height / 2]}]
    assert next(iter(scenes.loader(6, decode="rgb8", size=(60, 80))))["json"] == stored
    assert next(iter(scenes.loader(6, decode="rgb8", min_size=20)))["json"] == stored


def test_boxes_follow_the_turn_of_exif():
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored left is shown at the top
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60)).save(buffer, "JPEG", exif=exif)
    label = {"width": 80, "height": 60, "annotations": [{"bbox": [10, 20, 30, 5]}]}
    scenes = opened({"a": {"jpg": buffer.getvalue(), "json": json.dumps(label).encode()}})
    batch = next(iter(scenes.loader(1, decode="rgb8", exif_transpose=True)))
    assert batch["jpg"].shape == (1, 80, 60, 3)
    assert batch["json"] == [{"width": 60, "height": 80, "annotations": [{"bbox": [60 - 25, 10, 5, 30]}]}]
    batch = next(iter(scenes.loader(1, decode="rgb8", exif_transpose=True, size=(40, 60))))
    assert batch["json"][0]["annotations"] == [{"bbox": [35, 5, 5, 15]}]
    assert next(iter(scenes.loader(1, decode="rgb8")))["json"] == [label]


def test_masks_keep_their_ids_when_resized():
    """Linear, {0, 5, 255} would become {0, 3, 5, 42, ...}."""
    fields = {"png": png(np.zeros((60, 80, 3), np.uint8))}
    mask = np.random.default_rng(0).choice([0, 5, 255], (60, 80)).astype(np.uint8)
    masks = {"seg.png": png(mask), "panoptic.png": png(mask), "mask.a.png": png(mask), "label.png": png(mask)}
    scenes = opened({f"{i}": {**fields, **masks} for i in range(4)})
    batch = next(iter(scenes.loader(4, decode="l8", size=(33, 47), masks=["label.png"])))
    for field in masks:
        assert set(np.unique(batch[field])) == IDS
        assert np.array_equal(batch[field], batch["seg.png"])
    batch = next(iter(scenes.loader(4, decode="l8", size=(33, 47))))
    assert len(np.unique(batch["label.png"])) > 3, "nothing says that this is a mask"


def test_palettes_are_masks_beside_other_images_and_give_their_numbers():
    numbers = Image.fromarray(np.random.default_rng(0).choice([0, 5, 17], (60, 80)).astype(np.uint8), "L")
    numbers.putpalette(list(range(255, -1, -1)) * 3)
    fields = {"jpg": make_jpeg(80, 60), "classes.png": png(numbers)}
    batch = next(iter(opened({"a": fields}).loader(1, decode={"jpg": "rgb8", "classes.png": "l8"}, size=24)))
    assert set(np.unique(batch["classes.png"])) == {0, 5, 17}
    alone = next(iter(opened({"a": fields}).loader(1, decode={"classes.png": "l8"}, size=24)))
    assert not set(np.unique(alone["classes.png"])) <= {0, 5, 17}, "an image of its own is resized by its colours"


def test_masks_of_more_than_eight_bits_are_not_cut():
    deep = png(np.full((20, 20), 300, np.uint16))
    scenes = opened({"a": {"jpg": make_jpeg(20, 20), "seg.png": deep}})
    with pytest.raises(DecodeError, match=r'mask of mode .* has more than 8 bits, .* decode with "pil"'):
        next(iter(scenes.loader(1, decode="l8", size=8)))
    image = next(iter(scenes.loader(1, decode={"seg.png": "pil"}, size=8)))["seg.png"][0]
    assert set(np.asarray(image).reshape(-1).tolist()) == {300}


def test_a_mask_at_half_size_shows_the_same_part():
    def halves(i):
        image = np.zeros((64, 96), np.uint8)
        image[:, 20 + i : 60 + i] = 200
        return {"png": png(image), "seg.png": png(image[::2, ::2])}

    scenes = opened({f"{i:02d}": halves(i) for i in range(12)})
    for batch in scenes.loader(4, decode="l8", size=32, crop="random", flip=0.5):
        assert ((batch["png"] > 100) != (batch["seg.png"] > 100)).mean() < 0.08


def with_half_a_mask(**label):
    mask, pixels = np.zeros((32, 48), np.uint8), np.zeros((64, 96), np.uint8)
    label["annotations"] = [{"bbox": [48, 16, 12, 8]}]
    return {"mask.png": png(mask), "png": png(pixels), "json": json.dumps(label).encode()}


@pytest.mark.parametrize("transform", [None, dict], ids=["plain", "transform"])
def test_boxes_follow_the_image_of_their_size_and_not_the_first(transform):
    scenes = opened({"a": with_half_a_mask(width=96, height=64)})
    how = {"decode": "l8", "transform": transform}
    moved = next(iter(scenes.loader(1, size=32, **how)))["json"]
    assert moved == [{"width": 32, "height": 32, "annotations": [{"bbox": [16, 8, 4, 4]}]}]
    moved = next(iter(scenes.loader(1, size=28, crop="center", flip=1, **how)))["json"][0]
    assert moved["annotations"] == [{"bbox": [8, 6, 6, 4]}]  # 56 x 56 pixels from (20, 4), at half size


@pytest.mark.parametrize("options", [{"crop": "random"}, {"crop": "center"}, {"flip": 0.5}, {}], ids=str)
def test_boxes_of_no_known_image_are_refused(options):
    scenes = opened({"a": with_half_a_mask()})
    expected = r"\(width 48, height 32\), 'png' \(width 96, height 64\); decode only the image .* \(key='a'\)"
    with pytest.raises(OptionError, match=expected):
        next(iter(scenes.loader(1, decode="l8", size=32, on_error="skip", **options)))
    assert next(iter(scenes.loader(1, decode={"png": "l8"}, size=32, **options)))["json"][0]["annotations"]
    assert next(iter(scenes.loader(1, decode="l8", size=32, fields=["png", "json"], **options)))["json"]
    alone = {"mask.png": "l8", "png": "l8", "json": None}
    assert type(next(iter(scenes.loader(1, decode=alone, size=32, **options)))["json"][0]) is bytes


@pytest.mark.parametrize("options", [{"crop": "random"}, {"crop": "center"}, {"flip": 0.5}, {}], ids=str)
def test_boxes_that_cannot_move_are_refused(options):
    boxes = {"jpg": make_jpeg(), "json": b'{"objects": [{"box": [1, 2, 3, 4]}]}'}
    scenes = opened({"a": boxes, "b": boxes})
    with pytest.raises(OptionError, match=r"field 'json' holds coordinates \(objects\[0\]\.box\)"):
        next(iter(scenes.loader(2, decode="rgb8", size=8, on_error="skip", **options)))
    batch = next(iter(scenes.loader(2, decode={"jpg": "rgb8", "json": None}, size=8, **options)))
    assert batch["json"] == [boxes["json"]] * 2
    own = {"jpg": "rgb8", "json": json.loads}
    assert len(next(iter(scenes.loader(2, decode=own, size=8, **options)))["json"]) == 2, "decoded by a function"
    assert len(next(iter(scenes.loader(2, decode="rgb8")))["json"]) == 2, "nothing moves"


def test_arrays_for_each_pixel_are_refused_and_others_are_copied():
    depth = {"jpg": make_jpeg(32, 24), "depth.npy": encode_npy(np.zeros((24, 32), np.float32))}
    with pytest.raises(OptionError, match=r"field 'depth.npy' holds coordinates \(each pixel\)"):
        next(iter(opened({"a": depth}).loader(1, **TRAIN)))
    vector = {"jpg": make_jpeg(32, 24), "npy": encode_npy(np.arange(5))}
    assert next(iter(opened({"a": vector}).loader(1, **TRAIN)))["npy"].tolist() == [[0, 1, 2, 3, 4]]


def test_images_of_other_shapes_are_bad_samples():
    scenes = opened({"a": {"a.png": png(np.zeros((20, 40), np.uint8)), "b.png": png(np.zeros((40, 40), np.uint8))}})
    with pytest.raises(DecodeError, match=r"images of a sample differ in shape: 20 x 40 and 40 x 40.*key='a'"):
        next(iter(scenes.loader(1, **TRAIN)))


def test_what_crops_cannot_reach_is_refused_at_once(ds):
    for nothing in ({"decode": None}, {"decode": {"jpg": None}}):
        with pytest.raises(OptionError, match="for images that are decoded by name"):
            ds.loader(4, size=8, crop="random", **nothing)
    with pytest.raises(
        OptionError, match="field 'jpg' is decoded by a function, so that crop and flip do not reach it"
    ):
        opened({"a": {"jpg": b"", "png": b""}}).loader(4, decode={"jpg": len, "png": "rgb8"}, flip=0.5)
    with pytest.raises(OptionError, match=r"masks names field 'seg\.png', which is not decoded by name"):
        ds.loader(4, decode="rgb8", masks=["seg.png"])


def test_transforms_get_cropped_images(ds):
    def transform(fields):
        return {"x": fields["jpg"].astype(np.float32), "key": fields["__key__"]}

    plain = next(iter(ds.loader(6, **TRAIN)))["jpg"]
    transformed = next(iter(ds.loader(6, transform=transform, **TRAIN)))["x"]
    assert np.array_equal(plain, transformed)


@pytest.mark.parametrize("name", ["rgb", "torchrgb", "torchrgb8", "l8"])
def test_forms(ds, name):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    how = {**TRAIN, "decode": name}
    found = np.asarray(next(iter(ds.loader(6, **how)))["jpg"])
    plain = next(iter(ds.loader(6, **{**TRAIN, "decode": "l8" if name == "l8" else "rgb8"})))["jpg"]
    expected = plain if name.endswith("8") else plain.astype(np.float32) / 255
    assert np.array_equal(found, expected.transpose(0, 3, 1, 2) if name.startswith("torch") else expected)


@pytest.mark.parametrize("fast_jpeg", [False, True])
def test_mirroring_without_a_size(ds, fast_jpeg):
    plain = {key: image for batch in ds.loader(1, decode="rgb8", fast_jpeg=fast_jpeg)
             for key, image in zip(batch["__key__"], batch["jpg"], strict=True)}  # fmt: skip
    mirrored = pixels_of(ds.loader(1, decode="rgb8", fast_jpeg=fast_jpeg, flip=1))
    assert all(np.array_equal(mirrored[key], plain[key][:, ::-1]) for key in plain)
