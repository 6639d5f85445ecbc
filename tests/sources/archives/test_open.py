"""Archives as sources: each gives the samples that the folder in it would give."""

from __future__ import annotations

import gzip
import os
import pickle

import pytest
import zstandard

import shardpack
from shardpack.errors import CorruptShardError, SourceError
from shardpack.sources.archives.open import archives_beside, is_archive, kind_of, open_archive, open_archives
from shardpack.sources.archives.spool import Spool
from shardpack.sources.folder import FolderSource
from shardpack.sources.image_check import check_range
from shardpack.sources.payloads import read_listed
from shardpack.sources.scan import scan
from shardpack.sources.source import ListOptions, Problems
from shardpack.storage.open import open_store
from tests.sources.archives.test_tar import make_tar
from tests.sources.archives.zips import Entry, make_zip, raw_zip
from tests.sources.trees import IMAGE, files_of, write_tree

TREE = {
    "cat/1.jpg": IMAGE,
    "cat/2.jpg": IMAGE + b"2",
    "dog/deep/3.png": IMAGE + b"3",
}


def _samples(source, **options):
    listing = FolderSource(source, **options).list(ListOptions()).listing
    return read_listed(listing, 0, listing.num_samples), listing.classes


@pytest.fixture
def folder(tmp_path):
    return write_tree(tmp_path / "folder", TREE)


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("below", ["", "data/"])
def test_a_zip_is_the_folder_in_it(tmp_path, folder, method, below):
    (tmp_path / "x.zip").write_bytes(make_zip({below + name: data for name, data in TREE.items()}, method=method))
    assert _samples(tmp_path / "x.zip") == _samples(folder)


def test_a_tar_is_the_folder_in_it(tmp_path, folder):
    (tmp_path / "x.tar").write_bytes(make_tar({f"./{name}": data for name, data in TREE.items()}))
    assert _samples(tmp_path / "x.tar") == _samples(folder)


def test_a_tar_of_tars_has_classes(tmp_path):
    inner = {f"{wnid}.tar": make_tar({f"{wnid}_1.JPEG": IMAGE}) for wnid in ("n01440764", "n01443537")}
    (tmp_path / "x.tar").write_bytes(make_tar(inner))
    samples, classes = _samples(tmp_path / "x.tar")
    assert classes == ("n01440764", "n01443537")
    assert [key for key, _ in samples] == ["n01440764/n01440764_1", "n01443537/n01443537_1"]


def test_labels_in_a_zip_are_read(tmp_path):
    files = {"metadata.csv": b"file_name,label\na.jpg,3\n", "a.jpg": IMAGE}
    (tmp_path / "x.zip").write_bytes(make_zip(files, method=8))
    assert _samples(tmp_path / "x.zip") == _samples(write_tree(tmp_path / "table", files))


def test_a_folder_of_zips_has_a_folder_for_each(tmp_path):
    write_tree(tmp_path, {"cat.zip": make_zip({"1.jpg": IMAGE}), "dog.zip": make_zip({"dog/2.jpg": IMAGE}, method=8)})
    samples, classes = _samples(tmp_path)
    assert [key for key, _ in samples] == ["cat/1", "dog/2"]
    assert classes == ("cat", "dog")


def test_numbered_archives_are_parts_of_one_tree(tmp_path):
    write_tree(tmp_path, {f"shard-00000{n}.tar": make_tar({f"cat/{n}.jpg": IMAGE}) for n in range(2)})
    samples, classes = _samples(tmp_path)
    assert [key for key, _ in samples] == ["cat/0", "cat/1"]
    assert classes == ("cat",)


def test_a_numbered_archive_alone_is_no_class(tmp_path):
    write_tree(tmp_path, {"train-000000.tar": make_tar({"1.jpg": IMAGE})})
    samples, classes = _samples(tmp_path)
    assert [key for key, _ in samples] == ["1"]
    assert classes is None


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("inner_method", [0, 8])
def test_a_zip_of_zips_has_a_folder_for_each(tmp_path, method, inner_method):
    inner = {name: make_zip({f"{name[:-4]}/1.jpg": IMAGE}, method=inner_method) for name in ("cat.zip", "dog.zip")}
    (tmp_path / "x.zip").write_bytes(make_zip(inner | {"sample.md": b"text"}, method=method))
    with Spool(tmp_path / "work", left_free_bytes=0) as spool:
        listed = FolderSource(tmp_path / "x.zip").list(ListOptions(unpack=spool.unpack))
        assert spool.used == bool(method)
        samples = read_listed(pickle.loads(pickle.dumps(listed.listing)), 0, 2)
    assert [(key, fields["jpg"]) for key, fields in samples] == [("cat/1", IMAGE), ("dog/1", IMAGE)]
    assert listed.listing.classes == ("cat", "dog")


