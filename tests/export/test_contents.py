"""What an export would hold, and how its samples are cut into parts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import shardpack
from shardpack.errors import DuplicateKeyError, FieldNotFoundError, OptionError
from shardpack.export.contents import cut, survey
from shardpack.export.exporter import Contents, Limits
from shardpack.runtime.progress import no_progress
from tests.format.builders import entry
from tests.strategies import examples


def of(sizes, splits=None):
    return Contents(None, {}, {}, np.array(sizes, np.int64), splits or ((None, sizes),), "")


def test_counts_lengths_and_what_is_left_out(pets):
    contents = survey(pets, ["json"], no_progress, named_by="key")
    assert contents.samples_per_field == {"json": 6}
    assert contents.left_out == {"jpg": 6}
    assert contents.num_bytes.tolist() == [len(sample["json"]) for sample in pets]
    assert contents.splits == ((None, pets),)


def test_other_samples_and_other_fields_have_another_digest(pets):
    views = [pets, pets.select([1, 0]), pets.select([0, 1]), pets.select([0])]
    digests = {survey(view, fields, no_progress, named_by=None).digest for view in views for fields in (None, ["jpg"])}
    assert len(digests) == 8
    digest = survey(pets, None, no_progress, named_by=None).digest
    assert digest == survey(pets, None, no_progress, named_by="key").digest


def test_progress_ends_with_all(pets):
    seen = []
    survey(pets, None, lambda *told: seen.append(told), named_by=None)
    assert seen[-1] == ("survey", 6, 6)


def test_an_unknown_field_is_named(pets):
    with pytest.raises(FieldNotFoundError, match="no field 'png'; the dataset has: jpg, json"):
        survey(pets, ["png"], no_progress, named_by=None)


def test_a_sample_twice_is_refused_where_keys_name_files(pets):
    view = pets.select([0, 3, 0])
    assert survey(view, None, no_progress, named_by=None).num_samples == 3
    with pytest.raises(DuplicateKeyError, match="key='cat/0000'"):
        survey(view, None, no_progress, named_by="key")


def test_two_samples_of_one_key_are_refused(tmp_path):
    data = b"".join(entry(name, b"x") for name in (b"a.bin", b"b.bin", b"a.bin"))
    (tmp_path / "x.tar").write_bytes(data + bytes(1024))
    shardpack.index(tmp_path, on_duplicate="keep")
    with pytest.raises(DuplicateKeyError, match=r"two samples have this key.*key='a'"):
        survey(shardpack.open(tmp_path), None, no_progress, named_by="key")


def test_two_keys_of_one_path_are_refused_before_the_work(tmp_path):
    with shardpack.ShardWriter(tmp_path) as writer:
        for key, split in (("a", "val"), ("train/a", "train"), ("b", "train"), ("val/b", "val"), ("train/b", "train")):
            writer.write(key, {"bin": b"1"}, split=split)
    ds = shardpack.open(tmp_path)
    with pytest.raises(DuplicateKeyError, match=r"the samples 'b' and 'train/b' would both be 'train/b'; export"):
        survey(ds, None, no_progress, named_by="path")
    assert survey(ds.select(["a", "train/a", "b", "val/b"]), None, no_progress, named_by="path").num_samples == 4
    assert survey(ds, None, no_progress, named_by="key").num_samples == 5


@pytest.mark.parametrize("to", ["folder", "coco", "yolo"])
def test_images_of_different_kinds_may_share_a_path(tmp_path, to):
    with shardpack.ShardWriter(tmp_path / "in") as writer:
        for key, field in (("a", "png"), ("train/a", "jpg"), ("v", "jpg")):
            label = {"annotations": [{"bbox": [1, 2, 3, 4], "category_id": 1}]}
            image = io.BytesIO()
            Image.new("RGB", (9, 8)).save(image, {"jpg": "JPEG"}.get(field, field))
            writer.write(key, {field: image.getvalue(), "json": label}, split="val" if key == "v" else "train")
    ds = shardpack.open(tmp_path / "in")
    if to == "yolo":  # its labels are called like its images
        with pytest.raises(DuplicateKeyError, match=r"the samples 'a' and 'train/a' would both be 'train/a'; export"):
            shardpack.export(ds, tmp_path / to, to=to)
        return
    shardpack.export(ds, tmp_path / to, to=to)
    assert sorted(path.name for path in tmp_path.glob(f"{to}/**/a.*")) == ["a.jpg", "a.png"]
    with pytest.raises(DuplicateKeyError, match="would both be 'train/a'"):
        survey(ds, ["json"], no_progress, named_by="image")


@examples(50)
@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=30), min_size=1, max_size=3),
    st.integers(1, 100),
    st.none() | st.integers(1, 5),
)
def test_parts_hold_all_samples_once_and_keep_to_limits(splits, max_bytes, max_samples):
    sizes = [size for split in splits for size in split]
    named = tuple((f"s{number}", split) for number, split in enumerate(splits))
    parts = cut(of(sizes, named), Limits(max_bytes, max_samples))
    held = [number for part in parts for number in range(part.first, part.first + part.num_samples)]
    assert held == list(range(len(sizes)))
    assert [part.number for part in parts] == list(range(len(parts)))
    for part in parts:
        of_part = sizes[part.first : part.first + part.num_samples]
        assert part.num_bytes == sum(of_part)
        assert part.num_samples == 1 or (part.num_bytes <= max_bytes and part.num_samples <= (max_samples or 10**9))
    for name, samples in named:
        own = [part for part in parts if part.split == name]
        assert sum(part.num_samples for part in own) == len(samples)
        assert [(part.index, part.count) for part in own] == [(number, len(own)) for number in range(len(own))]


def test_nothing_to_export_is_refused(pets):
    with pytest.raises(OptionError, match="no samples"):
        survey(pets.select([]), None, no_progress, named_by=None)


@pytest.fixture
def with_splits(tmp_path):
    """Six samples: four to train, which are not neighbours in the view below, and two to test."""
    with shardpack.ShardWriter(tmp_path / "splits") as writer:
        for i in range(6):
            writer.write(f"{i}", {"bin": b"x" * i}, split="train" if i < 4 else "test")
    return shardpack.open(tmp_path / "splits")


def keys_of(contents, limits):
    return [
        (part.split, part.index, part.count, [sample.key for sample in contents.samples_of(part).stream()])
        for part in cut(contents, limits)
    ]


def test_splits_are_exported_one_after_another(with_splits):
    contents = survey(with_splits, None, no_progress, named_by="key")
    assert [(name, len(samples)) for name, samples in contents.splits] == [("train", 4), ("test", 2)]
    assert keys_of(contents, Limits(100, 3)) == [
        ("train", 0, 2, ["0", "1", "2"]),
        ("train", 1, 2, ["3"]),
        ("test", 0, 1, ["4", "5"]),
    ]


def test_views_keep_their_splits(with_splits):
    contents = survey(with_splits.select([5, 0, 4, 2]), None, no_progress, named_by="key")
    assert contents.num_bytes.tolist() == [0, 2, 5, 4]
    assert keys_of(contents, Limits(100)) == [("train", 0, 1, ["0", "2"]), ("test", 0, 1, ["5", "4"])]
    contents = survey(with_splits.split("test"), None, no_progress, named_by="key")
    assert keys_of(contents, Limits(100)) == [("test", 0, 1, ["4", "5"])]


def test_samples_in_no_split_are_a_question(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"bin": b""}, split="train")
        writer.write("b", {"bin": b""})
    with pytest.raises(OptionError, match=r"1 of 2 samples are in none of the splits train; export one of them"):
        survey(shardpack.open(tmp_path / "ds"), None, no_progress, named_by="key")
