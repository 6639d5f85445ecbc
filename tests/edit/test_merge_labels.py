"""Datasets that number their classes differently, merged: every label says what it said, from the first manifest on."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest

import shardpack
from shardpack.errors import OptionError, OutputExistsError, SourceError
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents as contents

NAMES = {"a": ("cat", "dog"), "b": ("bird", "cat"), "c": ("bird", "cat", "dog")}


@pytest.fixture
def labelled(tmp_path):
    """Return three datasets whose class lists differ; the first sample of the second one is deleted."""
    for name, classes in NAMES.items():
        with shardpack.ShardWriter(tmp_path / name, classes=classes, max_shard_samples=2) as writer:
            for number in range(5):
                label = number % len(classes)
                json = {"label": label, "class": classes[label], "annotations": [{"label": 1, "class": classes[1]}]}
                writer.write(f"{name}/{number}", {"jpg": b"j" * 40, "json": json, "cls": label})
            writer.write(f"{name}/none", {"jpg": b"n"})
        shardpack.split(tmp_path / name, {"train": 1})
    shardpack.delete(tmp_path / "b", ["b/0"])
    return [tmp_path / name for name in NAMES]


def bucket_of(folder):
    store = WatchedStore()
    for name, data in contents(folder).items():
        store.put(name, data)
    return store


def check_labels(location):
    with shardpack.open(location) as found:
        assert found.classes == ("cat", "dog", "bird")
        every = [f"{name}/{number}" for name in NAMES for number in (*range(5), "none")]
        assert list(found.keys()) == [key for key in every if key != "b/0"]
        assert len(found.split("train")) == len(found)
        for sample in [*found, *found.stream(), *found.get_many(range(len(found)))]:
            name, _, number = sample.key.partition("/")
            if number == "none":
                assert set(sample) == {"jpg"}
                continue
            own = NAMES[name]
            said = own[int(number) % len(own)]
            label = found.classes.index(said)
            part = {"label": found.classes.index(own[1]), "class": own[1]}
            assert sample.decode("json") == {"label": label, "class": said, "annotations": [part]}
            assert (sample.decode("cls"), bytes(sample["jpg"])) == (label, b"j" * 40)


@pytest.mark.parametrize("copy", [False, True])
def test_class_lists_are_joined(labelled, tmp_path, copy):
    before = [contents(folder) for folder in labelled]
    with pytest.raises(OptionError, match="--reconcile"):
        shardpack.merge(labelled, tmp_path / "out", copy=copy)
    assert shardpack.merge(labelled, tmp_path / "out", copy=copy, reconcile=True, dry_run=True).num_samples == 17
    assert not (tmp_path / "out").exists()
    shardpack.merge(labelled, tmp_path / "out", copy=copy, reconcile=True)
    check_labels(tmp_path / "out")
    assert shardpack.open(tmp_path / "out").manifest.generation == 1
    assert shardpack.verify(tmp_path / "out", full=True).ok
    assert [contents(folder) for folder in labelled] == before
    shardpack.copy(tmp_path / "out", tmp_path / "copy")
    check_labels(tmp_path / "copy")


def test_compressed_labels_are_renumbered(tmp_path):
    pytest.importorskip("zstandard")
    for name, classes in (("a", ("cat",)), ("b", ("dog", "cat"))):
        with shardpack.ShardWriter(tmp_path / name, classes=classes, compress={"json": "zstd:3"}) as writer:
            writer.write(name, {"json": {"label": 0}})
    shardpack.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", reconcile=True)
    found = shardpack.open(tmp_path / "out")
    assert [sample.decode("json.zst") for sample in found] == [{"label": 0}, {"label": 1}]


def test_equal_class_lists_need_no_layer(labelled, tmp_path):
    shardpack.merge(labelled[1:], tmp_path / "out", reconcile=True)
    assert shardpack.open(tmp_path / "out").manifest.layers == ()


def test_a_label_that_contradicts_its_class_list_is_not_merged(labelled, tmp_path):
    with shardpack.ShardWriter(tmp_path / "bad", classes=["bird"]) as writer:
        writer.write("bad", {"cls": 7})
    shardpack.split(tmp_path / "bad", {"train": 1})
    for dry_run in (True, False):
        with pytest.raises(SourceError, match="label 7 contradicts"):
            shardpack.merge([labelled[0], tmp_path / "bad"], tmp_path / "out", reconcile=True, dry_run=dry_run)
    assert not (tmp_path / "out" / ".shardpack" / "manifest.json").exists()


def test_a_killed_merge_never_shows_wrong_labels(labelled):
    sources = [bucket_of(folder).url for folder in labelled]
    for step in itertools.count(1, 3):
        store = WatchedStore()
        kill_at(store, step)
        try:
            shardpack.merge(sources, store.url, reconcile=True)
        except KilledError:
            killed = True
        else:
            killed = False
        heal(store)
        if ".shardpack/manifest.json" in store.contents():
            check_labels(store.url)
        with suppress(OutputExistsError):  # it was finished, and cleaned up
            shardpack.merge(sources, store.url, reconcile=True)
        check_labels(store.url)
        if not killed:
            break
    assert step > 8


def test_a_label_table_is_not_taken_over_silently(labelled, tmp_path):
    pytest.importorskip("pyarrow")
    said = []
    shardpack.merge(labelled, tmp_path / "one", reconcile=True, announce=said.append)
    assert said == []
    shardpack.table(labelled[1])
    shardpack.merge(labelled, tmp_path / "two", reconcile=True, announce=said.append)
    assert len(said) == 1
    assert f'has no label table; "shardpack table {tmp_path / "two"}" makes it' in said[0]