def test_a_zip_in_a_tar_and_a_compressed_tar_in_a_zip(tmp_path):
    (tmp_path / "x.tar").write_bytes(make_tar({"a/cat.zip": make_zip({"1.jpg": IMAGE}, method=8)}))
    assert [key for key, _ in _samples(tmp_path / "x.tar")[0]] == ["a/cat/1"]
    (tmp_path / "x.zip").write_bytes(make_zip({"cat.tgz": gzip.compress(make_tar({"1.jpg": IMAGE}))}, method=8))
    with Spool(tmp_path / "work", left_free_bytes=0) as spool:
        listing = FolderSource(tmp_path / "x.zip").list(ListOptions(unpack=spool.unpack)).listing
        assert read_listed(listing, 0, 1)[0][1]["jpg"] == IMAGE


def test_archives_are_opened_two_deep_at_most(tmp_path):
    archive = make_zip({"cat/1.jpg": IMAGE})
    for _ in range(3):
        archive = make_zip({"x.zip": archive})
    (tmp_path / "x.zip").write_bytes(archive)
    with pytest.raises(SourceError, match="no images to pack"):
        _samples(tmp_path / "x.zip")


def test_a_damaged_inner_archive_is_named(tmp_path):
    (tmp_path / "x.zip").write_bytes(raw_zip(Entry(b"cat.zip", make_zip({"1.jpg": IMAGE}), method=8, crc32=1)))
    with (
        pytest.raises(CorruptShardError, match=r"member 'cat\.zip' .* CRC-32 differs"),
        Spool(tmp_path / "work", left_free_bytes=0) as spool,
    ):
        FolderSource(tmp_path / "x.zip").list(ListOptions(unpack=spool.unpack))


def test_two_archives_with_the_same_file_are_refused(tmp_path):
    write_tree(tmp_path, {f"shard-00000{n}.tar": make_tar({"cat/1.jpg": IMAGE}) for n in range(2)})
    with pytest.raises(SourceError, match=r"'cat/1\.jpg' is in two archives"):
        _samples(tmp_path)


def test_files_beside_archives_belong_to_the_tree(tmp_path):
    write_tree(tmp_path, {"train.zip": make_zip({"1.jpg": IMAGE}), "labels.txt": "cat"})
    files = scan(tmp_path, Problems())
    tree = open_archives(files, archives_beside(files), Problems())
    assert tree.files.names == ["labels.txt", "train/1.jpg"]


def test_archives_beside_loose_images_are_left_alone():
    assert archives_beside(files_of(["a.zip", "b/c.tar", "d.csv"])) == ["a.zip", "b/c.tar"]
    assert archives_beside(files_of(["a.zip", "a/1.jpg"])) == []


