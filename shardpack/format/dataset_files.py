"""The files of a dataset besides shards and their indexes, and a shard table read from whole files."""

from __future__ import annotations

import re
from collections.abc import Callable

from shardpack.errors import CorruptIndexError
from shardpack.format.manifest import FILE_NAME, Manifest, manifest_path, segment_path
from shardpack.format.shard_info import FOLDER
from shardpack.format.shard_segment import TableSegment, TableSegmentReader
from shardpack.format.shard_table import ShardTable

REJECTED_PATH = f"{FOLDER}/rejected.jsonl"
RUN_PATH = f"{FOLDER}/run.json"  # while a dataset is published, and until all unfinished work is removed
_SIDECAR = re.compile(
    rf"{re.escape(FOLDER)}/(?:manifests/([0-9]{{6,18}})\.json|(?:shards|keys)-([0-9]{{6,18}})-[0-9a-f]{{8}}\.index)",
    re.ASCII,
)


def generation_of(path: str) -> int:
    """Return the generation in the name of a segment or manifest; 0 for any other file."""
    match = _SIDECAR.fullmatch(path)
    return int(match[1] or match[2]) if match else 0


def metadata_paths(manifest: Manifest) -> list[str]:
    """Return the paths of a manifest and of all files that belong to it, except shards and their indexes."""
    segments = map(segment_path, (*manifest.table_segments, *manifest.key_segments))
    return [*segments, REJECTED_PATH, manifest_path(manifest.generation), FILE_NAME]


def whole_table(manifest: Manifest, read: Callable[[str], bytes | None]) -> ShardTable:
    """Return the checked shard table of a manifest; `read` returns a whole file, or None if it is missing.

    Raises:
        CorruptIndexError: A segment is missing or damaged.
    """

    def opened(segment: TableSegment) -> TableSegmentReader:
        path = segment_path(segment)
        data = read(path)
        if data is None or len(data) != segment.num_bytes:
            raise CorruptIndexError(
                'file is missing or cut short; restore it, or rebuild it with "shardpack index --force"', path=path
            )
        view = memoryview(data)
        return TableSegmentReader(
            lambda begin, length: view[begin : begin + length],
            segment,
            path=path,
            num_locations=len(manifest.locations),
        )

    table = ShardTable([opened(segment) for segment in manifest.table_segments])
    table.check()
    return table
