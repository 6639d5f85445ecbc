"""A dataset as the place that `pack` adds samples to: its keys, classes and splits decide what may come, and how.

Each question is asked as soon as it can be: before any work where the samples are listed, otherwise of each sample.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shardpack.commit.bucket_target import no_check
from shardpack.commit.namespace_target import NamespaceTarget
from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.edit.base import EditBase
from shardpack.edit.duplicates import DuplicateKeys
from shardpack.errors import OptionError
from shardpack.format.manifest import OWN_FOLDER
from shardpack.format.naming import key_bytes
from shardpack.format.split_names import in_split_order
from shardpack.runtime.progress import Announce
from shardpack.sources.class_numbers import ClassNumbers, is_label_field, number_classes
from shardpack.sources.listing import Listing
from shardpack.sources.splits import only_split, with_splits
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.subfolder import subfolder
from shardpack.write.number_step import NumberClasses
from shardpack.write.place import Incoming

if TYPE_CHECKING:
    from shardpack.table.packed_rows import PackedRows

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller wants of the splits and labels of new samples.

    Attributes:
        split: The split that all samples come from and go to; None for their own.
        same_classes: Whether the numbers of a source without a class list are those of the dataset.
        takes_labels: Whether labels are among the fields that are packed.
        renumbers: Whether labels may be changed to have the numbers of the dataset; otherwise that is an error.
    """

    split: str | None = None
    same_classes: bool = False
    takes_labels: bool = True
    renumbers: bool = True


