"""`append`: the dataset is what it was, with the new samples behind; nothing old is changed, and nothing is guessed."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shardpack
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.errors import (
    DatasetNotFoundError,
    DuplicateKeyError,
    OptionError,
    OutputExistsError,
    SourceError,
)
from shardpack.storage.open import open_store
from tests.buckets import FakeBucket, serve
from tests.commit.stores import KilledError, ReadStore, WatchedStore, heal, kill_at
from tests.conftest import image_folder
from tests.fakes import file_contents as contents
from tests.fakes import write_files
from tests.write.test_kill import zygote  # noqa: F401 - a fixture

OLD = {f"a/{i}": {"jpg": bytes([i]) * (50 + i), "txt": b"old"} for i in range(4)}
NEW = {f"b/{i}": {"jpg": bytes([9 + i]) * (70 + i), "txt": b"new"} for i in range(3)}
FILES = {"layout": "files", "jobs": 1}


@pytest.fixture
def base(tmp_path):
    shardpack.pack(write_files(tmp_path / "old", OLD), tmp_path / "ds", max_shard_samples=2, **FILES)
    return tmp_path / "ds"


@pytest.fixture
def new(tmp_path):
    return write_files(tmp_path / "new", NEW)


def samples_of(location, **options):
    found = shardpack.open(location, **options)
    return [(sample.key, {name: bytes(sample[name]) for name in sample}) for sample in found.stream()]


def as_list(*parts):
    return [(key, fields) for part in parts for key, fields in part.items()]


def is_sound(location):
    report = shardpack.verify(location, full=True)
    assert report.ok, report
    return True


# -- what comes out --------------------------------------------------------------------------------


def test_new_samples_come_behind_the_old_ones(base, new):
    before = contents(base)
    report = shardpack.append(new, base, **FILES)
    assert samples_of(base) == as_list(OLD, NEW)
    assert samples_of(base, generation=1) == as_list(OLD)
    after = contents(base)
    old = {name: data for name, data in before.items() if name != ".shardpack/manifest.json"}
    assert {name: after[name] for name in old} == old  # nothing old is written again
    assert not [name for name in after if name.startswith(".shardpack/tmp")]
    assert (report.added, report.replaced, report.generation, report.parent) == (3, 0, 2, 1)
    assert (report.num_samples, report.command, report.new_classes) == (7, "append", ())
    assert report.packed.num_shards == 2  # of two samples, as the dataset
    found = shardpack.open(base)
    assert [found[key].position for key in NEW] == [4, 5, 6]
    assert is_sound(base)


def test_the_shards_are_named_by_their_edit(base, new):
    shardpack.append(new, base, **FILES)
    *old, first, second = [shard.name for shard in shardpack.open(base).shards]
    assert old == ["shard-000000.tar", "shard-000001.tar"]
    assert first.startswith("shard-g000002-")
    assert (first[:-11], second[-11:]) == (second[:-11], "-000001.tar")


def a_way(way, new, other):
    """Return a source, and options for it."""
    found = shardpack.open(other)
    return {
        "iterable": (list(NEW.items()), {}),
        "chunked": (new, {"compress": {"txt": "zstd:3"}, **FILES}),
        "framed": (new, {"compress": {"shards": "zstd:3"}, **FILES}),
        "dataset": (found, {"jobs": 1}),
        "folder of a dataset": (other, {"jobs": 1}),
        "view": (found.select([0, 1, 2]), {"jobs": 1}),
        "stream": (found.stream(), {}),
    }[way]


@pytest.mark.parametrize("way", ["iterable", "chunked", "framed", "dataset", "folder of a dataset", "view", "stream"])
def test_all_that_can_be_packed_can_be_appended(base, new, tmp_path, way):
    if way in ("chunked", "framed"):
        pytest.importorskip("zstandard")
    shardpack.pack(new, tmp_path / "other", **FILES)
    source, options = a_way(way, new, tmp_path / "other")
    report = shardpack.append(source, base, **options)
    found = shardpack.open(base)
    assert [sample.key for sample in found.stream()] == [*OLD, *NEW]
    assert [sample.decode("txt") if "txt" in sample else sample.decode("txt.zst") for sample in found.stream()] == [
        "old"
    ] * 4 + ["new"] * 3
    assert report.added == 3
    assert is_sound(base)


def test_rows_are_appended(base, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"key": ["x", "y"], "n": [1, 2]}), tmp_path / "rows.parquet")
    report = shardpack.append(tmp_path / "rows.parquet", base, jobs=1)
    found = shardpack.open(base)
    assert [found[key].decode("json") for key in "xy"] == [{"n": 1}, {"n": 2}]
    assert report.packed.layout == "parquet"


def test_shards_are_limited_and_compressed_as_the_dataset(tmp_path, new):
    pytest.importorskip("zstandard")
    how = {"max_shard_samples": 1, "compress": {"shards": "zstd:5"}, "frame_bytes": 4096}
    shardpack.pack(write_files(tmp_path / "old", OLD), tmp_path / "ds", **how, **FILES)
    report = shardpack.append(new, tmp_path / "ds", **FILES)
    names = [shard.name for shard in shardpack.open(tmp_path / "ds").shards]
    assert report.packed.num_shards == 3
    assert all(name.endswith(".tar.zst") for name in names)
    assert is_sound(tmp_path / "ds")
    shardpack.append(list(NEW.items()), tmp_path / "ds", on_duplicate="replace", max_shard_samples=3)
    assert [shard.num_samples for shard in shardpack.open(tmp_path / "ds").shards][-1] == 3


@pytest.mark.parametrize("is_listed", [False, True])
def test_labels_in_another_field_are_refused_and_leave_nothing_behind(tmp_path, is_listed):
    out, before = tmp_path / "ds", [(key, {"txt": "x", "json": {"v": 1}}) for key in "ab"]
    shardpack.pack(before, out)
    files = contents(out)
    new = [("c", {"txt": b"x", "json.gz": gzip.compress(b'{"v": 2}')})]
    if is_listed:
        shardpack.pack(new, tmp_path / "new")
        new = tmp_path / "new"
    with pytest.raises(OptionError, match=r"labels in 'json.gz', and the dataset in .* in 'json'; append .*--fields"):
        shardpack.append(new, out, jobs=1)
    assert {name for name in contents(out) if "/tmp/" not in name} == files.keys()
    assert is_sound(out)
    shardpack.append(new, out, fields=["txt"], jobs=1)
    assert len(shardpack.open(out)) == 3


def test_an_empty_dataset_grows(tmp_path, new):
    with shardpack.ShardWriter(tmp_path / "ds"):
        pass
    shardpack.append(new, tmp_path / "ds", **FILES)
    assert samples_of(tmp_path / "ds") == as_list(NEW)


def test_nothing_to_append_makes_no_generation(base):
    report = shardpack.append([], base)
    assert (report.added, report.generation, report.num_samples) == (0, 1, 4)
    assert shardpack.open(base).manifest.generation == 1
    assert not [name for name in contents(base) if name.startswith(".shardpack/tmp")]


def test_samples_of_the_dataset_are_appended_to_it_changed(base):
    def renamed(fields):
        return {**fields, "__key__": f"{fields['__key__']}-again"}

    report = shardpack.append(shardpack.open(base), base, transform=renamed, transform_version="1", jobs=1)
    assert report.added == 4
    assert list(shardpack.open(base).keys()) == [*OLD, *(f"{key}-again" for key in OLD)]


def test_a_dry_run_writes_nothing(base, new):
    before = contents(base)
    said = []
    report = shardpack.append(new, base, dry_run=True, announce=said.append, **FILES)
    assert (report.added, report.generation, report.num_samples, report.dry_run) == (3, 2, 7, True)
    assert contents(base) == before
    assert any(line.startswith("appends to ") and "4 samples" in line for line in said)
    with pytest.raises(DuplicateKeyError):
        shardpack.append(with_old_key(new), base, dry_run=True, **FILES)


def with_old_key(new):
    """Return a folder with one sample that the dataset has."""
    write_files(new, {"a/1": OLD["a/1"]})
    return new


# -- duplicate keys -------------------------------------------------------------------------------


def test_keys_that_are_there_are_refused_before_any_work(base, new):
    before = contents(base)
    with pytest.raises(
        DuplicateKeyError, match=r"already: 'a/1'; replace them with .*--on-duplicate replace"
    ) as caught:
        shardpack.append(with_old_key(new), base, **FILES)
    assert contents(base) == before
    assert "nothing was changed" in str(caught.value)


def test_replaced_samples_are_deleted_and_appended(base):
    newer = {"a/1": {"jpg": b"newer", "txt": b"x"}, "c": {"jpg": b"c", "txt": b"y"}}
    report = shardpack.append(newer.items(), base, on_duplicate="replace")
    assert (report.added, report.replaced, report.deleted, report.num_samples) == (2, 1, 1, 5)
    manifest = shardpack.open(base).manifest
    assert (manifest.num_samples, manifest.num_visible) == (6, 5)
    assert samples_of(base, generation=1) == as_list(OLD)


def test_replaced_samples_are_found_by_their_keys(base):
    for number in range(3):
        shardpack.append([("a/1", {"txt": f"{number}"})], base, on_duplicate="replace")
        found = shardpack.open(base)
        assert (found["a/1"].decode("txt"), len(found)) == (str(number), 4)
    assert list(found.keys()) == ["a/0", "a/2", "a/3", "a/1"]


def test_a_deleted_key_is_free_again(base):
    shardpack.append([("a/1", {"txt": "1"})], base, on_duplicate="replace")
    with pytest.raises(DuplicateKeyError, match="'a/1'"):
        shardpack.append([("a/1", {"txt": "2"})], base)


def test_keys_that_are_known_late_keep_what_is_finished(base, new):
    def renamed(fields):
        return {**fields, "__key__": fields["__key__"].replace("b/0", "a/1")}

    options = {"transform": renamed, "transform_version": "1", **FILES}
    with pytest.raises(DuplicateKeyError, match="'a/1'"):
        shardpack.append(new, base, **options)
    assert samples_of(base) == as_list(OLD)
    kept = {name for name in contents(base) if name.startswith("shard-g000002-")}
    assert kept
    report = shardpack.append(new, base, on_duplicate="replace", **options)
    assert report.packed.resumed_shards == report.packed.num_shards
    assert {shard.name for shard in shardpack.open(base).shards} >= kept
    assert (report.replaced, report.num_samples) == (1, 6)


def test_what_was_appended_is_not_appended_again(base, new):
    shardpack.append(new, base, **FILES)
    with pytest.raises(DuplicateKeyError, match=r"'b/0', 'b/1', 'b/2';"):
        shardpack.append(new, base, **FILES)


def test_keys_of_the_source_must_differ(base):
    with pytest.raises(DuplicateKeyError):
        shardpack.append([("c", {"txt": "1"}), ("c", {"txt": "2"})], base, on_duplicate="replace")
    assert samples_of(base) == as_list(OLD)


# -- classes ----------------------------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path):
    shardpack.pack(image_folder(tmp_path / "old", ("cat", "dog"), 1), tmp_path / "ds", jobs=1)
    return tmp_path / "ds"


def labels_of(location):
    return {sample.key: sample.decode("json") for sample in shardpack.open(location).stream()}


def test_labels_have_the_numbers_of_the_dataset(classes, tmp_path):
    source = image_folder(tmp_path / "new", ("ant", "dog"), 1)
    (source / "dog" / "0000.jpg").rename(source / "dog" / "0001.jpg")
    said = []
    report = shardpack.append(source, classes, announce=said.append, jobs=1)
    assert shardpack.open(classes).classes == ("cat", "dog", "ant")
    assert labels_of(classes) == {
        "cat/0000": {"label": 0, "class": "cat"},
        "dog/0000": {"label": 1, "class": "dog"},
        "ant/0000": {"label": 2, "class": "ant"},
        "dog/0001": {"label": 1, "class": "dog"},
    }
    assert report.new_classes == ("ant",)
    assert said[-1].endswith("2 samples; new classes: ant")
    assert shardpack.open(classes, generation=1).classes == ("cat", "dog")


def test_a_source_without_a_class_list_says_what_its_numbers_mean(classes):
    unnamed = [("x", {"json": {"label": 1}}), ("y", {"json": {"label": 0}})]
    shardpack.append(unnamed, classes, classes=["dog", "bird"])
    assert shardpack.open(classes).classes == ("cat", "dog", "bird")
    found = labels_of(classes)
    assert (found["x"]["label"], found["y"]["label"]) == (2, 1)
    shardpack.append([("z", {"json": {"label": 2}})], classes)  # samples from code: as the dataset
    with pytest.raises(SourceError, match="label 3 has no class"):
        shardpack.append([("w", {"json": {"label": 3}})], classes)


def test_files_of_labels_without_names_are_a_question(classes, tmp_path):
    source = write_files(tmp_path / "new", {"x": {"jpg": b"1", "json": b'{"label": 1}'}})
    with pytest.raises(OptionError, match=r"label 1 has no class name.*classes=\[\.\.\.\] \(--classes\)"):
        shardpack.append(source, classes, **FILES)
    shardpack.append(source, classes, classes="same", **FILES)
    assert labels_of(classes)["x"] == {"label": 1}


def test_labels_without_numbers_are_no_question(classes, tmp_path):
    source = write_files(tmp_path / "new", {"x": {"jpg": b"1", "json": b'{"caption": "a dog"}'}})
    shardpack.append(source, classes, **FILES)
    assert labels_of(classes)["x"] == {"caption": "a dog"}
    assert shardpack.open(classes).classes == ("cat", "dog")


def test_a_class_list_beside_numbers_without_one_is_refused(base, tmp_path):
    shardpack.append([("n", {"json": {"label": 0}})], base)
    source = image_folder(tmp_path / "c", ("cat", "dog"), 1)
    with pytest.raises(OptionError, match=r"has a class list \(cat, dog\).*--fields jpg"):
        shardpack.append(source, base, jobs=1)
    shardpack.append(source, base, fields=["jpg"], jobs=1)
    assert shardpack.open(base).classes is None


def test_a_class_list_joins_a_dataset_without_labels(base, tmp_path):
    shardpack.append(image_folder(tmp_path / "c", ("cat", "dog"), 1), base, jobs=1)
    assert shardpack.open(base).classes == ("cat", "dog")


def test_datasets_with_another_class_list_are_refused_or_renumbered(classes, tmp_path):
    shardpack.pack(image_folder(tmp_path / "c", ("ant", "cat"), 2), tmp_path / "other", jobs=1)
    other = shardpack.open(tmp_path / "other").select(["ant/0000", "cat/0001"])
    with pytest.raises(OptionError, match=r"differently from the dataset \(cat, dog\); pass reconcile=True"):
        shardpack.append(other, classes, jobs=1)
    shardpack.append(other, classes, reconcile=True, jobs=1)
    assert labels_of(classes)["ant/0000"] == {"label": 2, "class": "ant"}
    assert labels_of(classes)["cat/0001"] == {"label": 0, "class": "cat"}
    assert is_sound(classes)


def test_rows_have_the_numbers_of_the_dataset(classes, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"key": ["x", "y", "w"], "label": ["dog", "cat", "ant"]}), tmp_path / "rows.parquet")
    shardpack.append(tmp_path / "rows.parquet", classes, jobs=1)
    assert labels_of(classes)["x"] == {"label": 1, "class": "dog"}
    assert shardpack.open(classes).classes == ("cat", "dog", "ant")
    parquet.write_table(pa.table({"key": ["z"], "label": [1]}), tmp_path / "more.parquet")
    with pytest.raises(OptionError, match=r"label 1 has no class name.*--classes"):
        shardpack.append(tmp_path / "more.parquet", classes, jobs=1)
    shardpack.append(tmp_path / "more.parquet", classes, classes=["ant", "bird"], jobs=1)
    assert labels_of(classes)["z"] == {"label": 3, "class": "bird"}


# -- splits -----------------------------------------------------------------------------------------


@pytest.fixture
def splits(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("t", {"txt": "t"}, split="train")
        writer.write("v", {"txt": "v"}, split="val")
    return tmp_path / "ds"


def keys_by_split(location):
    found = shardpack.open(location)
    return {name: list(found.split(name).keys()) for name in found.splits}


def split_folder(folder):
    files = {f"{split}/cat/{i}{split}": {"jpg": bytes([i])} for split in ("train", "test") for i in range(2)}
    return write_files(folder, files)


def test_splits_of_the_source_extend_those_of_the_dataset(splits, tmp_path):
    shardpack.append(split_folder(tmp_path / "new"), splits, layout="classes", jobs=1)
    assert {name: len(keys) for name, keys in keys_by_split(splits).items()} == {"train": 3, "val": 1, "test": 2}
    names = [shard.name for shard in shardpack.open(splits).shards]
    assert [name.partition("-g000002-")[0] for name in names[2:]] == ["train", "test"]


@pytest.mark.parametrize("source", ["folder", "iterable"])
def test_samples_are_put_into_a_split(splits, tmp_path, source):
    new = list(NEW.items()) if source == "iterable" else write_files(tmp_path / "new", NEW)
    with pytest.raises(OptionError, match=r"has the splits train, val, and the source has none.*--split NAME"):
        shardpack.append(new, splits)
    options = {} if source == "iterable" else FILES
    shardpack.append(new, splits, split="val", **options)
    assert keys_by_split(splits) == {"train": ["t"], "val": ["v", *NEW]}


def test_one_split_of_the_source_is_taken(splits, tmp_path):
    shardpack.append(split_folder(tmp_path / "new"), splits, split="train", layout="classes", jobs=1)
    assert {name: len(keys) for name, keys in keys_by_split(splits).items()} == {"train": 3, "val": 1}
    with pytest.raises(OptionError, match="no split 'val'"):
        shardpack.append(split_folder(tmp_path / "new"), splits, split="val", layout="classes", jobs=1)


def test_a_dataset_without_splits_gets_none(base, tmp_path):
    source = split_folder(tmp_path / "s")
    with pytest.raises(OptionError, match=r"the source has the splits train, test, and .* has none.*--split train"):
        shardpack.append(source, base, layout="classes", jobs=1)
    shardpack.append(source, base, split="test", fields=["jpg"], layout="classes", jobs=1)
    assert not shardpack.open(base).splits
    with pytest.raises(OptionError, match="has no splits; make them"):
        shardpack.append([("c", {"txt": "c"})], base, split="test")


def test_a_dataset_as_source_brings_its_splits(splits, tmp_path):
    with shardpack.ShardWriter(tmp_path / "other") as writer:
        writer.write("v2", {"txt": "v"}, split="val")
    shardpack.append(tmp_path / "other", splits, jobs=1)
    assert keys_by_split(splits) == {"train": ["t"], "val": ["v", "v2"]}


# -- refusals ---------------------------------------------------------------------------------------


def test_what_cannot_be_appended_is_refused(base, tmp_path):
    before = contents(base)
    for options, error, words in [
        ({"on_duplicate": "keep"}, OptionError, "on_duplicate"),
        ({"force": True}, OptionError, "append has no option 'force'"),
        ({"part": "1/2"}, OptionError, "append has no option 'part'"),
        ({"colour": 1}, OptionError, "append has no option 'colour'"),
        ({"shuffle_seed": 1}, OptionError, "shuffle_seed"),
    ]:
        with pytest.raises(error, match=words):
            shardpack.append([("x", {"txt": "x"})], base, **options)
    assert contents(base) == before
    with pytest.raises(DatasetNotFoundError):
        shardpack.append([], tmp_path / "nowhere")


def test_an_error_in_the_source_changes_nothing(base):
    before = contents(base)

    def samples():
        yield from (("x", {"txt": "x"}), ("y", {"txt": "x"}), ("z", {"txt": "x"}))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shardpack.append(samples(), base, max_shard_samples=1)
    assert contents(base) == before
    shardpack.append([("x", {"txt": "x"})], base)
    assert list(shardpack.open(base).keys()) == [*OLD, "x"]
    assert not [name for name in contents(base) if name.startswith(".shardpack/tmp")]
    assert is_sound(base)


# -- kills, other editors, requests --------------------------------------------------------------


def bucket_with(dataset, store=None):
    store = store or WatchedStore()
    for name, data in contents(dataset).items():
        store.put(name, data)
    return store


@pytest.mark.parametrize("replace", [False, True])
def test_a_killed_append_harms_nothing_and_is_continued(base, new, tmp_path, replace):
    source = with_old_key(new) if replace else new
    options = {"on_duplicate": "replace" if replace else "raise", "work_dir": tmp_path / "work", **FILES}
    shutil.copytree(base, tmp_path / "expected")
    shardpack.append(source, tmp_path / "expected", on_duplicate=options["on_duplicate"], **FILES)
    expected = contents(tmp_path / "expected")
    for step in itertools.count(1):
        store = bucket_with(base)
        kill_at(store, step)
        try:
            shardpack.append(source, store.url, **options)
        except KilledError:
            killed = True
        else:
            killed = False
        heal(store)
        assert samples_of(store.url)[:2] in (as_list(OLD)[:2], [as_list(OLD)[0], as_list(OLD)[2]])
        try:
            shardpack.append(source, store.url, **options)
        except DuplicateKeyError:  # it was committed, and cleaned up
            assert not killed or shardpack.open(store.url).manifest.generation == 2
        if shardpack.open(store.url).manifest.generation == 2:
            assert store.contents() == expected
        if not killed:
            break
    assert step > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "every",
    [pytest.param(7, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def test_killed_at_any_step_in_a_folder(base, new, tmp_path, zygote, every):  # noqa: F811
    shutil.copytree(base, tmp_path / "whole")
    source, before = with_old_key(new), contents(base)
    options = {"layout": "files", "on_duplicate": "replace"}
    shardpack.append(source, tmp_path / "whole", jobs=1, **options)
    whole, shown = contents(tmp_path / "whole"), samples_of(tmp_path / "whole")
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        shutil.copytree(base, out)
        ended = zygote.run({"action": "append", "options": options}, source, out, kill_at=step)
        if not ended["killed"]:
            assert "error" not in ended
            break
        after = contents(out)
        assert {name for name in before if after.get(name) != before[name]} <= {".shardpack/manifest.json"}
        assert samples_of(out) in (as_list(OLD), shown)
        if ".shardpack/manifests/000002.json" in after and not any("edit.json" in name for name in after):
            continue  # it was finished, and cleaned up
        report = shardpack.append(source, out, jobs=1, **options)
        assert (report.generation, report.added, report.replaced, report.num_samples) == (2, 4, 1, 7)
        assert contents(out) == whole
        shutil.rmtree(out)
    assert step > 30


def two_sources(kind, folder):
    """Two sources of one kind and length, of which only the second has the key "s1/5"."""
    for number in range(2):
        shardpack.pack([(f"s{number}/{i}", {"txt": b"%d" % i}) for i in range(6)], folder / f"s{number}")
    first, second = (shardpack.open(folder / f"s{number}") for number in range(2))
    match kind:
        case "dataset":
            return first, second
        case "view":
            return second.select(range(4)), second.select(range(2, 6))
        case "stream":
            return first.stream(), second.stream()
        case "rank":
            return tuple(second.stream(rank=rank, world_size=2, batch_size=1) for rank in range(2))
        case "mix":
            return tuple(shardpack.mix({one: 1.0}) for one in (first, second))


def killed_once_committed(source, location, monkeypatch):
    def kill(_):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(EditTransaction, "_clean", kill)
        with pytest.raises(KilledError):
            shardpack.append(source, location)


@pytest.mark.parametrize("kind", ["dataset", "view", "stream", "rank", "mix"])
def test_another_source_of_one_length_is_another_append(base, tmp_path, monkeypatch, kind):
    first, second = two_sources(kind, tmp_path)
    killed_once_committed(first, base, monkeypatch)
    on_duplicate = "replace" if kind == "view" else "raise"
    report = shardpack.append(second, base, on_duplicate=on_duplicate)
    assert report.generation == 3
    assert set(shardpack.open(base).keys()) == {*OLD, *first.listing().keys, *second.listing().keys}


@pytest.mark.parametrize("kind", ["dataset", "view", "stream", "rank", "mix"])
def test_the_same_source_is_the_same_append(base, tmp_path, monkeypatch, kind):
    source, _ = two_sources(kind, tmp_path)
    killed_once_committed(source, base, monkeypatch)
    again, _ = two_sources(kind, tmp_path / "again")
    report = shardpack.append(again, base)
    assert (report.generation, report.added) == (2, source.listing().num_samples)
    assert len(shardpack.open(base)) == len(OLD) + report.added


def test_two_streams_of_one_length_are_appended_to_a_bucket_at_once(base, tmp_path):
    first, second = two_sources("stream", tmp_path)
    store = bucket_with(base)

    others = iter([second])

    def interfere(*_):
        for other in others:  # once
            shardpack.append(other, store.url)

    with pytest.raises(OutputExistsError, match="another edit made generation 2"):
        shardpack.append(first, store.url, progress=interfere)
    shardpack.append(first, store.url)
    assert set(shardpack.open(store.url).keys()) == {*OLD, *first.listing().keys, *second.listing().keys}


def test_a_second_editor_gets_one_error_and_keeps_its_shards(base, new):
    store = bucket_with(base)
    others = iter([[("first", {"txt": "1"})]])

    def interfere(what, name):
        if what == "create" and name.endswith("manifests/000002.json"):
            for samples in others:
                shardpack.append(samples, store.url)

    store.before = interfere
    with pytest.raises(OutputExistsError, match=r"another edit made generation 2.*run the same append command again"):
        shardpack.append(new, store.url, **FILES)
    heal(store)
    assert list(shardpack.open(store.url).keys()) == [*OLD, "first"]
    start = len(store.log)
    report = shardpack.append(new, store.url, **FILES)
    assert not [name for name in store.puts(".tar") if ("put", name) in store.log[start:]]
    assert (report.packed.resumed_shards, report.generation) == (2, 3)
    assert list(shardpack.open(store.url).keys()) == [*OLD, "first", *NEW]
    assert not [name for name in store.contents() if name.startswith(".shardpack/tmp")]


def test_samples_from_code_that_come_second_are_packed_anew(base):
    store = bucket_with(base)
    others = iter([[("first", {"txt": "1"})]])

    def interfere(what, name):
        if what == "create" and name.endswith("manifests/000002.json"):
            for samples in others:
                shardpack.append(samples, store.url)

    store.before = interfere
    own = [("second", {"txt": "2"})]
    with pytest.raises(OutputExistsError, match="run the same append command again: samples from code are packed anew"):
        shardpack.append(own, store.url)
    heal(store)
    assert not [name for name in store.contents() if name.startswith(".shardpack/tmp")]
    shardpack.append(own, store.url)
    assert list(shardpack.open(store.url).keys()) == [*OLD, "first", "second"]


def test_a_folder_that_is_edited_refuses_another_editor(base, new):
    errors = []

    def samples():
        try:
            shardpack.append(new, base, **FILES)
        except OutputExistsError as error:
            errors.append(str(error))
        yield "x", {"txt": "x"}

    shardpack.append(samples(), base)
    assert len(errors) == 1
    assert "another process" in errors[0]


def test_its_cost_is_in_proportion_to_what_is_added(monkeypatch):
    """Nothing is listed but the edit's own folder; requests do not grow with the dataset."""
    counts = {}
    for size in (2, 40):
        bucket = FakeBucket(f"memory://bucket-{size}")
        serve(monkeypatch, bucket)
        shardpack.pack([(f"k{i}", {"txt": "x"}) for i in range(size)], bucket.location, max_shard_samples=1)
        bucket.asked.clear()
        shardpack.append([("new", {"txt": "y"})], bucket.location)
        listed = [name for what, name, *_ in bucket.asked if what == "list"]
        assert all(name.startswith(".shardpack/tmp/append-") for name in listed)
        counts[size] = len(bucket.asked)
    assert counts[40] <= counts[2] + 4


