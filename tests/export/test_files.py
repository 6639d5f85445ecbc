"""Samples written to files: the same as `tar xf`, and nothing outside the folder."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import (
    DuplicateKeyError,
    FieldNotFoundError,
    InvalidKeyError,
    OutputExistsError,
    ShardNotFoundError,
    StorageError,
    UnknownKeyError,
)
from shardpack.export.files import path_parts, within_split
from shardpack.format.naming import escape_key
from tests.conftest import judge
from tests.fakes import contents
from tests.format.builders import entry
from tests.read.datasets import CountingStore, collections, numbered, packed, write
from tests.strategies import examples, safe_keys

END = bytes(1024)
SAMPLES = {"a/1": {"bin": b"1", "json": b"{}"}, "a/2": {"bin": b""}, "b": {"bin": b"3", "seg.png": b"4"}}


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    return shardpack.open(write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=2))


def foreign(folder, *names):
    """Return a dataset over a tar with these member names, whatever they are."""
    folder.mkdir()
    (folder / "x.tar").write_bytes(b"".join(entry(os.fsencode(name), b"payload") for name in names) + END)
    return shardpack.open(folder, index="memory")


def files(samples):
    return {f"{key}.{field}": payload for key, fields in samples.items() for field, payload in fields.items()}


def written(folder):
    return {name: data for name, data in contents(folder).items() if data is not None}


@examples(40)
@given(collections(), st.integers(1, 4))
def test_every_payload_is_one_file(tmp_path_factory, samples, per_shard):
    out = tmp_path_factory.mktemp("out")
    ds = shardpack.open(CountingStore(packed(samples, max_shard_samples=per_shard)))
    assert shardpack.extract(ds, out) == len(files(samples))
    assert written(out) == files(samples)


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_equals_tar_xf(ds, tmp_path, program):
    for info in ds.shards:
        (tmp_path / "tar").mkdir(exist_ok=True)
        subprocess.run([judge(program), "-xf", f"{ds.location}/{info.name}", "-C", tmp_path / "tar"], check=True)
    shardpack.extract(ds, tmp_path / "ours")
    assert contents(tmp_path / "ours") == contents(tmp_path / "tar")


def test_equals_tar_xf_for_names_of_others(tmp_path):
    """GNU tar's "./", hidden files, dots everywhere, other letters, bytes that are no UTF-8."""
    names = [
        "./d/a.jpg",
        "d/.hidden.jpg",
        "d.x/b.c.d",
        "e.",
        "é/ü.jpg",
        "no/\udcff.bin",
        "back\\slash.txt",
        "12:30.txt",
    ]
    ds = foreign(tmp_path / "tars", *names)
    assert shardpack.extract(ds, tmp_path / "ours") == len(names)
    (tmp_path / "tar").mkdir()
    subprocess.run([judge("tar"), "-xf", tmp_path / "tars" / "x.tar", "-C", tmp_path / "tar"], check=True)
    assert contents(tmp_path / "ours") == contents(tmp_path / "tar")


