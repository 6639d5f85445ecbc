"""A dataset against its originals: what differs, is missing, or is more; whatever it was packed from."""

from __future__ import annotations

import io
import shutil

import pytest
from PIL import Image

import shardpack
from shardpack.errors import OptionError
from shardpack.inspect import verify_source as module
from tests import edits
from tests.fakes import write_files


def image_bytes(number):
    """A PNG of 4 x 4 pixels, all of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 7, 9)).save(file, "PNG")
    return file.getvalue()


FILES = {f"{kind}/{i:02d}": {"png": image_bytes(10 * n + i)} for n, kind in enumerate(("cat", "dog")) for i in range(6)}


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", FILES)


@pytest.fixture
def dataset(source, tmp_path):
    shardpack.pack(source, tmp_path / "out", max_shard_samples=5, jobs=1)
    return tmp_path / "out"


def problems(dataset, source, **options):
    return [(one.kind, one.key) for one in shardpack.verify(dataset, source=source, jobs=1, **options).problems]


def test_nothing_has_changed(source, dataset):
    assert problems(dataset, source) == []
    assert problems(dataset, shardpack.open(dataset)) == []


def test_what_differs_is_missing_or_is_more(source, dataset):
    write_files(source, {"cat/01": {"png": image_bytes(101)}, "dog/99": {"png": image_bytes(102)}})
    (source / "dog" / "03.png").unlink()
    report = shardpack.verify(dataset, source=source)
    assert [(one.kind, one.key, one.command) for one in report.problems] == [
        ("different", "cat/01", "append --on-duplicate replace"),
        ("absent", "dog/99", "append"),
        ("extra", "dog/03", "delete"),
    ]
    assert "field 'png' differs from the source: expected" in report.problems[0].message


def test_many_are_counted(source, dataset):
    shutil.rmtree(source / "dog")
    report = shardpack.verify(dataset, source=source)
    assert [one.kind for one in report.problems] == ["extra"] * 6
    assert report.problems[-1].message == "1 more samples like these"


def test_what_was_deleted_is_not_missing(source, dataset):
    edits.deleted(dataset, 2, 7)
    assert problems(dataset, source) == []
    edits.appended(dataset, {"more": {"png": image_bytes(103)}})
    assert problems(dataset, source) == [("extra", "more")]


def test_what_was_rejected_is_not_missing(source, tmp_path):
    (source / "cat" / "04.png").write_bytes(b"no image")
    shardpack.pack(source, tmp_path / "out", check_images="decode", on_error="skip", jobs=1)
    assert len(shardpack.open(tmp_path / "out")) == 11
    assert problems(tmp_path / "out", source) == []


def test_options_of_packing_are_used_again(source, tmp_path):
    (source / "cat" / "a b.png").write_bytes(image_bytes(104))
    options = {"rename_keys": True, "fields": ["png"], "rename_field": {"png": "seg.png"}, "shuffle_seed": 3}
    shardpack.pack(source, tmp_path / "out", jobs=1, **options)
    assert problems(tmp_path / "out", source) == []


def test_payloads_that_were_changed_cannot_be_compared(source, tmp_path):
    shardpack.pack(source, tmp_path / "out", jobs=1, resize="short=2")
    with pytest.raises(OptionError, match="was packed with resize, so its payloads are not those of the source"):
        shardpack.verify(tmp_path / "out", source=source)


def test_rows_of_a_table(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"key": ["a", "b", "c"], "jpg": [b"\xff\xd8\xff1", b"\xff\xd8\xff2", b"\xff\xd8\xff3"], "n": [1, 2, 3]}
    parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    shardpack.pack(tmp_path / "a.parquet", tmp_path / "out", jobs=1)
    assert problems(tmp_path / "out", tmp_path / "a.parquet") == []
    rows["n"][1] = 7
    parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert problems(tmp_path / "out", tmp_path / "a.parquet") == [("different", "b")]


def test_files_that_cannot_be_read_are_told(source, dataset, monkeypatch):
    def refuse(listing, member):
        if listing.keys[listing.owners([member])[0]] == "cat/02":
            raise PermissionError(13, "Permission denied")
        return read(listing, member)

    read = module.read_payload
    monkeypatch.setattr(module, "read_payload", refuse)
    (problem,) = shardpack.verify(dataset, source=source, jobs=1).problems
    assert (problem.kind, problem.key) == ("unreadable", "cat/02")
    assert "cannot be read: Permission denied" in problem.message