# -- any sequence -----------------------------------------------------------------------------------


keys = st.sampled_from([f"k{i}" for i in range(6)])
steps = st.lists(st.tuples(st.lists(keys, unique=True, max_size=4), st.booleans()), max_size=5)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
@given(steps)
@settings(max_examples=15)
def test_appends_are_as_a_dict(tmp_path_factory, kind, sequence):
    place = tmp_path_factory.mktemp("ds") if kind == "folder" else WatchedStore().url
    model = {"first": "0"}
    shardpack.pack([("first", {"txt": "0"})], place)
    for number, (added, replaces) in enumerate(sequence, start=1):
        samples = [(key, {"txt": f"{number}"}) for key in added]
        if not replaces and model.keys() & set(added):
            with pytest.raises(DuplicateKeyError):
                shardpack.append(samples, place)
            continue
        shardpack.append(samples, place, on_duplicate="replace" if replaces else "raise")
        for key in added:
            model.pop(key, None)
            model[key] = f"{number}"
    found = shardpack.open(place)
    assert list(found.keys()) == list(model)
    assert {key: found[key].decode("txt") for key in model} == model
    assert [sample.key for sample in found.stream()] == list(model)
    assert json.loads(json.dumps(found.manifest.packed_with)) == found.manifest.packed_with
    assert open_store(place)


