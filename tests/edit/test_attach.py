"""Datasets as layers of others: by key they replace or add fields, stay as they were attached, and can be taken off."""

from __future__ import annotations

import shutil

import pytest

import shardpack
from shardpack.edit.attach import attach
from shardpack.edit.detach import detach
from shardpack.errors import (
    DatasetNotFoundError,
    FieldNotFoundError,
    OptionError,
    ShardpackError,
    UnknownKeyError,
)
from shardpack.storage.open import open_store
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents

KEYS = [f"k/{number}" for number in range(7)]


def write(place, samples, **options):
    with shardpack.ShardWriter(place, max_shard_samples=3, **options) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)
    return place


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "ds", {key: {"jpg": key.encode(), "txt": f"old {key}"} for key in KEYS})


@pytest.fixture
def captions(tmp_path):
    """Captions of some samples, in another order."""
    return write(tmp_path / "captions", {key: {"txt": f"new {key}", "npy": b"n"} for key in KEYS[5:1:-1]})


def texts(place, **options):
    with shardpack.open(place, **options) as ds:
        return {sample.key: sample.decode("txt") for sample in ds}


NEW = {key: f"{'new' if key in KEYS[2:6] else 'old'} {key}" for key in KEYS}
OLD = {key: f"old {key}" for key in KEYS}


def test_a_layer_replaces_and_adds_fields(dataset, captions):
    before = file_contents(dataset)
    report = attach(dataset, captions)
    assert (report.command, report.generation, report.changed, report.num_samples) == ("attach", 2, 4, 7)
    assert (report.layer, report.fields) == ("../captions", ("npy", "txt"))
    assert texts(dataset) == NEW
    ds = shardpack.open(dataset)
    assert ds.fields == ("jpg", "npy", "txt")
    assert [set(ds[key]) for key in ("k/1", "k/2")] == [{"jpg", "txt"}, {"jpg", "npy", "txt"}]
    assert texts(dataset, generation=1) == OLD
    after = file_contents(dataset)
    assert all(after[name] == data for name, data in before.items() if name != ".shardpack/manifest.json")


def test_a_layer_may_give_some_of_its_fields(dataset, captions):
    assert attach(dataset, captions, fields=["npy"]).fields == ("npy",)
    assert texts(dataset) == OLD
    assert shardpack.open(dataset)["k/2"]["npy"] == b"n"


def test_layers_of_the_edits_of_another_dataset_are_refused(dataset, captions, tmp_path):
    """That dataset deletes them when it no longer needs them; its own it may attach again."""
    shardpack.relabel(captions, {"k/2": {"n": 1}})
    (made,) = (captions / ".shardpack" / "layers").iterdir()
    files = file_contents(dataset)
    for dry_run in (True, False):
        with pytest.raises(OptionError, match=r"edits of another dataset.*shardpack copy"):
            attach(dataset, made, dry_run=dry_run)
    assert file_contents(dataset) == files
    shardpack.copy(made, tmp_path / "own")
    assert attach(dataset, tmp_path / "own").changed == 1
    detach(captions)
    assert attach(captions, made).changed == 1


def test_both_may_move_together(dataset, captions, tmp_path):
    attach(dataset, captions)
    (tmp_path / "there").mkdir()
    for folder in (dataset, captions):
        folder.rename(tmp_path / "there" / folder.name)
    assert texts(tmp_path / "there" / "ds") == NEW


def test_a_layer_stays_as_it_was_attached(dataset, captions):
    attach(dataset, captions)
    shardpack.delete(captions, ["k/2"])
    assert texts(dataset) == NEW
    shutil.rmtree(captions)
    with pytest.raises(ShardpackError, match="layer"):
        texts(dataset)
    detach(dataset)
    assert texts(dataset) == OLD


def test_later_layers_win(dataset, captions, tmp_path):
    attach(dataset, captions)
    attach(dataset, write(tmp_path / "more", {"k/2": {"txt": "newest"}}))
    assert texts(dataset) == {**NEW, "k/2": "newest"}
    with pytest.raises(OptionError, match=r"name the layer to detach .*: 0: '\.\./captions', 1: '\.\./more'"):
        detach(dataset)
    report = detach(dataset, 0)
    assert (report.command, report.generation, report.layer, report.fields) == (
        "detach",
        4,
        "../captions",
        ("npy", "txt"),
    )
    assert texts(dataset) == {**OLD, "k/2": "newest"}
    assert detach(dataset, "../more/").generation == 5
    assert texts(dataset) == OLD
    assert shardpack.open(dataset).manifest.layers == ()


def test_a_layer_that_is_left_out_is_named(dataset, captions, tmp_path):
    said = []
    attach(dataset, captions, announce=said.append)
    attach(dataset, captions, announce=said.append)
    assert said == []
    write(tmp_path / "better", {key: {"txt": "better", "npy": b"b"} for key in KEYS})
    attach(dataset, tmp_path / "better", announce=said.append)
    assert said == [
        "layer '../captions' is left out, as the new one has all of its samples and fields; generation 3 still has it"
    ]


