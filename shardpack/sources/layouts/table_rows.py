"""Make labels of the rows of tables: each row describes the image that its key names.

A column that was chosen as the label becomes `label` and `class`: texts are classes, numbered in the order of their
names; whole numbers are labels as they are. The other columns keep their names and order. Of tables that are joined, an
image has a row in each, and its label has the columns of all.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.field_types import parse_json
from shardpack.errors import SourceError
from shardpack.sources.columns import Chosen, Texts
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.json_labels import attach_labels, compact_json, plain_value
from shardpack.sources.label_text import from_text
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.split_folders import split_by_folder
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES, split_of, with_splits
from shardpack.sources.table_formats import records_of
from shardpack.sources.table_text import TableText
from shardpack.sources.tree import Tree

_KNOWN_TEXTS = 65_536
_BLOCK_ROWS = 1024
NO_ROW = "an image without a row"


@dataclass(frozen=True, slots=True)
class TableUse:
    """A table, and what its columns mean.

    Attributes:
        table: Its text and its key: the column that names images.
        label: The column that becomes label and class, or None.
        class_name: The column with the names of the classes that `label` numbers, or None.
        split: The split of its images, or None.
        split_column: The column that says the split of each image, or None.
        split_values: The different values of that column.
        part: Number of the table among those that are joined by image; 0 if none are.
        others: Columns that become values of the label.
        exact: Whether keys are paths that are relative to the table, and nothing less.
        inside: Whether the table is a file of the tree.
    """

    table: TableText
    label: str | None = None
    class_name: str | None = None
    split: str | None = None
    split_column: str | None = None
    split_values: tuple[Any, ...] = ()
    part: int = 0
    others: tuple[str, ...] = ()
    exact: bool = False
    inside: bool = True


class _Rows:
    """What rows say about samples, in columns: of each row its place, its label and its other values, as JSON."""

    def __init__(self, tables: Sequence[TableUse], num_samples: int) -> None:
        self.row_of = np.full(num_samples, -1, np.int64)  # (samples) the row of each
        self.splits = array("I")  # (rows) numbers in `split_names`, 0 for none
        self.split_names: dict[str | None, int] = {None: 0}
        self.twice: dict[int, str] = {}
        # (rows) label, class name and object of the others, with zeros between: JSON has none. In blocks, so that
        # labels take their place one by one.
        self._blocks = [Texts()]
        self._places = array("q")  # (rows) number of the line, times that of tables, plus that of its table
        self._tables = [use.table.name for use in tables]
        self._number_of = {name: number for number, name in enumerate(self._tables)}
        self._known: dict[str, bytes] = {}

    def add(self, sample: int, use: TableUse, number: int, values: dict[str, Any]) -> None:
        """Add a row; a second one of a sample makes that `twice`.

        Raises:
            SourceError: JSON cannot hold a value, or the split is not a text.
        """
        label = None if use.label is None else values.pop(use.label, None)
        class_name = None if use.class_name is None else values.pop(use.class_name, None)
        split = use.split if use.split_column is None else values.pop(use.split_column, None)
        if split is not None and not isinstance(split, str):
            raise SourceError(f"has {use.split_column} {split!r}, expected the name of a split; correct it")
        values = {name: from_text(name, value) for name, value in values.items()}
        others = compact_json(values, default=plain_value) if values else b"{}"
        if len(self._blocks[-1]) == _BLOCK_ROWS:
            self._blocks.append(Texts())
        row = len(self._places)
        self._blocks[-1].append(b"%b\0%b\0%b" % (self._text_of(label), self._text_of(class_name), others))
        self.splits.append(self.split_names.setdefault(split, len(self.split_names)))
        self._places.append(number * len(self._tables) + self._number_of[use.table.name])
        if self.row_of[sample] < 0:
            self.row_of[sample] = row
        else:
            where = f"{self.where(sample)} and by {self._place(row)}"
            self.twice.setdefault(sample, f"is described by {where}; keep one of the rows")

    def _text_of(self, value: Any) -> bytes:
        """Return a value as JSON, b"" for none; names of classes come again and again."""
        if value is None:
            return b""
        if not isinstance(value, str):
            return compact_json(value, default=plain_value)
        text = self._known.get(value)
        if text is None:
            text = compact_json(value)
            if len(self._known) < _KNOWN_TEXTS:
                self._known[value] = text
        return text

    def where(self, sample: int) -> str:
        """Return the place of the row of a sample."""
        return self._place(int(self.row_of[sample]))

    def _place(self, row: int) -> str:
        number, table = divmod(self._places[row], len(self._tables))
        return f"{self._tables[table]}:{number}"

    def classes(self) -> dict[str, int] | None:
        """Return the number of each class if labels are texts, in the order of their names; None if they are not."""
        found: set[bytes] = set()
        for text in chain.from_iterable(self._blocks):
            label = text.partition(b"\0")[0]
            if label and label[:1] != b'"':
                return None
            found.add(label)
        names = sorted(parse_json(label) for label in found - {b""})
        return {name: number for number, name in enumerate(names)} or None

    def numbered_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes that labels number, if each has one name and they are 0, 1, 2, ..."""
        names: dict[bytes, bytes] = {}
        for text in chain.from_iterable(self._blocks):
            label, name, _ = text.split(b"\0", 2)
            if label and (name[:1] != b'"' or names.setdefault(label, name) != name):
                return None
        name_of = {label: parse_json(name) for label, name in names.items()}
        numbers = [b"%d" % number for number in range(len(names))]
        if not names or name_of.keys() != set(numbers) or len(set(name_of.values())) < len(names):
            return None
        return tuple(name_of[number] for number in numbers)

    def labels(self, samples: npt.NDArray[np.int64], classes: Mapping[bytes, int] | None) -> Chosen[bytes]:
        """Return the JSON object of the row of each of these samples; they take the place of what the rows said.

        Args:
            samples: Samples that have a row.
            classes: Number of each class by its JSON text; None if labels are not texts.
        """
        for number, block in enumerate(self._blocks):
            self._blocks[number] = Texts(_label(text, classes) for text in block[:])
        return Chosen(self._blocks, self.row_of[samples])


