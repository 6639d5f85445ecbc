"""Delete samples from a dataset: their shards stay as they are, and the next generation does not show them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from shardpack.edit.base import EditBase, open_base
from shardpack.edit.find_keys import SHOWN, deleted_positions
from shardpack.edit.report import EditReport
from shardpack.errors import OptionError, SampleNotFoundError, UnknownKeyError
from shardpack.format.naming import key_bytes
from shardpack.format.next_generation import next_generation
from shardpack.read.selection import Selection
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.open import Writable


def delete(
    dataset: Writable,
    keys: Iterable[str] = (),
    *,
    where: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    single_writer: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> EditReport:
    """Delete samples by their keys, or by their labels; return what was deleted.

    Makes the next generation of the dataset, in which they are not there; earlier generations still show them
    (`shardpack.open(..., generation=N)`), and no shard is changed. A key that several samples have deletes all of them.
    Only indexes are read, so the samples of a tar that is lost can be deleted, too.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        keys: The keys, in any order.
        where: Delete the samples that an expression of SQL is true for, as `Dataset.where` takes it, instead of keys.
        storage_options, allow_locations: As `shardpack.open` takes them.
        single_writer: Promise that nobody else edits the dataset meanwhile: only for stores that cannot create an
            object only if it is absent.
        dry_run: Return what would be deleted, but write nothing.
        progress: Called as progress("find", keys done, all keys).

    Raises:
        UnknownKeyError: No sample has one of the keys, or it is deleted already. Nothing was deleted.
        SampleNotFoundError: `where` is not true for any sample. Nothing was deleted.
        DatasetNotFoundError: `dataset` does not hold a dataset.
        OutputExistsError: Another edit came first, or another process is writing there. Nothing was deleted.
        OptionError: Neither keys nor `where` are given, or both; a key is not a text; `where` is wrong; or an option
            does not fit the location.
        MissingDependencyError: `where` needs the extra `query`.
        StorageError: The place refused; the same call continues where this one stopped.

    Example:
        >>> report = shardpack.delete("out/", ["cat/0001"], dry_run=True)
        >>> report.deleted, report.num_samples
        (1, 0)
    """
    began = time.perf_counter()
    named = list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else [keys]
    if wrong := [key for key in named if not isinstance(key, str)]:
        raise OptionError(f"a key to delete is {wrong[0]!r:.60}, expected a text; correct it")
    wanted = sorted(set(named))
    if bool(wanted) is (where is not None):
        raise OptionError("name the samples to delete: by their keys, or by where (--where), not by both")

    def find(base: EditBase) -> Integers:
        base.cache.trust_indexes()
        return _with_keys(base, wanted, progress) if where is None else _matching(base, where)

    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)
    if dry_run:
        return _report(base, len(find(base)), began, dry_run=True)
    digest = xxh3_128_hexdigest(json.dumps([wanted, where]).encode())
    with base.begin("delete", run_digest=digest, single_writer=single_writer) as transaction:
        base = base.of(transaction)
        if transaction.complete:
            return _report(base, transaction.totals["deleted"], began, complete=True)
        positions = find(base)
        manifest, files = next_generation(
            base.manifest,
            base.text,
            base_chain=base.chain(),
            deleted=positions,
            edit={"command": "delete", "deleted": len(positions), **({} if where is None else {"where": where})},
            read=base.read,
        )
        transaction.commit(manifest, files, totals={"deleted": len(positions)})
    return _report(base, len(positions), began)


def _with_keys(base: EditBase, keys: Sequence[str], progress: Progress) -> Integers:
    """Return the stored positions of all visible samples with these keys, ascending.

    Raises:
        UnknownKeyError: No visible sample has one of the keys.
    """
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress("find", min(done, len(keys)), len(keys))

    numbers, positions = base.lookup.match([_raw(key) for key in keys], progress=advance)
    if base.manifest.deleted:
        shown = ~np.isin(positions, deleted_positions(base))
        numbers, positions = numbers[shown], positions[shown]
    unknown = np.setdiff1d(np.arange(len(keys)), numbers).tolist()
    if unknown:
        named = ", ".join(repr(keys[number]) for number in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
        raise UnknownKeyError(
            f'no such key: {named}{more}, in {base.location!r}; nothing was deleted, list the keys with "shardpack ls"'
        )
    return np.unique(positions)


def _raw(key: str) -> bytes:
    """Return a key as it is stored; of a text that cannot be one, what no key is."""
    try:
        return key_bytes(key)
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogatepass")


def _matching(base: EditBase, where: str) -> Integers:
    """Return the stored positions of the visible samples that an expression is true for, ascending.

    Raises:
        SampleNotFoundError: There are none.
        OptionError: The expression is wrong.
    """
    from shardpack.table.selected import select_where  # with the libraries of the extra

    found = select_where(Selection(base.cache, base.lookup), where)
    if not len(found):
        raise SampleNotFoundError(
            f"no sample of {base.location!r} matches where={where!r}; nothing was deleted, try it with "
            '"shardpack ls --where"'
        )
    return np.concatenate(list(found.own.pieces()))


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
