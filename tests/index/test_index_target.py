"""Indexes go where readers can find the tars from, and never replace other files."""

from __future__ import annotations

import os

import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.errors import OptionError, OutputExistsError, StorageError, UnsupportedVersionError
from shardpack.format.layout import MANIFEST_PATH, index_path
from shardpack.index.find import TarSet, find_tars
from shardpack.index.index_target import check_indexable, place_for_indexes, writing_indexes
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.format.builders import entry

TAR = entry(b"a.jpg", b"1") + bytes(1024)


def at(location):
    """Return a store that says to be there."""
    return MemoryStore({"x.tar": TAR}, location=location)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tars"
    folder.mkdir()
    (folder / "x.tar").write_bytes(TAR)
    return folder


@pytest.mark.parametrize("edit", ["deleted", "layered"])
def test_edits_are_not_undone(tmp_path, edit):
    with shardpack.ShardWriter(tmp_path / "out") as writer:
        writer.write("a", {"txt": b"1"})
        writer.write("b", {"txt": b"2"})
    if edit == "deleted":
        edits.deleted(tmp_path / "out", 1)
    else:
        with shardpack.ShardWriter(tmp_path / "layer") as writer:
            writer.write("a", {"cls": b"1"})
        edits.layered(tmp_path / "out", tmp_path / "layer", [1])
    target = target_of(LocalStore(str(tmp_path / "out")))
    with pytest.raises(OutputExistsError, match='would undo; repair it with "shardpack repair"'):
        check_indexable(find_tars(tmp_path / "out"), target, None, force=True)
    copy = tmp_path / "out" / MANIFEST_PATH
    copy.write_text(edits.with_next_version(copy.read_text()))
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        check_indexable(find_tars(tmp_path / "out"), target, None, force=True)


def test_beside_the_tars_nothing_is_said_of_where_they_are(folder):
    found = find_tars(folder)
    for out in (None, folder, f"{folder}/", folder / ".." / "tars"):
        target, shards_at = place_for_indexes(found, out, None, None)
        assert (os.path.realpath(target.location), shards_at) == (os.path.realpath(folder), None)


def test_elsewhere_the_tars_are_a_relative_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out, expected in ((tmp_path / "idx", "../tars"), ("idx/deep", "../../tars"), (folder / "sub", "..")):
        assert place_for_indexes(find_tars(folder), out, None, None)[1] == expected


def test_a_link_to_the_tars_is_the_same_folder(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert place_for_indexes(find_tars(folder), tmp_path / "link", None, None)[1] is None


def test_of_a_bucket_the_url_is_said(tmp_path):
    found = TarSet(at("s3://bucket/tars"), ("x.tar",))
    target, shards_at = place_for_indexes(found, tmp_path / "idx", None, None)
    assert (target.location, shards_at) == (str(tmp_path / "idx"), "s3://bucket/tars")


@pytest.mark.parametrize(
    ("home", "out", "text"),
    [
        ("https://host/x", None, "a web server takes no files; name a folder or bucket"),
        ("s3://bucket/x", "https://host/y?secret=1", r"cannot write to 'https://host/y': a web server takes no files"),
        ("sftp://host/x", "idx", r"cannot be found from elsewhere \(SPEC 6\.5\)"),
        ("s3://user@host/x", "idx", "neither a path nor a URL without user"),
        ("a store of the caller's", "idx", "cannot be found from elsewhere, as it has no URL"),
    ],
)
def test_targets_from_which_tars_cannot_be_found(home, out, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=text) as caught:
        place_for_indexes(TarSet(at(home), ("x.tar",)), out, None, None)
    assert "secret" not in str(caught.value)
    assert not os.listdir(tmp_path), "nothing is written"


def test_tars_of_a_disk_are_not_found_from_a_bucket(folder):
    with pytest.raises(OptionError, match="tars on this disk cannot be found from 'memory://bucket'"):
        place_for_indexes(find_tars(folder), "memory://bucket", None, None)


def test_a_store_that_takes_nothing():
    class ReadOnly:
        location, folder = "s3://bucket", None

    with pytest.raises(
        OptionError, match='does not take objects, or does not list them; open its tars with index="memory"'
    ):
        place_for_indexes(TarSet(ReadOnly(), ("x.tar",)), None, None, None)


def test_options_of_an_out_that_is_not_named(folder):
    with pytest.raises(OptionError, match="out_options are for out"):
        place_for_indexes(find_tars(folder), None, None, {"region": "x"})


def check(folder, *, force=False):
    found = find_tars(folder)
    return check_indexable(found, target_of(LocalStore(folder)), None, force=force)


def test_an_empty_place_has_no_dataset_before(folder):
    assert check(folder) is None
    assert os.listdir(folder) == ["x.tar"], "nothing is written"


def test_a_dataset_is_replaced_by_force_only(folder):
    shardpack.index(folder)
    with pytest.raises(OutputExistsError, match=r"already holds .*; pass force=True \(--force\)"):
        check(folder)
    before = check(folder, force=True)
    assert (before.manifest.num_samples, list(before.shards)) == (1, ["x.tar"])


@pytest.mark.parametrize("force", [False, True])
def test_no_tar_of_a_dataset_is_left_behind(folder, force):
    (folder / "y.tar").write_bytes(entry(b"b.jpg", b"1") + bytes(1024))
    shardpack.index(folder)
    (folder / "y.tar").unlink()
    with pytest.raises(OutputExistsError, match=r"has 1 more tar\(s\), such as 'y.tar'; index them all"):
        check(folder, force=force)


def test_a_damaged_manifest_is_read_from_its_generation(folder):
    shardpack.index(folder)
    (folder / ".shardpack/manifest.json").write_bytes(b"{}")
    with pytest.raises(OutputExistsError, match="--force"):
        check(folder)
    assert check(folder, force=True).manifest.num_samples == 1
    (folder / ".shardpack/manifests/000001.json").write_bytes(b"{}")
    assert check(folder, force=True) is None


def test_a_damaged_shard_table_gives_no_shards(folder):
    shardpack.index(folder)
    (table,) = (folder / ".shardpack").glob("shards-*")
    table.write_bytes(b"{}")
    assert check(folder, force=True).shards is None


def test_a_file_that_is_not_an_index(folder):
    path = folder / index_path("x.tar")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another file")
    with pytest.raises(
        OutputExistsError, match=r"is not a shardpack index; move it away, or pass force=True \(--force\)"
    ):
        check(folder)
    assert check(folder, force=True) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(folder):
    folder.chmod(0o555)
    with pytest.raises(StorageError, match="change its permissions"):
        check(folder)


@pytest.mark.parametrize("location", ["s3://bucket", "/data"])
def test_an_error_of_a_bucket_names_the_other_way(location):
    with pytest.raises(StorageError, match="denied") as caught, writing_indexes(target_of(at(location))):
        raise StorageError("denied", shard="x.tar")
    assert ("--out" in str(caught.value)) == location.startswith("s3")
    assert caught.value.shard == "x.tar"


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_tar_is_named_before_the_tars_that_are_left_out(folder, force):
    shardpack.index(folder)
    (folder / "notes.txt").write_bytes(b"not a tar")
    with pytest.raises(OutputExistsError, match=r"'notes.txt' is not a tar by its name, .*; leave it out"):
        shardpack.index(folder / "notes.txt", force=force)
