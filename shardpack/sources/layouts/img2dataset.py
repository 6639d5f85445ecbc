"""What img2dataset writes: images in tars or folders, and beside each of them a table of its rows.

    00000.tar or 00000/      000000000.jpg, 000000000.txt, 000000000.json if it was asked for
    00000.parquet            key, url, caption, width, height, ...: the label of each image that has no JSON
    00000_stats.json         counts, of no use here

A row of a download that failed has no image, and is passed over.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np

from shardpack.errors import MissingDependencyError, SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.json_labels import LABEL, attach_labels, compact_json
from shardpack.sources.layouts.layout import BY_ITS_OWN_NAMES, Found, LayoutOptions
from shardpack.sources.layouts.split_folders import split_by_folder
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

TABLE, STATS = ".parquet", "_stats.json"
_KEY, _STATUS = "key", "status"
_BATCH_ROWS = 10_000


class Img2Dataset:
    """Tables beside tars or folders of images, each with a file of counts."""

    name = "img2dataset"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables that have a file of counts; see `Layout.find`."""
        stems = [
            stem
            for folder in tree.folders.values()
            if TABLE[1:] in folder.extensions
            for name in tree.files.names[folder.first : folder.stop]
            if name.endswith(TABLE) and tree.has((stem := name.removesuffix(TABLE)) + STATS)
        ]
        if not stems:
            if options.asked:
                raise SourceError(f"no table in {tree.files.root!r} is like 00000.parquet with 00000_stats.json")
            return None
        uses = frozenset(stem + ending for stem in stems for ending in (TABLE, STATS))
        return Found(
            layout=self.name,
            rank=BY_ITS_OWN_NAMES,
            title="img2dataset",
            label="columns of its tables",
            uses=uses,
            memory=stems,
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images with their other files; those without JSON have their row of a table as label.

        Empty cells, and numbers that are not, are left out of labels.

        Raises:
            SourceError: A table cannot be read, or has no column of keys.
            MissingDependencyError: pyarrow is not installed.
        """
        listing = group_files(tree.files.without(found.uses), problems, rename_keys=options.rename_keys)
        number_of = {key: number for number, key in enumerate(listing.keys)}
        has_own = _with_label(listing)
        labels: list[bytes | None] = [None] * listing.num_samples
        for stem in found.memory:
            for row, values in _rows(tree, stem + TABLE):
                sample = _find(number_of, stem, values.get(_KEY))
                if sample is None:
                    if values.get(_STATUS, "success") == "success":
                        problems.leave_out(f"{stem}{TABLE}:{row}", "row without an image")
                elif sample not in has_own:
                    try:
                        labels[sample] = compact_json(values, default=_as_json)
                    except SourceError as error:
                        problems.reject(f"{stem}{TABLE}:{row}", error.args[0])
        return split_by_folder(attach_labels(listing, labels, problems, missing=None), tree)


def _with_label(listing: Listing) -> frozenset[int]:
    if LABEL not in listing.fields:
        return frozenset()
    members = np.flatnonzero(listing.field_code == listing.fields.index(LABEL))
    return frozenset(listing.owners(members).tolist())


def _find(number_of: dict[str, int], stem: str, key: Any) -> int | None:
    """Return the sample of a row: below the folder or tar of its table, or beside the table."""
    folder = stem.rpartition("/")[0]
    beside = f"{folder}/{key}" if folder else f"{key}"
    return number_of.get(f"{stem}/{key}", number_of.get(beside))


def _rows(tree: Tree, table: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each row, and its cells that are not empty."""
    try:
        import pyarrow as pa  # takes 0.1 s
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            'the tables of img2dataset need pyarrow; run pip install "shardpack[parquet]"'
        ) from error
    try:
        file = pq.ParquetFile(io.BytesIO(tree.read(table)))
        if _KEY not in file.schema_arrow.names:
            raise SourceError(f"{table} has no column {_KEY!r}; found {', '.join(file.schema_arrow.names)}")
        number = 0
        for batch in file.iter_batches(_BATCH_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield number, {name: value for name, value in values.items() if value is not None and value == value}  # noqa: PLR0124 - NaN is not
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{table} is not a table that can be read: {error}; download it again") from error


def _as_json(value: object) -> object:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
