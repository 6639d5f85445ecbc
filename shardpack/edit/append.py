"""Append the samples of a source to a dataset: packed as ever, under names of this edit, then named by the manifest.

    source -> `pack` in a namespace of the dataset -> shards, a hidden manifest -> next generation

Nothing old is read but keys, and nothing old is written again but the manifest (SPEC 6.6).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from shardpack.commit.bucket_target import no_check
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.commit.generations import newest_undamaged
from shardpack.commit.target import Target
from shardpack.edit.added_shards import AddedShards
from shardpack.edit.append_place import AppendPlace, Wishes
from shardpack.edit.append_request import append_digest, append_request, check_options
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.duplicates import DuplicateKeys, OnDuplicate
from shardpack.edit.inherited_splits import count_drawn, extended_splits, inherited_splits
from shardpack.edit.label_values import other_label_field
from shardpack.edit.report import EditReport
from shardpack.errors import OptionError, OutputExistsError, ShardpackError
from shardpack.format.layout import file_path, is_index_path, is_packer_name
from shardpack.format.manifest import Manifest
from shardpack.format.named_files import Parts
from shardpack.format.next_generation import KEEP, next_generation
from shardpack.format.shard_info import samples_per_field
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import Splits, parse_splits, splits_of_shards
from shardpack.runtime.arguments import one_of
from shardpack.sources.class_numbers import LABEL_FIELDS
from shardpack.storage.open import Writable
from shardpack.storage.url import is_path
from shardpack.write.pack import Packable, pack_source
from shardpack.write.report import PackReport
from shardpack.write.request import PackRequest

if TYPE_CHECKING:
    from shardpack.table.packed_rows import PackedRows


@dataclass(frozen=True, slots=True)
class AppendReport(EditReport):
    """What an append did, or would do with `dry_run`.

    Attributes:
        replaced: How many of the added samples took the place of one with their key, which counts as deleted, too.
        new_classes: Classes that were added at the end of the dataset's list.
        new_fields: Fields that no sample of the dataset had before.
        packed: What packing the added samples reports; None if an earlier run of this call had committed already.
    """

    replaced: int = 0
    new_classes: Sequence[str] = ()
    new_fields: Sequence[str] = ()
    packed: PackReport | None = None


def append_source(
    source: Packable,
    dataset: Writable,
    *,
    on_duplicate: OnDuplicate = "raise",
    classes: Any = None,
    split: str | None = None,
    reconcile: bool = False,
    single_writer: bool = False,
    allow_locations: bool | Sequence[str] = False,
    options: Mapping[str, Any],
) -> AppendReport:
    """Append samples; see `shardpack.append`.

    Args:
        source, dataset, on_duplicate, classes, split, reconcile, single_writer, allow_locations: As `append` takes
            them, but that a dataset as source is open.
        options: Those of `pack`.
    """
    began = time.perf_counter()
    one_of("on_duplicate", on_duplicate, ("raise", "replace"))
    check_options(options)
    storage_options = None if is_path(dataset) else options.get("storage_options")  # else they are for the source
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)
    same_classes = classes == "same"
    request = append_request(base.manifest, {**options, "classes": None if same_classes else classes})
    is_listed = hasattr(source, "listing") or isinstance(source, (str, os.PathLike))
    wishes = Wishes(
        split=split,
        same_classes=same_classes or not is_listed,  # samples from code are labelled as the dataset is
        takes_labels=request.fields is None or not LABEL_FIELDS.isdisjoint(request.fields),
        renumbers=reconcile or not hasattr(source, "listing"),
    )
    call = partial(_Append, source, request, wishes, on_duplicate=on_duplicate, is_listed=is_listed, began=began)
    with closing(base):
        if request.dry_run:
            return call(base).dry_run()
        digest = append_digest(source, base, request, split)
        with base.begin("append", run_digest=digest, single_writer=single_writer) as transaction:
            current = base.of(transaction)
            with closing(current), _packed_rows(current, request) as rows:
                return call(current, rows=rows).commit(transaction)


@contextmanager
def _packed_rows(base: EditBase, request: PackRequest) -> Iterator[PackedRows | None]:
    """Yield what makes rows of shards on their way to a bucket; None in a folder, and without a label table."""
    if base.store.folder is not None or not base.manifest.table:
        yield None
        return
    from shardpack.table.packed_rows import rows_before_upload

    with rows_before_upload(request.work_dir) as rows:
        yield rows


class _Append:
    """One call, on one generation."""

    def __init__(
        self,
        source: Packable,
        request: PackRequest,
        wishes: Wishes,
        base: EditBase,
        *,
        on_duplicate: OnDuplicate,
        is_listed: bool,
        began: float,
        rows: PackedRows | None = None,
    ) -> None:
        self._source, self._request, self._wishes, self._base = source, request, wishes, base
        self._is_listed, self._began, self._rows = is_listed, began, rows
        self._duplicates = DuplicateKeys(base, on_duplicate)

    def dry_run(self) -> AppendReport:
        """Return what would be appended."""
        place = self._place("g000000-00000000", "nowhere")
        packed = self._pack(place)
        manifest = self._base.manifest
        replaced = len(self._duplicates.replaced)
        return self._report(manifest.generation, packed.num_samples, replaced, place.new_classes, packed)

    def _place(self, tag: str, folder: str, check: Callable[[], None] = no_check) -> AppendPlace:
        return AppendPlace(
            self._base,
            self._duplicates,
            self._wishes,
            tag=tag,
            folder=folder,
            announce=self._request.announce,
            check=check,
            rows=self._rows,
        )

    def _pack(self, place: AppendPlace) -> PackReport:
        return pack_source(self._source, self._base.location, self._request, place=place)

    def commit(self, transaction: EditTransaction) -> AppendReport:
        """Append the samples."""
        base, totals = self._base, transaction.totals
        if transaction.complete:
            parent = base.manifest.generation - 1
            return self._report(parent, totals["added"], totals["replaced"], totals["new_classes"], None, is_done=True)
        if not self._is_listed:
            transaction.advice = "run the same append command again: samples from code are packed anew"
        place = self._place(transaction.tag, transaction.folder, transaction.check_claim)
        work_dir = None if base.store.folder is not None else self._request.work_dir
        target = place.target(work_dir=work_dir)
        is_committing = False
        try:
            packed = self._pack(place)
            added = AddedShards.of(target)
            if not place.is_checked:
                self._duplicates.check(added.keys(target))
            made = added.num_samples, len(self._duplicates.replaced)
            report = self._report(base.manifest.generation, *made, place.new_classes, packed)
            if not added.num_samples:
                self._discard(transaction, target)
                return report
            self._refuse_other_labels(transaction, added, target)
            totals = {"added": report.added, "replaced": report.replaced, "new_classes": list(report.new_classes)}
            manifest, files = self._next(transaction, place, added, target, totals)
            is_committing = True
            transaction.commit(manifest, files, totals=totals)
        except Exception as error:
            # What is made of an iterable is made again by the next run. A commit that fails otherwise may be done.
            if not self._is_listed and (not is_committing or isinstance(error, OutputExistsError)):
                self._discard(transaction, target)
            raise
        return report

    def _refuse_other_labels(self, transaction: EditTransaction, added: AddedShards, target: Target) -> None:
        """Raise OptionError if the dataset would have JSON labels in two fields; then nothing made is kept."""
        base = self._base
        if (found := other_label_field(base.manifest.fields, samples_per_field(added.shards))) is None:
            return
        self._discard(transaction, target)
        raise OptionError(
            f"the new samples have labels in {found[0]!r}, and the dataset in {base.location!r} in {found[1]!r}; "
            f"append samples that have them in {found[1]!r}, or leave them out (fields=[...], --fields); "
            "nothing was changed"
        )

    def _next(
        self,
        transaction: EditTransaction,
        place: AppendPlace,
        added: AddedShards,
        target: Target,
        totals: Mapping[str, Any],
    ) -> tuple[Manifest, list[tuple[str, Parts]]]:
        """Return the next generation and its files."""
        base, replaced, splits = self._base, self._duplicates.replaced, self._splits(added, target)
        number, locations = place.location
        return next_generation(
            base.manifest,
            base.text,
            shards=added.named(transaction.tag, number),
            hashes=added.hashes,
            base_chain=base.chain() if base.manifest.deleted or base.manifest.layers or len(replaced) else None,
            deleted=replaced if len(replaced) else None,
            classes=place.classes,
            splits=splits,
            table=self._table(transaction, place, added, splits),
            locations=locations,
            edit={"command": "append", **totals},
            read=base.read,
        )

    def _discard(self, transaction: EditTransaction, target: Target) -> None:
        """Delete all that this run has made; no manifest of the dataset names it."""
        with suppress(ShardpackError, OSError):  # then `gc` does it
            newest = newest_undamaged(target)
            shards = [] if newest is None else list(ShardTable.whole(newest.manifest, target.read))
            made = [name for info in shards for name in (info.name, info.index_path)]
            target.delete(made + [name for name in target.names() if is_packer_name(name) or is_index_path(name)])
            transaction.discard()

    def _splits(self, added: AddedShards, target: Target) -> Any:
        """Return the splits of the dataset with those of the new samples.

        Shards are named by splits that the call or the source names; others keep that of the sample they replace.
        """
        new, old = splits_of_shards(added.shards), self._old_splits()
        if old is not None and len(self._duplicates.replaced) and self._wishes.split is None:
            replaced = self._duplicates.replaced_of(added.keys(target))
            self._announce_drawn(count_drawn(old, new, replaced, added.hashes))
            new = inherited_splits(old, new, replaced)
        return KEEP if new is None else extended_splits(old, new, first=self._base.manifest.num_samples)

    def _announce_drawn(self, count: int) -> None:
        if count:
            self._request.announce(
                f"{count:,} replaced sample{'s were' if count > 1 else ' was'} in no split; the new "
                f"{'ones fall' if count > 1 else 'one falls'} into one by the hash of the key"
            )

    def _old_splits(self) -> Splits | None:
        manifest, file = self._base.manifest, self._base.manifest.splits
        if file is None:
            return None
        data = self._base.read(file)
        return parse_splits(data, file, num_samples=manifest.num_samples, path=file_path(file))

    def _table(self, transaction: EditTransaction, place: AppendPlace, added: AddedShards, splits: Any) -> Any:
        """Return the files of the label table with rows for the new samples; none if it has no table."""
        base = self._base
        if not base.manifest.table:
            return ()
        from shardpack.table.rows import Naming
        from shardpack.table.update import Change, updated_table

        whole = self._old_splits() if splits is KEEP else splits
        cache = added.cache(base, transaction.tag, *place.location)
        try:
            naming = Naming(place.classes, added.splits(whole, base.manifest.num_samples))
            update = updated_table(
                base,
                Change(naming, appended=cache, packed=self._rows),
                put=transaction.put,
                work_dir=self._request.work_dir,
                progress=self._request.progress,
            )
        finally:
            cache.close()
        if update.dropped:
            self._request.announce(update.dropped)
        return update.table

    def _report(
        self,
        parent: int,
        added: int,
        replaced: int,
        new_classes: Sequence[str],
        packed: PackReport | None,
        *,
        is_done: bool = False,
    ) -> AppendReport:
        visible = self._base.manifest.num_visible
        return AppendReport(
            command="append",
            location=self._base.location,
            generation=parent + (1 if added else 0),
            parent=parent,
            num_samples=visible if is_done else visible + added - replaced,
            added=added,
            deleted=replaced,
            seconds=time.perf_counter() - self._began,
            dry_run=self._request.dry_run,
            replaced=replaced,
            new_classes=tuple(new_classes),
            new_fields=tuple(
                sorted(set(packed.samples_per_field).difference(self._base.manifest.fields) if packed else ())
            ),
            packed=packed,
        )