# -- the label table, and splits by hash --------------------------------------------------------


def test_the_label_table_has_the_new_rows(tmp_path):
    pytest.importorskip("pyarrow")
    from shardpack.edit.table import table
    from shardpack.table.read_table import LabelTable

    shardpack.pack([("a", {"json": {"n": 1}})], tmp_path / "ds")
    table(tmp_path / "ds")
    shardpack.append([("b", {"json": {"n": 2}}), ("c", {"json": {"m": 3}})], tmp_path / "ds")
    found = shardpack.open(tmp_path / "ds")
    names = ["key", "n", "m"]
    pieces = LabelTable.open(open_store(tmp_path / "ds"), found.manifest).pieces(names)
    rows = [row for _, _, columns in pieces for row in zip(*(columns[name].to_pylist() for name in names), strict=True)]
    assert rows == [("a", 1, None), ("b", 2, None), ("c", None, 3)]


@pytest.fixture
def tabled(tmp_path):
    """A dataset with a label table and splits, and classes of images to append."""
    shardpack.pack(image_folder(tmp_path / "old", per_class=2), tmp_path / "ds", max_shard_samples=3, with_table=True)
    shardpack.split(tmp_path / "ds", {"train": 0.5, "val": 0.5})
    return tmp_path / "ds", image_folder(tmp_path / "new", ("bird", "cow"), 3)


