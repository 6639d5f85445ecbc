"""Label files are read for each image, in order, whoever reads them; what fails is told by name."""

from __future__ import annotations

import os
import zipfile

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import start_workers
from shardpack.sources import label_files
from shardpack.sources.folder import FolderSource
from shardpack.sources.image_rows import ImageRow
from shardpack.sources.label_files import Refused, read_label_files
from shardpack.sources.payloads import read_payload
from shardpack.sources.scan import scan
from shardpack.sources.source import ListOptions, Problems
from shardpack.sources.tree import Tree
from tests.conftest import make_jpeg
from tests.sources.trees import write_tree


def parse(data, size):
    if data == b"bad":
        raise DecodeError("it is bad")
    return data, size


def read(folder, names, **options):
    tree = Tree(scan(folder, Problems()))
    number = tree.files.names.index
    rows = [
        ImageRow(name, {"jpg": number(f"{name}.jpg")}, None, number(f"{name}.txt") if tree.has(f"{name}.txt") else -1)
        for name in names
    ]
    return read_label_files(tree, rows, parse, **options)


def test_labels_and_sizes_in_order(tmp_path):
    write_tree(tmp_path, {f"{number}.jpg": make_jpeg(number + 1, 5) for number in range(7)})
    write_tree(tmp_path, {f"{number}.txt": str(number) for number in range(0, 7, 2)})
    names = [str(number) for number in (3, 0, 6, 1, 2, 5, 4)]
    texts = [None if int(name) % 2 else name.encode() for name in names]
    seen = []
    found = read(tmp_path, names, sizes=True, rows_per_task=3, progress=seen.append)
    assert found == [(text, ImageSize(int(name) + 1, 5)) for name, text in zip(names, texts, strict=True)]
    assert seen == [3, 6, 7]
    assert read(tmp_path, names) == [(text, None) for text in texts]
    assert read(tmp_path, []) == []


def test_failures_are_told_by_name(tmp_path, monkeypatch):
    write_tree(tmp_path, {"a.jpg": b"no image", "b.jpg": make_jpeg(), "c.jpg": make_jpeg(), "d.jpg": make_jpeg()})
    write_tree(tmp_path, {"b.txt": "bad", "c.txt": "x" * 100, "d.txt": "fine"})
    monkeypatch.setattr(label_files, "MAX_LABEL_FILE", 50)
    a, b, c, d = read(tmp_path, "abcd", sizes=True)
    assert a == Refused("a.jpg: not an image that can be opened: UnidentifiedImageError")
    assert b == Refused("b.txt: it is bad")
    assert c == Refused("c.txt has 100 bytes, expected at most 50; split it")
    assert d[0] == b"fine"


def test_files_that_vanish(tmp_path):
    write_tree(tmp_path, {"a.jpg": make_jpeg(), "a.txt": "x"})
    tree = Tree(scan(tmp_path, Problems()))
    os.remove(tmp_path / "a.txt")
    (found,) = read_label_files(tree, [ImageRow("a", {"jpg": 0}, None, 1)], parse)
    assert found == Refused("cannot read a.txt: No such file or directory; make it readable")


def test_an_archive_is_read_like_the_folder_in_it(tmp_path):
    names = [f"{number:02d}" for number in range(12)]
    write_tree(tmp_path / "set", {f"images/{name}.jpg": make_jpeg(20 + i, 10) for i, name in enumerate(names)})
    write_tree(tmp_path / "set", {f"labels/{name}.txt": "0 0.5 0.5 0.1 0.2" for name in names[::2]})
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, path in enumerate(sorted((tmp_path / "set").rglob("*.*"))):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            archive.write(path, path.relative_to(tmp_path / "set").as_posix(), method)
    found = []
    with start_workers(2) as workers:
        for source, engine in (("set", IN_PROCESS), ("set.zip", IN_PROCESS), ("set.zip", workers)):
            listing = FolderSource(tmp_path / source).list(ListOptions(engine=engine)).listing
            payloads = [read_payload(listing, member) for member in range(len(listing.payload))]
            found.append(list(zip(listing.keys, payloads[::2], payloads[1::2], strict=True)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 12
