"""What datasets are as one is decided before anything is written; what does not fit together is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import shardpack
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.errors import DuplicateKeyError, OptionError
from shardpack.format.key_index import hash_keys
from shardpack.read.open_dataset import open_shards
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import open_store


@pytest.fixture
def plan(tmp_path):
    """Return a function that makes a plan of datasets, each given as its samples and options of the writer."""

    def make(*datasets, edit=lambda *_: None):
        inputs = []
        for number, (samples, options) in enumerate(datasets):
            folder = tmp_path / f"ds{number}"
            with shardpack.ShardWriter(folder, **options) as writer:
                for key, fields, *split in samples:
                    writer.write(key, fields, split=split[0] if split else None)
            edit(number, folder)
            inputs.append(MergeInput(str(folder), open_shards(open_store(folder)), LocationOptions()))
        return MergePlan(inputs)

    return make


def samples(*keys, field="txt", split=()):
    return [(key, {field: {"label": 0} if field == "json" else "x"}, *split) for key in keys]


def test_keys_and_deleted_samples_follow_one_another(plan):
    made = plan(
        (samples("a", "b", "c"), {"max_shard_samples": 2}),
        (samples("d", "e"), {}),
        edit=lambda number, folder: shardpack.delete(folder, ["b"] if number == 0 else ["e"]),
    )
    assert made.hashes.tolist() == hash_keys(["a", "b", "c", "d", "e"]).tolist()
    assert made.deleted.tolist() == [1, 4]
    assert made.unique_keys
    made.check()
    assert (made.classes, made.splits) == (None, None)


def test_a_key_of_two_datasets_is_refused(plan):
    with pytest.raises(
        DuplicateKeyError, match=r"ds0' and '.*ds1' both have a sample with the key 'b', as with 1 more"
    ):
        plan((samples("a", "b", "c"), {}), (samples("c", "b"), {})).check()


def test_labels_in_two_fields_are_refused(plan):
    compressed = [("b", {"json.gz": gzip.compress(b"{}")})]
    with pytest.raises(OptionError, match=r"ds1' has labels in 'json.gz', and another one in 'json'; pack one"):
        plan((samples("a", field="json"), {}), (compressed, {})).check()


def test_a_deleted_key_is_no_duplicate(plan):
    plan(
        (samples("a", "b"), {}),
        (samples("b"), {}),
        edit=lambda number, folder: shardpack.delete(folder, ["b"]) if number == 0 else None,
    ).check()


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([("x", "y"), ("x", "y")], ("x", "y")),
        ([("x",), ("x", "y")], ("x", "y")),
        ([None, None], None),
    ],
)
def test_class_lists_that_number_alike_join(plan, lists, expected):
    made = plan(*((samples(f"k{i}", field="json"), {"classes": names}) for i, names in enumerate(lists)))
    assert made.classes == expected


@pytest.mark.parametrize("lists", [[("x", "y"), ("y", "x")], [("x", "y"), None], [("x", "y"), ("x", "z")]])
def test_class_lists_that_differ_are_refused(plan, lists):
    made = plan(*((samples(f"k{i}", field="json"), {"classes": names}) for i, names in enumerate(lists)))
    with pytest.raises(OptionError, match=r"differently from the others.*(--reconcile|append .*ds[01] DS --classes)"):
        made.check()


def test_a_dataset_without_labels_takes_any_class_list(plan):
    assert plan((samples("a"), {}), (samples("b", field="json"), {"classes": ["x"]})).classes == ("x",)


def test_splits_join_by_name(plan):
    made = plan(
        ([*samples("a", split=("train",)), *samples("b", split=("val",))], {}),
        ([*samples("c"), *samples("d", split=("val",)), *samples("e", split=("extra",))], {}),
    )
    assert made.splits.names == ("train", "val", "extra")
    assert [made.splits.names[number] if number < 9 else None for number in made.splits.numbers(np.arange(5))] == [
        "train",
        "val",
        None,
        "val",
        "extra",
    ]


def test_splits_in_one_alone_are_refused(plan):
    with pytest.raises(OptionError, match=r"ds0' has splits, and '.*ds1' has none.*shardpack split"):
        plan((samples("a", split=("train",)), {}), (samples("b"), {})).check()


def test_splits_by_hash_stay_as_they_are(plan):
    def edit(number, folder):
        shardpack.split(folder, {"train": 0.5, "val": 0.5})
        shardpack.append([(f"new{number}-{i}", {"txt": "x"}) for i in range(8)], folder)

    made = plan((samples("a", "b"), {}), (samples("c", "d"), {}), edit=edit)
    numbers = [each.cache.splits.numbers(np.arange(10)) for each in made.inputs]
    assert made.splits.numbers(np.arange(20)).tolist() == np.concatenate(numbers).tolist()
    assert made.splits.appended.of_samples == 20


def test_what_is_alike_in_all_is_recorded(plan):
    made = plan((samples("a"), {"max_shard_samples": 2}), (samples("b"), {"max_shard_samples": 3}))
    assert made.packed_with()["options"] == {"max_shard_bytes": 256 << 20, "merged": 2}