@pytest.mark.parametrize(
    ("is_listed", "options"), [(True, {}), (True, {"compress": {"shards": "zstd:1"}, "encode": "png"}), (False, {})]
)
def test_the_rows_of_a_bucket_are_those_of_a_folder_and_nothing_is_read_back(tabled, tmp_path, is_listed, options):
    dataset, images = tabled
    files = sorted(images.glob("*/*.jpg"))
    samples = [(f"more/{n}", {"jpg": path.read_bytes(), "json": {"label": 1}}) for n, path in enumerate(files)]
    source = images if is_listed else samples
    store = bucket_with(dataset, ReadStore())
    shardpack.append(source, store.url, work_dir=tmp_path / "work", **options)
    assert store.payload_reads() == []
    shardpack.append(source, dataset, **options)
    found, expected = store.contents(), contents(dataset)
    if not is_listed:  # each call for a bucket has names of its own for its shards
        found, expected = ({n: f[n] for n in f if n.endswith(".parquet")} for f in (found, expected))
    assert found == expected
    assert not list((tmp_path / "work").iterdir())
    rows = shardpack.open(store.url).table(["position", "class", "split"])
    assert rows["position"].to_pylist() == list(range(rows.num_rows))
    assert None not in rows["class"].to_pylist() + rows["split"].to_pylist()


