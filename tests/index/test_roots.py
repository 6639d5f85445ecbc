"""Disk, URLs and stores have the same methods; test_find checks which tars they give."""

from __future__ import annotations

import os

import pytest

from shardpack.errors import OptionError
from shardpack.index.patterns import Glob
from shardpack.index.roots import DiskRoot, StoreRoot, UrlRoot, split_url
from shardpack.storage.memory import MemoryStore


def test_kinds_on_the_disk(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    kinds = {"file": "file", "link": "file", "fifo": "special", "dangling": "missing", "": "folder"}
    assert {name: DiskRoot().kind(str(tmp_path / name)) for name in kinds} == kinds


def test_disk_and_store_list_alike(tmp_path):
    names = ["a.tar", "x/b.tar", "x/y/c.tar", "z/d.tar"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    store = StoreRoot(MemoryStore({f"top/{name}": b"" for name in names}))
    for glob in (None, Glob("**/*.tar"), Glob("*/*.tar"), Glob("x/**/*.tar")):
        found = [set(root.names(folder, glob)) for root, folder in ((DiskRoot(), str(tmp_path)), (store, "top"))]
        wanted = {name for name in names if (glob.matches(name) if glob else "/" not in name)}
        assert all(wanted <= one <= set(names) for one in found)


@pytest.mark.parametrize(
    ("url", "host", "path", "query"),
    [
        ("s3://bucket/a%20b/x?.tar", "s3://bucket", "a%20b/x?.tar", ""),
        ("https://u:p@h:1/a%20b/x.tar?sig=1#part", "https://u:p@h:1", "a b/x.tar", "sig=1"),
        ("gs://bucket", "gs://bucket", "", ""),
    ],
)
def test_urls_in_parts(url, host, path, query):
    assert split_url(url, None) == (UrlRoot(host, query), path)


def test_equal_roots_are_one_place():
    (one, _), (same, _), (other, _) = (split_url(f"s3://{name}", {"region": "x"}) for name in ("a/b", "a/c", "b/b"))
    assert one == same != other
    assert StoreRoot(MemoryStore({})) != StoreRoot(MemoryStore({}))


def test_what_is_shown_has_no_secrets():
    root, path = split_url("https://me:password@host/a/x.tar?sig=secret", {"token": "hidden"})
    assert root.shown(path) == "https://host/a/x.tar"
    assert "hidden" not in repr(root)
    with pytest.raises(OptionError, match="a web server does not list its files, so 'https://host/a' cannot be") as e:
        root.names("a")
    assert "secret" not in str(e.value)
