"""The files that a manifest names, out of its JSON: each checked, so that it can neither lead elsewhere nor be huge."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from shardpack.format.container import MAX_HEADER_BYTES
from shardpack.format.layout import TABLE, TABLE_SPLITS
from shardpack.format.manifest import (
    MAX_MANIFEST_BYTES,
    AppendedSplits,
    DeletedFile,
    LayerRef,
    Parent,
    PositionsFile,
    SplitsFile,
    TableFile,
    is_location,
)
from shardpack.format.manifest_object import ManifestObject
from shardpack.format.paged import AnySegment
from shardpack.format.shard_info import MAX_COUNT
from shardpack.format.split_names import split_names_problem

HASH_RANGE = 1 << 32  # of the upper half of a key's hash
_HEAD_BYTES = MAX_HEADER_BYTES + 8  # of a container, at most
_FILE = ("name", "num_bytes", "crc32c")


def segment(source: ManifestObject, kind: type[AnySegment]) -> AnySegment:
    """Return a segment of the shard table or of the key index (M8)."""
    numbers = {"shards": ("num_shards", "num_samples"), "keys": ("num_keys",)}[source.what]
    source.refuse_unknown({*_FILE, "head_bytes", "head_crc32c", *numbers})
    checksum = source.checksum()
    result = kind(
        name=source.file_name(f"{source.what}-"),
        num_bytes=source.number("num_bytes"),
        crc32c=checksum,
        head_bytes=source.number("head_bytes"),
        head_crc32c=source.checksum("head_crc32c"),
        **{name: source.number(name, least=1) for name in numbers},
    )
    if result.head_bytes > result.num_bytes:
        raise source.bad("head_bytes")
    return result


def splits_file(top: ManifestObject) -> SplitsFile | None:
    """Return the file of named splits (M12, M16), or None."""
    if "splits" not in top.values:
        return None
    source = top.object("splits")
    source.refuse_unknown((*_FILE, "samples", "appended"))
    num_samples = top.number("num_samples")
    samples = source.of_type("samples", dict)
    appended = _appended(source, samples, num_samples)
    least = 1 if appended is None else 0
    in_bounds = all(type(count) is int and least <= count <= MAX_COUNT for count in samples.values())
    if not samples or split_names_problem(samples) or not in_bounds:
        raise source.bad("samples")
    num_bytes = source.number("num_bytes", most=_HEAD_BYTES + 18 * num_samples)
    file = SplitsFile(source.file_name("splits-"), num_bytes, source.checksum(), samples, appended)
    if sum(file.totals.values()) > num_samples:
        raise source.bad("samples")
    return file


def _appended(source: ManifestObject, samples: Mapping[str, Any], num_samples: int) -> AppendedSplits | None:
    if "appended" not in source.values:
        return None
    appended = source.object("appended")
    appended.refuse_unknown(("of_samples", "ranges", "samples"))
    ranges, fell = appended.of_type("ranges", dict), appended.counts("samples")
    if not (ranges and samples.keys() >= ranges.keys() >= fell.keys()):
        raise appended.bad("samples" if ranges and samples.keys() >= ranges.keys() else "ranges")
    reached = 0
    for bounds in sorted(ranges.values(), key=_begin):
        if not (_is_range(bounds) and reached <= bounds[0] < bounds[1] <= HASH_RANGE):
            raise appended.bad("ranges")
        reached = bounds[1]
    of_samples = appended.number("of_samples", most=num_samples)
    if sum(fell.values()) > num_samples - of_samples:
        raise appended.bad("samples")
    return AppendedSplits(of_samples, {name: (begin, end) for name, (begin, end) in ranges.items()}, fell)


def _is_range(bounds: Any) -> bool:
    return type(bounds) is list and len(bounds) == 2 and all(type(bound) is int for bound in bounds)


def _begin(bounds: Any) -> int:
    return int(bounds[0]) if _is_range(bounds) else -1


def deleted_files(top: ManifestObject) -> tuple[DeletedFile, ...]:
    """Return the files of deleted stored positions (M13)."""
    files = tuple(map(_deleted_file, top.some_objects("deleted")))
    if sum(file.num_deleted for file in files) > top.number("num_samples"):
        raise top.bad("deleted")
    return files


def _deleted_file(source: ManifestObject) -> DeletedFile:
    source.refuse_unknown((*_FILE, "num_deleted"))
    count = source.number("num_deleted", least=1)
    num_bytes = source.number("num_bytes", most=_HEAD_BYTES + 8 * count)
    return DeletedFile(source.file_name("deleted-"), num_bytes, source.checksum(), count)


def layer_refs(top: ManifestObject) -> tuple[LayerRef, ...]:
    """Return the layers (M14)."""
    most = _HEAD_BYTES + 8 * top.number("num_samples")
    return tuple(_layer_ref(source, most) for source in top.some_objects("layers"))


def _layer_ref(source: ManifestObject, most_positions_bytes: int) -> LayerRef:
    source.refuse_unknown(("location", "generation", "num_bytes", "crc32c", "fields", "positions"))
    location, fields = source.of_type("location", str), source.strings("fields")
    if not is_location(location):
        raise source.bad("location")
    if not fields or sorted({*fields}) != list(fields):
        raise source.bad("fields")
    positions = source.object("positions")
    positions.refuse_unknown(_FILE)
    num_bytes = positions.number("num_bytes", most=most_positions_bytes)
    return LayerRef(
        location=location,
        generation=source.number("generation", least=1),
        num_bytes=source.number("num_bytes", most=MAX_MANIFEST_BYTES),
        crc32c=source.checksum(),
        fields=fields,
        positions=PositionsFile(positions.file_name("layer-"), num_bytes, positions.checksum()),
    )


def table_files(top: ManifestObject) -> tuple[TableFile, ...]:
    """Return the files of the label table (M15)."""
    files = tuple(map(_table_file, top.some_objects("table")))
    splits = tuple(file for file in files if file.has_splits_only)
    rows, num_samples = files[: len(files) - len(splits)], top.number("num_samples")
    counts = [file.num_samples for file in rows]
    if files and (num_samples not in accumulate(counts) or sum(counts) > 2 * num_samples):
        raise top.bad("table")
    if splits and (files != rows + splits or sum(file.num_samples for file in splits) > num_samples):
        raise top.bad("table")
    return files


def _table_file(source: ManifestObject) -> TableFile:
    source.refuse_unknown((*_FILE, "num_samples"))
    is_of_splits = source.of_type("name", str).startswith(TABLE_SPLITS)
    name, count = (
        source.file_name(TABLE_SPLITS if is_of_splits else TABLE, ".parquet"),
        source.number("num_samples", least=1),
    )
    return TableFile(name, source.number("num_bytes"), source.checksum(), count)


def parent_of(top: ManifestObject) -> Parent | None:
    """Return which manifest this one was made from (M11), or None."""
    if "parent" not in top.values:
        return None
    source = top.object("parent")
    source.refuse_unknown(("generation", "num_bytes", "crc32c"))
    return Parent(source.number("generation", least=1), source.number("num_bytes"), source.checksum())
