"""Where the files of a dataset are: the tree of SPEC 1.2. Names of packed shards, and all paths in `.shardpack/`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from shardpack.errors import FormatError
from shardpack.format.split_names import EDIT_TAG, UNSPLIT, in_split_order, is_split_name

FOLDER = ".shardpack"  # holds all files of a dataset except the shards
INDEX_FOLDER = f"{FOLDER}/index"
WORK_FOLDER = f"{FOLDER}/tmp"  # noqa: S108 - in the dataset's folder, not the system's
MANIFEST_PATH = f"{FOLDER}/manifest.json"
REJECTED_PATH = f"{FOLDER}/rejected.jsonl"
RUN_PATH = f"{FOLDER}/run.json"  # while a dataset is published, and until all unfinished work is removed

TABLE = "table/"  # begins the names of the files of the label table
TABLE_SPLITS = f"{TABLE}splits-"  # of that with splits alone
LAYER_FOLDER = f"{FOLDER}/layers"  # layers that edits made, each a dataset with a folder of its own

# Split or "shard", tag of the edit that added it, number, number in its chunk.
_PACKED_SHARD = re.compile(rf"([0-9A-Za-z_-]+?)(?:-({EDIT_TAG}))?-(\d{{6,}})(?:-(\d{{2,}}))?\.tar(?:\.zst)?", re.ASCII)
_SIDECAR = re.compile(
    rf"{re.escape(FOLDER)}/(?:manifests/([0-9]{{6,18}})\.json"
    r"|(?:shards|keys|splits|deleted|layer)-([0-9]{6,18})-[0-9a-f]{8}\.index"
    r"|table/(?:splits-)?([0-9]{6,18})-[0-9a-f]{8}\.parquet)",
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


def shard_name(
    number: int,
    of_chunk: int | None = None,
    *,
    split: str | None = None,
    compressed: bool = False,
    tag: str | None = None,
) -> str:
    """Return the name of a packed shard; the shards of a split are numbered consecutively from 0.

    So are chunks, and within each of them its shards: then `number` is that of the chunk. Shards that an edit adds
    are numbered from 0 again, and have its `edit_tag` in their names.
    """
    within = "" if of_chunk is None else f"-{of_chunk:02d}"
    of_edit = "" if tag is None else f"-{tag}"
    return f"{UNSPLIT if split is None else split}{of_edit}-{number:06d}{within}.tar{'.zst' * compressed}"


def edit_tag(generation: int, digest: int) -> str:
    """Return what the names of files that an edit adds hold: its generation and 32 bits of its input's digest."""
    return f"g{generation:06d}-{digest & 0xFFFFFFFF:08x}"


def tagged_shard_name(name: str, tag: str) -> str:
    """Return the name in an edited dataset of a shard that a packer named without a tag.

    Raises:
        FormatError: The name is not one that a packer gives to a shard of a new dataset.
    """
    match = _PACKED_SHARD.fullmatch(name)
    if match is None or match[2] is not None:
        raise FormatError(f"{name!r} is no shard of a new dataset; expected a name like 'shard-000000.tar'")
    return f"{match[1]}-{tag}{name[match.end(1) :]}"


def tag_of_shard(name: str) -> str | None:
    """Return the tag of the edit that added a packer's shard; None if it is of a new dataset, or no packer's."""
    match = _PACKED_SHARD.fullmatch(name)
    return match[2] if match is not None else None


def is_packer_name(name: str) -> bool:
    """Return whether a path is one that a packer gives to a shard."""
    match = _PACKED_SHARD.fullmatch(name)
    return match is not None and (match[1] == UNSPLIT or is_split_name(match[1]))


def in_packed_order(names: Iterable[str]) -> list[str]:
    """Return names of packed shards in the order in which a packer, and then its edits, made them."""
    matches = [match for name in names if (match := _PACKED_SHARD.fullmatch(name)) is not None]
    rank = {split: number for number, split in enumerate(in_split_order({m[1] for m in matches if m[1] != UNSPLIT}))}

    def place(match: re.Match[str]) -> tuple[str, int, int, int]:
        return match[2] or "", rank.get(match[1], len(rank)), int(match[3]), int(match[4] or 0)

    return [match[0] for match in sorted(matches, key=place)]


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


def shard_of_index(path: str) -> tuple[int, str]:
    """Return the location and the name of the shard whose index has this path."""
    name = path.removeprefix(f"{INDEX_FOLDER}/").removesuffix(".index")
    first, slash, rest = name.partition("/")
    location = 0
    if slash and first.isascii() and first.isdecimal():
        location, name = int(first), rest
    return location, name if name.endswith((".tar.zst", ".tar.gz", ".tgz")) else f"{name}.tar"


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
    """Return the generation in the name of a manifest, or of a file that only manifests name; 0 for any other file."""
    match = _SIDECAR.fullmatch(path)
    return int(match[1] or match[2] or match[3]) if match else 0


def table_name(generation: int, checksum: int, *, of_splits: bool = False) -> str:
    """Return the name in `.shardpack` of a file of the label table."""
    return f"{TABLE_SPLITS if of_splits else TABLE}{generation:06d}-{checksum:08x}.parquet"


def is_layer_path(path: str) -> bool:
    """Return whether a path is in the folder of the layers that edits made."""
    return path.startswith(f"{LAYER_FOLDER}/")


def layer_folder(path: str) -> str | None:
    """Return the folder of the layer that a path is in, of those that edits made; None if it is in none."""
    return "/".join(path.split("/")[:3]) if is_layer_path(path) else None