HOSTILE = [
    "../x.txt",
    "a/../../x.txt",
    "a/..",
    "/abs.txt",
    "//abs.txt",
    "a//b.txt",
    "C:x.txt",
    "a/C:x.txt",
    "..//x.txt",
    "/.x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_write_nothing(tmp_path, name):
    try:
        ds = foreign(tmp_path / "tars", name, "good.txt")
    except shardpack.ShardpackError:
        return
    if len(ds) == 1:
        pytest.skip("this name belongs to no sample")
    before = contents(tmp_path)
    for force in (False, True):
        with pytest.raises(InvalidKeyError, match=r"cannot be a file below a folder; write it with .*\(key="):
            shardpack.extract(ds, tmp_path / "out", force=force)
    assert contents(tmp_path) == {**before, "out": None}
    assert shardpack.extract(ds, tmp_path / "out", keys=["good"]) == 1


@given(st.text(st.sampled_from([*"./\\:Ca\0 ", "\udcff"]), max_size=12), st.text(st.sampled_from("./\\:a"), max_size=4))
def test_no_name_leads_out(stem, field):
    """A name that is accepted gives a path below the folder."""
    for windows in (False, True):
        try:
            parts = path_parts(stem, field, windows=windows)
        except InvalidKeyError:
            continue
        import ntpath
        import posixpath

        path = ntpath if windows else posixpath
        root = "C:\\out" if windows else "/out"
        joined = path.normpath(path.join(root, *parts))
        assert joined.startswith(root + path.sep)
        assert "\0" not in joined
        assert not windows or not any(part.endswith((".", " ")) for part in parts)


def test_links_inside_the_folder_lead_nowhere(ds, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to(outside)
    with pytest.raises(InvalidKeyError, match=r"leads outside the folder through a link; .*\(key='a/1'\)"):
        shardpack.extract(ds, out, force=True)
    (out / "a").unlink()
    (out / "b.bin").symlink_to(outside / "b.bin")
    with pytest.raises(StorageError, match="a link is in its place; choose an empty folder"):
        shardpack.extract(ds, out, keys=["b"], force=True)
    with pytest.raises(OutputExistsError):
        shardpack.extract(ds, out, keys=["b"])
    assert contents(outside) == {}


def test_the_folder_itself_may_be_a_link(ds, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    shardpack.extract(ds, tmp_path / "link")
    assert written(tmp_path / "real") == files(SAMPLES)


@given(st.lists(safe_keys(), min_size=1, max_size=6, unique_by=str.lower))
def test_unescape_gives_the_names_back(tmp_path_factory, names):
    originals = {f"{name} é.v1": {"txt": name.encode()} for name in names}
    folder = tmp_path_factory.mktemp("x")
    ds = shardpack.open(write(folder / "ds", {escape_key(name): fields for name, fields in originals.items()}))
    try:
        shardpack.extract(ds, folder / "out", unescape=True)
    except (InvalidKeyError, StorageError):
        return  # a name such as "C:/x", or "a" beside "a/b" with a file in a folder's place
    assert written(folder / "out") == files(originals)


def test_escapes_that_hide_a_way_out(tmp_path):
    ds = shardpack.open(
        write(tmp_path / "ds", {"%2E%2E%2Fx": {"txt": b""}, "a%00": {"txt": b""}, "%2Fetc%2Fx": {"txt": b""}})
    )
    for key in ds.keys():  # noqa: SIM118 - a dataset is not a dict
        with pytest.raises(InvalidKeyError):
            shardpack.extract(ds, tmp_path / "out", keys=[key], unescape=True)
    assert contents(tmp_path / "out") == {}
    assert shardpack.extract(ds, tmp_path / "out") == 3


def test_keys_and_positions_and_fields(ds, tmp_path):
    assert shardpack.extract(ds, tmp_path / "one", keys=["b", 0, "a/1", -1], fields=["bin"]) == 2
    assert written(tmp_path / "one") == {"a/1.bin": b"1", "b.bin": b"3"}
    assert shardpack.extract(ds.select(["b", "b"]), tmp_path / "two") == 2
    assert shardpack.extract(ds, tmp_path / "none", keys=[]) == 0
    assert contents(tmp_path / "none") == {}


def test_what_is_not_there_is_told_before_anything_is_made(ds, tmp_path):
    with pytest.raises(UnknownKeyError):
        shardpack.extract(ds, tmp_path / "out", keys=["b", "nobody"])
    with pytest.raises(FieldNotFoundError):
        shardpack.extract(ds, tmp_path / "out", fields=["mp4"])
    assert not (tmp_path / "out").exists()


def test_files_that_are_there_stay_unless_forced(ds, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.bin").write_bytes(b"mine, and longer")
    with pytest.raises(
        OutputExistsError, match=r"file exists: .*a/2.bin'; choose an empty folder, or pass force=True \(--force\)"
    ):
        shardpack.extract(ds, tmp_path)
    assert (tmp_path / "a" / "2.bin").read_bytes() == b"mine, and longer"
    shardpack.extract(ds, tmp_path, force=True)
    assert written(tmp_path) == files(SAMPLES)


def test_a_file_where_a_folder_is_needed(ds, tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot make the folder .*a file is in the place of a folder"):
        shardpack.extract(ds, tmp_path)
    with pytest.raises(StorageError, match="make the folder"):
        shardpack.extract(ds, tmp_path / "a")


def test_a_full_disk_leaves_no_half_of_a_file(ds, tmp_path, monkeypatch):
    def full(descriptor, mode):
        file = fdopen(descriptor, mode)
        file.write(b"half")
        file.flush()
        file.close()
        raise OSError(errno.ENOSPC, "No space left on device")

    fdopen = os.fdopen
    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(
        StorageError, match=r"No space left on device; free some space, then repeat with force=True \(--force\)"
    ):
        shardpack.extract(ds, tmp_path)
    monkeypatch.undo()
    assert written(tmp_path) == {}


def test_names_too_long_for_the_disk(tmp_path):
    ds = shardpack.open(write(tmp_path / "ds", {"x" * 300: {"txt": b""}}))
    with pytest.raises(StorageError, match=r'File name too long; .*write it with "shardpack cat"'):
        shardpack.extract(ds, tmp_path / "out")


def test_checked_datasets_write_no_damaged_payload(tmp_path):
    folder = write(tmp_path / "ds", {"a": {"txt": b"good"}})
    data = (folder / "shard-000000.tar").read_bytes()
    (folder / "shard-000000.tar").write_bytes(data.replace(b"good", b"gold"))
    with pytest.raises(shardpack.ShardpackError, match="is damaged"):
        shardpack.extract(shardpack.open(folder, verify=True), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_progress_reaches_the_end(tmp_path):
    ds = shardpack.open(write(tmp_path / "ds", numbered(250)))
    seen = []
    shardpack.extract(ds, tmp_path / "out", progress=lambda *call: seen.append(call))
    assert seen == [("extract", 100, 250), ("extract", 200, 250), ("extract", 250, 250)]


def test_force_does_not_write_one_sample_over_another(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, payload in (("a.txt", b"one"), ("b.txt", b"two"), ("a.txt", b"three")):
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            archive.addfile(member, io.BytesIO(payload))
    shardpack.index(tmp_path, on_duplicate="keep")
    with pytest.raises(DuplicateKeyError, match="two samples would be the file"):
        shardpack.extract(shardpack.open(tmp_path), tmp_path / "out", force=True)


def test_parts_of_a_dataset_are_not_indexed_alone(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for i in range(6):
            writer.write(f"{i}", {"txt": "x"})
    with pytest.raises(OutputExistsError, match="2 more tar"):
        shardpack.index(tmp_path / "shard-000001.tar", force=True)
    assert len(shardpack.open(tmp_path)) == 6


def test_an_unfinished_dataset_is_not_indexed(tmp_path):
    writer = shardpack.ShardWriter(tmp_path, max_shard_samples=1)
    writer.write("a", {"txt": "x"})
    writer.write("b", {"txt": "x"})
    with pytest.raises((OutputExistsError, ShardNotFoundError), match=r"unfinished|no \.tar file"):
        shardpack.index(tmp_path)
    writer.abort()
    writer.abort()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_a_file_is_replaced(ds, tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "2.bin")
    with pytest.raises(OutputExistsError):
        shardpack.extract(ds, tmp_path)
    shardpack.extract(ds, tmp_path, force=True)
    assert (tmp_path / "a" / "2.bin").read_bytes() == ds["a/2"]["bin"]


def test_a_hard_link_in_the_place_of_a_file_is_not_written_through(ds, tmp_path):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.write_bytes(b"precious")
    (out / "a").mkdir(parents=True)
    os.link(outside, out / "a" / "2.bin")
    shardpack.extract(ds, out, force=True)
    assert outside.read_bytes() == b"precious"
    assert (out / "a" / "2.bin").read_bytes() == ds["a/2"]["bin"]
    assert not [name for name in os.listdir(out / "a") if name.endswith(".tmp")]


def test_a_folder_in_the_place_of_a_file_stays(ds, tmp_path):
    (tmp_path / "a" / "2.bin").mkdir(parents=True)
    with pytest.raises(StorageError, match="a folder is in its place"):
        shardpack.extract(ds, tmp_path, force=True)
    assert not [name for name in os.listdir(tmp_path / "a") if name.endswith(".tmp")]


def test_keys_of_very_many_components(tmp_path):
    key = "a/" * 1100 + "x"
    ds = shardpack.open(write(tmp_path / "ds", {key: {"txt": b"hi"}}))
    assert shardpack.extract(ds, tmp_path / "out") == 1
    assert (tmp_path / "out" / f"{key}.txt").read_bytes() == b"hi"
    folder = tmp_path / "out"
    for _ in range(1100):  # pytest's own removal is recursive
        (folder / "a").rename(tmp_path / "next") if (folder / "a").exists() else None
        folder.rmdir()
        folder = (tmp_path / "next").rename(tmp_path / "out")


def test_keys_that_are_one_file_are_told_also_with_force(tmp_path):
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars/x.tar", "w") as tar:
        for name, payload in (("./a.txt", b"one"), ("a.txt", b"two")):
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            tar.addfile(member, io.BytesIO(payload))
    ds = shardpack.open(tmp_path / "tars", index="memory")
    assert list(ds.keys()) == ["./a", "a"]
    with pytest.raises(DuplicateKeyError, match="two samples would be the file"):
        shardpack.extract(ds, tmp_path / "out", force=True)


@pytest.mark.parametrize(
    ("path", "split", "expected"),
    [
        (["train", "a.jpg"], "train", ["a.jpg"]),
        (["train", "a.jpg"], "val", ["train", "a.jpg"]),
        (["train", "a.jpg"], None, ["train", "a.jpg"]),
        (["train"], "train", ["train"]),
    ],
)
def test_paths_do_not_name_their_split_twice(path, split, expected):
    assert within_split(path, split) == expected


def test_the_folder_of_the_dataset_is_refused(tmp_path):
    out = write(tmp_path / "ds", SAMPLES)
    before = written(out)
    with shardpack.open(out) as ds, pytest.raises(OutputExistsError, match="is the folder of the dataset itself"):
        shardpack.extract(ds, tmp_path / "x" / ".." / "ds", force=True)
    assert written(out) == before