def test_rows_are_read_back_where_an_earlier_run_delivered_the_shards(tabled):
    dataset, images = tabled
    shutil.copytree(dataset, dataset.with_name("expected"))
    shardpack.append(images, dataset.with_name("expected"), jobs=1)
    read_back = set()
    for step in range(4, 100, 3):
        store = bucket_with(dataset, ReadStore())
        kill_at(store, step)
        with suppress(KilledError):
            shardpack.append(images, store.url, jobs=1)
        delivered = {name for name in store.contents() if "-g000004-" in name and name.endswith(".tar")}
        heal(store)
        if shardpack.open(store.url).manifest.generation == 4:
            break
        store.read.clear()
        shardpack.append(images, store.url, jobs=1)
        assert set(store.payload_reads()) <= delivered
        read_back.update(store.payload_reads())
        assert store.contents() == contents(dataset.with_name("expected"))
    assert read_back


def test_samples_fall_into_splits_by_their_hash(tmp_path):
    shardpack.pack([(f"k{i}", {"txt": "x"}) for i in range(10)], tmp_path / "ds")
    shardpack.split(tmp_path / "ds", {"train": 0.5, "val": 0.5})
    before = keys_by_split(tmp_path / "ds")
    shardpack.append([(f"n{i}", {"txt": "x"}) for i in range(20)], tmp_path / "ds")
    after = keys_by_split(tmp_path / "ds")
    assert {name: keys[: len(before[name])] for name, keys in after.items()} == before
    assert sum(map(len, after.values())) == 30
    shardpack.append([("v", {"txt": "x"})], tmp_path / "ds", split="val")
    assert keys_by_split(tmp_path / "ds")["val"][-1] == "v"