def _label(text: bytes, classes: Mapping[bytes, int] | None) -> bytes:
    """Return the JSON object of what a row says."""
    label, class_name, others = text.split(b"\0", 2)
    if not label:
        return others
    if class_name:
        own = b'{"label":%b,"class":%b}' % (label, class_name)
    elif classes is not None:
        own = b'{"label":%d,"class":%b}' % (classes[label], label)
    else:
        own = b'{"label":%b}' % label
    return _joined(own, others)


def _joined(one: bytes, other: bytes) -> bytes:
    """Return the members of two JSON objects in one."""
    return other if one == b"{}" else one if other == b"{}" else b"%b,%b" % (one[:-1], other[1:])


def list_rows(
    tree: Tree,
    tables: list[TableUse],
    problems: Problems,
    *,
    images: NamedImages | None = None,
    rename_keys: bool = False,
) -> Listing:
    """Return the images that have a row, each with the row's other columns as its JSON label.

    The other files of an image remain fields. Columns keep their order; `csv_records` says how cells become values.
    Left out and counted: images without a row. Rejected: rows without an image, or with several, rows that share a
    sample, malformed rows, images that have both a row and a .json file, or a row in not all tables that are joined.

    Args:
        tree: The images.
        tables: The tables; none are left in it, as their texts would take memory beside the labels.
        problems: Receives what is rejected or left out.
        images: The images of the tree by their names, if they are known already.
        rename_keys: As for `group_files`.

    Raises:
        SourceError: A table cannot be read at all, or splits cannot have the names that it says.
        MissingDependencyError: There is a Parquet table, and pyarrow is not installed.
    """
    inside = {use.table.name for use in tables if use.inside}
    listing = group_files(tree.files.without(inside), problems, rename_keys=rename_keys)
    if images is None and not all(use.exact for use in tables):
        images = NamedImages(tree.files.names)
    read = _read(tables, images, ImagePaths(listing, tree.files, problems), problems, listing.num_samples)
    if images is not None:
        images.forget()
    refused = {sample: reason for rows in read for sample, reason in rows.twice.items()}
    has_row = np.array([rows.row_of >= 0 for rows in read])
    for sample in np.flatnonzero(has_row.any(axis=0) & ~has_row.all(axis=0)).tolist():
        one, other = (
            next(number for number, rows in enumerate(has_row) if rows[sample] == has) for has in (True, False)
        )
        table_without = next(use.table.name for use in tables if use.part == other)
        refused[sample] = f"is described by {read[one].where(sample)}, and has no row in {table_without}; add it"
    tables.clear()
    classes = next((found for rows in read if (found := rows.classes()) is not None), None)
    names = next((named for rows in read if (named := rows.numbered_names()) is not None), None)
    # Splits first: samples that get no label are left out together with theirs.
    if any(any(rows.split_names) for rows in read):
        splits = _splits(read)
        _check_folders(listing, tree, splits, read)
        listing = with_splits(listing, splits)
    labels = _labels(read, np.flatnonzero(has_row.all(axis=0)), classes)
    del read  # what the labels do not need
    listing = attach_labels(listing, labels, problems, refused=refused, missing=NO_ROW)
    if names is not None or classes is not None:
        listing = replace(listing, classes=names if classes is None else tuple(classes))
    return listing if listing.split is not None else split_by_folder(listing, tree)


