"""Builders for source tests: folders from a dict, file lists from names, listings as plain dicts."""

from __future__ import annotations

import os
import random
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files
from tests.fakes import make_listing

needs_byte_names = pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="file names are no bytes here")

IMAGE = b"\xff\xd8\xff\xe0 an image, as far as its first bytes tell"


def write_tree(folder: Path, files: dict[str, bytes | str] | list[str]) -> Path:
    """Write files below `folder`; a list of names gets an image's first bytes as content."""
    contents = files if isinstance(files, dict) else dict.fromkeys(files, IMAGE)
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def files_of(names: list[str], *, sizes: dict[str, int] | None = None, root: str = "/root") -> Files:
    """Return what `scan` would: the files of a folder together, ascending by name there."""
    files = Files(root)
    for name in sorted(names, key=lambda name: (name.rpartition("/")[0], name)):
        files.names.append(name)
        files.sizes.append((sizes or {}).get(name, 10))
        files.mtimes_ns.append(0)
    return files


def listing_of(samples: dict[str, list[str]] | list[str]) -> Listing:
    """Return a listing of these keys, each with these fields; a list of keys gets the field "jpg"."""
    fields_of = samples if isinstance(samples, dict) else {key: ["jpg"] for key in samples}
    return make_listing(
        "/root",
        {key: [(field, f"{key}.{field}", 10, 0) for field in fields] for key, fields in fields_of.items()},
    )


def samples_of(listing: Listing) -> dict[str, dict[str, str | bytes]]:
    """Return key -> field -> payload, in the listing's order; its columns must fit together."""
    members = len(listing.payload)
    assert listing.start[0] == 0
    assert listing.start[-1] == members == len(listing.size) == len(listing.mtime_ns) == len(listing.field_code)
    assert len(set(listing.keys)) == len(listing.keys)
    assert list(listing.fields) == sorted(set(listing.fields))
    result = {}
    for sample, key in enumerate(listing.keys):
        span = range(int(listing.start[sample]), int(listing.start[sample + 1]))
        fields = [listing.fields[listing.field_code[member]] for member in span]
        assert fields == sorted(set(fields))
        assert fields
        result[key] = {field: listing.payload[member] for field, member in zip(fields, span, strict=True)}
    return result


class FakeEntry:
    """A DirEntry whose `stat` fails."""

    def __init__(self, entry: os.DirEntry[str], error: OSError):
        self.name, self.path = entry.name, entry.path
        self.is_file, self.is_dir, self.is_symlink = entry.is_file, entry.is_dir, entry.is_symlink
        self._error = error

    def stat(self):
        raise self._error


def fake_scandir(monkeypatch, *, shuffle_seed=None, unreadable=(), no_stat=()):
    """Make os.scandir shuffle, and refuse folders or files by the last component of their name."""
    real = os.scandir

    @contextmanager
    def entries(path):
        if os.path.basename(path) in unreadable:
            raise PermissionError(13, "Permission denied", path)
        with real(path) as found:
            listed = list(found)
        if shuffle_seed is not None:
            random.Random(shuffle_seed).shuffle(listed)
        error = PermissionError(13, "Permission denied")
        yield iter([FakeEntry(entry, error) if entry.name in no_stat else entry for entry in listed])

    monkeypatch.setattr(os, "scandir", entries)
