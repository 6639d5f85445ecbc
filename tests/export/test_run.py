"""An export as a whole: any number of jobs, interruptions, refusals, and what the report says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import shardpack
from shardpack.errors import DuplicateKeyError, ExportError, OptionError, OutputExistsError
from shardpack.export import run
from shardpack.export.exporter import Limits
from shardpack.export.formats.folder import FolderExporter
from shardpack.export.staging import STAGING_NAME
from tests.export.datasets import files


class SmallParts(FolderExporter):
    """The folder format, two samples at a time."""

    @property
    def limits(self):
        return Limits(1 << 20, 2)


@pytest.fixture
def small_parts(monkeypatch):
    """A format of three parts."""
    monkeypatch.setitem(run.EXPORTERS, "folder", f"{__name__}:{SmallParts.__name__}")
    monkeypatch.setattr(run, "import_module", lambda _: __import__("types").SimpleNamespace(SmallParts=SmallParts))


def test_a_report_says_what_was_done(pets, tmp_path):
    told = []
    report = shardpack.export(pets, tmp_path / "out", to="folder", progress=lambda *one: told.append(one))
    assert (report.num_samples, report.num_files, report.num_parts, report.resumed_parts) == (6, 8, 1, 0)
    assert report.num_bytes == sum(len(payload) for sample in pets for payload in sample.values())
    assert report.splits == ()
    assert told[-1] == ("export", 6, 6)
    assert report.seconds > 0


def test_a_dry_run_writes_nothing(pets, tmp_path):
    report = shardpack.export(pets, tmp_path / "out", to="folder", fields=["jpg"], flat=True, dry_run=True)
    assert (report.num_samples, report.num_files, report.left_out) == (6, 0, {"json": 6})
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_export_goes_on(pets, tmp_path, monkeypatch):
    shardpack.export(pets, tmp_path / "whole", to="folder")
    make_part, made = run.make_part, []

    def only_two(task, advance):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(task.part.number)
        return make_part(task, advance)

    monkeypatch.setattr(run, "make_part", only_two)
    with pytest.raises(KeyboardInterrupt):
        shardpack.export(pets, tmp_path / "out", to="folder", jobs=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [STAGING_NAME]
    made.clear()
    report = shardpack.export(pets, tmp_path / "out", to="folder", jobs=1)
    assert made == [2]
    assert (report.num_parts, report.resumed_parts) == (3, 2)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.usefixtures("small_parts")
def test_another_export_does_not_go_on_with_it(pets, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(FolderExporter, "finish", lambda *_: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            shardpack.export(pets, tmp_path / "out", to="folder", jobs=1)
    report = shardpack.export(pets.select([0, 2]), tmp_path / "out", to="folder", jobs=1)
    assert report.resumed_parts == 0
    assert sorted(files(tmp_path / "out")) == ["cat/0000.jpg", "cat/0002.jpg", "metadata.csv", "shardpack-classes.yaml"]


def test_the_same_bytes_for_any_jobs(pets, tmp_path):
    shardpack.export(pets, tmp_path / "one", to="folder", jobs=1)
    shardpack.export(pets, tmp_path / "two", to="folder", jobs=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_samples_that_do_not_fit_are_skipped_and_counted(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"jpg": b"1", "json": b"{"})
        writer.write("b", {"jpg": b"2", "json": b"{}"})
    ds = shardpack.open(tmp_path / "ds")
    with pytest.raises(shardpack.ShardpackError, match="key='a'"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    report = shardpack.export(ds, tmp_path / "out", to="folder", on_error="skip")
    assert report.num_samples == 1
    assert [key for key, _ in report.rejected] == ["a"]
    assert sorted(files(tmp_path / "out")) == ["b.jpg", "metadata.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "zip"}, "to is 'zip'; choose 'folder'"),
        ({"to": "folder", "out": None}, "name it, OUT"),
        ({"to": "folder", "out": "s3://bucket/x"}, "'s3://bucket/x' is a URL"),
        ({"to": "folder", "task": "pose"}, "task does not apply to folder"),
        ({"to": "folder", "fields": "jpg"}, r"write fields=\['jpg'\]"),
        ({"to": "folder", "drop": "x"}, r"write drop=\['x'\]"),
        ({"to": "folder", "max_file_samples": 0}, "max_file_samples is 0"),
        ({"to": "folder", "max_file_bytes": 0}, "max_file_bytes is 0"),
        ({"to": "folder", "max_file_bytes": "1 elephant"}, "not a size"),
        ({"to": "folder", "on_error": "ignore"}, "on_error is 'ignore'"),
        ({"to": "folder", "jobs": 0}, "jobs is 0"),
    ],
)
def test_wrong_options_are_refused(pets, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        shardpack.export(pets, **{"out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_other_things_cannot_be_exported(pets, tmp_path):
    with pytest.raises(OptionError, match=r"what shardpack.open returns"):
        shardpack.export("out/", tmp_path, to="folder")
    with pytest.raises(OptionError, match="no samples to export"):
        shardpack.export(pets.select([]), tmp_path / "out", to="folder", flat=True)


def test_a_folder_with_files_is_refused(pets, tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(OutputExistsError, match="holds files, such as 'mine'"):
        shardpack.export(pets, tmp_path, to="folder")
    for out in (pets.location, f"{pets.location}/below", f"{pets.location}/.."):
        with pytest.raises(OutputExistsError, match="are one in the other"):
            shardpack.export(pets, out, to="folder", force=True)


def test_force_never_deletes_the_tars_of_the_dataset(pets, tmp_path):
    (tmp_path / "tars").mkdir()
    for path in Path(pets.location).glob("*.tar"):
        shutil.copy(path, tmp_path / "tars")
    shardpack.index(tmp_path / "tars", out=tmp_path / "idx")
    ds, before = shardpack.open(tmp_path / "idx", allow_locations=True), files(tmp_path / "tars")
    for out in (tmp_path / "tars", tmp_path / "tars" / "below"):
        with pytest.raises(OutputExistsError, match=r"tars in .* are one in the other"):
            shardpack.export(ds, out, to="folder", force=True)
    assert files(tmp_path / "tars") == before


def test_a_sample_twice_is_refused(pets, tmp_path):
    with pytest.raises(DuplicateKeyError):
        shardpack.export(pets.select([0, 0]), tmp_path / "out", to="folder")


def test_errors_of_workers_arrive(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", classes=["x"]) as writer:
        writer.write("a", {"jpg": b"1", "json": {"label": 0}})
        writer.write("b", {"jpg": b"2", "json": {"label": 7}})
    with pytest.raises(ExportError, match=r"the sample is in no class.*key='b'"):
        shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / "out", to="folder", jobs=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": "folder"}, "folder: images in the folders of 2 classes, labels (json) in metadata.csv"),
        ({"to": "folder", "flat": True}, "folder: images by key, labels (json) in metadata.csv"),
        ({"to": "coco"}, "coco: images, with no boxes"),
        (
            {"to": "webdataset", "fields": ["jpg"]},
            "webdataset: tars are called {split}-%06d.tar, with jpg of each sample; left out: json of 6 samples",
        ),
        ({"to": "parquet"}, "parquet: a row has __key__, image (jpg), label (one of 2 classes)"),
        ({"to": "mds"}, "mds: columns are __key__ (str), class (str), image (jpeg), label (int)"),
        ({"to": "tfrecord"}, "tfrecord: a record has __key__, image (jpg), class (str), label (int)"),
        ({"to": "lmdb"}, "lmdb: entries are <key>.jpg, <key>.json"),
        ({"to": "hdf5"}, "hdf5: datasets are __key__, image (jpg), class (str), label (int)"),
        ({"to": "npz"}, "npz: arrays are images (uint8 of (24, 32, 3)), keys, class (str), labels (int)"),
    ],
)
def test_what_samples_become_is_said_before_the_work(pets, tmp_path, options, expected):
    said = []
    shardpack.export(pets, tmp_path / "out", dry_run=True, announce=said.append, **options)
    assert said == [expected]
