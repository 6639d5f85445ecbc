"""Pack one planned shard from its payloads: the task of a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128

from shardpack._version import __version__
from shardpack.commit.scratch import ScratchDir
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import check_payloads, read_into
from shardpack.storage.atomic import storage_errors
from shardpack.write.frame_writer import FrameWriter
from shardpack.write.shard_assembler import BUFFER_BYTES, Buffer, ShardAssembler, WriteBehind
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import sample_bytes


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Everything that a worker needs to make a shard. Pickles to about 150 bytes per member."""

    scratch: ScratchDir
    name: str
    listing: Listing
    num_bytes: int  # planned length of the tar
    compression: ShardCompression | None = None


def input_digest(
    name: str, listing: Listing, compression: ShardCompression | None = None, *, anywhere: bool = False
) -> str:
    """Return a hash of all that determines a shard: keys, fields, paths, sizes, times, checksums, inline payloads.

    It includes the versions of this package and of libzstd, so that a dataset is never finished by another version.
    With `anywhere`, it does not depend on the path at which this machine has the folder of the files.
    """
    if compression is not None:
        name = f"{name}\0{compression}\0{compression.versions()}"
    where = listing.version if listing.stores else "" if anywhere else os.path.realpath(listing.root)
    hashed = xxh3_128(f"{__version__}\0{name}\0{where}".encode("utf-8", "surrogateescape"))
    for text in (listing.keys, listing.fields, map(str, listing.payload)):
        hashed.update("\0".join(text).encode("utf-8", "surrogateescape") + b"\0\0")
    for column in (listing.start, listing.field_code, listing.size, listing.mtime_ns, listing.crc32c):
        if column is not None:
            hashed.update(np.ascontiguousarray(column).data)
    return hashed.hexdigest()


_buffer = Buffer()  # one per process: a worker packs its shards one after another


def pack_shard(task: ShardTask, advance: Advance = no_advance) -> ShardInfo:
    """Write one shard and its index, completely or not at all; return what the shard table says of it.

    Calls `advance` with the length of each buffer except the last.

    Raises:
        SourceError: A file has changed its size or vanished since it was listed; the file is named.
        CorruptShardError: A payload that is copied from another dataset is damaged.
        StorageError: The disk refused.
        OutputExistsError: Another packer has taken over the folder.
    """
    listing = task.listing
    with storage_errors(f"write {task.scratch.join(task.name)!r}"), task.scratch.share():
        file = task.scratch.new_file(task.name, expected_bytes=0 if task.compression else task.num_bytes)
        try:
            frames = None if task.compression is None else FrameWriter(file.write, task.compression)
            if frames is not None:
                frames.end_samples(np.cumsum(sample_bytes(listing)).tolist())
            with WriteBehind(file.write if frames is None else frames.write) as behind:
                index = assemble(ShardAssembler(behind.write, _buffer), listing, advance=advance)
            if frames is not None:
                index = frames.finish(index)
            return task.scratch.finish_shard(task.name, file, index)
        finally:
            file.discard()


def assemble(
    assembler: ShardAssembler, listing: Listing, *, buffer_bytes: int = BUFFER_BYTES, advance: Advance = no_advance
) -> ShardIndex:
    """Assemble all samples of a listing; return their index."""
    names = member_names(listing)
    reported = 0
    for first, stop in buffers(listing.size, buffer_bytes):
        if first:
            advance(assembler.num_bytes - reported)
            reported = assembler.num_bytes
        fill = partial(read_into, listing, first)
        check_payloads(listing, first, assembler.append(names[first:stop], listing.size[first:stop], fill))
    return assembler.finish(listing.keys, listing.start, listing.field_code, listing.fields, listing.size)


def member_names(listing: Listing) -> list[bytes]:
    """Return (m) the member names: key, dot, field."""
    fields = [f".{field}" for field in listing.fields]
    counts = np.diff(listing.start)
    if len(fields) == 1 or not len(counts):
        return [(key + fields[0]).encode() for key in listing.keys]
    keys = np.repeat(np.array(listing.keys, object), counts).tolist()
    return [(key + fields[code]).encode() for key, code in zip(keys, listing.field_code.tolist(), strict=True)]


def buffers(sizes: npt.NDArray[np.int64], num_bytes: int = BUFFER_BYTES) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) for each run of members that fits in a buffer; a larger member is a run of its own."""
    ends = np.cumsum(sizes + 1024)  # payload, header, and at most this much padding
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + num_bytes, side="right")))
        yield first, stop
        first = stop