def _read(
    tables: Sequence[TableUse], images: NamedImages | None, paths: ImagePaths, problems: Problems, num_samples: int
) -> list[_Rows]:
    """Return the rows of tables; of those that are joined, for each its own."""
    read = [_Rows(tables, num_samples) for _ in range(max(use.part for use in tables) + 1)]
    use_of = {use.table.name: use for use in tables}
    for name, number, values in records_of([use.table for use in tables], problems):
        use = use_of[name]
        sample = _sample(use, values.pop(use.table.key, None), images, paths)
        if isinstance(sample, str):
            problems.reject(f"{name}:{number}", sample)
        elif sample is not None:
            try:
                read[use.part].add(sample, use, number, values)
            except SourceError as error:
                problems.reject(f"{name}:{number}", str(error))
    return read


def _labels(
    read: Sequence[_Rows], described: npt.NDArray[np.int64], classes: Mapping[str, int] | None
) -> Sequence[bytes | None]:
    """Return the label of each sample, and None for all but those that are described."""
    numbers = None if classes is None else {compact_json(name): number for name, number in classes.items()}
    parts = [rows.labels(described, numbers) for rows in read]
    texts = parts[0] if len(parts) == 1 else Texts(reduce(_joined, texts) for texts in zip(*parts, strict=True))
    chosen = np.full(len(read[0].row_of), len(texts))
    chosen[described] = np.arange(len(texts))
    columns: tuple[Sequence[bytes | None], ...] = (texts, [None])
    return Chosen.joined(columns).take(chosen)


def _splits(read: Sequence[_Rows]) -> list[str | None]:
    """Return the split that the rows say of each sample."""
    rows = next((rows for rows in read if len(rows.split_names) > 1), read[0])
    names = list(rows.split_names)
    return [None if row < 0 else names[rows.splits[row]] for row in rows.row_of.tolist()]


def _check_folders(listing: Listing, tree: Tree, splits: Sequence[str | None], read: Sequence[_Rows]) -> None:
    """Raise SourceError if folders of several splits and the rows say different splits of an image."""
    by_folder = split_by_folder(listing, tree)
    if len({SPLIT_NAMES.get(name.lower()) for name in by_folder.split_names}) < 2:
        return
    rows = next(rows for rows in read if len(rows.split_names) > 1)
    for sample, split in enumerate(splits):
        folder = split_of(by_folder, sample)
        other = SPLIT_NAMES.get((split or "").lower())
        if folder is not None and other is not None and other != SPLIT_NAMES[folder.lower()]:
            raise SourceError(
                f"{rows.where(sample)} says that {listing.keys[sample]!r} is in the split {split!r}, but its folder is "
                f"called {folder!r}; correct one of them, or rename the column, so that the folders make the splits"
            )


def _sample(use: TableUse, key: Any, images: NamedImages | None, paths: ImagePaths) -> int | str | None:
    """Return the sample that a key names, or why it names none; None if its image was already rejected."""
    if key in (None, "") or (use.exact and not isinstance(key, str)):
        return f"has no {use.table.key}; write the image's path, or remove the row"
    folder = use.table.folder
    path = f"{folder}/{key}" if folder else str(key)
    if use.exact or images is None:
        return paths.find(str(key), [path])
    return sample_of(key, folder, images, paths, split=use.split)


def sample_of(
    key: Any, folder: str, images: NamedImages, paths: ImagePaths, *, split: str | None = None
) -> int | str | None:
    """Return the sample that a table names in its own way, or why it names none; None if it was already rejected."""
    match = images.find(key, folder=folder, split=split)
    if match is not None and len(match.paths) > 1:
        return f"names {key!r}, which fits {match.paths[0]!r} and {match.paths[1]!r}; write a path with folders"
    return paths.find(str(key), [f"{folder}/{key}" if folder else str(key)] if match is None else match.paths)