class AppendPlace:
    """Where appended samples go.

    Attributes:
        classes: The class list that the dataset has afterwards; as it is until samples are admitted.
        is_checked: Whether the keys of all samples were compared with those of the dataset.
    """

    is_new = False  # shards are compressed as the dataset's are, whatever fields there are

    def __init__(
        self,
        base: EditBase,
        duplicates: DuplicateKeys,
        wishes: Wishes,
        *,
        tag: str,
        folder: str,
        announce: Announce,
        check: Callable[[], None] = no_check,
        rows: PackedRows | None = None,
    ) -> None:
        """Add to a generation of a dataset.

        Args:
            base: The generation.
            duplicates: What is done with keys that it has.
            wishes: What the caller wants of splits and labels.
            tag, folder: Of the edit; see `EditTransaction`.
            announce: Told what is appended to what.
            check: Called before each write: raises if a newer run of the same edit has taken over. One GET in a bucket.
            rows: Takes each shard on its way to a bucket, for the label table.
        """
        self._base, self._duplicates, self._tag, self._folder, self._check = base, duplicates, tag, folder, check
        self._wishes, self._announce, self._rows = wishes, announce, rows
        self.store: WritableStore = base.store
        self.classes = base.manifest.classes
        self.is_checked = False

    def target(self, *, work_dir: str | os.PathLike[str] | None = None, shared: bool = False) -> Target:
        """Return a target in which a new dataset becomes shards of this one."""
        check = self._check
        inner = target_of(subfolder(self.store, self._folder), work_dir=work_dir, shared=shared, check=check)
        outer = self._base.target
        if self.store.folder is None:
            outer = target_of(self.store, shared=True, check=check, look=self._look)
        return NamespaceTarget(outer, inner, tag=self._tag, location=self.location[0])

    def _look(self, name: str, path: Path) -> None:
        """Look at a shard before it is uploaded: by then, all classes are known."""
        if self._rows is not None:
            self._rows.add(name, path, classes=self.classes)

    @property
    def location(self) -> tuple[int, tuple[str, ...]]:
        """Number of the dataset's own folder among its locations, and these, with that folder."""
        locations = self._base.manifest.locations
        if OWN_FOLDER not in locations:
            locations = (*locations, OWN_FOLDER)
        return locations.index(OWN_FOLDER), locations

    def refuse(self, stores: Iterable[Store]) -> None:
        """Refuse nothing: no file of the dataset is changed, so its own samples may be packed into it, changed."""

    def admit(self, listing: Listing, *, keeps_keys: bool) -> Listing:
        """Return the samples with the classes and splits of the dataset.

        Raises:
            DuplicateKeyError: The dataset has their keys, and they do not replace its samples.
            OptionError: It is not clear what their labels mean, or which splits they are in.
            SourceError: A label contradicts the class list of the source.
        """
        listing = self._in_splits(listing)
        if keeps_keys:
            self._duplicates.check(list(map(key_bytes, listing.keys)))
            self.is_checked = True
        own = listing.classes if self._wishes.takes_labels else None
        known = self._known_classes(own)
        if known is not None and self._wishes.takes_labels:
            if any(map(is_label_field, listing.fields)):
                self._refuse_renumbering(known, own)
            listing = number_classes(listing, known, is_same=self._wishes.same_classes)
        else:
            listing = replace(listing, classes=known)
        self._say(listing.classes, listing.split_names)
        return listing

    def admit_rows(self, classes: Sequence[str] | None, splits: Iterable[str | None]) -> Incoming:
        """Return what is made of samples as they come. Raises as `admit`, but for duplicate keys."""
        own = tuple(classes) if classes is not None and self._wishes.takes_labels else None
        known = self._known_classes(own)
        own_splits = {name for name in splits if name is not None}
        chosen, only = self._split_of(own_splits)
        named = own_splits if chosen is None else (chosen,)
        if known is None:
            self._say(None, named)
            return Incoming(None, split=chosen, only_split=only)
        numbers = ClassNumbers.of(known, own, is_same=self._wishes.same_classes)
        self._say(numbers.names, named)
        needs_step = self._wishes.takes_labels and not numbers.changes_nothing
        steps = (NumberClasses(numbers),) if needs_step else ()
        return Incoming(numbers.names, steps, split=chosen, only_split=only)

    # Classes

    def _known_classes(self, own: Sequence[str] | None) -> tuple[str, ...] | None:
        """Return the classes that the dataset has before the source adds some; None if there is not a list at all.

        Raises:
            OptionError: Only the source has a list, and the dataset has labels.
        """
        manifest = self._base.manifest
        if manifest.classes is not None or own is None:
            return manifest.classes
        if manifest.num_visible and any(map(is_label_field, manifest.fields)):
            raise OptionError(
                f"the source has a class list ({_shown(own)}), and the dataset in {self._base.location!r} has labels "
                "without one, so nobody says whether its numbers mean the same; append without labels "
                "(fields=['jpg'], --fields jpg), or pack the dataset again with classes=[...]"
            )
        return ()

    def _refuse_renumbering(self, known: Sequence[str], own: Sequence[str] | None) -> None:
        if self._wishes.renumbers or own is None or ClassNumbers.of(known, own).changes_nothing:
            return
        raise OptionError(
            f"the source numbers its classes ({_shown(own)}) differently from the dataset ({_shown(known)}); pass "
            "reconcile=True (--reconcile) to renumber the labels that are appended"
        )

    def _say(self, classes: Sequence[str] | None, splits: Iterable[str]) -> None:
        """Tell what is appended to what, and which classes and splits are new."""
        manifest = self._base.manifest
        self.classes = None if classes is None else tuple(classes)
        new_splits = () if manifest.splits is None else set(splits).difference(manifest.splits.samples)
        said = "".join(
            f"; new {what}: {_shown(new)}"
            for what, new in (("classes", self.new_classes), ("splits", in_split_order(new_splits)))
            if new
        )
        count = f"{manifest.num_visible:,} sample{'s' * (manifest.num_visible != 1)}"
        self._announce(f"appends to {self._base.location}: {count}{said}")

    @property
    def new_classes(self) -> tuple[str, ...]:
        """Classes that the samples add to the list of the dataset."""
        return (self.classes or ())[len(self._base.manifest.classes or ()) :]

    # Splits

    def _in_splits(self, listing: Listing) -> Listing:
        chosen, only = self._split_of(listing.split_names)
        if only is not None:
            listing = only_split(listing, only)
        return listing if chosen is None else with_splits(listing, [chosen] * listing.num_samples)

    def _split_of(self, own: Iterable[str]) -> tuple[str | None, str | None]:
        """Return the split that all samples go to, and the split of the source that alone is packed; None: see there.

        Raises:
            OptionError: It is not clear which splits the samples are in.
        """
        names, file = in_split_order(own), self._base.manifest.splits
        is_new = not self._base.manifest.num_visible
        where = f"the dataset in {self._base.location!r}"
        if self._wishes.split is not None:
            if file is None and not is_new and not names:
                raise OptionError(
                    f'{where} has no splits; make them with "shardpack split" first, or leave out split (--split)'
                )
            has_splits = file is not None or is_new
            return self._wishes.split if has_splits else None, self._wishes.split if names else None
        if names and file is None and not is_new:
            raise OptionError(
                f"the source has the splits {_shown(names)}, and {where} has none; say which of them to append with "
                f"split={names[0]!r} (--split {names[0]})"
            )
        if file is not None and not names and file.appended is None:
            raise OptionError(
                f"{where} has the splits {_shown(list(file.samples))}, and the source has none; say which one its "
                "samples are in with split=NAME (--split NAME)"
            )
        return None, None


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
