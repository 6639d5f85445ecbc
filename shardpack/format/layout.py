"""Where the files of a dataset are: the tree of SPEC 1.2. Names of packed shards, and all paths in `.shardpack/`."""

from __future__ import annotations

import re
from typing import Protocol

from shardpack.format.split_names import UNSPLIT, is_split_name

FOLDER = ".shardpack"  # holds all files of a dataset except the shards
INDEX_FOLDER = f"{FOLDER}/index"
WORK_FOLDER = f"{FOLDER}/tmp"  # noqa: S108 - in the dataset's folder, not the system's
MANIFEST_PATH = f"{FOLDER}/manifest.json"
REJECTED_PATH = f"{FOLDER}/rejected.jsonl"
RUN_PATH = f"{FOLDER}/run.json"  # while a dataset is published, and until all unfinished work is removed

_PACKED_SHARD = re.compile(r"([0-9A-Za-z_-]+?)-\d{6,}(?:-\d{2,})?\.tar(?:\.zst)?", re.ASCII)
_SIDECAR = re.compile(
    rf"{re.escape(FOLDER)}/(?:manifests/([0-9]{{6,18}})\.json|(?:shards|keys|splits)-([0-9]{{6,18}})-[0-9a-f]{{8}}\.index)",
    re.ASCII,
)


class NamedFile(Protocol):
    """A file in the folder `.shardpack` as the manifest names it."""

    @property
    def name(self) -> str: ...

    @property
    def num_bytes(self) -> int: ...

    @property
    def crc32c(self) -> int: ...


def shard_name(number: int, of_chunk: int | None = None, *, split: str | None = None, compressed: bool = False) -> str:
    """Return the name of a packed shard; the shards of a split are numbered consecutively from 0.

    So are chunks, and within each of them its shards: then `number` is that of the chunk.
    """
    within = "" if of_chunk is None else f"-{of_chunk:02d}"
    return f"{UNSPLIT if split is None else split}-{number:06d}{within}.tar{'.zst' * compressed}"


def is_packer_name(name: str) -> bool:
    """Return whether a path is one that a packer gives to a shard."""
    match = _PACKED_SHARD.fullmatch(name)
    return match is not None and (match[1] == UNSPLIT or is_split_name(match[1]))


def split_of_shard(name: str) -> str | None:
    """Return the split that a packer's shard is of, by its name; None if it is of none, or no packer's."""
    match = _PACKED_SHARD.fullmatch(name)
    return match[1] if match is not None and is_split_name(match[1]) else None


def index_path(shard: str, location: int = 0) -> str:
    """Return the path of a shard's index. Paths differ unless names differ only in ".tar"."""
    name = shard.removesuffix(".tar") + ".index"
    first, slash, _ = name.partition("/")
    # Folders whose name is a number are for the other locations.
    folder = f"{location}/" if location or (slash and first.isascii() and first.isdecimal()) else ""
    return f"{INDEX_FOLDER}/{folder}{name}"


def is_index_path(path: str) -> bool:
    """Return whether a path is in the folder of the indexes, where no other files belong."""
    return path.startswith(f"{INDEX_FOLDER}/")


def manifest_path(generation: int) -> str:
    """Return the path of one generation's manifest."""
    return f"{FOLDER}/manifests/{generation:06d}.json"


def file_path(file: NamedFile) -> str:
    """Return the path of a file that the manifest names."""
    return f"{FOLDER}/{file.name}"


def generation_of(path: str) -> int:
    """Return the generation in the name of a segment, splits file or manifest; 0 for any other file."""
    match = _SIDECAR.fullmatch(path)
    return int(match[1] or match[2]) if match else 0
