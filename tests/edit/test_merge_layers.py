"""Datasets with layers, merged: every sample shows what it showed, whatever becomes of the datasets' own layers."""

from __future__ import annotations

import itertools
import json
import shutil
from contextlib import suppress

import pytest

import shardpack
from shardpack.errors import CorruptIndexError, DatasetNotFoundError, OptionError, OutputExistsError
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents as contents


@pytest.fixture
def layered(tmp_path):
    """Two datasets: one with captions beside it and mended labels, the other with mended labels and a late sample."""
    for name in "ab":
        rows = [(f"{name}/{n}", {"bin": b"x", "json": {"label": 0, "n": n}}) for n in range(4)]
        shardpack.pack(rows, tmp_path / name, max_shard_samples=3, classes=["cat", "dog"])
    shardpack.pack([("a/2", {"txt": "two"}), ("a/0", {"txt": "none"})], tmp_path / "captions")
    shardpack.attach(tmp_path / "a", tmp_path / "captions")
    shardpack.relabel(tmp_path / "a", {"a/1": {"label": 1}})
    shardpack.relabel(tmp_path / "b", {"b/3": {"label": 1}, "b/0": {"label": 1}})
    shardpack.append([("b/more", {"bin": b"y", "json": {"label": 1}})], tmp_path / "b")
    shardpack.delete(tmp_path / "b", ["b/0"])
    return [tmp_path / "a", tmp_path / "b"]


def shown(*places):
    found = {}
    for place in places:
        with shardpack.open(place) as ds:
            found |= {sample.key: dict(sample) for sample in ds.stream()}
            assert {sample.key: dict(sample) for sample in ds} == {
                sample.key: dict(sample) for sample in ds.get_many(range(len(ds)))
            }
    return found


@pytest.mark.parametrize("copy", [False, True])
def test_layers_stay_attached(layered, tmp_path, copy):
    expected, before = shown(*layered), [contents(folder) for folder in layered]
    out = tmp_path / "out"
    shardpack.merge(layered, out, copy=copy)
    assert shown(out) == expected
    assert [contents(folder) for folder in layered] == before
    assert shardpack.verify(out, full=True).problems == ()
    places = [layer.location for layer in shardpack.open(out).manifest.layers]
    assert [place.startswith(".shardpack/layers/g000001-") for place in places] == [copy, True, True]
    assert copy or places[0] == "../captions"
    # What becomes of the layers that edits of the others made is theirs alone.
    for folder, keys in zip(layered, (range(4), range(1, 4)), strict=True):
        shardpack.relabel(folder, {f"{folder.name}/{n}": {"label": 0} for n in keys})
        shardpack.gc(folder, older_than=0)
    if copy:
        for folder in (*layered, tmp_path / "captions"):
            shutil.rmtree(folder)
    assert shown(out) == expected
    shardpack.gc(out, older_than=0)
    shardpack.copy(out, tmp_path / "copied")
    assert shown(out) == shown(tmp_path / "copied") == expected


def test_a_merged_dataset_with_layers_goes_on_living(layered, tmp_path):
    out = tmp_path / "out"
    shardpack.merge(layered, out)
    expected = shown(out)
    shardpack.append([("new", {"bin": b"z", "json": {"label": 0}})], out)
    shardpack.relabel(out, {"a/2": {"label": 1}, "new": {"label": 1}})
    found = shown(out)
    assert json.loads(found["a/2"]["json"])["label"] == json.loads(found["new"]["json"])["label"] == 1
    assert {key for key in expected if found[key] != expected[key]} == {"a/2"}
    shardpack.pack([("c", {"bin": b"c"})], tmp_path / "c")
    shardpack.merge([out, tmp_path / "c"], tmp_path / "more")
    assert shown(tmp_path / "more") == {**found, "c": {"bin": b"c"}}


def test_labels_of_layers_are_renumbered(layered, tmp_path):
    shardpack.pack([("c", {"json": {"label": 0}})], tmp_path / "c", classes=["dog"])
    shardpack.merge([tmp_path / "c", *layered], tmp_path / "out", reconcile=True)
    with shardpack.open(tmp_path / "out") as ds:
        assert ds.classes == ("dog", "cat")
        assert {sample.key: sample.decode("json")["label"] for sample in ds} == {
            "c": 0, "a/0": 1, "a/1": 0, "a/2": 1, "a/3": 1, "b/1": 1, "b/2": 1, "b/3": 0, "b/more": 0,
        }  # fmt: skip


def test_layers_that_are_damaged_or_gone_are_not_merged(layered, tmp_path):
    positions = next((tmp_path / "b" / ".shardpack").glob("layer-*"))
    whole = positions.read_bytes()
    positions.write_bytes(whole[:-1] + b"?")
    with pytest.raises(CorruptIndexError, match="positions of a layer are damaged"):
        shardpack.merge(layered, tmp_path / "out")
    positions.write_bytes(whole)
    (tmp_path / "captions").rename(tmp_path / "gone")
    for copy, error in ((False, DatasetNotFoundError), (True, OptionError)):
        with pytest.raises(error, match=r"'\.\./captions' is missing"):
            shardpack.merge(layered, tmp_path / "out", copy=copy)
    assert not (tmp_path / "out").exists()


def test_a_killed_merge_is_continued(layered):
    shardpack.detach(layered[0], "../captions")
    expected, sources = shown(*layered), []
    for folder in layered:
        sources.append(WatchedStore())
        for name, data in contents(folder).items():
            sources[-1].put(name, data)
    urls = [source.url for source in sources]
    whole = WatchedStore()
    shardpack.merge(urls, whole.url)
    for step in itertools.count(1, 3):
        store = WatchedStore()
        kill_at(store, step)
        try:
            shardpack.merge(urls, store.url)
        except KilledError:
            killed = True
        else:
            killed = False
        heal(store)
        if ".shardpack/manifest.json" in store.contents():
            assert shown(store.url) == expected
        with suppress(OutputExistsError):  # it was finished, and cleaned up
            shardpack.merge(urls, store.url)
        assert shown(store.url) == expected
        if not killed:
            break
    assert step > 8
