"""Samples whose files lie in several places, such as images/ and masks/: rows of file numbers, made into a listing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import SourceError
from shardpack.format.shard_index import MAX_FIELDS
from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.splits import with_splits


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One sample to be.

    Attributes:
        key: Its key.
        files: Field -> number of its file in `Files`; the first is the image.
        split: Its split, if it is in one.
        label_file: Number of the file with its label; -1 if it has none.
    """

    key: str
    files: Mapping[str, int]
    split: str | None = None
    label_file: int = -1

    @property
    def image(self) -> int:
        """Number of the file that is the image."""
        return next(iter(self.files.values()))


def cut_extension(name: str) -> tuple[str, str]:
    """Return (path without extension, extension in lower case) of a file; the extension "" if it has none."""
    dot = name.rfind(".", name.rfind("/") + 1)
    return (name, "") if dot < 0 else (name[:dot], name[dot + 1 :].lower())


def is_image_file(name: str) -> bool:
    """Return whether a file has the extension of an image."""
    return cut_extension(name)[1] in IMAGE_EXTENSIONS


def key_below_images(stem: str) -> str:
    """Return a path without its last folder "images": the key of images/train/0001 is train/0001."""
    parts = stem.split("/")
    if "images" in parts[:-1]:
        del parts[len(parts) - 2 - parts[-2::-1].index("images")]
    return "/".join(parts)


def usable_rows(rows: Sequence[ImageRow], files: Files, problems: Problems) -> list[ImageRow]:
    """Return the rows ascending by key; those with an empty file are rejected."""
    kept = []
    for row in sorted(rows, key=lambda row: row.key):
        empty = next((number for number in row.files.values() if not files.sizes[number]), None)
        if empty is None:
            kept.append(row)
        else:
            reason = f"the file {files.names[empty]!r} is empty; write it again, or remove it"
            problems.reject(files.names[row.image], reason)
    return kept


def listing_of(rows: Sequence[ImageRow], files: Files) -> Listing:
    """Return a listing with one sample a row, in their order. Payloads are names of files.

    Raises:
        SourceError: There are more different fields than an index may have.
    """
    fields = tuple(sorted({field for row in rows for field in row.files}))
    if len(fields) > MAX_FIELDS:
        raise SourceError(f"{len(fields)} different fields, expected at most {MAX_FIELDS}; name another layout")
    code_of = {field: code for code, field in enumerate(fields)}
    start = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter((len(row.files) for row in rows), np.int64, len(rows)), out=start[1:])
    members = [(code_of[field], row.files[field]) for row in rows for field in sorted(row.files)]
    codes = np.array([code for code, _ in members], np.uint16)
    numbers = np.array([number for _, number in members], np.int64)
    listing = Listing(
        root=files.root,
        fields=fields,
        keys=[row.key for row in rows],
        start=start,
        field_code=codes,
        size=np.array(files.sizes, np.int64)[numbers],
        mtime_ns=np.array(files.mtimes_ns, np.int64)[numbers],
        payload=[files.names[number] for number in numbers.tolist()],
    )
    return with_splits(listing, [row.split for row in rows])
