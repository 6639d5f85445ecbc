"""What URLs of tars stand for: one each, folders, patterns, braces."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError, ShardNotFoundError
from shardpack.index.find import find_tars
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
        ("memory://b/empty", ShardNotFoundError, r"no .tar object at .*give a pattern: 'memory://b/empty/\*\*/\*.tar'"),
        ("memory://b/zip", ShardNotFoundError, r"1 tar\(s\) at .* are compressed"),
        ("memory://b/z.tar.gz", ShardNotFoundError, "is compressed, which cannot be sought"),
        (
            "https://h/d/*.tar",
            OptionError,
            r"web server has no list .* as in https://host/train-\{000000..000127\}.tar",
        ),
        ("https://h/d/", OptionError, "web server has no list of its files"),
        (["https://h/a.tar", "https://i/b.tar"], OptionError, "one dataset lies below one URL"),
        (["https://h/a.tar?s=1", "https://h/b.tar?s=2"], OptionError, "their URLs have queries of their own"),
        (["s3://a/x.tar", "s3://b/y.tar"], OptionError, "different buckets"),
        (["memory://b/train-0.tar"] * 2, OptionError, "a tar is named twice"),
        ("memory://b/{0..9999999}.tar", OptionError, "more than 1,000,000 names"),
        (["https://h/x", "https://h/y.tar"], OptionError, "no list"),
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
