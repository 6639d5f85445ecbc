"""Where the indexes of somebody's tars go, and what is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.journal import Journal
from shardpack.commit.lease import refuse_other_work
from shardpack.commit.open_target import target_of
from shardpack.commit.overwrite import has_manifest, newest_manifest
from shardpack.commit.target import Target
from shardpack.errors import FormatError, OptionError, OutputExistsError, StorageError
from shardpack.format.dataset_files import whole_table
from shardpack.format.manifest import FILE_NAME, Manifest, is_location
from shardpack.format.shard_info import ShardInfo, index_path
from shardpack.index.find import TarSet
from shardpack.storage.locations import is_followed
from shardpack.storage.open import open_store
from shardpack.storage.url import WEB_SCHEMES, is_url


@dataclass(frozen=True, slots=True)
class Existing:
    """The generation that is there.

    Attributes:
        text, manifest: Its manifest, as it is written and as a value.
        shards: By name; None if the shard table is damaged.
        is_same_run: Whether the run that published it was of these very tars and options, and was killed before
            it had cleaned up.
    """

    text: bytes
    manifest: Manifest
    shards: Mapping[str, ShardInfo] | None
    is_same_run: bool = False


def check_writable(
    found: TarSet,
    target: Target,
    shards_at: str | None,
    *,
    force: bool,
    run_digest: Callable[[], str] = lambda: "",
) -> Existing | None:
    """Return the generation that is there, if its manifest is sound; writes nothing.

    Args:
        found: The tars.
        target: Where their indexes go.
        shards_at: Where the tars are, if not in the target.
        force: Whether a next generation may follow one that is there.
        run_digest: Called for what `begin` takes under this name, when it is needed.

    Raises:
        OutputExistsError: A dataset is unfinished there, has more tars, or is there; or an index
            is somebody else's. The last two only without `force`.
        StorageError: The folder may not be written to.
    """
    refuse_other_work(target, "index")
    if found.on_disk and shards_at is not None:
        refuse_other_work(FolderTarget(found.folder), "index")
    before = _existing(target, run_digest)
    known = set() if before is None else set(before.shards or ())
    if left := sorted(known.difference(found.names)):
        raise OutputExistsError(
            f"the dataset in {target.location!r} has {len(left)} more tar(s), such as {left[0]!r}; "
            f'index them all: "shardpack index --force {found.folder}"'
        )
    if not (force or (before is not None and before.is_same_run)):
        if has_manifest(target):
            raise OutputExistsError(
                f"{target.location!r} already holds {FILE_NAME}; pass --force to index its tars again"
            )
        for name in map(index_path, found.names):
            _refuse_foreign(target, name)
    if os.path.isdir(target.location) and not os.access(target.location, os.W_OK):
        raise StorageError(f'cannot write to {target.location!r}; change its permissions, or open with index="memory"')
    return before


def _existing(target: Target, run_digest: Callable[[], str]) -> Existing | None:
    newest = newest_manifest(target)
    if newest is None:
        return None
    text, manifest = newest
    shards = None
    with suppress(FormatError):
        table = whole_table(manifest, target.read)
        shards = {info.name: info for info in map(table.shard, range(len(table)))}
    published_by = Journal(target).run_digest()
    return Existing(text, manifest, shards, bool(published_by) and published_by == run_digest())


def _refuse_foreign(target: Target, name: str) -> None:
    """Raise OutputExistsError if there is a file of this name that no run of ours has made."""
    if target.size(name) is not None and b'"format":"shardpack-' not in (target.read(name) or b"")[:4096]:
        where = f"{target.location}/{name}" if is_url(target.location) else os.path.join(target.location, name)
        raise OutputExistsError(f"{where!r} is not a shardpack index; move it away, or pass --force")


@contextmanager
def writing_indexes(target: Target) -> Iterator[None]:
    """Say in an error of a bucket that takes no files what else there is."""
    try:
        yield
    except StorageError as error:
        if not is_url(target.location):
            raise
        message = f"{error.args[0]}; or name another target for the indexes: --out"
        raise StorageError(message, shard=error.shard, path=error.path) from error


def target_for(
    found: TarSet,
    out: str | os.PathLike[str] | None,
    options: Mapping[str, Any] | None,
    out_options: Mapping[str, Any] | None,
) -> tuple[Target, str | None]:
    """Return where the indexes of some tars go, and where the tars are as seen from there; None: beside them.

    Raises:
        OptionError: Indexes cannot be there, or nobody who opens them there would find the tars.
    """
    if out is None:
        if out_options:
            raise OptionError("out_options are for out; name it, or leave them out")
        if found.folder.partition("://")[0] in WEB_SCHEMES:
            raise OptionError(
                f"cannot write to {found.folder!r}: a web server takes no files; "
                "name a folder or bucket for the indexes: --out (out=)"
            )
        if not (callable(getattr(found.store, "put", None)) and callable(getattr(found.store, "names", None))):
            raise OptionError(
                f"cannot write to {found.folder!r}: this store takes no objects, or does not list them; "
                'open its tars with index="memory"'
            )
        return target_of(found.store, needs_list=False), None
    if not found.on_disk and not is_url(found.folder):
        raise OptionError(
            f"tars in {found.folder!r} are not found from elsewhere: it has no URL; write the indexes beside them, "
            'or open the tars with index="memory"'
        )
    out = os.fspath(out)
    if is_url(out):
        if out.partition("://")[0] in WEB_SCHEMES:
            raise OptionError(f"cannot write to {out.partition('?')[0]!r}: a web server takes no files")
        if found.on_disk:
            raise OptionError(
                f"tars on this disk cannot be found from {out!r}; write the indexes beside them, then copy both"
            )
        same_kind = out.partition("://")[0] == found.folder.partition("://")[0]
        store = open_store(out, out_options or (options if same_kind else None))
        here = store.location == found.folder
        shards_at = None if here else _checked(found.folder, store.location)
        return target_of(store, needs_list=False), shards_at
    store = open_store(os.path.abspath(out), out_options)
    if found.on_disk and os.path.realpath(out) == os.path.realpath(found.folder):
        return target_of(found.store), None
    return target_of(store), _checked(_from(store.location, found), store.location)


def _from(folder: str, found: TarSet) -> str:
    """Return where the tars are, as seen from a folder."""
    if not found.on_disk:
        return found.folder
    try:
        there = os.path.relpath(os.path.realpath(found.folder), os.path.realpath(folder))
    except ValueError:  # another drive of Windows
        there = found.folder
    return there.replace(os.sep, "/")


def _checked(shards_at: str, home: str) -> str:
    if is_url(shards_at) and not is_followed(home, shards_at):
        raise OptionError(
            f"tars at {shards_at!r} are not found from elsewhere (SPEC 6.5); write the indexes beside them"
        )
    if not is_location(shards_at):
        raise OptionError(
            f"cannot say in {home!r} where the tars are: {shards_at[:80]!r} is neither a path nor a URL without "
            "user, query and fragment"
        )
    return shards_at
