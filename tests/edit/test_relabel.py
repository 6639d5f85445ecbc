"""Labels that are changed: as rows say, completed and checked, and nothing else of a sample changes."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import tarfile

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.detach import detach
from shardpack.edit.relabel import relabel
from shardpack.errors import (
    InvalidKeyError,
    OptionError,
    OutputExistsError,
    ShardpackError,
    SourceError,
    UnknownKeyError,
)
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.conftest import make_jpeg
from tests.fakes import file_contents
from tests.write.test_kill import zygote  # noqa: F401 - a fixture

CLASSES = ("cap", "coat", "hat")
LABELS = {f"k/{number}": {"label": number % 3, "class": CLASSES[number % 3], "n": number} for number in range(6)}


def write(place, **options):
    with shardpack.ShardWriter(place, max_shard_samples=4, classes=CLASSES, **options) as writer:
        for key, label in LABELS.items():
            writer.write(key, {"json": label, "jpg": key.encode() * 100})
    return place


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "ds")


def labels_of(place, **options):
    with shardpack.open(place, **options) as ds:
        assert [sample["jpg"] for sample in ds] == [key.encode() * 100 for key in LABELS]
        return {sample.key: sample.decode("json") for sample in ds}


def test_labels_are_replaced(dataset, tmp_path):
    before = file_contents(dataset)
    (tmp_path / "a.csv").write_text("key,class\nk/4,hat\nk/1,cap\n")
    report = relabel(dataset, tmp_path / "a.csv")
    assert (report.command, report.generation, report.changed, report.num_samples) == ("relabel", 2, 2, 6)
    new = {"k/1": {"label": 0, "class": "cap"}, "k/4": {"label": 2, "class": "hat"}}
    assert labels_of(dataset) == {**LABELS, **new}
    assert labels_of(dataset, generation=1) == LABELS
    after = file_contents(dataset)
    assert all(after[name] == data for name, data in before.items() if name != ".shardpack/manifest.json")


def test_labels_are_updated(dataset):
    relabel(dataset, {"k/1": {"class": "cap", "m": [1]}, "k/2": {"n": None}}, update=True)
    assert labels_of(dataset)["k/1"] == {"label": 0, "class": "cap", "n": 1, "m": [1]}
    assert labels_of(dataset)["k/2"] == {**LABELS["k/2"], "n": None}


def test_empty_cells_update_nothing(dataset, tmp_path):
    (tmp_path / "a.csv").write_text("key,n,m\nk/1,,7\nk/2,8,\n")
    relabel(dataset, tmp_path / "a.csv", update=True)
    assert labels_of(dataset)["k/1"] == {**LABELS["k/1"], "m": 7}
    assert labels_of(dataset)["k/2"] == {**LABELS["k/2"], "n": 8}


def test_later_labels_win_and_updates_see_them(dataset):
    relabel(dataset, {"k/1": {"a": 1}, "k/2": {"a": 2}})
    relabel(dataset, {"k/2": {"b": 3}}, update=True)
    relabel(dataset, {"k/0": {"c": 4}})
    assert labels_of(dataset) == {**LABELS, "k/0": {"c": 4}, "k/1": {"a": 1}, "k/2": {"a": 2, "b": 3}}
    assert len(shardpack.open(dataset).manifest.layers) == 3


def test_a_layer_that_hides_another_takes_its_place(dataset):
    relabel(dataset, {"k/1": {"a": 1}, "k/2": {"a": 2}})
    relabel(dataset, {"k/1": {"b": 1}, "k/2": {"b": 2}, "k/3": {"b": 3}})
    assert len(shardpack.open(dataset).manifest.layers) == 1
    assert labels_of(dataset) == {**LABELS, **{f"k/{number}": {"b": number} for number in (1, 2, 3)}}


def test_new_classes_are_added_when_asked_for(dataset):
    with pytest.raises(SourceError, match="class 'scarf' is not among the 3 of the dataset"):
        relabel(dataset, {"k/1": {"class": "scarf"}})
    report = relabel(dataset, {"k/1": {"class": "scarf"}}, new_classes=True)
    assert report.new_classes == ("scarf",)
    assert shardpack.open(dataset).classes == (*CLASSES, "scarf")
    assert shardpack.open(dataset, generation=1).classes == CLASSES
    assert labels_of(dataset)["k/1"] == {"label": 3, "class": "scarf"}


def test_a_dry_run_checks_and_writes_nothing(dataset):
    files = file_contents(dataset)
    report = relabel(dataset, {"k/1": {"class": "scarf"}}, new_classes=True, dry_run=True)
    assert (report.dry_run, report.changed, report.generation, report.new_classes) == (True, 1, 2, ("scarf",))
    with pytest.raises(UnknownKeyError):
        relabel(dataset, {"x": {}}, dry_run=True)
    assert file_contents(dataset) == files


def test_compressed_labels_stay_compressed(tmp_path):
    pytest.importorskip("zstandard")
    write(tmp_path / "ds", compress={"json": "zstd:3"})
    relabel(tmp_path / "ds", {"k/1": {"n": 7}}, update=True)
    ds = shardpack.open(tmp_path / "ds")
    assert ds["k/1"].keys() == {"jpg", "json.zst"}
    assert ds["k/1"].decode("json.zst") == {**LABELS["k/1"], "n": 7}


def test_labels_compressed_by_gzip_stay_so(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for key, label in LABELS.items():
            writer.write(key, {"json.gz": gzip.compress(json.dumps(label).encode())})
    relabel(tmp_path / "ds", {"k/1": {"n": 7}}, update=True)
    ds = shardpack.open(tmp_path / "ds")
    assert [ds[key].keys() for key in ("k/0", "k/1")] == [{"json.gz"}, {"json.gz"}]
    assert ds["k/1"].decode("json.gz") == {**LABELS["k/1"], "n": 7}


@pytest.mark.parametrize("dry_run", [True, False])
def test_labels_that_cannot_be_compressed_are_refused(tmp_path, dry_run):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"json.bz2": b"x"})
    files = file_contents(tmp_path / "ds")
    with pytest.raises(OptionError, match=r"labels in 'json\.bz2'"):
        relabel(tmp_path / "ds", {"a": {"n": 7}}, dry_run=dry_run)
    assert file_contents(tmp_path / "ds") == files


def test_samples_without_a_label_get_one(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"txt": "x"})
        writer.write("b", {"txt": "x"})
    relabel(tmp_path / "ds", {"b": {"n": 1}}, update=True)
    ds = shardpack.open(tmp_path / "ds")
    assert [set(sample) for sample in ds] == [{"txt"}, {"txt", "json"}]
    assert ds["b"].decode("json") == {"n": 1}


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ({}, {}, SourceError, "labels has no rows"),
        ({"x": {}, "k/1": {}}, {}, UnknownKeyError, "labels: 1 of 2 keys are not in the dataset: 'x'"),
        ({"k/1": {"label": 1, "class": "hat"}}, {}, SourceError, "label 1 contradicts class 'hat'"),
        ({"k/1": 3}, {"update": True}, SourceError, "label 0: 3 updates nothing, expected an object"),
        (
            {"k/1": {"label": None}},
            {"update": True},
            SourceError,
            "gives label alone, and the old label has class 'coat'",
        ),
        ([("k/1", {}), ("k/1", {})], {}, SourceError, "label 1: has the key 'k/1'"),
        (7, {}, OptionError, "labels are 7"),
    ],
)
def test_what_is_refused_changes_nothing(dataset, labels, options, error, message):
    files = file_contents(dataset)
    with pytest.raises(error, match=message):
        relabel(dataset, labels, **options)
    assert file_contents(dataset) == files


def test_keys_that_no_layer_can_hold_are_refused_with_a_way(tmp_path):
    """The tars were made elsewhere; packed with keys that are escaped, their labels can be changed."""
    place, keys = tmp_path / "ds", ("ok", "é/ü", "sp ace")
    place.mkdir()
    with tarfile.open(place / "x.tar", "w") as tar:
        for key in keys:
            member = tarfile.TarInfo(f"{key}.json")
            member.size = len(b'{"n": 1}')
            tar.addfile(member, io.BytesIO(b'{"n": 1}'))
    shardpack.index(place)
    files = file_contents(place)
    for dry_run in (True, False):
        with pytest.raises(InvalidKeyError, match=r"labels: 2 of 3 keys .*'é/ü' .*, 'sp ace' .*rename_keys"):
            relabel(place, {key: {"n": 2} for key in keys}, dry_run=dry_run)
        assert file_contents(place) == files
    assert relabel(place, {"ok": {"n": 2}}).changed == 1
    shardpack.pack(shardpack.open(place), tmp_path / "packed", rename_keys=True, jobs=1)
    assert relabel(tmp_path / "packed", {"sp%20ace": {"n": 3}}).changed == 1


def test_labels_of_the_one_shape_are_checked(tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "images" / "a.jpg").write_bytes(make_jpeg(40, 30))
    (source / "labels.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 4, 4]}],
                "categories": [{"id": 5, "name": "cat"}],
            }
        )
    )
    shardpack.pack(source, tmp_path / "ds", annotations=source / "labels.json", jobs=1)
    (key,) = shardpack.open(tmp_path / "ds").keys()
    outside = {"width": 40, "height": 30, "annotations": [{"class": "cat", "bbox": [30, 1, 40, 4]}]}
    with pytest.raises(SourceError, match=r"bbox \[30, 1, 40, 4\] is outside the image of 40 x 30 pixels"):
        relabel(tmp_path / "ds", {key: outside})
    with pytest.raises(SourceError, match=r"bbox is \[1\], expected \[x, y, w, h\]"):
        relabel(tmp_path / "ds", {key: {"annotations": [{"bbox": [1]}]}})
    with pytest.raises(SourceError, match="expected an object as the other labels are"):
        relabel(tmp_path / "ds", {key: 3})
    relabel(tmp_path / "ds", {key: {"annotations": [{"class": "cat", "bbox": [3, 1, 4, 4]}]}}, update=True)
    label = shardpack.open(tmp_path / "ds")[key].decode("json")
    assert (label["width"], label["annotations"]) == (40, [{"label": 0, "class": "cat", "bbox": [3, 1, 4, 4]}])


def test_the_label_table_says_what_the_labels_say(dataset):
    pytest.importorskip("pyarrow")
    shardpack.table(dataset)
    relabel(dataset, {"k/1": {"class": "hat"}, "k/2": {"n": 70}}, update=True)

    def rows():
        return {row["key"]: (row["class"], row["n"]) for row in shardpack.open(dataset).table().to_pylist()}

    expected = {key: (label["class"], label["n"]) for key, label in LABELS.items()}
    assert rows() == {**expected, "k/1": ("hat", 1), "k/2": ("hat", 70)}
    detach(dataset)
    assert rows() == expected


# --- Kills, and two at once --------------------------------------------------------------------


def test_two_editors(dataset):
    base = open_base(dataset)
    with base.begin("delete", run_digest="x"), pytest.raises(OutputExistsError, match="another process"):
        relabel(dataset, {"k/1": {}})
    base.close()
    relabel(dataset, {"k/1": {}})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "every",
    [pytest.param(19, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def test_killed_at_any_step_in_a_folder(dataset, tmp_path, zygote, every):  # noqa: F811
    new, seen = {"k/1": {"n": 7}, "k/5": {"n": 8}}, set()
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        shutil.copytree(dataset, out)
        ended = zygote.run({"action": "relabel", "options": {"labels": new}}, "", out, kill_at=step)
        if not ended["killed"]:
            assert "error" not in ended
            break
        left = labels_of(out)
        assert left in (LABELS, {**LABELS, **new})
        seen.add(left == LABELS)
        assert relabel(out, new).changed == 2
        assert labels_of(out) == {**LABELS, **new}
        assert len(shardpack.open(out).manifest.layers) == 1
        assert not [path for path in out.rglob("*") if path.is_file() and "tmp" in path.parts[len(out.parts) :]]
    assert seen == {True, False} or every > 1
    assert step > 40


def test_a_kill_at_any_write_does_no_harm():
    """The generation before is read as it was, and the same command ends as it would have without the kill."""
    new = {"k/1": {"n": 7}, "k/5": {"n": 8}}
    steps = 0
    while True:
        store = WatchedStore()
        write(store)
        steps += 1
        kill_at(store, steps)
        try:
            relabel(store, new)
        except (KilledError, ShardpackError):
            heal(store)
        else:
            break
        assert labels_of(store) in (LABELS, {**LABELS, **new})
        report = relabel(store, new)
        assert (report.changed, labels_of(store)) == (2, {**LABELS, **new})
        assert len(shardpack.open(store).manifest.layers) == 1
        assert not [name for name in store.names() if "/tmp/" in name]
    assert steps > 3


# --- Numbers of classes beside the label -------------------------------------------------------


def numbered(place, field="cls", **options):
    """A dataset whose samples have the number of their class twice, but for the last one."""
    with shardpack.ShardWriter(place, max_shard_samples=2, **options) as writer:
        for number, key in enumerate("abcd"):
            text = b"%d" % number
            own = {} if key == "d" else {field: gzip.compress(text) if field.endswith(".gz") else text}
            writer.write(key, {"json": {"label": number, "n": number}, **own})
    return place


def numbers_of(place, field="cls", **options):
    with shardpack.open(place, **options) as ds:
        return {s.key: (s.decode("json").get("label"), s.decode(field) if field in s else None) for s in ds}


NUMBERS = {"a": (0, 0), "b": (1, 1), "c": (2, 2), "d": (3, None)}


@pytest.mark.parametrize("update", [True, False])
def test_class_numbers_in_another_field_follow_the_label(tmp_path, update):
    place = numbered(tmp_path / "ds")
    relabel(place, {"b": {"label": 7}, "d": {"label": 8}}, update=update)
    assert numbers_of(place) == {**NUMBERS, "b": (7, 7), "d": (8, None)}
    assert numbers_of(place, generation=1) == NUMBERS
    assert shardpack.open(place).manifest.layers[0].fields == ("cls", "json")
    detach(place)
    assert numbers_of(place) == NUMBERS


def test_class_numbers_follow_the_names_of_classes(tmp_path):
    place = numbered(tmp_path / "ds", classes=("w", "x", "y", "z"))
    relabel(place, {"a": {"class": "y"}, "c": {"class": "new"}}, new_classes=True)
    assert numbers_of(place) == {**NUMBERS, "a": (2, 2), "c": (4, 4)}


def test_class_numbers_stay_where_no_class_is_given(tmp_path):
    place = numbered(tmp_path / "ds")
    relabel(place, {"b": {"label": 7}})
    relabel(place, {"b": {"checked": True}}, update=True)
    relabel(place, {"a": {"label": 0, "checked": True}, "c": {"checked": True}})
    assert numbers_of(place) == {**NUMBERS, "b": (7, 7), "c": (None, 2)}
    assert [layer.fields for layer in shardpack.open(place).manifest.layers] == [("cls", "json"), ("json",), ("json",)]


@pytest.mark.parametrize("field", ["cls.gz", "cls.zst"])
def test_compressed_class_numbers_follow_the_label(tmp_path, field):
    if field.endswith(".zst"):
        pytest.importorskip("zstandard")
        place = numbered(tmp_path / "ds", compress={"cls": "zstd"})
    else:
        place = numbered(tmp_path / "ds", field)
    relabel(place, {"b": {"label": 7}}, update=True)
    assert numbers_of(place, field) == {**NUMBERS, "b": (7, 7)}


def test_class_numbers_of_samples_without_a_label_follow_their_first_one(tmp_path):
    shardpack.pack([("a", {"cls": 0}), ("b", {"cls": b"broken"})], tmp_path / "ds", jobs=1)
    relabel(tmp_path / "ds", {"a": {"label": 1}, "b": {"label": 2}})
    assert numbers_of(tmp_path / "ds") == {"a": (1, 1), "b": (2, 2)}


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("label", [{"label": None}, {"class": "hat"}, {"label": [1, 2]}], ids=str)
def test_a_class_without_a_number_is_refused_where_another_field_has_one(tmp_path, label, dry_run):
    place = numbered(tmp_path / "ds")
    files = file_contents(place)
    with pytest.raises(SourceError, match=r"label 0: the label has no number for its class .* 'cls', which would stay"):
        relabel(place, {"a": label}, dry_run=dry_run)
    assert file_contents(place) == files
    assert relabel(place, {"d": label}, dry_run=dry_run).changed == 1


def test_the_label_table_follows_class_numbers_in_another_field(tmp_path):
    pytest.importorskip("pyarrow")
    place = tmp_path / "ds"
    shardpack.pack([("a", {"cls": 0}), ("b", {"cls": 1})], place, jobs=1)
    shardpack.table(place)
    relabel(place, {"b": {"label": 5}})
    assert shardpack.open(place).table().column("label").to_pylist() == [0, 5]
