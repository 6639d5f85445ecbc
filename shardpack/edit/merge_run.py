"""The writing of a merged dataset: indexes, tars if they are copied, layers, the label table; the manifest last.

shards of all inputs --named from where they are, or under new names--> journal (`commit/transaction.py`) --> manifest
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.edit.broken_tars import find_needless_tars
from shardpack.edit.merge_labels import RenumberedLabels
from shardpack.edit.merge_layers import MergedLayer
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.edit.merge_table import write_joined_table
from shardpack.errors import OptionError, StaleIndexError
from shardpack.format.assemble import encode_dataset
from shardpack.format.checksum import crc32c
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.layout import edit_tag, shard_name, split_of_shard
from shardpack.format.manifest import OWN_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.progress import ByteProgress, Progress
from shardpack.runtime.threads import call_all
from shardpack.storage.atomic import storage_errors
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.relative_location import relative_location
from shardpack.storage.transfer import checked_object
from shardpack.storage.url import is_url

_INDEXES_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class MergedShard:
    """A shard of an input, and what it is in the merged dataset.

    Attributes:
        source: The input.
        old, info: The shard there, and in the merged dataset.
        is_copied: Whether its tar is copied. Otherwise it stays where it is; or it is not whole, and no sample of it
            visible, so that nobody reads it.
    """

    source: MergeInput
    old: ShardInfo
    info: ShardInfo
    is_copied: bool


@dataclass(frozen=True, slots=True, eq=False)
class MergedShards:
    """The shards of a merged dataset.

    Attributes:
        all: The shards, in order.
        locations: Where their tars are, as the manifest names it.
    """

    all: Sequence[MergedShard]
    locations: Sequence[str]

    @classmethod
    def named(cls, plan: MergePlan, home: Store) -> MergedShards:
        """Return the shards where they are; `home` is the store of the merged dataset.

        Raises:
            OptionError: A location cannot be named there.
        """
        numbers: dict[str, int] = {}
        shards: list[MergedShard] = []
        for each in plan.inputs:
            found = []
            for tars in each.cache.stores.tars:
                if tars.folder is None and not is_url(tars.location):
                    raise OptionError(
                        f"{tars.location!r} has no URL that a manifest could name; pass copy=True (--copy)"
                    )
                location = relative_location(home.location, tars.folder or tars.location)
                found.append(numbers.setdefault(location, len(numbers)))
            for info in each.cache.shard_list:
                moved = replace(info, location=found[info.location])
                shards.append(MergedShard(each, info, moved, is_copied=False))
        return cls(shards, list(numbers) or [OWN_FOLDER])

    @classmethod
    def copied_from(cls, plan: MergePlan) -> MergedShards:
        """Return the shards under names that differ, all in the dataset's own folder."""
        shards: list[MergedShard] = []
        for number, each in enumerate(plan.inputs):
            tag = edit_tag(1, crc32c(f"{number} {each.manifest.fingerprint}".encode()))
            counts = Counter[str | None]()
            needless = find_needless_tars(each.cache.stores, each.manifest, each.cache.shard_list)
            for position, info in enumerate(each.cache.shard_list):
                split = split_of_shard(info.name)
                name = shard_name(counts[split], split=split, compressed=info.name.endswith(COMPRESSED_SUFFIX), tag=tag)
                counts[split] += 1
                renamed = replace(info, name=name, location=0)
                shards.append(MergedShard(each, info, renamed, is_copied=position not in needless))
        return cls(shards, [OWN_FOLDER])

    @property
    def copied(self) -> list[MergedShard]:
        """Those whose tars are copied."""
        return [shard for shard in self.all if shard.is_copied]

    @property
    def not_copied(self) -> list[MergedShard]:
        """Those of which only the index is written."""
        return [shard for shard in self.all if not shard.is_copied]


