"""What all edits begin with: the newest generation of a dataset, open for reading, and the place to write the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardpack.commit.edit_folder import EditCommand
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.commit.generations import newest_generation
from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.errors import CorruptIndexError, DatasetNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns
from shardpack.format.layout import NamedFile, file_path
from shardpack.format.manifest import Manifest
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.open_dataset import load_manifest, shards_of
from shardpack.read.segment_file import SegmentFile
from shardpack.read.shard_cache import ShardCache
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import Writable, as_writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import is_path


@dataclass(frozen=True, slots=True, eq=False)
class EditBase:
    """One generation of a dataset that is edited.

    Attributes:
        store: The store of the dataset's folder.
        target: The same store, to write to.
        text, manifest: The manifest of the generation, as the bytes of its file and as a value.
        cache: Its shards. Positions are stored ones.
        lookup: Its keys, with their stored positions.
        options: How tars in other places are reached.
    """

    store: WritableStore
    target: Target
    text: bytes
    manifest: Manifest
    cache: ShardCache
    lookup: KeyLookup
    options: LocationOptions

    @property
    def location(self) -> str:
        """Folder or URL of the dataset, without secrets."""
        return self.target.location

    def begin(
        self, command: EditCommand, *, run_digest: str | Callable[[Manifest], str], single_writer: bool = False
    ) -> EditTransaction:
        """Begin an edit of the newest generation; arguments and errors as for `EditTransaction`."""
        return EditTransaction(self.target, command, run_digest=run_digest, single_writer=single_writer)

    def of(self, transaction: EditTransaction) -> EditBase:
        """Return the generation that a transaction edits: this one, unless another edit came in between."""
        return self if transaction.parent_text == self.text else self.at(transaction.parent_text, transaction.parent)

    def at(self, text: bytes, manifest: Manifest) -> EditBase:
        """Return another generation of the dataset."""
        cache = shards_of(self.store, manifest, manifest_crc32c=crc32c(text), options=self.options)
        return replace(self, text=text, manifest=manifest, cache=cache, lookup=KeyLookup(cache))

    def chain(self) -> int:
        """Return the fingerprint's chain over all shards, which that of appended ones continues.

        Reads the shard table.
        """
        return chain_columns(self.cache.shard_list.columns)

    def read(self, file: NamedFile) -> Any:
        """Return the bytes of a file that the manifest names, compared with its length and checksum.

        Raises:
            ShardNotFoundError: The file is missing.
            CorruptIndexError: It is damaged.
        """
        data = SegmentFile(self.cache.stores.sidecars, file).load(0, file.num_bytes)
        if crc32c(data) != file.crc32c:
            raise CorruptIndexError(
                'file is damaged: its checksum is not that in the manifest; restore it, or run "shardpack verify"',
                path=file_path(file),
            )
        return data

    def close(self) -> None:
        """Release maps, descriptors and connections."""
        self.cache.close()


def open_base(
    location: Writable,
    *,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
) -> EditBase:
    """Return the newest generation of a dataset that is to be edited; writes nothing.

    Args:
        location: Folder or URL of the dataset, or a store that can be written to.
        storage_options, allow_locations: As `shardpack.open` takes them.
        work_dir: Local folder in which shards for a bucket are made.

    Raises:
        DatasetNotFoundError: A dataset is missing there.
        CorruptManifestError: Its manifest is damaged.
        UnsupportedVersionError: It was written by a newer version of the format.
        OptionError: The location cannot be written to, or an option does not fit it.
    """
    store = as_writable(location, None if is_path(location) else storage_options)
    target = target_of(store, work_dir=work_dir, shared=store.folder is None)
    try:
        newest = newest_generation(target)
    except DatasetNotFoundError:
        load_manifest(store)  # knows more about what is there instead
        raise
    manifest = newest.manifest
    options = LocationOptions(storage_options, allow_locations=allow_locations)
    cache = shards_of(store, manifest, manifest_crc32c=newest.crc32c, options=options)
    return EditBase(store, target, newest.text, manifest, cache, KeyLookup(cache), options)
