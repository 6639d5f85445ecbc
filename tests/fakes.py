"""Builders and doubles for tests: listings of inline payloads, stores that count or fail, whole folders as a dict."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shardpack.format.layout import RUN_PATH, WORK_FOLDER
from shardpack.sources.listing import Listing

Samples = Mapping[str, Mapping[str, bytes]]
Result = TypeVar("Result")
Member = tuple[str, str | bytes, int, int]  # field, path or payload, size, mtime_ns


def make_listing(root: str, samples: Mapping[str, Sequence[Member]], **more: Any) -> Listing:
    """Return the listing of samples, ascending by key; `more` are other attributes of it."""
    members = [member for key in sorted(samples) for member in sorted(samples[key], key=itemgetter(0))]
    fields = tuple(sorted({field for field, *_ in members}))
    counts = [len(samples[key]) for key in sorted(samples)]
    return Listing(
        root=root,
        fields=fields,
        keys=sorted(samples),
        start=np.concatenate(([0], np.cumsum(counts, dtype=np.int64))),
        field_code=np.array([fields.index(field) for field, *_ in members], np.uint16),
        size=np.array([size for _, _, size, _ in members], np.int64),
        mtime_ns=np.array([mtime_ns for *_, mtime_ns in members], np.int64),
        payload=[payload for _, payload, _, _ in members],
        **more,
    )


def inline_listing(samples: Samples) -> Listing:
    """Return a listing whose payloads are in it; no file is needed."""
    return make_listing(
        "/nowhere",
        {
            key: [(field, payload, len(payload), 0) for field, payload in fields.items()]
            for key, fields in samples.items()
        },
    )


def write_files(folder: Path, samples: Samples) -> Path:
    """Write samples as files of the same stem below `folder`; return it."""
    for key, fields in samples.items():
        for field, payload in fields.items():
            path = folder / f"{key}.{field}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(payload)
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return all that is below a folder: files by their relative path, folders with None."""
    found: dict[str, bytes | None] = {}
    for path, folders, files in os.walk(folder):
        relative = os.path.relpath(path, folder)
        found.update({os.path.normpath(os.path.join(relative, name)): None for name in folders})
        for name in files:
            found[os.path.normpath(os.path.join(relative, name))] = Path(path, name).read_bytes()
    return found


def published(files: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """Return the files that are no unfinished work."""
    return {name: data for name, data in files.items() if name != RUN_PATH and not name.startswith(WORK_FOLDER)}


def file_contents(folder: Path) -> dict[str, bytes]:
    """What the files below a folder hold, by path: as a store has them, which knows no folders."""
    return {name: data for name, data in contents(folder).items() if data is not None}


class FakeReader:
    """Range reads from one byte string; remembers each."""

    def __init__(self, data: bytes):
        self.data = data
        self.requests: list[tuple[int, int]] = []

    def get_ranges(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        self.requests.extend(zip(starts, lengths, strict=True))
        return [self.data[start : start + length] for start, length in zip(starts, lengths, strict=True)]


def count_calls(function: Callable[[], Result]) -> tuple[Result, int]:
    """Return what a function returns, and how many functions were called meanwhile: its work, without a clock."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        result = function()
    finally:
        sys.setprofile(before)
    return result, count


def file_listing(folder: Path, samples: Samples | None = None) -> Listing:
    """Return the listing of sample files below a folder, by plain means; writes them first if given."""
    if samples is not None:
        write_files(folder, samples)
    found: dict[str, list[Member]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            base, _, last = name.rpartition("/")
            stem, _, field = last.partition(".")
            status = path.stat()
            members = found.setdefault(f"{base}/{stem}" if base else stem, [])
            members.append((field, name, status.st_size, status.st_mtime_ns))
    return make_listing(str(folder), found)
