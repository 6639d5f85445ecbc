"""A first generation of a dataset of whose sidecars no manifest is left: made of its tars, as `index` makes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from shardpack.commit.lease import refuse_other_work
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.edit.salvage import Salvage, find_whole_samples, salvaged_parts
from shardpack.errors import CorruptShardError, DatasetNotFoundError, OutputExistsError
from shardpack.format.layout import (
    WORK_FOLDER,
    edit_tag,
    generation_of,
    in_packed_order,
    index_path,
    is_index_path,
    is_packer_name,
    shard_name,
    split_of_shard,
    tag_of_shard,
)
from shardpack.format.manifest import Manifest
from shardpack.index.build import TarIndexer
from shardpack.index.find import SUFFIXES, TarDigests, TarSet
from shardpack.index.frame_scan import is_compressed
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.read.open_dataset import missing_dataset
from shardpack.runtime.progress import Progress
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import is_url

_GENERATION = 1
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What is made of tars.

    Attributes:
        tars: Names of the tars, in order.
        written: Names of all files that are new, in the order of writing; the manifest comes last.
        salvaged: Tars that break off, in whose place a new one stands.
        lost: Tars of which nothing could be saved, each in a sentence.
    """

    tars: list[str]
    written: list[str] = field(default_factory=list)
    salvaged: list[Salvage] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def choose_tars(target: Target, include: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tars that a dataset without a manifest had, in packed order, and the others, sorted.

    Shards named as `pack` names them are its own. Those that edits added may never have been committed, and other tars
    may be anybody's: they are taken if a pattern of `include` matches them.

    Raises:
        DatasetNotFoundError: There is nothing to take.
    """
    tars = sorted(name for name in target.names() if name.endswith(SUFFIXES) and not name.startswith("."))
    own = [name for name in tars if _is_taken(name, include)]
    left_out = sorted(set(tars) - set(own))
    if not (tars or is_url(target.location)):
        raise missing_dataset(target.location)
    if not own:
        hint = '; name them with include= (--include), or index them: "shardpack index"' if left_out else ""
        raise DatasetNotFoundError(
            f"no dataset in {target.location!r}: neither a manifest nor a tar that a packer named; "
            f"{len(left_out)} other tar(s) are there{hint or ', so there is nothing to repair'}"
        )
    packed = in_packed_order(own)
    return [*packed, *sorted(set(own) - set(packed))], left_out


def _is_taken(name: str, include: Sequence[str]) -> bool:
    if is_packer_name(name) and tag_of_shard(name) is None:
        return True
    return any(fnmatchcase(name, pattern) for pattern in include)


def rebuild(
    store: WritableStore, target: Target, tars: Sequence[str], *, force: bool, jobs: int | None, progress: Progress
) -> tuple[Manifest, Rebuilt]:
    """Make the sidecars of these tars, in this order, and publish them; a tar that breaks off is salvaged.

    Returns:
        The new manifest, and what else was made.

    Raises:
        OutputExistsError: Sidecars are there, and `force` is off; or unfinished work of another command.
        DuplicateKeyError: Keys repeat.
        CorruptShardError: A tar is broken in its first sample.
    """
    refuse_other_work(target, "index")
    _refuse_sidecars(target, force=force)
    made = Rebuilt(list(tars))
    digests = TarDigests(TarSet(store, tuple(tars)), DEFAULT_IGNORE)
    with Transaction.index_beside(target, run_digest=lambda: digests.of_run("repair")) as transaction:
        try:
            indexer = _index_all(store, target, transaction, made, jobs=jobs, progress=progress)
            indexer.check_unique("raise")
            split_of = {name: split for name in made.tars if (split := split_of_shard(name)) is not None}
            manifest, files = indexer.encode(split_of=split_of, repaired=True)
            target.delete(_indexes_of_others(target, made.tars))
            transaction.publish(files)
        except BaseException:
            if store.folder is not None:  # repairing again is cheap here, so leave the folder as it was
                transaction.roll_back()
            raise
    made.written.extend([info.index_path for info in indexer.shards] + [name for name, _ in files])
    return manifest, made


def _indexes_of_others(target: Target, tars: Sequence[str]) -> list[str]:
    """Return the indexes of tars of edits that are left out: with one, `gc` would take such a tar for an edit's waste.

    They may have been committed by a generation whose manifest is lost; `include` makes their indexes again.
    """
    names = target.names()
    left_out = {name for name in names if tag_of_shard(name) is not None} - set(tars)
    return sorted(set(map(index_path, left_out)).intersection(names))


def _index_all(
    store: WritableStore,
    target: Target,
    transaction: Transaction,
    made: Rebuilt,
    *,
    jobs: int | None,
    progress: Progress,
) -> TarIndexer:
    """Index the tars, and begin again with another one in the place of each that breaks off: finished ones are kept."""
    while True:
        indexer = TarIndexer(TarSet(store, tuple(made.tars)), target, transaction, ignore=DEFAULT_IGNORE)
        try:
            indexer.index_all(jobs=jobs, checksums=True, progress=progress)
        except CorruptShardError as error:
            broken = error.shard or error.path or ""
            if broken not in made.tars:
                raise
            place = made.tars.index(broken)
            found = _salvage(store, target, broken, number=len(made.salvaged))
            if found is not None:
                salvage, made.tars[place] = found
                made.salvaged.append(salvage)
                made.written.append(made.tars[place])
            elif len(made.tars) == 1:
                raise
            else:
                made.lost.append(f"all samples of {broken!r}: {error.args[0]}")
                del made.tars[place]
        else:
            return indexer


def _salvage(store: WritableStore, target: Target, broken: str, *, number: int) -> tuple[Salvage, str] | None:
    """Write the whole samples of a broken tar to a new one; return what they are, and its name. None if it has none."""
    salvage = find_whole_samples(store, broken)
    if not salvage.num_samples:
        return None
    name = shard_name(
        number,
        split=split_of_shard(broken),
        compressed=is_compressed(broken),
        tag=edit_tag(_GENERATION, salvage.crc32c),
    )
    parts = salvaged_parts(store, salvage)
    if target.size(name) is None:
        target.put(name, parts)
    elif target.read(name) != b"".join(parts):
        raise OutputExistsError(f"{name!r} is in {target.location!r} already, with other bytes; move it away")
    return salvage, name


def _refuse_sidecars(target: Target, *, force: bool) -> None:
    """Refuse to replace sidecars that no manifest names any more."""
    there = sorted(
        name
        for name in target.names()
        if (is_index_path(name) or generation_of(name)) and not name.startswith(f"{WORK_FOLDER}/")
    )
    is_unfinished = any(name.startswith(f"{WORK_FOLDER}/") for name in target.names())
    if there and not (force or is_unfinished):
        shown = ", ".join(map(repr, there[:_SHOWN])) + (", ..." if len(there) > _SHOWN else "")
        raise OutputExistsError(
            f"{target.location!r} has sidecars, but no manifest: {shown}; pass force=True (--force) to replace them"
        )
