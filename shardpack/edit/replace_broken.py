"""The next generation of a dataset some of whose tars break off: their whole samples, appended from new shards.

broken tar   its samples are deleted, it stays as it is      stored positions do not change
new shard    the whole samples of it                         shard-g000003-5f3a9c01-000000.tar

Sample i of a new shard is sample i of its broken tar: what was deleted stays deleted, splits stay as they are, layers
say the same of it, and it has a row in the label table. A sample whose payloads are not those that were packed is
deleted in the new shard, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.commit.edit_folder import NOTE, EditCommand, folder_of_edit, read_note
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.commit.generations import generation_at
from shardpack.commit.target import Target, locked
from shardpack.edit.base import EditBase
from shardpack.edit.find_keys import deleted_positions
from shardpack.edit.layer import layer_column
from shardpack.edit.salvage import Salvage, find_whole_samples, salvaged_parts
from shardpack.edit.table_upkeep import Next, next_with_table
from shardpack.errors import CorruptShardError, FormatError, ShardNotFoundError
from shardpack.format.assemble import encode_shard
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.layout import WORK_FOLDER, file_path, shard_name, split_of_shard
from shardpack.format.manifest import OWN_FOLDER, AppendedSplits, LayerRef, Manifest
from shardpack.format.named_files import Parts, encode_positions_file
from shardpack.format.next_generation import KEEP, Kept, next_generation
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import NO_SPLIT, Splits
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.index.header_scan import scan_headers
from shardpack.read.shard_checks import checked_index, fetch_index
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Announce, no_announcement

_COMMAND: EditCommand = "repair"


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was done.

    Attributes:
        manifest: The manifest of the newest generation.
        written: Names of the files that are new.
        salvaged: What is whole of each tar.
    """

    manifest: Manifest
    written: Sequence[str] = ()
    salvaged: Sequence[Salvage] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _NewShard:
    """A new shard, with the whole samples of a broken one.

    Attributes:
        info: The shard.
        hashes: (n) hashes of its keys.
        rows: (n) stored positions that its samples have in the broken one.
        damaged: Those of which payloads differ from what was packed.
        damaged_keys: The keys of these.
    """

    info: ShardInfo
    hashes: npt.NDArray[np.uint64]
    rows: Integers
    damaged: Integers
    damaged_keys: tuple[str, ...]


def replace_broken(
    base: EditBase, broken: Sequence[int], *, keeps_table: bool, announce: Announce = no_announcement
) -> Replaced:
    """Replace the samples of broken shards, given by their numbers, by those that are whole.

    Args:
        base: The dataset.
        broken: Numbers of the shards.
        keeps_table: Whether the files of the label table are whole; if not, the next generation has none.
        announce: Called with a line if the label table is dropped, because pyarrow is not installed.

    Raises:
        OutputExistsError: Another edit came first, or another process is writing there. Nothing has changed.
        CorruptShardError: A tar has other samples than were packed. Nothing has changed.
    """
    digest = xxh3_128_hexdigest(json.dumps([base.cache.shard_list[number].name for number in broken]).encode())
    with base.begin(_COMMAND, run_digest=digest) as transaction:
        if transaction.complete:
            return Replaced(transaction.parent)
        base = base.of(transaction)
        salvaged, new = _write_all_whole(base, transaction, broken)
        make = _next_of(base, broken, new)
        manifest, files = next_with_table(base, transaction, make, announce=announce) if keeps_table else make(table=())
        transaction.commit(manifest, files)
    written = [path for shard in new for path in (shard.info.name, shard.info.index_path)]
    return Replaced(manifest, [*written, *(name for name, _ in files)], salvaged)