def test_samples_that_replace_others_keep_their_splits(tmp_path):
    out, keys = tmp_path / "ds", [f"k{i}" for i in range(40)]
    shardpack.pack([(key, {"json": "{}"}) for key in keys], out)
    shardpack.split(out, {"train": 0.5, "val": 0.5})
    before = {name: set(found) for name, found in keys_by_split(out).items()}
    for _ in range(2):  # also where what is replaced was appended
        shardpack.append([(key, {"json": "{}"}) for key in reversed(keys)], out, on_duplicate="replace")
        assert {name: set(found) for name, found in keys_by_split(out).items()} == before
    assert is_sound(out)
    (train, *_) = before["train"]
    shardpack.append([(train, {"json": "{}"})], out, on_duplicate="replace", split="val")
    assert train in keys_by_split(out)["val"]


def test_samples_that_replace_others_keep_their_splits_where_the_source_names_none(splits, tmp_path):
    with shardpack.ShardWriter(tmp_path / "new") as writer:
        writer.write("v", {"txt": "new"})
        writer.write("t2", {"txt": "t"}, split="train")
    shardpack.append(tmp_path / "new", splits, on_duplicate="replace", jobs=1)
    assert keys_by_split(splits) == {"train": ["t", "t2"], "val": ["v"]}


