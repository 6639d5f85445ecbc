"""Where `pack` writes to, and what must hold of the samples there: a new dataset, or one that grows.

A `Place` opens the target, and is shown the samples of the source as soon as they are known: a dataset that grows
(`edit/append.py`) refuses keys that it has, numbers classes as it does, and knows splits of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.sources.listing import Listing
from shardpack.storage.open import Writable, as_writable, refuse_same_store
from shardpack.storage.protocols import Store, WritableStore
from shardpack.write.transform import Step


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the place makes of samples that cannot be listed in advance.

    Attributes:
        classes: Class names in the order of their labels, for the manifest; None if there are none.
        steps: What each sample passes through before all other steps.
        split: The split that all samples are in; None for the source's own, or none.
        only_split: The only split of the source that is packed; None for all.
    """

    classes: Sequence[str] | None
    steps: tuple[Step, ...] = ()
    split: str | None = None
    only_split: str | None = None


class Place(Protocol):
    """Where samples are packed."""

    @property
    def is_new(self) -> bool:
        """Whether all options were given for this source; else some are those of the dataset that it is added to."""
        ...

    @property
    def store(self) -> WritableStore:
        """The store of the dataset."""
        ...

    def target(self, *, work_dir: str | os.PathLike[str] | None = None, shared: bool = False) -> Target:
        """Return what is written to; see `target_of`."""
        ...

    def refuse(self, stores: Iterable[Store]) -> None:
        """Raise OptionError if the source cannot be packed here because of where its samples are."""
        ...

    def admit(self, listing: Listing, *, keeps_keys: bool) -> Listing:
        """Return the samples as they are packed here, before any is read.

        Args:
            listing: All of them, checked.
            keeps_keys: Whether they have these keys when they are written.
        """
        ...

    def admit_rows(self, classes: Sequence[str] | None, splits: Iterable[str | None]) -> Incoming:
        """Return what is made of samples that are not listed, but whose classes and splits are known."""
        ...


class NewDataset:
    """A dataset of its own, with the classes and splits of the source."""

    is_new = True

    def __init__(self, out: Writable, storage_options: Mapping[str, Any] | None = None) -> None:
        self.store = as_writable(out, storage_options)

    def target(self, *, work_dir: str | os.PathLike[str] | None = None, shared: bool = False) -> Target:
        return target_of(self.store, work_dir=work_dir, shared=shared)

    def refuse(self, stores: Iterable[Store]) -> None:
        """Raise OptionError if the source is here: what is to be read could be replaced."""
        refuse_same_store(stores, self.store)

    def admit(self, listing: Listing, *, keeps_keys: bool) -> Listing:  # noqa: ARG002 - no other samples are here
        return listing

    def admit_rows(self, classes: Sequence[str] | None, splits: Iterable[str | None]) -> Incoming:  # noqa: ARG002
        return Incoming(classes)