def test_a_layer_that_is_attached_again_takes_its_own_place(dataset, captions):
    attach(dataset, captions)
    shutil.rmtree(captions)
    write(captions, {"k/0": {"txt": "again", "npy": b"n"}})
    attach(dataset, captions)
    assert texts(dataset) == {**OLD, "k/0": "again"}
    assert len(shardpack.open(dataset).manifest.layers) == 1


def test_deleted_samples_have_no_entry(dataset, captions):
    shardpack.delete(dataset, ["k/2"])
    with pytest.raises(UnknownKeyError, match=r"layer '\.\./captions': 1 of 4 keys are not in the dataset: 'k/2'"):
        attach(dataset, captions)


def test_a_dry_run_writes_nothing(dataset, captions):
    files = file_contents(dataset)
    assert (attach(dataset, captions, dry_run=True).dry_run, file_contents(dataset)) == (True, files)
    attach(dataset, captions)
    files = file_contents(dataset)
    assert (detach(dataset, dry_run=True).layer, file_contents(dataset)) == ("../captions", files)


def edited(_, captions):
    shardpack.delete(captions, ["k/2"])
    return captions


def empty(tmp_path, _):
    return write(tmp_path / "none", {})


def unknown(tmp_path, _):
    return write(tmp_path / "other", {f"x{number}": {"txt": "x"} for number in range(5)})


def compressed(tmp_path, _):
    pytest.importorskip("zstandard")
    return write(tmp_path / "packed", {"k/0": {"txt.zst": "x"}})


@pytest.mark.parametrize(
    ("other", "options", "error", "message"),
    [
        (edited, {}, OptionError, "has layers or deleted samples of its own; pack it first"),
        (empty, {}, OptionError, "has no fields to give"),
        (unknown, {}, UnknownKeyError, "5 of 5 keys are not in the dataset: 'x0', 'x1', 'x2', and 2 more"),
        (compressed, {}, OptionError, r"gives 'txt\.zst' where the dataset has 'txt'"),
        (lambda folder, _: folder / "ds", {}, OptionError, "cannot be a layer of itself"),
        (lambda folder, _: folder / "gone", {}, DatasetNotFoundError, "gone"),
        (lambda _, captions: open_store(captions), {}, OptionError, "expected its folder or URL"),
        (lambda _, captions: captions, {"fields": ["json"]}, FieldNotFoundError, "no field 'json'; it has: npy, txt"),
        (lambda _, captions: captions, {"fields": "txt"}, OptionError, r"write fields=\['txt'\]"),
    ],
)
def test_what_is_refused_changes_nothing(dataset, captions, other, options, error, message):  # noqa: PLR0917
    layer = other(captions.parent, captions)
    files = file_contents(dataset)
    with pytest.raises(error, match=message):
        attach(dataset, layer, **options)
    assert file_contents(dataset) == files


def test_labels_of_other_classes_are_refused(tmp_path):
    write(tmp_path / "ds", {"a": {"json": {"label": 0}}}, classes=["cat", "dog"])
    write(tmp_path / "same", {"a": {"json": {"label": 1}}}, classes=["cat"])
    write(tmp_path / "other", {"a": {"json": {"label": 1}, "txt": "x"}}, classes=["dog", "cat"])
    with pytest.raises(OptionError, match="numbers classes otherwise: 'dog', 'cat', and the dataset has 'cat', 'dog'"):
        attach(tmp_path / "ds", tmp_path / "other")
    attach(tmp_path / "ds", tmp_path / "same")
    attach(tmp_path / "ds", tmp_path / "other", fields=["txt"])


def test_a_kill_at_any_write_does_no_harm():
    steps = 0
    while True:
        store = WatchedStore()
        write(store, {key: {"txt": f"old {key}"} for key in KEYS})
        layer = WatchedStore()
        write(layer, {key: {"txt": f"new {key}"} for key in KEYS[2:6]})
        steps += 1
        kill_at(store, steps)
        try:
            attach(store, layer.url)
        except (KilledError, ShardpackError):
            heal(store)
        else:
            break
        assert texts(store, allow_locations=True) in (OLD, NEW)
        assert attach(store, layer.url, allow_locations=True).changed == 4
        assert texts(store, allow_locations=True) == NEW
        assert not [name for name in store.names() if "/tmp/" in name]
    assert steps > 3


def test_some_fields_of_a_layer_whose_samples_differ(dataset, tmp_path):
    """Of samples that lack these fields in the layer, everything is that of the dataset."""
    write(tmp_path / "layer", {key: {"npy": b"n"} if number % 2 else {"txt": "x"} for number, key in enumerate(KEYS)})
    attach(dataset, tmp_path / "layer", fields=["npy"])
    with shardpack.open(dataset) as ds:
        expected = [{"jpg", "txt", *(["npy"] if number % 2 else [])} for number in range(len(KEYS))]
        assert [set(sample) for sample in ds] == [set(ds[number]) for number in range(len(KEYS))] == expected
        assert [set(sample) for sample in ds.get_many(range(len(KEYS)))] == expected
        assert [set(sample) for sample in ds.get_many(KEYS, fields=["npy", "txt"])] == [
            each - {"jpg"} for each in expected
        ]
        assert [set(ds.locate(key).fields) for key in KEYS] == expected
        assert sorted(sample.key for sample in ds.stream(shuffle="global", fields=["npy"])) == KEYS
    assert texts(dataset) == OLD
