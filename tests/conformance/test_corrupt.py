"""One broken file, or more, for each numbered check of SPEC.md: refused by that error, at that offset."""

from __future__ import annotations

import re
import tracemalloc

import pytest

from shardpack.errors import (
    CorruptIndexError,
    CorruptManifestError,
    CorruptShardError,
    FormatError,
    UnsupportedVersionError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.deleted import parse_deleted
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.layer_positions import check_layer_positions, parse_layer_positions
from shardpack.format.manifest import DeletedFile, KeySegment, TableSegment
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_table import ShardTable, TableSegmentReader
from shardpack.format.splits import parse_splits
from tests.conformance.recipes import CORPUS, broken
from tests.conftest import ROOT
from tests.format.builders import parse, small_splits_file

FILES = sorted((CORPUS / "corrupt").iterdir())
RULES = re.findall(
    r"^\| ([TCXPSKNDLM]\d+) \|", (ROOT / "shardpack/format/SPEC.md").read_text(encoding="utf-8"), re.MULTILINE
)
NEWER = (
    "X10-other-compression.index",
    "C4-newer-version.index",
    "C9-unknown-column.index",
    "P2-other-page-size.index",
    "K2-other-hash.index",
    "M3-newer-version.json",
    "M4-unknown-name.json",
)

# Where the error points to, in files whose error has an offset.
OFFSETS = {
    "T1": 0,
    "T2": 1024,
    "T3": 1024,
    "T4": 1024,
    "T5": 1024,
    "T6": 2048,
    "T7": 1024,
    "T8": 1024,
    "T9": 1024,
    "T10": 1024,
    "T11": 1024,
    "T12": 1024,
    "T13": 1023,
    **dict.fromkeys(("T14", "T16"), 1024),
    "T15": 2048,
    "C1": 0,
    **dict.fromkeys(("C2", "C3", "C4", "C5", "C6", "C9"), 8),
    "C7": 216,  # where the second column should begin
    "C8": 143,  # where the file ends
}


def read(name: str, data: bytes) -> None:
    kind, suffix = name[0], name.rpartition(".")[2]
    if suffix == "tar":
        parse([data], name)
    elif suffix == "json":
        parse_manifest(data)
    elif kind in "PK":
        KeySegmentReader(loader(data), KeySegment(*head(data), num_keys=20), path=name).check()
    elif kind == "N":
        parse_splits(data, small_splits_file(data), num_samples=21, path=name)
    elif kind == "D":
        parse_deleted(data, DeletedFile(name, len(data), crc32c(data), 3), num_samples=21, path=name)
    elif kind == "L":
        check_layer_positions(parse_layer_positions(data, num_samples=21, path=name), layer_samples=4, path=name)
    elif kind == "S":
        segment = TableSegment(*head(data), num_shards=2, num_samples=21)
        ShardTable([TableSegmentReader(loader(data), segment, path=name)]).check()
    else:
        parse_index(data, name=name)


def head(data: bytes) -> tuple[str, int, int, int, int]:
    """What a manifest says of a paged file, so that it fits."""
    begin = 8 + int.from_bytes(data[:8], "little")
    head_bytes = begin + (16 if b'"chapter"' in data[:begin] else 0)
    return "x.index", len(data), crc32c(data), head_bytes, crc32c(data[:head_bytes])


def loader(data: bytes):
    return lambda begin, length: data[begin : begin + length]


def expected_error(name: str) -> type[FormatError]:
    if name in NEWER:
        return UnsupportedVersionError
    return {"T": CorruptShardError, "M": CorruptManifestError}.get(name[0], CorruptIndexError)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_refused(path):
    with pytest.raises(FormatError) as caught:
        read(path.name, path.read_bytes())
    assert type(caught.value) is expected_error(path.name)
    assert caught.value.offset == OFFSETS.get(path.name.partition("-")[0])
    assert path.suffix == ".json" or (caught.value.path or caught.value.shard) == path.name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_refusing_takes_no_memory(path):
    data = path.read_bytes()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read(path.name, data)
        assert tracemalloc.get_traced_memory()[1] < 100_000 + 20 * len(data)
    finally:
        tracemalloc.stop()


def test_every_rule_has_a_file():
    assert len(RULES) > 40
    assert {path.name.partition("-")[0] for path in FILES} == set(RULES)


def test_stored_files_are_those_of_the_recipes():
    assert {path.name: path.read_bytes() for path in FILES} == broken()
