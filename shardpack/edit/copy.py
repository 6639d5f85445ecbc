"""Copy a dataset from any store to any other; check every byte on the way, and continue an interrupted copy.

Its layers are copied into it (`.shardpack/layers/`), each as a dataset of its own (`copy_run.py`), before its manifest
names them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import check_writable
from shardpack.commit.target import Target
from shardpack.edit.copy_parts import CopyPart, parts_of
from shardpack.edit.copy_run import CopyRun, copied_bytes
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_dataset import load_manifest
from shardpack.runtime.arguments import as_jobs
from shardpack.runtime.progress import ByteProgress, Progress, no_progress
from shardpack.storage.adapter import adapt
from shardpack.storage.atomic import storage_errors
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import Writable, as_writable, open_store, refuse_same_store
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.subfolder import subfolder
from shardpack.storage.url import is_url

JOBS = 4  # default number of shards at once; each takes up to 32 MiB of memory


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, or what would be copied with `dry_run`.

    Attributes:
        source, target: Both locations, without secrets.
        num_samples, num_shards, num_bytes: Totals of the dataset and its layers; samples are the visible ones, and
            the bytes are those of the tars.
        copied_shards: How many shards were not in the target yet.
        copied_bytes: Bytes of the tars and indexes of those shards.
        seconds: Wall time.
        dry_run: Whether nothing was written.
        num_layers, num_generations: How many layers the copy has, and how many generations.
        left_out: Names of tars that are not in the copy: they are missing or have another length, and no sample of
            them is visible, as of a tar whose whole samples `repair` has saved.
    """

    source: str
    target: str
    num_samples: int
    num_shards: int
    num_bytes: int
    copied_shards: int
    copied_bytes: int
    seconds: float = 0.0
    dry_run: bool = False
    num_layers: int = 0
    num_generations: int = 1
    left_out: tuple[str, ...] = ()


def copy(
    source: str | os.PathLike[str] | Store,
    target: Writable,
    *,
    storage_options: Mapping[str, Any] | None = None,
    target_storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    history: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy a dataset to another folder or bucket, byte for byte; return what was copied.

    Compares length and CRC32C of every file with the manifest on the way, and writes the manifest last.
    The same call continues an interrupted copy. If the target already holds this dataset, the call
    repairs it: files of a wrong length are copied again, and all others stay as they are.
    A tar that is not whole, and of which no sample is visible, is left out: nobody reads it.

    Args:
        source: A folder, URL or store that `shardpack.open` reads. Tars in other locations than the
            manifest are beside it in the copy, and layers in its `.shardpack/layers/`.
        target: A folder or URL that `shardpack.pack` writes to, or a store that can be written to.
        storage_options: Options of the source, if it is a URL.
        target_storage_options: Options of the target, if it is a URL.
        allow_locations: For the source, as `shardpack.open` takes it.
        work_dir: Local folder for up to `jobs` shards in transit; used only when the target is a bucket
            and the source is not a local folder. Default: the temporary folder.
        jobs: How many shards to copy at once. Default: 4.
        history: Copy all generations that are kept; by default the newest alone. Only for a dataset that is all in
            one place.
        force: Replace another dataset in the target. If the target holds this dataset, compare the
            checksum of every file instead of its length.
        dry_run: Return what would be copied, but write nothing.
        progress: Called as progress("copy", bytes done, total bytes).

    Raises:
        DatasetNotFoundError: `source` does not hold a dataset.
        OptionError: Source and target are the same, or tars of two locations have the same name and so
            cannot be in one folder; or `history` is asked for and something lies elsewhere.
        OutputExistsError: `target` holds another dataset, or files that no dataset lists.
        CorruptShardError: A file of the source does not match its manifest.
        StorageError: Reading or writing failed; what was finished is kept for the next call.
    """
    began = time.perf_counter()
    jobs = as_jobs(jobs)
    if isinstance(source, (str, os.PathLike)):
        source = open_store(source, storage_options if is_url(source) else None)
    source_store, target_store = adapt(source), as_writable(target, target_storage_options)
    destination = target_of(target_store, work_dir=work_dir)
    refuse_same_store([source_store], target_store)
    text, manifest = load_manifest(source_store)
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    parts = parts_of(source_store, text, manifest, options, history=history)
    refuse_same_store([tars for part in parts.all for tars in part.stores.tars], target_store)
    total = sum(copied_bytes(info) for part in parts.all for info in part.copied_shards)
    make = partial(_Run, jobs=JOBS if jobs is None else jobs, counter=ByteProgress("copy", total, progress))
    stores = [subfolder(target_store, part.folder) for part in parts.layers]
    targets = [target_of(store, work_dir=work_dir) for store in stores]
    base = make(parts.base, target_store, destination)
    layers = list(map(make, parts.layers, stores, targets))
    with storage_errors(f"write to {destination.location!r}"):
        missing = _copy(base, layers, force=force, dry_run=dry_run)
    return CopyReport(
        source=source_store.location,
        target=destination.location,
        num_samples=manifest.num_visible,
        num_shards=sum(len(part.joined.shards) for part in parts.all),
        num_bytes=sum(part.joined.manifest.num_bytes for part in parts.all),
        copied_shards=len(missing),
        copied_bytes=sum(map(copied_bytes, missing)),
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
        num_layers=len(manifest.layers),
        num_generations=parts.num_generations,
        left_out=tuple(parts.base.shards[number].name for number in sorted(parts.base.without_tars)),
    )


class _Run:
    """The copying of one part, and where it goes."""

    def __init__(
        self, part: CopyPart, store: WritableStore, target: Target, *, jobs: int, counter: ByteProgress
    ) -> None:
        """Prepare to copy a part to a place, as a store and as a target."""
        self.run = CopyRun(
            part.stores,
            part.shards,
            part.joined,
            jobs=jobs,
            progress=counter,
            earlier=part.earlier,
            without_tars=part.without_tars,
        )
        self.folder, self.target, self.store = part.folder, target, store

    def is_there(self) -> bool:
        """Return whether the target holds this very dataset."""
        return self.target.read(MANIFEST_PATH) == self.run.text

    def repair(self, *, every_byte: bool, dry_run: bool) -> list[ShardInfo]:
        """Copy what is missing or damaged of a dataset that is there, or all of one that is not."""
        if self.is_there():
            return self.run.repair(self.target, self.store, every_byte=every_byte, dry_run=dry_run)
        return self.run.missing(self.target) if dry_run else self.run.fill(self.target, force=True)


def _copy(base: _Run, layers: Sequence[_Run], *, force: bool, dry_run: bool) -> list[ShardInfo]:
    """Copy a dataset and its layers; return the shards that were not there yet."""
    of_layers: list[ShardInfo] = []

    def copy_layers(*, every_byte: bool = False) -> None:
        for layer in layers:
            of_layers.extend(layer.repair(every_byte=every_byte, dry_run=dry_run))

    if base.is_there():
        copy_layers(every_byte=force)
        of_base = base.run.repair(base.target, base.store, every_byte=force, dry_run=dry_run)
        return [*of_base, *of_layers]
    if dry_run or force:  # refuse before anything is deleted what would be refused later
        check_writable(base.target, "copy", force=force)
        base.target.refresh()
        of_base = base.run.missing(base.target)
    if dry_run:
        copy_layers()
    else:
        of_base = base.run.fill(base.target, force=force, layers=[layer.folder for layer in layers], then=copy_layers)
    return [*of_base, *of_layers]
