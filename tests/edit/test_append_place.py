"""What a dataset asks of the samples that come to it, before any is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.edit.append_place import AppendPlace, Wishes
from shardpack.edit.base import open_base
from shardpack.edit.duplicates import DuplicateKeys
from shardpack.errors import DuplicateKeyError, OptionError
from shardpack.format.layout import index_path, tagged_shard_name
from shardpack.sources.splits import counted_splits, with_splits
from shardpack.write.place import Incoming
from tests.fakes import inline_listing

TAG = "g000002-0c4d77ab"


@pytest.fixture
def said():
    return []


@pytest.fixture
def place(tmp_path, said):
    def make(samples=(("a", {"txt": "a"}),), *, split=None, on_duplicate="raise", classes=None, in_split=None, **more):
        with shardpack.ShardWriter(tmp_path, classes=classes) as writer:
            for key, fields in samples:
                writer.write(key, fields, split=in_split)
        base = open_base(tmp_path)
        options = {"tag": TAG, "folder": ".shardpack/tmp/append-1", "announce": said.append}
        return AppendPlace(base, DuplicateKeys(base, on_duplicate), Wishes(split, **more), **options)

    return make


NEW = inline_listing({"b": {"jpg": b"1"}, "c": {"jpg": b"2"}})


def test_shards_go_beside_those_that_are_there(place, tmp_path):
    made = place()
    target = made.target()
    assert made.location == (0, (".",))
    lock = target.lock()
    target.put(index_path("shard-000000.tar"), [b"x"])
    lock.release()
    assert (tmp_path / index_path(tagged_shard_name("shard-000000.tar", TAG))).read_bytes() == b"x"
    made.refuse([made.store])


def test_keys_are_compared_if_they_stay(place):
    made = place([("b", {"txt": "a"})])
    assert made.admit(NEW, keeps_keys=False).keys == ["b", "c"]
    assert not made.is_checked
    with pytest.raises(DuplicateKeyError, match="'b'"):
        made.admit(NEW, keeps_keys=True)


def test_what_is_appended_is_said(place, said):
    made = place(classes=["cat"])
    made.admit(replace(NEW, classes=("cat", "dog", "ant")), keeps_keys=True)
    assert made.is_checked
    assert said[0].endswith(": 1 sample; new classes: dog, ant")
    assert made.new_classes == ("dog", "ant")


@pytest.mark.parametrize(("split", "told"), [("tran", "1 sample; new splits: tran"), ("train", "1 sample")])
def test_new_splits_are_said(place, said, split, told):
    made = place(in_split="train", split=split)
    made.admit(NEW, keeps_keys=True)
    made.admit_rows(None, ())
    assert [line.partition(": ")[2] for line in said] == [told, told]


def test_rows_have_the_classes_of_the_dataset(place):
    made = place(classes=["cat"])
    same = made.admit_rows(("cat", "dog"), ())
    assert (same.classes, same.steps) == (("cat", "dog"), ())
    other = made.admit_rows(("dog",), ())
    assert other.classes == ("cat", "dog")
    assert other.steps[0].describe()["own"] == ["dog"]
    assert made.admit_rows(None, ()).steps


def test_labels_that_are_left_out_are_no_question(place):
    made = place([("a", {"json": {"label": 0}})], takes_labels=False)
    assert made.admit(replace(NEW, classes=("cat",)), keeps_keys=True).classes is None
    assert made.admit_rows(("cat",), ()) == Incoming(None)


def test_a_dataset_with_labels_and_no_list_takes_none(place):
    made = place([("a", {"json": {"label": 0}})])
    for ask in (
        lambda: made.admit(replace(NEW, classes=("cat",)), keeps_keys=True),
        lambda: made.admit_rows(("cat",), ()),
    ):
        with pytest.raises(OptionError, match=r"has labels without one.*--fields jpg"):
            ask()
    assert made.admit(NEW, keeps_keys=True).classes is None


def test_splits_are_named(place):
    made = place(in_split="train")
    with pytest.raises(OptionError, match="has the splits train, and the source has none"):
        made.admit(NEW, keeps_keys=True)
    with pytest.raises(OptionError, match="--split NAME"):
        made.admit_rows(None, [None])
    own = with_splits(NEW, ["val", None])
    assert counted_splits(made.admit(own, keeps_keys=True)) == {"val": 1}
    assert made.admit_rows(None, ["val", None]) == Incoming(None)


def test_one_split_is_all_samples(place):
    made = place(in_split="train", split="val")
    assert counted_splits(made.admit(NEW, keeps_keys=True)) == {"val": 2}
    assert counted_splits(made.admit(with_splits(NEW, ["val", "train"]), keeps_keys=True)) == {"val": 1}
    assert made.admit_rows(None, [None]) == Incoming(None, split="val")
    assert made.admit_rows(None, ["train", "val"]) == Incoming(None, split="val", only_split="val")


def test_a_dataset_without_splits_takes_one_split_of_the_source(place):
    made = place(split="val")
    assert made.admit(with_splits(NEW, ["val", "train"]), keeps_keys=True).split is None
    with pytest.raises(OptionError, match="has no splits"):
        made.admit(NEW, keeps_keys=True)


def test_splits_of_the_source_alone_are_a_question(place):
    made = place()
    with pytest.raises(OptionError, match=r"the source has the splits train, val.*--split train"):
        made.admit(with_splits(NEW, ["val", "train"]), keeps_keys=True)
