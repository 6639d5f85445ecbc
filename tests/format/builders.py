"""Tar headers with anything in them, and small values of every kind, for the format's tests."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from shardpack.format import tar_header as tar
from shardpack.format.assemble import build_index, encode_dataset
from shardpack.format.checksum import crc32c
from shardpack.format.frames import Frames
from shardpack.format.key_index import encode_key_index, hash_keys
from shardpack.format.manifest import SplitsFile
from shardpack.format.shard_index import ShardIndex, encode_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import Splits, encode_splits
from shardpack.format.tar_parser import Member, TarParser


def missing_judge(reason: str) -> None:
    """Skip by name, or fail where SHARDPACK_REQUIRE_JUDGES is set, as `tests.conftest.judge` does."""
    if os.environ.get("SHARDPACK_REQUIRE_JUDGES"):
        pytest.fail(f"{reason}, and SHARDPACK_REQUIRE_JUDGES is set", pytrace=False)
    pytest.skip(reason)


def judge_module(name: str) -> ModuleType:
    """Return an installed package that judges our bytes, such as "webdataset.tariterators"."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing_judge(f"{name} is not installed")
        raise


POSIX, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)


def block(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    magic: bytes = POSIX,
    prefix: bytes = b"",
    link: bytes = b"",
) -> bytes:
    """One header block with a right checksum; `size` as a number, or the field's 12 bytes as they are."""
    header = bytearray(tar.BLOCK)
    header[tar.NAME : tar.NAME + len(name)] = name
    header[tar.MODE : tar.MODE + 8] = b"0000644\0"
    header[tar.SIZE : tar.MTIME] = size if isinstance(size, bytes) else b"%011o\0" % size
    header[tar.TYPE : tar.LINK] = kind
    header[tar.LINK : tar.LINK + len(link)] = link
    header[tar.MAGIC : tar.MAGIC + 8] = magic
    header[tar.PREFIX : tar.PREFIX + len(prefix)] = prefix
    header[tar.CHECKSUM : tar.TYPE] = b" " * 8
    header[tar.CHECKSUM : tar.TYPE] = b"%06o\0 " % sum(header)
    return bytes(header)


def full(payload: bytes) -> bytes:
    return payload + bytes(-len(payload) % tar.BLOCK)


def entry(name: bytes, payload: bytes = b"", kind: bytes = b"0", **fields: Any) -> bytes:
    return block(name, len(payload), kind, **fields) + full(payload)


def pax(records: Sequence[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    return entry(b"././@PaxHeader", b"".join(tar.pax_record(*record) for record in records), kind)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return entry(b"././@LongLink", name + b"\0", kind, magic=GNU)


def parse(
    chunks: Iterator[bytes] | Sequence[bytes], shard: str = "x.tar"
) -> tuple[list[tuple[Member, bytes]], int, bool]:
    """Return (members with payloads, end of data, whether the archive said that it ends)."""
    parser = TarParser(shard)
    members: list[tuple[Member, bytes]] = []
    for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, Member):
                members.append((event, b""))
            else:
                member, payload = members[-1]
                members[-1] = (member, payload + bytes(event))
    return members, parser.close(), parser.finished


def names(data: bytes) -> list[str]:
    return [member.name for member, _ in parse([data])[0]]


def small_shard(samples: dict[str, dict[str, bytes]]) -> tuple[bytes, ShardIndex]:
    """A shard and its index, made of the format's functions alone."""
    archive = bytearray()
    columns: dict[str, list[int]] = {
        what: [] for what in ("row", "code", "data_offset", "size", "crc32c", "header_bytes")
    }
    fields = sorted({field for sample in samples.values() for field in sample})
    for row, (key, sample) in enumerate(samples.items()):
        for field, payload in sorted(sample.items()):
            header = tar.header(f"{key}.{field}".encode(), len(payload))
            values = (row, fields.index(field), len(archive) + len(header), len(payload), crc32c(payload), len(header))
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            archive += header + full(payload)
    end_of_data = len(archive)
    archive += tar.END_OF_ARCHIVE
    index = build_index(
        keys=list(samples),
        fields=fields,
        row=np.array(columns.pop("row"), np.int64),
        code=np.array(columns.pop("code"), np.int64),
        shard_bytes=len(archive),
        shard_crc32c=crc32c(archive),
        end_of_data=end_of_data,
        **columns,  # type: ignore[arg-type]
    )
    return bytes(archive), index


SAMPLES = {
    "cat/0001": {"jpg": b"not really a picture", "json": b'{"label":3}'},
    "cat/0002": {"json": b'{"label":4}'},
    "dog": {"jpg": b"", "json": b"{}", "seg.png": bytes(513)},
}


def small_index() -> bytes:
    return b"".join(encode_index(small_shard(SAMPLES)[1]))


def framed_index() -> bytes:
    """The index of the same shard as if it were compressed: two frames, in a file of 400 bytes."""
    shard, index = small_shard(SAMPLES)
    frames = Frames(np.array([0, 180, 300], "<u8"), np.array([0, 2048, len(shard)], "<u8"))
    return b"".join(encode_index(replace(index, shard_bytes=400, frames=frames)))


def small_key_index(count: int = 1100) -> bytes:
    return b"".join(encode_key_index(hash_keys(f"k{i}" for i in range(count))))


def small_dataset(count: int = 2) -> dict[str, bytes]:
    """All files of a made-up dataset but shards and their indexes, by path."""
    shards = [
        ShardInfo(f"shard-{i:06d}.tar", 10 + i, 4096, 0xDEADBEEF, 512, i, {"jpg": 10, "json": 1}) for i in range(count)
    ]
    num_keys = sum(info.num_samples for info in shards)
    hashes = hash_keys(f"k{i}" for i in range(num_keys))
    packed_with = {"shardpack": "0.1.0", "options": {"max_shard_bytes": 4096}}
    _, files = encode_dataset(shards, hashes, classes=["cat", "dög"], packed_with=packed_with)
    return {path: b"".join(parts) for path, parts in files}


def small_manifest(count: int = 2) -> bytes:
    return small_dataset(count)[".shardpack/manifest.json"]


def small_splits() -> bytes:
    """The splits of 21 samples: 0 to 12 and 15 to 21 are "train", between them "val"."""
    splits = Splits.of_runs([("train", 12), ("val", 3), ("train", 6)])
    assert splits is not None
    return b"".join(encode_splits(splits))


def small_splits_file(data: bytes) -> SplitsFile:
    """What a manifest says of it, whatever its bytes are."""
    checksum = crc32c(data)
    return SplitsFile(f"splits-000001-{checksum:08x}.index", len(data), checksum, {"train": 18, "val": 3})


def container(header: object, data: bytes = b"") -> bytes:
    """A safetensors file with any JSON (or bytes) as its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data
