"""Pack a dataset together with its label table: what `shardpack.pack` does with `with_table`.

In a folder the table is made of the shards that are there. On their way to a bucket, rows are made of the local files,
so that no label and no image is fetched again; but for shards that other processes, or an earlier run, delivered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.commit.transaction import end_run
from shardpack.edit.base import open_base
from shardpack.edit.table import make_table
from shardpack.errors import DecodeError, OptionError
from shardpack.sources.listing import Listing
from shardpack.storage.open import Writable, as_writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import is_path
from shardpack.table.libraries import pyarrow_module
from shardpack.table.packed_rows import PackedRows, rows_before_upload
from shardpack.write.pack import Packable, pack_source
from shardpack.write.place import Incoming, NewDataset
from shardpack.write.report import PackReport
from shardpack.write.request import PackRequest


def pack_with_table(
    source: Packable, out: Writable, request: PackRequest, *, storage_options: Mapping[str, Any] | None = None
) -> PackReport:
    """Pack a source, and make the table of the dataset as its second generation.

    The digest of the run stays until there is a table, so that the same call, after a kill, goes on with that.

    Args:
        source, out, request: As `pack_source` takes them.
        storage_options: Of `out`.

    Raises:
        MissingDependencyError: pyarrow is not installed; before anything is packed.
    """
    pyarrow_module()
    request = replace(request, with_table=True)
    if is_path(out):
        return _pack(source, out, request, storage_options)
    with rows_before_upload(request.work_dir) as rows:
        place = _PlaceWithRows(as_writable(out, storage_options), rows)
        return _pack(source, out, request, storage_options, place)


def _pack(
    source: Packable,
    out: Writable,
    request: PackRequest,
    storage_options: Mapping[str, Any] | None,
    place: _PlaceWithRows | None = None,
) -> PackReport:
    """Pack a source, and make the table if the dataset is then complete."""
    report = pack_source(source, out, request, place=place)
    if request.dry_run or report.missing_shards:
        return report
    with closing(open_base(out, storage_options=storage_options, work_dir=request.work_dir)) as base:
        try:
            make_table(
                base,
                work_dir=request.work_dir,
                single_writer=True,
                jobs=request.jobs,
                progress=request.progress,
                packed=None if place is None else place.rows,
            )
        except (DecodeError, OptionError):  # the same call would end with it, too
            end_run(base.target)
            raise
        end_run(base.target)
    return report


class _PlaceWithRows(NewDataset):
    """A new dataset of which each shard is looked at before it is uploaded.

    Attributes:
        rows: What looks at them.
    """

    def __init__(self, store: WritableStore, rows: PackedRows) -> None:
        self.store, self.rows = store, rows
        self._classes: tuple[str, ...] | None = None

    def target(self, *, work_dir: str | os.PathLike[str] | None = None, shared: bool = False) -> Target:
        return target_of(self.store, work_dir=work_dir, shared=shared, look=self._look)

    def _look(self, name: str, path: Path) -> None:
        """Look at a shard before it is uploaded: by then, the classes are known."""
        self.rows.add(name, path, classes=self._classes)

    def admit(self, listing: Listing, *, keeps_keys: bool) -> Listing:
        listing = super().admit(listing, keeps_keys=keeps_keys)
        self._classes = listing.classes
        return listing

    def admit_rows(self, classes: Sequence[str] | None, splits: Iterable[str | None]) -> Incoming:
        incoming = super().admit_rows(classes, splits)
        self._classes = None if incoming.classes is None else tuple(incoming.classes)
        return incoming