@pytest.mark.parametrize("name", ["a.zip", "s3://b/A.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_names_of_archives(name):
    assert is_archive(name)


@pytest.mark.parametrize("name", ["a.tar/", "a", "zip", "a.gz", "a.tar.lz4"])
def test_names_of_others(name):
    assert not is_archive(name)


@pytest.mark.parametrize(
    ("names", "layout", "kind"),
    [
        (["a.zip"], "files", "zip archive"),
        (["a.tar"], "classes", "tar"),
        (["a.tar"], "files", 'tar (to use it as it is, without a copy: "shardpack index")'),
        (["a.tar.gz"], "files", "compressed tar"),
        (["a.zip", "b.tar"], "files", "2 archives"),
        (["a.tar", "b.tar"], "files", '2 archives (to use them as they are, without a copy: "shardpack index")'),
    ],
)
def test_what_archives_are_called(names, layout, kind):
    assert kind_of(names, layout) == kind


@pytest.mark.parametrize(("ending", "compress"), [(".tar.gz", gzip.compress), (".tar.zst", zstandard.compress)])
def test_compressed_tars_are_unpacked_on_the_way(tmp_path, folder, ending, compress):
    (tmp_path / f"x{ending}").write_bytes(compress(make_tar(TREE)))
    with Spool(tmp_path / "work", left_free_bytes=0) as spool:
        source = FolderSource(tmp_path / f"x{ending}")
        listed = source.list(ListOptions(unpack=spool.unpack))
        samples = read_listed(listed.listing, 0, listed.listing.num_samples)
    assert (samples, listed.listing.classes) == _samples(folder)
    assert listed.sentence.startswith("compressed tar: class folders: 3 samples")
    with pytest.raises(SourceError, match="a compressed archive can only be packed"):
        source.list(ListOptions())


def test_the_version_of_a_compressed_tar_does_not_depend_on_where_it_is_unpacked(tmp_path):
    (tmp_path / "x.tgz").write_bytes(gzip.compress(make_tar(TREE)))
    found = set()
    for work in ("a", "b"):
        with Spool(tmp_path / work, left_free_bytes=0) as spool:
            listing = FolderSource(tmp_path / "x.tgz").list(ListOptions(unpack=spool.unpack)).listing
            found.add((listing.version, str(list(listing.payload))))
    assert len(found) == 1


def test_refused_members_stop_the_packing(tmp_path):
    (tmp_path / "x.zip").write_bytes(raw_zip(Entry(b"cat/1.jpg", IMAGE), Entry(b"cat/2.jpg", IMAGE, flags=1)))
    with pytest.raises(SourceError, match=r"1 problem in the source: 'cat/2\.jpg': it is encrypted"):
        _samples(tmp_path / "x.zip")


def test_an_archive_of_a_bucket(tmp_path):
    open_store("memory://archives/deep").put("x.zip", make_zip(TREE, method=8))
    assert _samples("memory://archives/deep/x.zip") == _samples(write_tree(tmp_path, TREE))


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"no file is at .*x\.zip"):
        open_archive(tmp_path / "x.zip", Problems())


def test_the_version_changes_with_the_archive(tmp_path):
    versions = set()
    for content in (IMAGE, IMAGE + b"more"):
        (tmp_path / "x.zip").write_bytes(make_zip({"1.jpg": content}))
        versions.add(FolderSource(tmp_path / "x.zip").list(ListOptions()).listing.version)
    assert len(versions) == 2


def test_damaged_members_are_found_by_the_check_of_images(tmp_path):
    entries = [Entry(b"cat/1.jpg", IMAGE), Entry(b"cat/2.jpg", IMAGE, method=8, stored=b"\xff" * 30)]
    (tmp_path / "x.zip").write_bytes(raw_zip(*entries))
    listing = FolderSource(tmp_path / "x.zip").list(ListOptions()).listing
    assert [sample for sample, reason in check_range(listing, "signature") if "cannot be inflated" in reason] == [1]


@pytest.mark.parametrize("method", [0, 8])
def test_a_zip_of_a_server_costs_few_requests(tmp_path, nginx_server, proxy, method):
    files = {f"{n % 3}/{n:04d}.jpg": IMAGE + os.urandom(3000) for n in range(1000)}
    write_tree(tmp_path / "served", {"x.zip": make_zip(files, method=method)})
    between = proxy(nginx_server(tmp_path / "served").url)
    shardpack.pack(f"{between.url}/x.zip", tmp_path / "out", jobs=1)
    # Its length, its end with the directory, and 3 MB of members in their order in the dataset, where they lie apart
    # by two others each.
    assert len(between.requests) <= 6
    assert between.num_bytes < 8_000_000
    packed = shardpack.open(tmp_path / "out")
    assert {f"{sample.key}.jpg": bytes(sample["jpg"]) for sample in packed} == files


def test_an_archive_in_a_bucket_is_packed_to_a_folder_and_to_a_bucket(tmp_path, s3_server):
    url, options = f"s3://{s3_server.new_bucket()}", s3_server.options()
    open_store(f"{url}/deep", options).put("x.zip", make_zip(TREE, method=8))
    shardpack.pack(f"{url}/deep/x.zip", tmp_path / "out", storage_options=options, jobs=1)
    shardpack.pack(f"{url}/deep/x.zip", f"{url}/out", storage_options=options, jobs=1)
    there = shardpack.open(f"{url}/out", storage_options=options)
    assert [dict(sample) for sample in shardpack.open(tmp_path / "out")] == [dict(sample) for sample in there]
