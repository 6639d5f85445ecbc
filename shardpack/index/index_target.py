"""Choose where the indexes of existing tars are written, and check what is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.generations import newest_undamaged, refuse_newer
from shardpack.commit.journal import Journal
from shardpack.commit.lease import refuse_other_work
from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import has_manifest
from shardpack.commit.target import Target
from shardpack.errors import FormatError, OptionError, OutputExistsError, StorageError
from shardpack.format.layout import MANIFEST_PATH, index_path
from shardpack.format.manifest import Manifest, is_location
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.index.find import SUFFIXES, TarSet
from shardpack.storage.adapter import origin_of
from shardpack.storage.locations import is_followed
from shardpack.storage.open import Writable, as_writable, open_store, takes_objects
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES, is_url


@dataclass(frozen=True, slots=True)
class Generation:
    """The newest generation of the dataset in a target.

    Attributes:
        text, manifest: Its manifest, as the bytes of its file and as a value.
        shards: Its shards by name; None if the shard table is damaged.
        is_same_run: Whether it was published by a run with the same tars and options, which was killed
            before it had cleaned up.
    """

    text: bytes
    manifest: Manifest
    shards: Mapping[str, ShardInfo] | None
    is_same_run: bool = False


def check_indexable(
    tars: TarSet,
    target: Target,
    location: str | None,
    *,
    force: bool,
    run_digest: Callable[[], str] = lambda: "",
) -> Generation | None:
    """Return the newest generation in the target, if its manifest is undamaged; write nothing.

    Args:
        tars: The tars to index.
        target: Where their indexes go.
        location: Where the tars are as seen from the target; None if they are in it.
        force: Whether another generation may follow, and whether files that are not indexes may be replaced.
        run_digest: Returns the digest of this run; called only when it is needed.

    Raises:
        OutputExistsError: The target holds unfinished work of another command, or a dataset with tars
            that are not in `tars`, with deleted samples, or with layers. Without `force` also: it holds a
            dataset, or a file that is not an index where one would go.
        UnsupportedVersionError: As the first, and a newer version of the format made its manifest.
        StorageError: The folder may not be written to.
    """
    refuse_other_work(target, "index")
    if tars.on_disk and location is not None:
        refuse_other_work(FolderTarget(tars.folder), "index")
    previous = _newest_generation(target, run_digest)
    if previous is not None:
        _refuse_to_undo(previous, target)
        _refuse_to_leave_out(previous, tars, target)
    if not (force or (previous is not None and previous.is_same_run)):
        _refuse_to_replace(tars, target)
    if os.path.isdir(target.location) and not os.access(target.location, os.W_OK):
        raise StorageError(f'cannot write to {target.location!r}; change its permissions, or open with index="memory"')
    return previous


def _refuse_to_undo(previous: Generation, target: Target) -> None:
    if previous.manifest.deleted or previous.manifest.layers:
        refuse_newer(target)  # which repair would not read either
        raise OutputExistsError(
            f"the dataset in {target.location!r} has deleted samples or layers, which indexing it again would undo; "
            'repair it with "shardpack repair"'
        )


def _refuse_to_leave_out(previous: Generation, tars: TarSet, target: Target) -> None:
    """Raise OutputExistsError if the dataset has tars that are not to be indexed."""
    known = set(previous.shards or ())
    left_out = sorted(known.difference(tars.names))
    if not left_out:
        return
    if strange := [name for name in tars.names if name not in known and not name.endswith(SUFFIXES)]:
        raise OutputExistsError(
            f"{strange[0]!r} is not a tar by its name, nor one of the dataset in {target.location!r}; leave it out"
        )
    raise OutputExistsError(
        f"the dataset in {target.location!r} has {len(left_out)} more tar(s), such as {left_out[0]!r}; "
        f'index them all: "shardpack index --force {tars.folder}"'
    )


def _refuse_to_replace(tars: TarSet, target: Target) -> None:
    """Raise OutputExistsError if the target holds a dataset, or other files where indexes would go."""
    if has_manifest(target):
        raise OutputExistsError(
            f"{target.location!r} already holds {MANIFEST_PATH}; pass force=True (--force) to index its tars again"
        )
    for name in map(index_path, tars.names):
        _refuse_other_file(target, name)


def _newest_generation(target: Target, run_digest: Callable[[], str]) -> Generation | None:
    newest = newest_undamaged(target)
    if newest is None:
        return None
    shards = None
    with suppress(FormatError):
        table = ShardTable.whole(newest.manifest, target.read)
        shards = {info.name: info for info in table}
    published_by = Journal(target).run_digest()
    return Generation(newest.text, newest.manifest, shards, bool(published_by) and published_by == run_digest())


def _refuse_other_file(target: Target, name: str) -> None:
    """Raise OutputExistsError if a file of this name exists that is not a shardpack index."""
    if target.size(name) is not None and b'"format":"shardpack-' not in (target.read(name) or b"")[:4096]:
        where = f"{target.location}/{name}" if is_url(target.location) else os.path.join(target.location, name)
        raise OutputExistsError(f"{where!r} is not a shardpack index; move it away, or pass force=True (--force)")


@contextmanager
def writing_indexes(target: Target) -> Iterator[None]:
    """Add to a StorageError from a bucket that the indexes can also go elsewhere."""
    try:
        yield
    except StorageError as error:
        if not is_url(target.location):
            raise
        message = f"{error.args[0]}; or name another target for the indexes: out= (--out)"
        raise StorageError(message, shard=error.shard, path=error.path) from error


def place_for_indexes(
    tars: TarSet,
    out: Writable | None,
    options: Mapping[str, Any] | None,
    out_options: Mapping[str, Any] | None,
) -> tuple[Target, str | None]:
    """Return the target for the indexes, and where the tars are as seen from it; None if they are in it.

    Args:
        tars: The tars to index.
        out: Folder, URL or store for the indexes; None for beside the tars.
        options, out_options: `storage_options` of the tars and of `out`.

    Raises:
        OptionError: Indexes cannot be written there, or a reader who opens them there could not find the tars.
    """
    if out is None or origin_of(out) is origin_of(tars.store):
        if out_options:
            raise OptionError("out_options are for out; name it, or leave them out")
        return _beside(tars), None
    if not tars.on_disk and (not is_url(tars.folder) or tars.folder.endswith("://")):
        raise OptionError(
            f"tars in {tars.folder!r} cannot be found from elsewhere, as it has no URL; write the indexes beside them, "
            'or open the tars with index="memory"'
        )
    store = _open_out(tars, out, options, out_options)
    if store.folder is not None:
        if tars.on_disk and os.path.realpath(store.folder) == os.path.realpath(tars.folder):
            return target_of(tars.store), None
        return target_of(store), _checked(_relative_location(tars, store.folder), store.folder)
    if tars.on_disk:
        raise OptionError(
            f"tars on this disk cannot be found from {store.location!r}; write the indexes beside them, then copy both"
        )
    beside = store.location == tars.folder
    return target_of(store, needs_list=False), None if beside else _checked(tars.folder, store.location)


def _open_out(
    tars: TarSet, out: Writable, options: Mapping[str, Any] | None, out_options: Mapping[str, Any] | None
) -> WritableStore:
    """Return the store that `out` names; a URL of the scheme of the tars gets their options if it has none."""
    if not isinstance(out, (str, os.PathLike)) or not is_url(out):
        return as_writable(out, out_options)
    scheme = os.fspath(out).partition("://")[0]
    if scheme in WEB_SCHEMES:
        raise OptionError(f"cannot write to {os.fspath(out).partition('?')[0]!r}: a web server takes no files")
    same_scheme = scheme == tars.folder.partition("://")[0]
    return open_store(out, out_options or (options if same_scheme else None))


def _beside(tars: TarSet) -> Target:
    """Return the store of the tars as a target; raise OptionError if it cannot be written to."""
    if tars.folder.partition("://")[0] in WEB_SCHEMES:
        raise OptionError(
            f"cannot write to {tars.folder!r}: a web server takes no files; "
            "name a folder or bucket for the indexes: out= (--out)"
        )
    if not takes_objects(tars.store):
        raise OptionError(
            f"cannot write to {tars.folder!r}: this store does not take objects, or does not list them; "
            'open its tars with index="memory"'
        )
    return target_of(tars.store, needs_list=False)


def _relative_location(tars: TarSet, folder: str) -> str:
    """Return where the tars are as seen from a local folder: a relative path where possible."""
    if not tars.on_disk:
        return tars.folder
    try:
        location = os.path.relpath(os.path.realpath(tars.folder), os.path.realpath(folder))
    except ValueError:  # on Windows: the folder is on another drive
        location = tars.folder
    return location.replace(os.sep, "/")


def _checked(location: str, home: str) -> str:
    """Return a location that a manifest in `home` may name; raise OptionError if it may not."""
    if is_url(location) and not is_followed(home, location):
        raise OptionError(
            f"tars at {location!r} cannot be found from elsewhere (SPEC 6.5); write the indexes beside them"
        )
    if not is_location(location):
        raise OptionError(
            f"cannot say in {home!r} where the tars are: {location[:80]!r} is neither a path nor a URL without "
            "user, query and fragment"
        )
    return location
