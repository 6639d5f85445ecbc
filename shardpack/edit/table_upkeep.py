"""The next generation with a label table that is up to date: for edits that change labels, images or splits.

next generation --its new files are put--> read what changed --> rows --> the same next generation, naming them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from shardpack.commit.edit_transaction import EditTransaction
from shardpack.edit.base import EditBase
from shardpack.format.manifest import Manifest
from shardpack.format.named_files import Parts
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.table.heads import FactFields

Next = tuple[Manifest, list[tuple[str, Parts]]]  # as `next_generation` returns it


def of_table(fields: Iterable[str], positions: Integers) -> Integers | None:
    """Return the samples whose rows an edit of some fields changes: all of those given, or None for no sample."""
    read = FactFields.among(fields)
    return positions if read.labels or read.images else None


def next_with_table(
    base: EditBase,
    transaction: EditTransaction,
    make: Callable[..., Next],
    *,
    changed: Integers | None = None,
    announce: Announce = no_announcement,
    progress: Progress = no_progress,
) -> Next:
    """Return the next generation with the table brought up to date; without a table, as `make` returns it.

    Args:
        base: The generation that the transaction edits.
        transaction: Puts the files of the edit and of the table; none that a manifest names is written again.
        make: `next_generation` with all of its arguments but `table`.
        changed: Stored positions of the samples whose labels or images change, in any order; None for no sample.
        announce: Called with a line if the table is dropped, because pyarrow is not installed.
        progress: Called as progress("table", rows done, total).

    Raises:
        DecodeError: A new label is not what its field's name says.
    """
    manifest, files = make()
    if not base.manifest.table:
        return manifest, files
    from shardpack.table.rows import Naming
    from shardpack.table.update import Change, updated_table

    *new, (_, text), _ = files
    for name, parts in new:
        transaction.put(name, parts)
    edited = base.at(b"".join(text), manifest)
    try:
        change = Change(
            Naming(manifest.classes, edited.cache.splits),
            edited=edited.cache,
            changed=None if changed is None else np.unique(changed),
            new_splits=manifest.splits != base.manifest.splits,
        )
        update = updated_table(base, change, put=transaction.put, progress=progress)
    finally:
        edited.cache.close()
    if update.dropped:
        announce(update.dropped)
    return make(table=update.table)
