"""Paths, folders, patterns, braces, URLs and stores name the tars that they should; digests tell changed tars."""

from __future__ import annotations

import os
import socket

import pytest

from shardpack.errors import OptionError, ShardNotFoundError, StorageError
from shardpack.index.find import TarDigests, find_tars
from shardpack.storage.memory import MemoryStore
from tests.buckets import FakeBucket, serve

NAMES = ["train-0.tar", "train-1.tar", "val-0.tar", "sub/x.tar", "sub/deep/y.tar", "notes.txt", "z.tar.gz"]


@pytest.fixture
def bucket(monkeypatch):
    made = FakeBucket("memory://b", dict.fromkeys(NAMES, b""))
    below = FakeBucket("memory://b/sub", {"x.tar": b"", "deep/y.tar": b""})
    serve(monkeypatch, made, below, FakeBucket("memory://b/zip", {"a.tar.gz": b""}))
    return made


@pytest.mark.parametrize(
    ("urls", "folder", "names"),
    [
        ("memory://b", "memory://b", ["train-0.tar", "train-1.tar", "val-0.tar"]),
        ("memory://b/", "memory://b", ["train-0.tar", "train-1.tar", "val-0.tar"]),
        ("memory://b/train-?.tar", "memory://b", ["train-0.tar", "train-1.tar"]),
        ("memory://b/[!t]*.tar", "memory://b", ["val-0.tar"]),
        ("memory://b/[tv]*-0.tar", "memory://b", ["train-0.tar", "val-0.tar"]),
        ("memory://b/**/*.tar", "memory://b", ["sub/deep/y.tar", "sub/x.tar", *NAMES[:3]]),
        ("memory://b/sub/**/*.tar", "memory://b/sub", ["deep/y.tar", "x.tar"]),
        ("memory://b/sub", "memory://b/sub", ["x.tar"]),
        ("memory://b/*.gz", "memory://b", ["z.tar.gz"]),
        (["memory://b/val-0.tar", "memory://b/train-{0..1}.tar"], "memory://b", [NAMES[2], *NAMES[:2]]),
        (["memory://b/sub/x.tar", "memory://b/train-0.tar"], "memory://b", ["sub/x.tar", "train-0.tar"]),
        ("https://h/d/t-{00..02}.tar", "https://h/d", ["t-00.tar", "t-01.tar", "t-02.tar"]),
        ("https://h/a%20b/c%2520d.tar", "https://h/a%20b", ["c%20d.tar"]),
        ("https://u:p@h:1/d/t.tar?sig=secret", "https://h:1/d", ["t.tar"]),
        ("s3://b/d/x.tar", "s3://b/d", ["x.tar"]),
        ("s3://b/x.tar", "s3://b", ["x.tar"]),
        (
            "hf://datasets/org/name@main/{a,b}/x.tar",
            "hf://datasets/org/name@main",
            ["a/x.tar", "b/x.tar"],
        ),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_urls_stand_for(urls, folder, names):
    found = find_tars(urls)
    assert (found.folder, list(found.names)) == (folder, names)
    assert not found.on_disk


@pytest.mark.parametrize(
    ("urls", "error", "text"),
    [
        (
            "memory://b/nothing-*.tar",
            ShardNotFoundError,
            r"no tar found at 'memory://b/nothing-\*.tar'; check the patt",
        ),
        ("memory://b/empty", ShardNotFoundError, r"no .tar file in .*give a pattern: 'memory://b/empty/\*\*/\*.tar'"),
        ("memory://b/zip", ShardNotFoundError, r"1 tar\(s\) in .* are compressed, .*: \"gzip -d a.tar.gz\""),
        (
            "memory://b/z.tar.gz",
            ShardNotFoundError,
            "is compressed with gzip, which does not allow random access; decompress it",
        ),
        (
            "https://h/d/*.tar",
            OptionError,
            r"web server does not list .* as in https://host/train-\{000000..000127\}.tar",
        ),
        ("https://h/d/", OptionError, "web server does not list its files"),
        (["https://h/a.tar", "https://i/b.tar"], OptionError, "a dataset must be below one URL"),
        (["https://h/a.tar?s=1", "https://h/b.tar?s=2"], OptionError, "their URLs have different queries"),
        (["s3://a/x.tar", "s3://b/y.tar"], OptionError, "different buckets"),
        (["memory://b/train-0.tar"] * 2, OptionError, "a tar is named twice"),
        ("memory://b/{0..9999999}.tar", OptionError, "more than 1,000,000 names"),
        (["https://h/x", "https://h/y.tar"], OptionError, "does not list"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_is_refused(urls, error, text):
    with pytest.raises(error, match=text):
        find_tars(urls)


@pytest.mark.usefixtures("bucket")
def test_no_secret_is_told():
    for urls in (["https://me:pw@h/a.tar?sig=abc", "https://h/b.tar"], "https://me:pw@h/d*?sig=abc"):
        with pytest.raises(OptionError) as caught:
            find_tars(urls)
        assert not any(secret in str(caught.value) for secret in ("pw", "abc", "me:"))


def test_names_cost_no_request(bucket):
    find_tars("memory://b/train-{0..1}.tar")
    assert bucket.asked == []


def test_braces_of_local_paths(tmp_path):
    for name in ("t-00.tar", "t-01.tar", "{x,y}.tar"):
        (tmp_path / name).write_bytes(b"")
    assert find_tars(tmp_path / "t-{00..01}.tar").names == ("t-00.tar", "t-01.tar")
    assert find_tars(tmp_path / "{x,y}.tar").names == ("{x,y}.tar",), "a file of that very name"
    with pytest.raises(ShardNotFoundError, match=r"no tar found at .*t-02.tar'"):
        find_tars(tmp_path / "t-{00..02}.tar")


# On the disk


def test_folders_called_like_tars(tmp_path):
    (tmp_path / "sub.tar").mkdir()
    (tmp_path / "sub.tar" / "x.tar").write_bytes(b"")
    (tmp_path / "a.tar").write_bytes(b"")
    for meant in (tmp_path, tmp_path / "*.tar", tmp_path / "?*.tar"):
        assert find_tars(meant).names == ("a.tar",), "a pattern or a folder means files"
    with pytest.raises(OptionError, match=r"sub.tar' is a folder, not a tar; for the tars in it, write '.*sub.tar/'"):
        find_tars(tmp_path / "sub.tar")
    assert find_tars(f"{tmp_path}/sub.tar/").names == ("x.tar",)


def test_hidden_files_must_be_named(tmp_path):
    for name in ("a.tar", "._a.tar", ".shardpack/b.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for meant in ("", "*.tar", "**/*.tar"):
        assert find_tars(os.path.join(tmp_path, meant)).names == ("a.tar",)
    assert find_tars(tmp_path / ".*.tar").names == ("._a.tar",)
    assert find_tars(tmp_path / ".shardpack" / "b.tar").names == ("b.tar",)


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_what_is_no_file_is_refused_and_never_opened(tmp_path, kind):
    path = tmp_path / "x.tar"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    for meant in (path, tmp_path, tmp_path / "*.tar"):
        with pytest.raises(StorageError, match=r"x.tar' is a FIFO, socket or device, not a file"):
            find_tars(meant)


def test_a_pattern_lists_only_folders_that_may_hold_matches(tmp_path, monkeypatch):
    for name in ("a/x/0.tar", "a/y/1.tar", "b/x/2.tar", "a/x/deep/3.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listed, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.relpath(path, tmp_path)) or scan(path))
    assert find_tars(tmp_path / "a" / "*" / "?.tar").names == ("x/0.tar", "y/1.tar")
    assert sorted(listed) == ["a", "a/x", "a/y"]


def test_links_to_folders_are_followed_and_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.tar").write_bytes(b"")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "a" / "loop").symlink_to("..")
    assert find_tars(tmp_path / "*" / "*.tar").names == ("a/x.tar", "b/x.tar")
    assert {"a/x.tar", "b/x.tar"} <= set(find_tars(tmp_path / "**" / "x.tar").names)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may list anything")
def test_a_folder_that_may_not_be_listed(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o300)
    with pytest.raises(StorageError, match=r"cannot list '.*closed': Permission denied; check its permissions"):
        find_tars(tmp_path / "closed")


def test_file_urls_are_paths(tmp_path):
    (tmp_path / "a b.tar").write_bytes(b"")
    for meant in (tmp_path.as_uri(), f"file:{tmp_path}/*.tar", (tmp_path / "a b.tar").as_uri(), f"file://{tmp_path}/"):
        found = find_tars(meant)
        assert (found.folder, found.names, found.on_disk) == (str(tmp_path), ("a b.tar",), True)


# In a store


def test_tars_of_a_store():
    store = MemoryStore(dict.fromkeys(NAMES, b""), location="memory://given")
    assert find_tars(store).names == ("train-0.tar", "train-1.tar", "val-0.tar")
    assert find_tars(store).store is store
    for names, found in [
        ("train-*.tar", ("train-0.tar", "train-1.tar")),
        ("**/*.tar", ("sub/deep/y.tar", "sub/x.tar", *NAMES[:3])),
        ("sub", ("sub/x.tar",)),
        (["val-0.tar", "train-{1..0}.tar"], ("val-0.tar", "train-1.tar", "train-0.tar")),
    ]:
        assert find_tars((store, names)).names == found
    with pytest.raises(ShardNotFoundError, match="no tar found at 'memory://given/none'; check the name"):
        find_tars((store, "none"))
    with pytest.raises(OptionError, match="storage_options are for URLs, and a store has its own"):
        find_tars(store, {"region": "x"})


class Blind:
    """A store without a list of its names."""

    location = "blind://"

    def get_range(self, path, *, start, length):
        raise NotImplementedError

    get_ranges = size = get_range


def test_a_store_without_a_list_takes_names():
    assert find_tars((Blind(), ["b.tar", "a-{0..1}.tar"])).names == ("b.tar", "a-0.tar", "a-1.tar")
    for meant in (Blind(), (Blind(), "*.tar")):
        with pytest.raises(OptionError, match=r"does not list its names; pass \(store, names of the tars\)"):
            find_tars(meant)


@pytest.fixture
def two_tars(tmp_path):
    for name in ("x.tar", "y.tar"):
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def digests(folder, ignore=()):
    return TarDigests(find_tars(folder), ignore)


def test_a_tar_that_changed_has_another(two_tars):
    before = digests(two_tars)
    first = before.first("x.tar")
    os.utime(two_tars / "x.tar", ns=(1, 1))
    assert before.now("x.tar") != first == before.first("x.tar"), "the first is kept"
    assert before.now("x.tar") == digests(two_tars).first("x.tar") != digests(two_tars, ["._*"]).first("x.tar")


def test_a_run_is_of_its_tars_and_options(two_tars):
    one = digests(two_tars).of_run("keep", None)
    assert one
    assert one == digests(two_tars).of_run("keep", None)
    others = [digests(two_tars).of_run("raise", None), digests(two_tars, ["._*"]).of_run("keep", None)]
    os.utime(two_tars / "y.tar", ns=(1, 1))
    others.append(digests(two_tars).of_run("keep", None))
    assert len({one, *others}) == 4


def test_without_etags_nothing_tells(monkeypatch):
    bucket = FakeBucket("memory://bucket", {"x.tar": b"1"})
    serve(monkeypatch, bucket)
    assert digests("memory://bucket").of_run()
    bucket.etags = False
    assert (digests("memory://bucket").first("x.tar"), digests("memory://bucket").of_run()) == (None, "")