def test_replaced_samples_of_no_split_that_now_fall_into_one_are_announced(tmp_path):
    out, keys, said = tmp_path / "ds", [f"k{i}" for i in range(40)], []
    shardpack.pack([(key, {"txt": "x"}) for key in keys], out)
    shardpack.split(out, {"train": 0.5})
    shardpack.append([(key, {"txt": "y"}) for key in keys], out, on_duplicate="replace", announce=said.append)
    more = len(keys_by_split(out)["train"]) - 20
    assert more > 1
    assert f"{more} replaced samples were in no split; the new ones fall into one by" in said[-1]


def test_samples_of_code_that_were_refused_leave_nothing_behind_once_others_are_appended(tmp_path):
    out = tmp_path / "ds"
    shardpack.pack([("a", {"txt": b"a"})], out)
    with pytest.raises(DuplicateKeyError):
        shardpack.append([(key, {"txt": b"x"}) for key in ("b", "c", "a")], out, max_shard_samples=1)
    shardpack.append([("d", {"txt": b"d"})], out, max_shard_samples=1)
    assert not shardpack.verify(out, full=True).problems


# -- a real bucket ----------------------------------------------------------------------------------


def append_and_retry(location, number, options):
    """Append one sample, again as long as others come first; return the generation that it made."""
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        try:
            return shardpack.append([(f"new{number}", {"txt": f"{number}"})], location, **options).generation
        except OutputExistsError:
            time.sleep(0.02)
    raise AssertionError