class MergeRun:
    """One run.

    Attributes:
        total_bytes: How much it writes, if no earlier run has finished some of it.
    """

    def __init__(
        self,
        plan: MergePlan,
        shards: MergedShards,
        layers: Sequence[MergedLayer],
        *,
        jobs: int,
        progress: Progress,
    ) -> None:
        """Plan a run; writes nothing yet.

        Args:
            plan: What is merged.
            shards: All shards.
            layers: The layers that stay attached.
            jobs: How many shards are copied at once.
            progress: As `merge` takes it.
        """
        self._plan, self._shards, self._layers = plan, shards, layers
        self._jobs, self._tell = jobs, progress
        self.total_bytes = _written_bytes(shards.all) + sum(layer.copied_bytes for layer in layers)
        self._progress = ByteProgress("copy", self.total_bytes, progress)

    def write(
        self, store: WritableStore, target: Target, *, force: bool, work_dir: str | os.PathLike[str] | None
    ) -> None:
        """Write the merged dataset: its layers and table before anything names them."""
        plan, jobs = self._plan, self._jobs
        with Transaction.new_dataset(target, "merge", force=force) as transaction:
            self._write_shards(transaction)
            layers = [
                layer.write(store, jobs=jobs, progress=self._progress, work_dir=work_dir) for layer in self._layers
            ]
            layers += RenumberedLabels(plan, self._tell).write(store, work_dir=work_dir)
            _, files = encode_dataset(
                [shard.info for shard in self._shards.all],
                plan.hashes,
                locations=self._shards.locations,
                unique_keys=plan.unique_keys,
                classes=plan.classes,
                splits=plan.splits,
                deleted=plan.deleted,
                layers=layers,
                label_table=write_joined_table(plan, transaction.put, work_dir=work_dir, progress=self._tell),
                packed_with=plan.packed_with(),
            )
            transaction.publish(files)

    def _write_shards(self, transaction: Transaction) -> None:
        """Write the indexes, and copy the tars; what an earlier run has finished stays."""
        shards, copied, missing = self._shards, self._shards.copied, []
        transaction.keep_only([shard.info.name for shard in copied])
        for shard in copied:
            if transaction.finished(shard.info.name, _digest(shard.info)) is None:
                transaction.drop(shard.info.name)
                missing.append(shard)
        self._progress.advance_to(_written_bytes(copied) - _written_bytes(missing))
        call_all(partial(self._put_index, transaction), shards.not_copied, limit=_INDEXES_AT_ONCE, purpose="merge")
        call_all(partial(self._copy, transaction), missing, limit=self._jobs, purpose="copy")

    def _put_index(self, transaction: Transaction, shard: MergedShard) -> None:
        info = shard.old
        data = shard.source.cache.stores.sidecars.get(info.index_path, max_bytes=info.index_bytes)
        if len(data) != info.index_bytes or crc32c(data) != info.index_crc32c:
            raise StaleIndexError(
                f"the index of a shard in {shard.source.location!r} is not the one that its manifest describes; check "
                f'it with "shardpack verify {shard.source.location}"',
                shard=info.name,
            )
        transaction.put(shard.info.index_path, [data])
        self._progress.advance(info.index_bytes)

    def _copy(self, transaction: Transaction, shard: MergedShard) -> None:
        stores, info, scratch = shard.source.cache.stores, shard.info, transaction.scratch
        index = (stores.sidecars, shard.old.index_path, info.index_path, info.index_bytes, info.index_crc32c)
        tar = (stores.of(shard.old), shard.old.name, info.name, info.num_bytes, info.crc32c)
        with storage_errors(f"write {scratch.join(info.name)!r}"), ExitStack() as stack:
            for store, old, name, num_bytes, checksum in (index, tar):
                new = scratch.new_file(name, expected_bytes=num_bytes)
                stack.callback(new.discard)
                for piece in checked_object(store, old, num_bytes=num_bytes, checksum=checksum):
                    new.write(piece)
                    self._progress.advance(len(piece))
                scratch.finish_file(name, new)
        transaction.deliver(info, _digest(info))


def _digest(info: ShardInfo) -> str:
    """Return a text that differs for different shards."""
    return "merge " + " ".join(map(str, (info.num_bytes, info.crc32c, info.index_bytes, info.index_crc32c)))


def _written_bytes(shards: Iterable[MergedShard]) -> int:
    return sum(shard.info.index_bytes + shard.info.num_bytes * shard.is_copied for shard in shards)
