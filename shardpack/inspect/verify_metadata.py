"""Check the files of a dataset that are neither shards nor their indexes: table, keys, splits, manifests, strays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import numpy as np
import numpy.typing as npt

from shardpack.errors import (
    CorruptIndexError,
    CorruptManifestError,
    FormatError,
    ShardNotFoundError,
    ShardpackError,
    StaleIndexError,
    StorageError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns, fingerprint_text
from shardpack.format.key_index import KeySegmentReader, encode_key_index
from shardpack.format.layout import (
    FOLDER,
    MANIFEST_PATH,
    RUN_PATH,
    WORK_FOLDER,
    NamedFile,
    file_path,
    generation_of,
    manifest_path,
)
from shardpack.format.manifest import OWN_FOLDER, KeySegment, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_table import ShardTable
from shardpack.inspect.problem import Problem, problem_of
from shardpack.read.named_splits import load_splits
from shardpack.read.segment_file import SegmentFile
from shardpack.read.shard_list import ShardList
from shardpack.storage.protocols import Store

PIECE_BYTES = 8 << 20
Hashes = npt.NDArray[np.uint64]
_REBUILD = 'rebuild it with "shardpack index --force"'


def is_table_sound(shard_list: ShardList) -> bool:
    """Return whether the shard table can be read, so that its shards can be verified."""
    try:
        shard_list.check()
    except ShardpackError:
        return False
    return True


def verify_metadata(
    store: Store, manifest: Manifest, shard_list: ShardList, hashes: Hashes | None
) -> Iterator[Problem]:
    """Yield the problems of table, keys, splits and manifests, and the files that are not part of the dataset.

    Args:
        store: Store that holds the dataset's folder `.shardpack`.
        manifest: The newest manifest.
        shard_list: The shards that it lists.
        hashes: Hashes of the keys of all samples, in order, to compare with the key index; None if the
            index of any shard is damaged.
    """
    checks: list[Callable[[], object]] = [
        *(partial(_check_file, store, file) for file in manifest.files),
        partial(_check_table, manifest, shard_list),
        partial(_check_keys, store, manifest, hashes),
        partial(load_splits, store, manifest),
        partial(_check_copy, store, manifest),
    ]
    seen: set[str] = set()
    for check in checks:
        try:
            check()
        except (ShardpackError, StorageError) as error:
            problem = problem_of(error, MANIFEST_PATH)
            if problem.shard not in seen:  # one problem per file
                seen.add(problem.shard)
                yield problem
    yield from _strays(store, manifest, shard_list)


def _check_file(store: Store, file: NamedFile) -> None:
    """Compare a manifest file with the length and checksum in the manifest."""
    path = file_path(file)
    try:
        num_bytes, checksum = store.size(path), 0
        if num_bytes == file.num_bytes:
            for begin in range(0, num_bytes, PIECE_BYTES):
                length = min(PIECE_BYTES, num_bytes - begin)
                checksum = crc32c(store.get_range(path, start=begin, length=length), checksum)
    except ShardNotFoundError as error:
        raise SegmentFile(store, file).missing() from error
    if (num_bytes, checksum) != (file.num_bytes, file.crc32c):
        raise CorruptIndexError(
            f"file is damaged or not of this dataset: expected {file.num_bytes} bytes with CRC32C "
            f"{file.crc32c:08x}, got {num_bytes} with {checksum:08x}; {_REBUILD}",
            path=path,
        )


def _check_table(manifest: Manifest, shard_list: ShardList) -> None:
    """Compare the totals and the fingerprint of the shard table with the manifest."""
    shard_list.check()
    totals: dict[str, int] = {}
    for info in shard_list:
        for name, count in info.samples_per_field.items():
            totals[name] = totals.get(name, 0) + count
    columns = shard_list.columns
    actual = (dict(sorted(totals.items())), int(columns.num_bytes.sum()), fingerprint_text(chain_columns(columns)))
    if actual != (dict(manifest.samples_per_field), manifest.num_bytes, manifest.fingerprint):
        raise CorruptManifestError(
            f"{MANIFEST_PATH} and the shard table contradict each other; restore the files that belong together, "
            'or rebuild with "shardpack index --force"'
        )


def _check_keys(store: Store, manifest: Manifest, hashes: Hashes | None) -> None:
    """Check the key index, and compare it with the hashes of the keys if they are given."""
    first = 0
    for segment in manifest.key_segments:
        file = SegmentFile(store, segment)
        KeySegmentReader(file.load, segment, path=file.path).check()
        if hashes is not None and not _holds(segment, hashes[first : first + segment.num_keys]):
            raise StaleIndexError(f"key index does not match the keys of the shards; {_REBUILD}", path=file.path)
        first += segment.num_keys


def _holds(segment: KeySegment, hashes: Hashes) -> bool:
    """Return whether a segment is the key index of keys with these hashes."""
    checksum = 0
    for part in encode_key_index(hashes):
        checksum = crc32c(part, checksum)
    return checksum == segment.crc32c


def _check_copy(store: Store, manifest: Manifest) -> None:
    """Compare the manifest with the copy that is kept for its generation."""
    path = manifest_path(manifest.generation)
    try:
        same = bytes(store.get(path)) == bytes(store.get(MANIFEST_PATH))
    except ShardNotFoundError as error:
        raise ShardNotFoundError(f"manifest is missing; copy {MANIFEST_PATH} to this name", path=path) from error
    if not same:
        raise StaleIndexError(f"manifest differs from {MANIFEST_PATH}; restore the right one", path=path)


def _strays(store: Store, manifest: Manifest, shard_list: ShardList) -> Iterator[Problem]:
    """Yield files that look like parts of a dataset, but that no manifest of this one names."""
    known = set(manifest.metadata_paths)
    tars: set[str] = set()
    try:
        for info in shard_list:
            known.add(info.index_path)
            if manifest.locations[info.location] == OWN_FOLDER:
                tars.add(info.name)
    except ShardpackError:  # reported already; without the table, strays cannot be told from shards
        return
    names = _names(store, {name.rpartition("/")[0] for name in tars})
    if any(name.startswith(f"{FOLDER}/index/") and name not in known for name in names):
        known.update(_earlier_indexes(store, manifest, names))
    for name in names:
        if _is_unfinished(name):
            continue
        if name.startswith(f"{FOLDER}/"):
            is_stray = name not in known and not 0 < generation_of(name) < manifest.generation
        else:
            is_stray = name.endswith(".tar") and name not in tars and OWN_FOLDER in manifest.locations
        if is_stray:
            yield Problem("orphan", name, "the manifest does not name this file; remove it, or pack or index again")
    for name in sorted({RUN_PATH if name == RUN_PATH else WORK_FOLDER for name in names if _is_unfinished(name)}):
        yield Problem("orphan", name, "a command was interrupted; run it again, or remove this")


def _is_unfinished(name: str) -> bool:
    return name == RUN_PATH or name.startswith(f"{WORK_FOLDER}/")


def _earlier_indexes(store: Store, manifest: Manifest, names: list[str]) -> Iterator[str]:
    """Yield the indexes that earlier generations name, where their manifest and table can be read."""

    def read(path: str) -> bytes | None:
        with suppress(ShardNotFoundError):
            return bytes(store.get(path))
        return None

    for path in names:
        if path == manifest_path(number := generation_of(path)) and number < manifest.generation:
            with suppress(FormatError):
                table = ShardTable.whole(parse_manifest(read(path) or b""), read)
                yield from (info.index_path for info in table)


def _names(store: Store, folders: set[str]) -> list[str]:
    """Return the names of files in some folders and in `.shardpack`; none if the store does not list names."""
    if store.folder is None:
        list_names = getattr(store, "names", None)
        with suppress(StorageError):
            return [] if list_names is None else list(list_names())
        return []
    names: list[str] = []
    for below in sorted({"", *folders}):
        with suppress(OSError):
            entries = sorted(os.listdir(os.path.join(store.folder, below)))
            names.extend(f"{below}/{entry}" if below else entry for entry in entries)
    for path, _, files in os.walk(os.path.join(store.folder, FOLDER)):
        below = os.path.relpath(path, store.folder).replace(os.sep, "/")
        names.extend(f"{below}/{name}" for name in sorted(files))
    return names
