"""Splits of a dataset that is there: exact, stored, refused over others, and kept by what comes later."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import shardpack
from shardpack.edit.split import split
from shardpack.errors import (
    DatasetNotFoundError,
    FieldNotFoundError,
    OptionError,
    OutputExistsError,
    SourceError,
    UnknownKeyError,
)
from shardpack.storage.memory import MemoryStore
from tests.fakes import file_contents

CLASSES = ("cap", "coat", "hat")


def write(place, count=40):
    with shardpack.ShardWriter(place, max_shard_samples=16, classes=CLASSES) as writer:
        for number in range(count):
            label = {"label": number % 3, "class": CLASSES[number % 3], "from": "val" if number % 5 == 0 else "train"}
            writer.write(f"k/{number:03d}", {"json": label, "txt": "x"})
    return place


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "ds")


def of_splits(place):
    """Return the numbers of the samples in each split."""
    ds = shardpack.open(place)
    return {name: [sample.position for sample in ds.split(name)] for name in ds.splits}


def test_fractions_are_exact_and_stored(dataset):
    before = file_contents(dataset)
    report = split(dataset, {"train": 0.8, "val": 0.15})
    assert (report.command, report.generation, report.parent, report.num_samples) == ("split", 2, 1, 40)
    assert report.splits == {"train": 32, "val": 6} == shardpack.open(dataset).splits
    assert report.changed == 38
    found = of_splits(dataset)
    assert not set(found["train"]) & set(found["val"])
    after = file_contents(dataset)
    assert {name: data for name, data in after.items() if name in before and "manifest.json" not in name} == {
        name: data for name, data in before.items() if "manifest.json" not in name
    }
    assert shardpack.open(dataset, generation=1).splits == {}


def test_the_same_splits_come_out_again(dataset, tmp_path):
    split(dataset, {"train": 0.8, "val": 0.2}, seed=7)
    split(write(tmp_path / "again"), {"train": 0.8, "val": 0.2}, seed=7)
    split(write(tmp_path / "other"), {"train": 0.8, "val": 0.2}, seed=8)
    assert of_splits(dataset) == of_splits(tmp_path / "again") != of_splits(tmp_path / "other")


@pytest.mark.parametrize("value", ["class", "label"])
def test_strata_get_their_parts(dataset, value):
    split(dataset, {"train": "2/3", "val": "1/3"}, stratify=value)
    counts = {name: Counter(number % 3 for number in numbers) for name, numbers in of_splits(dataset).items()}
    assert all(abs(counts["val"][label] - size / 3) < 1 for label, size in ((0, 14), (1, 13), (2, 13)))
    assert sum(counts["val"].values()) == 13


def test_a_field_may_be_the_stratum(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for number in range(20):
            writer.write(f"{number:02d}", {"cls": number % 2})
    split(tmp_path / "ds", {"a": 0.5, "b": 0.5}, stratify="cls")
    assert {name: sum(n % 2 for n in numbers) for name, numbers in of_splits(tmp_path / "ds").items()} == {
        "a": 5,
        "b": 5,
    }


def test_samples_without_a_label_are_a_stratum(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for number in range(20):
            writer.write(f"{number:02d}", {"txt": "x", **({"json": {"class": "a"}} if number < 10 else {})})
    split(tmp_path / "ds", {"a": 0.5, "b": 0.5}, stratify="class")
    assert {name: sum(n < 10 for n in numbers) for name, numbers in of_splits(tmp_path / "ds").items()} == {
        "a": 5,
        "b": 5,
    }


def test_lists(dataset, tmp_path):
    (tmp_path / "val.txt").write_text("k/007\nk/001\n")
    report = split(dataset, lists={"val": tmp_path / "val.txt", "test": ["k/003"]})
    assert report.splits == {"val": 2, "test": 1}
    assert of_splits(dataset) == {"val": [1, 7], "test": [3]}


def test_a_column(dataset):
    assert split(dataset, from_column="from").splits == {"train": 32, "val": 8}
    assert of_splits(dataset)["val"] == list(range(0, 40, 5))


def test_splits_are_not_replaced_by_accident(dataset):
    split(dataset, {"train": 0.8, "val": 0.2})
    files = file_contents(dataset)
    for options in ({"fraction": {"a": 0.5}}, {"from_column": "from"}):
        with pytest.raises(OutputExistsError, match=r"already has splits \(train, val\); pass force=True"):
            split(dataset, **options)
        with pytest.raises(OutputExistsError, match="already has splits"):
            split(dataset, **options, dry_run=True)
    assert file_contents(dataset) == files
    report = split(dataset, {"a": 0.5}, force=True)
    assert (report.generation, report.splits) == (3, {"a": 20})
    assert shardpack.open(dataset, generation=2).splits == {"train": 32, "val": 8}


def test_a_dry_run_writes_nothing(dataset):
    files = file_contents(dataset)
    report = split(dataset, {"train": 0.5}, dry_run=True)
    assert (report.dry_run, report.splits, report.generation) == (True, {"train": 20}, 2)
    assert file_contents(dataset) == files


def test_stores_of_any_kind():
    store = write(MemoryStore({}))
    split(store, {"train": 0.9, "val": 0.1}, stratify="class")
    assert shardpack.open(store).splits == {"train": 36, "val": 4}


def test_the_manifest_says_where_later_samples_fall(dataset):
    split(dataset, {"train": 0.75, "val": 0.25})
    appended = json.loads((dataset / ".shardpack" / "manifest.json").read_text())["splits"]["appended"]
    assert appended["of_samples"] == 40
    assert appended["ranges"] == {"train": [0, 3 << 30], "val": [3 << 30, 1 << 32]}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, OptionError, "name one of fraction"),
        ({"fraction": {"a": 1}, "lists": {"b": []}}, OptionError, "name one of fraction"),
        ({"from_column": "from", "stratify": "class"}, OptionError, "stratify and seed are for fractions"),
        ({"from_column": "from", "seed": 1}, OptionError, "stratify and seed are for fractions"),
        ({"fraction": {"a": 0.5}, "seed": "x"}, OptionError, "seed is 'x', expected an integer"),
        (
            {"fraction": {"a": 0.5}, "stratify": "colour"},
            OptionError,
            "no label has 'colour'; they have: 'label', 'class'",
        ),
        ({"from_column": "label"}, SourceError, "'label' of sample 0 is 0, expected the name of a split"),
        ({"fraction": {"a": 0.5}, "stratify": b"x"}, OptionError, "stratify is b'x'; expected the name of a value"),
        ({"from_column": 0}, OptionError, "from_column is 0; expected the name of a value"),
        ({"lists": {"a": []}}, SourceError, "the list of split 'a' is empty"),
        ({"lists": ["a"]}, OptionError, r"lists are \['a'\]; expected a dict"),
        ({"lists": {"a": ["k/001"], "b": ["k/001"]}}, SourceError, "'k/001' is in the lists of 'a' and 'b'"),
        ({"lists": {"a": ["k/001", "x", "y"]}}, UnknownKeyError, "2 of 3 keys are not in the dataset: 'x', 'y'"),
    ],
)
def test_what_is_refused_changes_nothing(dataset, options, error, message):
    files = file_contents(dataset)
    with pytest.raises(error, match=message):
        split(dataset, **options)
    assert file_contents(dataset) == files


def test_datasets_without_labels(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"txt": "x"})
    with pytest.raises(FieldNotFoundError, match=r"no sample has a label .* or a field 'class'; the dataset has: txt"):
        split(tmp_path / "ds", {"a": 0.5}, stratify="class")
    with pytest.raises(DatasetNotFoundError):
        split(tmp_path / "none", {"a": 0.5})
