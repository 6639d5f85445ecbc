"""Pack a source into a dataset: what `shardpack.pack` does.

Here it is decided which way a source goes: samples that can be listed through `pack_listed.py` (README.md has the
diagram), rows of foreign formats through `pack_rows.py`, and those of an iterable one by one through a `ShardWriter`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from shardpack.errors import OptionError
from shardpack.sources.dataset import DatasetSource, Listable
from shardpack.sources.folder import FolderSource
from shardpack.storage.local import LocalStore
from shardpack.storage.open import Writable
from shardpack.storage.url import is_url, options_for, scheme_of
from shardpack.write.pack_listed import pack_listed
from shardpack.write.place import NewDataset, Place
from shardpack.write.report import PackReport
from shardpack.write.request import FOR_COLUMNS, FOR_FOLDERS, FOR_ROWS, PackRequest

Located = str | os.PathLike[str]
KeyedSamples = Iterable[tuple[str, Mapping[str, Any]]]
Packable = Located | Listable | KeyedSamples


def pack_source(source: Packable, out: Writable, request: PackRequest, *, place: Place | None = None) -> PackReport:
    """Write the dataset of a folder, a dataset, a stream or an iterable; see `shardpack.pack`.

    Args:
        source, out, request: As `pack` takes them.
        place: Where samples are packed, if not into a new dataset in `out`.

    Raises:
        OptionError: The source is something else, or an option does not fit it.
    """
    select = request.steps.select
    for old, new in () if select is None else select.images_of_other_kinds():
        request.announce(f"field {old!r} becomes {new!r}, with the same bytes; encode (--encode) makes other formats")
    if isinstance(source, (str, os.PathLike)):
        return _pack_files(source, out, request, place)
    if isinstance(source, Listable):
        request.refuse_but_for("a dataset as source", **FOR_FOLDERS, **FOR_ROWS, **FOR_COLUMNS)
        place = place or NewDataset(out, request.storage_options)
        return pack_listed(DatasetSource(source, request.split), place, request)
    if isinstance(source, Iterable):
        from shardpack.write.pack_samples import pack_samples  # imports what only `ShardWriter` needs

        return pack_samples(source, place or NewDataset(out, request.storage_options), request)
    raise OptionError(f"cannot pack {source!r}: expected a folder, a dataset, or an iterable of (key, fields)")


def _pack_files(source: Located, out: Writable, request: PackRequest, place: Place | None) -> PackReport:
    """Write the dataset of a folder, of an archive or its URL, or of files in a foreign format."""
    options = options_for(source, out, request.storage_options) if is_url(source) else None
    if is_url(source) and scheme_of(out) is None:
        request = replace(request, storage_options=None)
    from shardpack.write.pack_rows import find_rows, pack_rows  # what no other source needs

    if (rows := find_rows(source, request, options)) is not None:
        return pack_rows(*rows, place or NewDataset(out, request.storage_options), request)
    request.refuse_but_for("images with labels", **FOR_ROWS)
    new = NewDataset(out, request.storage_options) if place is None else place
    if place is None and not is_url(source):
        new.refuse([LocalStore(source)])
    folder = FolderSource(
        source,
        request.layout,
        request.annotations,
        ignore=request.ignore,
        table=request.table,
        key_column=request.key_column,
        label_column=request.label_column,
        storage_options=options,
    )
    return pack_listed(folder, new, request)
