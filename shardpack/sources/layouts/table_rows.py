"""Make labels of the rows of tables: each row describes the image that its key names.

A column that was chosen as the label becomes `label` and `class`: texts are classes, numbered in the order of their
names; whole numbers are labels as they are. The other columns keep their names and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.json_labels import attach_labels, compact_json, plain_value
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.split_folders import split_by_folder
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import with_splits
from shardpack.sources.table_formats import TableText, records_of
from shardpack.sources.tree import Tree

NO_ROW = "an image without a row"


@dataclass(frozen=True, slots=True)
class TableUse:
    """A table, and what its columns mean.

    Attributes:
        table: Its text and its key: the column that names images.
        label: The column that becomes label and class, or None.
        class_name: The column with the names of the classes that `label` numbers, or None.
        split: The split of its images, or None.
        others: Columns that become values of the label.
        exact: Whether keys are paths that are relative to the table, and nothing less.
        inside: Whether the table is a file of the tree.
    """

    table: TableText
    label: str | None = None
    class_name: str | None = None
    split: str | None = None
    others: tuple[str, ...] = ()
    exact: bool = False
    inside: bool = True


@dataclass(slots=True)
class _Rows:
    """What the rows say about the samples: for each sample, where its row is, its label and its other values."""

    where: dict[int, str] = field(default_factory=dict)
    label: dict[int, Any] = field(default_factory=dict)
    class_name: dict[int, Any] = field(default_factory=dict)
    others: dict[int, bytes] = field(default_factory=dict)
    split: dict[int, str | None] = field(default_factory=dict)
    twice: dict[int, str] = field(default_factory=dict)


def list_rows(
    tree: Tree,
    tables: Sequence[TableUse],
    problems: Problems,
    *,
    images: NamedImages | None = None,
    rename_keys: bool = False,
) -> Listing:
    """Return the images that have a row, each with the row's other columns as its JSON label.

    The other files of an image remain fields. Columns keep their order; `csv_records` says how cells become values.
    Left out and counted: images without a row. Rejected: rows without an image, or with several, rows that share a
    sample, malformed rows, and images that have both a row and a .json file.

    Args:
        tree: The images.
        tables: The tables.
        problems: Receives what is rejected or left out.
        images: The images of the tree by their names, if they are known already.
        rename_keys: As for `group_files`.

    Raises:
        SourceError: A table cannot be read at all.
        MissingDependencyError: There is a Parquet table, and pyarrow is not installed.
    """
    inside = {use.table.name for use in tables if use.inside}
    listing = group_files(tree.files.without(inside), problems, rename_keys=rename_keys)
    if images is None and not all(use.exact for use in tables):
        images = NamedImages(tree.files.names)
    rows = _read(tables, images, ImagePaths(listing, tree.files, problems), problems)
    classes = _classes(rows.label.values())
    labels = [_label(rows, sample, classes) if sample in rows.others else None for sample in range(listing.num_samples)]
    # Splits first: samples that get no label are left out together with theirs.
    splits = [rows.split.get(sample) for sample in range(listing.num_samples)]
    if any(splits):
        listing = with_splits(listing, splits)
    listing = attach_labels(listing, labels, problems, refused=rows.twice, missing=NO_ROW)
    names = _numbered_names(rows) if classes is None else tuple(classes)
    if names is not None:
        listing = replace(listing, classes=names)
    return listing if listing.split is not None else split_by_folder(listing, tree)


def _read(tables: Sequence[TableUse], images: NamedImages | None, paths: ImagePaths, problems: Problems) -> _Rows:
    same: dict[Any, Any] = {}  # equal labels are kept once
    rows, use_of = _Rows(), {use.table.name: use for use in tables}
    for name, number, values in records_of([use.table for use in tables], problems):
        use, where = use_of[name], f"{name}:{number}"
        sample = _sample(use, values.pop(use.table.key, None), images, paths)
        if isinstance(sample, str):
            problems.reject(where, sample)
            continue
        if sample is None:
            continue
        try:
            label = values.pop(use.label) if use.label is not None and use.label in values else None
            class_name = values.pop(use.class_name) if use.class_name is not None and use.class_name in values else None
            others = compact_json(values, default=plain_value) if values else b"{}"
        except SourceError as error:
            problems.reject(where, str(error))
            continue
        other = rows.where.setdefault(sample, where)
        if other != where:
            rows.twice.setdefault(sample, f"is described by {other} and by {where}; keep one of the rows")
        rows.others[sample] = same.setdefault(others, others)
        if use.split is not None:
            rows.split[sample] = use.split
        if label is not None:
            rows.label[sample] = same.setdefault(label, label) if isinstance(label, str) else label
        if class_name is not None:
            rows.class_name[sample] = class_name
    return rows


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


def _classes(values: Any) -> dict[str, int] | None:
    """Return the number of each class if labels are texts, in the order of their names; None if they are not."""
    names = set()
    for value in values:
        if not isinstance(value, str):
            return None
        names.add(value)
    return {name: number for number, name in enumerate(sorted(names))} if names else None


def _numbered_names(rows: _Rows) -> tuple[str, ...] | None:
    """Return the names of the classes that labels number, if each has one name and they are 0, 1, 2, ..."""
    names: dict[Any, str] = {}
    for sample, label in rows.label.items():
        name = rows.class_name.get(sample)
        if not isinstance(label, int) or not isinstance(name, str) or names.setdefault(label, name) != name:
            return None
    numbers = range(len(names))
    if not names or set(names) != set(numbers) or len(set(names.values())) < len(names):
        return None
    return tuple(names[number] for number in numbers)


def _label(rows: _Rows, sample: int, classes: Mapping[str, int] | None) -> bytes:
    others = rows.others[sample]
    if sample not in rows.label:
        return others
    value = rows.label[sample]
    own = {"label": value} if classes is None else {"label": classes[value], "class": value}
    if sample in rows.class_name:
        own = {"label": value, "class": rows.class_name[sample]}
    text = compact_json(own, default=plain_value)
    return text if others == b"{}" else text[:-1] + b"," + others[1:]
