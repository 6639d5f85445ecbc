"""Delete samples from a dataset: their shards stay as they are, and the next generation does not show them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.edit.base import EditBase, open_base
from shardpack.edit.report import EditReport
from shardpack.errors import OptionError, UnknownKeyError
from shardpack.format.next_generation import next_generation
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.open import Writable

_SHOWN = 3
_KEYS_PER_STEP = 1 << 12


def delete(
    dataset: Writable,
    keys: Iterable[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    single_writer: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> EditReport:
    """Delete samples by their keys; return what was deleted.

    Makes the next generation of the dataset, in which they are not there; earlier generations still show them
    (`shardpack.open(..., generation=N)`), and no shard is changed. A key that several samples have deletes all of them.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        keys: The keys, in any order.
        storage_options, allow_locations: As `shardpack.open` takes them.
        single_writer: Promise that nobody else edits the dataset meanwhile: only for stores that cannot create an
            object only if it is absent.
        dry_run: Return what would be deleted, but write nothing.
        progress: Called as progress("find", keys done, all keys).

    Raises:
        UnknownKeyError: No sample has one of the keys, or it is deleted already. Nothing was deleted.
        DatasetNotFoundError: `dataset` does not hold a dataset.
        OutputExistsError: Another edit came first, or another process is writing there. Nothing was deleted.
        OptionError: There are no keys, or an option does not fit the location.
        StorageError: The place refused; the same call continues where this one stopped.

    Example:
        >>> report = shardpack.delete("out/", ["cat/0001"], dry_run=True)
        >>> report.deleted, report.num_samples
        (1, 0)
    """
    began = time.perf_counter()
    wanted = sorted({keys} if isinstance(keys, str) else set(keys))
    if not wanted:
        raise OptionError("no keys are given; name the samples to delete")
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)
    if dry_run:
        positions = _positions(base, wanted, progress)
        return _report(base, len(positions), began, dry_run=True)
    digest = xxh3_128_hexdigest(json.dumps(wanted).encode())
    with base.begin("delete", run_digest=digest, single_writer=single_writer) as transaction:
        base = base.of(transaction)
        if transaction.complete:
            return _report(base, transaction.totals["deleted"], began, complete=True)
        positions = _positions(base, wanted, progress)
        manifest, files = next_generation(
            base.manifest,
            base.text,
            base_chain=base.chain(),
            deleted=positions,
            edit={"command": "delete", "deleted": len(positions)},
            read=base.read,
        )
        transaction.commit(manifest, files, totals={"deleted": len(positions)})
    return _report(base, len(positions), began)


def _positions(base: EditBase, keys: Sequence[str], progress: Progress) -> npt.NDArray[np.int64]:
    """Return the stored positions of all samples with these keys, ascending.

    Raises:
        UnknownKeyError: No sample has one of the keys.
    """
    hidden = base.deleted()
    positions: list[int] = []
    unknown: list[str] = []
    for begin in range(0, len(keys), _KEYS_PER_STEP):
        step = keys[begin : begin + _KEYS_PER_STEP]
        together = base.lookup.find_many(step)
        for key in step:
            found = together[key] if key in together else base.lookup.find_all(key)
            found = [position for position in found if position not in hidden]
            positions += found
            if not found:
                unknown.append(key)
        progress("find", min(begin + _KEYS_PER_STEP, len(keys)), len(keys))
    if unknown:
        shown = ", ".join(map(repr, unknown[:_SHOWN]))
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        raise UnknownKeyError(
            f'no such key: {shown}{more}, in {base.location!r}; nothing was deleted, list the keys with "shardpack ls"'
        )
    return np.sort(np.array(positions, np.int64))


def _report(base: EditBase, deleted: int, began: float, *, dry_run: bool = False, complete: bool = False) -> EditReport:
    """Return the report; if the edit is complete, `base` is what it made."""
    manifest = base.manifest
    parent = manifest.generation - 1 if complete else manifest.generation
    return EditReport(
        command="delete",
        location=base.location,
        generation=parent + 1,
        parent=parent,
        num_samples=manifest.num_visible - (0 if complete else deleted),
        deleted=deleted,
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )
