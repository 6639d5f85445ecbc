"""Check that a dataset is what was packed, quickly or byte by byte; on disk, in a bucket or on a server.

Each file is compared with what the manifest says about it, so a problem in one file does not hide another.

    verify_shards        tars and their indexes
    verify_metadata      shard table, key index, splits, deleted samples, label table
    verify_layers        that layers are the ones that were attached
    verify_table         rows of the label table
    newest_manifest      the manifest, and which one is left if it is damaged
    verify_generations   the copy of the manifest, earlier generations, files that nothing names
    verify_images        all images, decoded                        if asked for
    verify_source        all payloads, compared with the originals  if asked for
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import file_path
from shardpack.format.manifest import Manifest
from shardpack.inspect.newest_manifest import find_newest_manifest
from shardpack.inspect.problem import Problem
from shardpack.inspect.verify_generations import verify_generations
from shardpack.inspect.verify_layers import PinnedLayer, check_positions, open_pinned
from shardpack.inspect.verify_metadata import verify_metadata
from shardpack.inspect.verify_shards import (
    Hashes,
    ShardTask,
    VerifiedShard,
    verify_in_processes,
    verify_in_threads,
)
from shardpack.read.deleted_samples import have_visible, load_visible
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.open_dataset import shards_of
from shardpack.read.selection import Selection
from shardpack.read.shard_list import ShardList
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.processes import default_jobs
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.storage.adapter import adapt
from shardpack.storage.locations import DatasetStores, LocationOptions
from shardpack.storage.open import open_store
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.url import is_url

if TYPE_CHECKING:
    from shardpack.sources.dataset import Listable

SHARDS_AT_ONCE = 8  # default number of remote shards; their requests wait for the network


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, and the problems that were found.

    Attributes:
        num_shards, num_bytes: Totals according to the manifest.
        num_samples: Visible samples according to the manifest.
        problems: The problems; empty if the dataset is undamaged.
        full: Whether every byte was read.
        seconds: Wall time.
        without_checksums: How many shards were indexed without reading their payloads. Only their
            headers and lengths can be checked.
        generation: Number of the generation that was checked: the newest whose manifest is whole; 0 without one.
        kept: Numbers of the earlier generations that can still be opened.
    """

    num_shards: int
    num_samples: int
    num_bytes: int
    problems: tuple[Problem, ...]
    full: bool
    seconds: float
    without_checksums: int = 0
    generation: int = 1
    kept: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify(
    location: str | os.PathLike[str] | RangeReader,
    *,
    full: bool = False,
    check_images: bool = False,
    source: str | os.PathLike[str] | Listable | None = None,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Return a report of what is wrong with a dataset; it has no problems if the dataset is undamaged.

    The quick check compares the lengths of all files, the checksums of all indexes, and the headers of
    64 samples per shard; of a remote shard, the headers of one field of 8 samples. The full check reads
    every shard and compares all headers, offsets, sizes and checksums.
    Both check what edits left: deleted samples, layers, splits, label table, earlier generations, and
    files that nothing needs.
    Memory: one shard's index per job, and 40 bytes per sample for the key index.

    Args:
        location: Folder of the dataset, its URL, or a store.
        full: Read every byte.
        check_images: Decode every image, and parse every JSON text.
        source: Compare each payload of this source, as `shardpack.pack` takes it, with its checksum in the dataset;
            say which samples differ, are missing, or are not in the source. A folder, a file, a URL, or a dataset.
        jobs: Number of worker processes. Default: one; with `full` one per core, but not more than are
            worth starting. If any part is remote, how many shards to verify at once, in threads. Default: 8.
        storage_options, allow_locations: As `shardpack.open` takes them.
        progress: Called as progress("verify", bytes done, total bytes); then, if asked for, as progress("decode",
            samples done, all samples), and progress("compare", samples done, all samples).

    Raises:
        DatasetNotFoundError: The location has no manifest.
        UnsupportedVersionError: A newer version of shardpack is needed to read the manifest.
        OptionError: The dataset was packed with options that change payloads, and cannot be compared with its source.
        SourceError: The source cannot be listed.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(location, (str, os.PathLike)):
        location = open_store(location, storage_options if is_url(location) else None)
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    home = adapt(location)
    newest = find_newest_manifest(home)
    manifest = newest.manifest
    if manifest is None:  # nothing else can be checked
        return VerifyReport(0, 0, 0, newest.problems, full, time.perf_counter() - began, generation=0)
    cache = shards_of(home, manifest, manifest_crc32c=crc32c(newest.text), options=options)
    sidecars = cache.stores.sidecars
    opened = [open_pinned(home, ref, options) for ref in manifest.layers]
    layers = [layer for layer in opened if isinstance(layer, PinnedLayer)]
    total = manifest.num_bytes + sum(layer.manifest.num_bytes for layer in layers)
    check = partial(_check, full=full, jobs=jobs, bytes_done=ByteProgress("verify", total, progress))
    checked = check(cache.stores, manifest)
    problems = [*newest.problems, *checked.problems, *(one for one in opened if isinstance(one, Problem))]
    for layer in layers:
        problems += _check_layer(layer, check(layer.stores, layer.manifest), sidecars, manifest, checked)
    problems += _check_table(sidecars, manifest, checked, known=problems)
    generations = verify_generations(sidecars, manifest, checked.shards, is_copied=not newest.problems)
    problems += generations.problems
    at_once = jobs or (SHARDS_AT_ONCE if cache.stores.remote else default_jobs(manifest.num_bytes))
    if check_images and checked.shards is not None:
        from shardpack.inspect.verify_images import verify_images  # with what decodes

        problems += verify_images(Selection(cache, KeyLookup(cache)), jobs=at_once, progress=progress)
    if source is not None and checked.shards is not None:
        from shardpack.inspect.verify_source import verify_source  # with what lists sources

        problems += verify_source(source, cache, storage_options=storage_options, jobs=at_once, progress=progress)
    return VerifyReport(
        num_shards=manifest.num_shards,
        num_samples=manifest.num_visible,
        num_bytes=manifest.num_bytes,
        problems=tuple(dict.fromkeys(problems)),  # a file that is damaged may be met twice
        full=full,
        seconds=time.perf_counter() - began,
        without_checksums=sum(info.crc32c is None for info in checked.shards or ()),
        generation=manifest.generation,
        kept=generations.kept,
    )


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the shards and other files of a dataset or layer are like.

    Attributes:
        problems: What is wrong with them.
        shards: The shards; None if the shard table is damaged.
        hashes: Hashes of the keys of all samples, in order; None if the index of any shard is damaged.
    """

    problems: Sequence[Problem]
    shards: ShardList | None
    hashes: Hashes | None


def _check(
    stores: DatasetStores, manifest: Manifest, *, full: bool, jobs: int | None, bytes_done: ByteProgress
) -> _Checked:
    """Check the shards that a manifest names, and its other files."""
    shard_list = ShardList(stores.sidecars, manifest)
    sound = _is_table_sound(shard_list)
    tasks = list(_tasks(stores, manifest, shard_list, full=full)) if sound else []
    if all(store.folder is not None for store in (stores.sidecars, *stores.tars)):
        verified = verify_in_processes(tasks, jobs or default_jobs(manifest.num_bytes if full else 0), bytes_done)
    else:
        verified = verify_in_threads(tasks, jobs or SHARDS_AT_ONCE, bytes_done)
    hashes = _all_hashes(verified) if sound else None
    problems = [problem for shard in verified for problem in shard.problems]
    problems.extend(verify_metadata(stores.sidecars, manifest, shard_list, hashes))
    return _Checked(problems, shard_list if sound else None, hashes)


def _check_layer(
    layer: PinnedLayer, of_layer: _Checked, sidecars: Store, manifest: Manifest, base: _Checked
) -> Iterator[Problem]:
    """Yield the problems of a layer, and of the file that says which samples it replaces."""
    yield from map(layer.own, of_layer.problems)
    yield from check_positions(sidecars, manifest, layer, base_hashes=base.hashes, layer_hashes=of_layer.hashes)


def _check_table(
    sidecars: Store, manifest: Manifest, checked: _Checked, *, known: Sequence[Problem]
) -> Iterable[Problem]:
    """Return the problems of the rows of the label table, unless it is known that one of its files is damaged."""
    tables = set(map(file_path, manifest.table))
    if not tables or any(problem.shard in tables for problem in known):
        return ()
    from shardpack.inspect.verify_table import verify_table  # with pyarrow, if that is there

    return verify_table(sidecars, manifest, checked.hashes)


def _tasks(stores: DatasetStores, manifest: Manifest, shards: ShardList, *, full: bool) -> Iterator[ShardTask]:
    """Yield what is to be verified of each shard; of all of them the tars, too, if it is not known what is deleted."""
    try:
        visible = load_visible(stores.sidecars, manifest)
    except ShardpackError:  # which `verify_metadata` reports
        visible = None
    deleted = np.zeros(0, np.int64) if visible is None else visible.deleted
    for info, is_visible in zip(shards, have_visible(shards.columns.starts, deleted).tolist(), strict=True):
        yield ShardTask(stores.sidecars, stores.of(info), info, full, is_visible)


def _is_table_sound(shard_list: ShardList) -> bool:
    """Return whether the shard table can be read, so that its shards can be verified."""
    try:
        shard_list.check()
    except ShardpackError:
        return False
    return True


def _all_hashes(verified: Sequence[VerifiedShard]) -> Hashes | None:
    """Return the hashes of the keys of all samples, in order; None if the index of any shard is damaged."""
    hashes = [shard.hashes for shard in verified if shard.hashes is not None]
    return np.concatenate([np.empty(0, np.uint64), *hashes]) if len(hashes) == len(verified) else None
