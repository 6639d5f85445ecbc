"""Every file is listed once, in an order that does not depend on the file system."""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from tests.sources.trees import fake_scandir, needs_byte_names, write_tree
from tests.strategies import examples

components = st.text("ab.-_ é", min_size=1, max_size=3).filter(lambda name: name[0] != ".")
trees = st.lists(st.tuples(st.lists(components, max_size=2), components), max_size=8)


@examples(40)
@given(trees, st.integers(0, 3))
def test_finds_what_walking_finds_in_an_order_of_its_own(tree, seed):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        for parents, name in tree:
            path = Path(folder, *(parent + "_folder" for parent in parents), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_bytes(b"x" * len(name))
        walked = {
            os.path.relpath(os.path.join(top, name), folder): os.stat(os.path.join(top, name))
            for top, _, names in os.walk(folder)
            for name in names
        }
        files = scan(folder, Problems())
        assert len(files.names) == len(walked)
        for name, size, mtime_ns in zip(files.names, files.sizes, files.mtimes_ns, strict=True):
            assert (size, mtime_ns) == (walked[name].st_size, walked[name].st_mtime_ns)
        fake_scandir(monkeypatch, shuffle_seed=seed)
        assert scan(folder, Problems()) == files


def test_files_of_a_folder_are_neighbours_and_ascend(tmp_path):
    write_tree(tmp_path, ["a.aux.png", "a.b/c.jpg", "a.jpg", "a/0.jpg", "B.jpg"])
    names = scan(tmp_path, Problems()).names
    assert names == ["B.jpg", "a.aux.png", "a.jpg", "a/0.jpg", "a.b/c.jpg"]


def test_hidden_files_and_junk_are_left_out_and_counted(tmp_path):
    write_tree(tmp_path, ["a.jpg", ".DS_Store", ".git/config", "x/.hidden.jpg", "x/Thumbs.db", "__MACOSX/a.jpg"])
    problems = Problems()
    assert scan(tmp_path, problems).names == ["a.jpg"]
    assert problems.left_out == {"hidden": 5}
    assert problems.left_out_examples == {"hidden": ".DS_Store"}
    assert not problems.rejected


def test_links_are_followed(tmp_path):
    write_tree(tmp_path / "elsewhere", ["1.jpg", "deep/2.jpg"])
    source = write_tree(tmp_path / "source", ["0.jpg"])
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "3.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    files = scan(source, Problems())
    assert files.names == ["0.jpg", "3.jpg", "linked/1.jpg", "linked/deep/2.jpg"]
    assert len(set(files.sizes)) == 1


def test_link_loops_are_rejected_once_each(tmp_path):
    write_tree(tmp_path, ["a/b/1.jpg"])
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b" / "itself").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "knot").symlink_to(tmp_path / "knot")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "missing.jpg")
    problems = Problems()
    assert scan(tmp_path, problems).names == ["a/b/1.jpg"]
    reasons = dict(problems.rejected)
    assert reasons["a/up"] == reasons["a/b/itself"] == "a link to one of its parent folders; remove it"
    assert reasons["nowhere.jpg"] == "a link to a missing file; remove it"
    assert reasons.keys() == {"a/up", "a/b/itself", "nowhere.jpg", "knot"}


def test_unreadable_files_and_folders_are_rejected_and_the_rest_goes_on(tmp_path, monkeypatch):
    write_tree(tmp_path, ["a/1.jpg", "b/2.jpg", "b/3.jpg", "c/4.jpg"])
    fake_scandir(monkeypatch, unreadable={"a"}, no_stat={"2.jpg"})
    problems = Problems()
    files = scan(tmp_path, problems)
    assert files.names == ["b/3.jpg", "c/4.jpg"]
    assert len(files.sizes) == len(files.mtimes_ns) == 2
    assert [name for name, _ in problems.rejected] == ["a", "b/2.jpg"]
    assert all("Permission denied" in reason for _, reason in problems.rejected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_neither_file_nor_folder_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    problems = Problems()
    assert scan(tmp_path, problems).names == []
    assert problems.left_out == {"neither a file nor a folder": 1}


@needs_byte_names
def test_names_that_are_not_utf8_are_kept_as_the_disk_has_them(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"x")
    (name,) = scan(tmp_path, Problems()).names
    assert os.fsencode(name) == b"caf\xe9.jpg"


def test_folders_deeper_than_the_stack(tmp_path):
    write_tree(tmp_path, ["d/" * 300 + "1.jpg"])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)  # a stack small enough for folders that pytest can remove
    try:
        names = scan(tmp_path, Problems()).names
    finally:
        sys.setrecursionlimit(limit)
    assert names == ["d/" * 300 + "1.jpg"]


@pytest.mark.parametrize("name", ["missing", "file.tar"])
def test_root_must_be_a_readable_folder(tmp_path, name):
    (tmp_path / "file.tar").write_bytes(b"")
    with pytest.raises(SourceError, match=rf"(?s)(cannot read the source: .*|not a folder: ).*{name}.*; name "):
        scan(tmp_path / name, Problems())


def test_unreadable_root(tmp_path, monkeypatch):
    fake_scandir(monkeypatch, unreadable={tmp_path.name})
    with pytest.raises(SourceError, match="cannot read the source: Permission denied"):
        scan(tmp_path, Problems())


def test_progress_counts_up_to_all_files(tmp_path):
    write_tree(tmp_path, [f"{folder}/{number}.jpg" for folder in "abc" for number in range(4)])
    counts = []
    scan(tmp_path, Problems(), progress=counts.append)
    assert counts == sorted(counts)
    assert counts[-1] == 12


def test_without_drops_by_name_and_keeps_the_columns_together(tmp_path):
    write_tree(tmp_path, {"a.jpg": b"1", "b.jpg": b"22", "c.jpg": b"333"})
    files = scan(tmp_path, Problems())
    assert files.without(()) is files
    assert files.without({"missing"}) is files
    rest = files.without({"b.jpg"})
    assert (rest.names, list(rest.sizes)) == (["a.jpg", "c.jpg"], [1, 3])