def _write_all_whole(
    base: EditBase, transaction: EditTransaction, broken: Sequence[int]
) -> tuple[list[Salvage], list[_NewShard]]:
    """Return what is whole of each broken shard, and the new shards with that: those of nothing are left out."""
    salvaged, new = list[Salvage](), list[_NewShard]()
    for number in broken:
        salvage = find_whole_samples(base.store, base.cache.shard_list[number].name)
        if salvage.num_samples:
            made = _write_whole(base, transaction, number, salvage, new)
            new.append(made)
            count = len(made.rows) - len(made.damaged)
            salvage = replace(salvage, num_samples=count, damaged=made.damaged_keys)
        salvaged.append(salvage)
    return salvaged, new


def _next_of(base: EditBase, broken: Sequence[int], new: Sequence[_NewShard]) -> Callable[..., Next]:
    """Return what makes the next generation, as `next_with_table` calls it."""
    rows = np.concatenate([np.zeros(0, np.int64), *(shard.rows for shard in new)])
    damaged = np.concatenate([np.zeros(0, np.int64), *(shard.damaged for shard in new)])
    return partial(
        next_generation,
        base.manifest,
        base.text,
        shards=[shard.info for shard in new],
        hashes=np.concatenate([np.zeros(0, np.uint64), *(shard.hashes for shard in new)]),
        base_chain=base.chain(),
        deleted=_deleted(base, broken, rows, damaged),
        splits=_splits(base, rows),
        layers=list(_layers(base, rows)),
        edit={"command": _COMMAND, "added": len(rows)},
        read=base.read,
    )


def clean_up_committed(target: Target) -> None:
    """Delete what a repair left that was killed when it had made its generation, and before it had cleaned up."""
    folders = {folder for name in target.names() if (folder := folder_of_edit(name)) is not None}
    done = [folder for folder in sorted(folders) if _is_committed(target, folder)]
    if not done:
        return
    with locked(target):
        for folder in done:
            names = [name for name in target.names_below(folder) if name != f"{folder}/{NOTE}"]
            target.delete([*names, f"{folder}/{NOTE}"])
        target.fsync()


def _is_committed(target: Target, folder: str) -> bool:
    """Return whether a folder is that of a repair, and its generation is there."""
    note = read_note(target, folder) if folder.startswith(f"{WORK_FOLDER}/{_COMMAND}-") else None
    if note is None or note.commits is None:
        return False
    number, checksum = note.commits
    made = generation_at(target, number)
    return made is not None and made.crc32c == checksum


def _write_whole(
    base: EditBase, transaction: EditTransaction, number: int, salvage: Salvage, before: Sequence[_NewShard]
) -> _NewShard:
    """Put a new shard with the whole samples of a broken one, given by its number, behind those that come before.

    Raises:
        CorruptShardError: They are not those that were packed. The new shards are deleted.
    """
    broken, first = base.cache.shard_list[number], base.cache.shard_list.first(number)
    compressed = is_compressed(broken.name)
    name = shard_name(len(before), split=split_of_shard(broken.name), compressed=compressed, tag=transaction.tag)
    transaction.put(name, salvaged_parts(base.store, salvage))
    if compressed:
        scanned = scan_compressed(base.store, name, ignore=DEFAULT_IGNORE)
    else:
        scanned = scan_headers(base.store, name, ignore=DEFAULT_IGNORE, checksums=True)
    hashes = scanned.index.key_hashes()
    if not np.array_equal(hashes, _key_hashes(base, first, broken.num_samples)[: len(hashes)]):
        made = [path for shard in before for path in (shard.info.name, shard.info.index_path)]
        transaction.target.delete([name, *made])
        raise CorruptShardError(
            "the tar breaks off, and its whole samples do not have the keys of those that were packed; restore it from "
            "a backup, or move it away; nothing was changed",
            shard=broken.name,
        )
    info, parts = encode_shard(name, scanned.index, location=base.manifest.locations.index(OWN_FOLDER))
    transaction.put(info.index_path, parts)
    damaged = _damaged(base, broken, scanned.index)
    keys = tuple(map(scanned.index.key, damaged.tolist()))
    return _NewShard(info, hashes, np.arange(first, first + len(hashes)), first + damaged, keys)


