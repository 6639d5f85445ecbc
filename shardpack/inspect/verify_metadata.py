"""Check the files that a manifest names: shard table, key index, splits, deleted samples, label table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from shardpack.errors import (
    CorruptIndexError,
    CorruptManifestError,
    ShardNotFoundError,
    ShardpackError,
    StaleIndexError,
    StorageError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns, chain_edits, fingerprint_text
from shardpack.format.key_index import KeySegmentReader, encode_key_index
from shardpack.format.layout import MANIFEST_PATH, NamedFile, file_path
from shardpack.format.manifest import KeySegment, Manifest
from shardpack.format.splits import fallen_counts, parse_splits
from shardpack.inspect.problem import Problem, problem_of
from shardpack.inspect.verify_shards import Hashes
from shardpack.read.deleted_samples import load_visible
from shardpack.read.named_splits import load_splits
from shardpack.read.segment_file import SegmentFile
from shardpack.read.shard_list import ShardList
from shardpack.storage.protocols import Store

PIECE_BYTES = 8 << 20
_MEND = 'restore it, or run "shardpack repair --force", which makes it again or says what else can be done'
_REBUILD = 'make it again with "shardpack repair --force"'


def verify_metadata(
    store: Store, manifest: Manifest, shard_list: ShardList, hashes: Hashes | None
) -> Iterator[Problem]:
    """Yield the problems of all files that the manifest names.

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
        partial(_check_splits, store, manifest, hashes),
        partial(load_visible, store, manifest),
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
            f"{file.crc32c:08x}, got {num_bytes} with {checksum:08x}; {_MEND}",
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
    fingerprint = fingerprint_text(chain_edits(manifest.deleted, manifest.layers, chain_columns(columns)))
    actual = (dict(sorted(totals.items())), int(columns.num_bytes.sum()), fingerprint)
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


def _check_splits(store: Store, manifest: Manifest, hashes: Hashes | None) -> None:
    """Check the named splits, and how many appended samples fell into each by the hashes of their keys."""
    if load_splits(store, manifest) is None or manifest.splits is None:
        return
    appended = manifest.splits.appended
    if appended is None or hashes is None:
        return
    file, first = SegmentFile(store, manifest.splits), appended.of_samples
    splits = parse_splits(file.load(), manifest.splits, num_samples=manifest.num_samples, path=file.path)
    fell = fallen_counts(appended, hashes[first:][splits.are_in_none(first, manifest.num_samples - first)])
    if fell != dict(appended.samples):
        raise CorruptManifestError(
            f"{MANIFEST_PATH} counts other appended samples in splits than there are: expected {fell}, got "
            f"{dict(appended.samples)}; make the splits again",
            path=MANIFEST_PATH,
        )