@pytest.mark.parametrize("editors", [2, 8])
def test_all_appends_at_once_happen_one_after_the_other(s3_server, editors):
    pytest.importorskip("obstore")
    location, options = f"s3://{s3_server.new_bucket()}/ds", {"storage_options": s3_server.options()}
    shardpack.pack(OLD.items(), location, **options)
    with ThreadPoolExecutor(editors) as threads:
        made = list(threads.map(lambda number: append_and_retry(location, number, options), range(editors)))
    assert sorted(made) == list(range(2, 2 + editors))
    found = shardpack.open(location, **options)
    assert sorted(found.keys()) == sorted([*OLD, *(f"new{number}" for number in range(editors))])
    problems = {problem.kind for problem in shardpack.verify(location, full=True, **options).problems}
    assert problems <= {"orphan"}, "segments of those that came too late"
    names = open_store(location, s3_server.options()).names()
    assert not [name for name in names if name.startswith(".shardpack/tmp")]
    assert len([name for name in names if name.endswith(".tar")]) == 1 + editors


def test_requests_to_a_bucket_do_not_grow_with_the_dataset(s3_server, proxy, new):
    pytest.importorskip("obstore")
    counts = []
    for size in (4, 24):
        door = proxy(s3_server.url)
        location = f"s3://{s3_server.new_bucket()}/ds"
        samples = [(f"k{number:02d}", {"txt": "x"}) for number in range(size)]
        shardpack.pack(samples, location, max_shard_samples=2, storage_options=s3_server.options())
        shardpack.append(new, location, storage_options=s3_server.options(door.url), **FILES)
        requests = [(request.method, request.path) for request in door.requests]
        old = [path for _, path in requests if "/shard-0" in path and "/tmp/" not in path]
        assert not old, "neither tars nor indexes of the old samples are read"
        listed = [path for method, path in requests if method == "GET" and "list-type" in path]
        assert all("append-" in path for path in listed)
        counts.append(len(requests))
        assert samples_of(location, storage_options=s3_server.options())[size:] == as_list(NEW)
    assert counts[0] == counts[1] <= 100