def _deleted(base: EditBase, broken: Sequence[int], rows: Integers, damaged: Integers) -> Integers:
    """Return the stored positions that the edit deletes: all of the broken shards, and some of the new ones.

    Those are deleted in the new ones, too, whose samples were deleted before, or are damaged.

    Args:
        base: The dataset.
        broken: Numbers of the broken shards.
        rows: (n) stored positions that the samples of all new shards have in these.
        damaged: Those of which payloads differ from what was packed.
    """
    gone, shard_list = deleted_positions(base), base.cache.shard_list
    of_broken = [np.arange(shard_list.first(number), shard_list.first(number + 1)) for number in broken]
    of_new = base.manifest.num_samples + np.flatnonzero(np.isin(rows, np.concatenate([gone, damaged])))
    return np.concatenate([*(np.setdiff1d(own, gone) for own in of_broken), of_new])


def _damaged(base: EditBase, info: ShardInfo, found: ShardIndex) -> Integers:
    """Return the rows whose payloads do not have the fields, lengths and checksums of the broken tar's index."""
    packed = found
    with suppress(FormatError, ShardNotFoundError):  # if it is lost, too, nothing can be compared
        packed = checked_index(fetch_index(base.cache.stores.sidecars, info), info)
    rows = range(found.num_samples)
    return np.array([row for row in rows if _payloads(found, row, packed) != _payloads(packed, row, packed)], np.int64)


def _payloads(index: ShardIndex, row: int, packed: ShardIndex) -> list[tuple[str, int, int | None]]:
    """Return field, length and checksum of each payload; without checksums if the tar was indexed without."""
    checksums = index.crc32c if packed.crc32c is not None else None
    return [
        (index.field_of(member), int(index.size[member]), None if checksums is None else int(checksums[member]))
        for member in index.members(row)
    ]


def _key_hashes(base: EditBase, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Return the hashes of the keys of stored positions that follow one another."""
    found, begin = [np.zeros(0, np.uint64)], 0
    for segment in base.manifest.key_segments:
        low, high = max(first, begin), min(first + count, begin + segment.num_keys)
        if low < high:
            load = partial(_range, memoryview(base.read(segment)))
            hashes = KeySegmentReader(load, segment, path=file_path(segment)).hashes()
            found.append(hashes[low - begin : high - begin])
        begin += segment.num_keys
    return np.concatenate(found)


def _range(data: memoryview, start: int, length: int) -> memoryview:
    return data[start : start + length]


def _layers(base: EditBase, rows: Integers) -> Iterator[tuple[LayerRef, Parts | None]]:
    """Yield the layers, whose samples belong to the new samples as well as to those that these stand for."""
    for layer in base.manifest.layers:
        old = layer_column(base, layer)
        column = np.zeros(base.manifest.num_samples + len(rows), np.int64)
        column[: len(old)] = old
        column[base.manifest.num_samples :] = column[rows]
        positions, parts = encode_positions_file(column, generation=base.manifest.generation + 1)
        yield replace(layer, positions=positions), parts


def _splits(base: EditBase, rows: Integers) -> Splits | Kept:
    """Return the splits with the new samples, which are in those of the samples that they stand for.

    All that fell into a split by the hash of its key is in a range then, as a sample that was in none would fall, too.
    """
    named, file, stored = base.cache.splits, base.manifest.splits, base.manifest.num_samples
    if named is None or file is None or not len(rows):
        return KEEP
    numbers = named.numbers(np.concatenate([np.arange(stored), rows]))
    appended = None if file.appended is None else AppendedSplits(len(numbers), file.appended.ranges)
    return Splits.of_numbers(
        named.names, np.where(numbers == NO_SPLIT, -1, numbers.astype(np.int64)), appended=appended
    )
