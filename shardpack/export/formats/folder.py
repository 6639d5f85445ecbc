"""ImageFolder: images in a folder for each class, and `metadata.csv` with what labels say.

    OUT/[<split>/]<class>/<name>.jpg      with --flat, and without classes: OUT/[<split>/]<key>.jpg
    OUT/[<split>/]metadata.csv            file_name, then a column for each name in a label

Values that are not scalars are JSON text. torchvision's ImageFolder reads the folders, `load_dataset` of Hugging Face
the table.
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from xxhash import xxh3_64_intdigest

from shardpack.errors import DecodeError, DuplicateKeyError, ExportError, OptionError
from shardpack.export.contents import name_of
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.files import are_different, path_parts, within_split
from shardpack.export.roles import Roles, roles_of_image_files
from shardpack.export.staging import ExportFiles
from shardpack.read.sample import Sample


@dataclass(frozen=True, slots=True)
class _Row:
    path: list[str]  # of the key and the kind of image
    folder: str | None  # called like its class
    image: bytes
    label: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FolderExporter:
    """Writes folders of images. `classes` are the names of the class folders; None without such folders."""

    takes: ClassVar[frozenset[str]] = frozenset({"flat"})
    named_by: ClassVar[NamedBy | None] = "image"
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = False
    names_classes: ClassVar[bool] = False
    limits: ClassVar[Limits] = Limits(max_bytes=64 << 20, max_samples=1000)

    roles: Roles
    classes: tuple[str, ...] | None
    drop: tuple[str, ...]

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> FolderExporter:
        """Decide whether there are class folders; see `Exporter.prepare`."""
        roles = roles_of_image_files("folder", contents, options)
        classes = None if options.flat else contents.classes
        if classes is not None and options.on_error == "raise":
            first = next(iter(contents.dataset.select(range(1)).stream(fields=roles.labels)))
            if class_of(roles.label_of(first), classes) is None:
                raise OptionError(
                    f"the dataset has classes, but sample {first.key!r} is in none; to export without class folders, "
                    "pass flat=True (--flat)"
                )
        if classes is not None:
            _refuse_repeated(contents, roles, classes)
        return cls(roles, classes, options.drop)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.roles.fields

    @property
    def sentence(self) -> str:
        images = "images by key" if self.classes is None else f"images in the folders of {len(self.classes):,} classes"
        return f"{images}, labels ({', '.join(self.roles.labels) or 'none'}) in metadata.csv"

    def row_maker(self) -> Callable[[Sample], _Row]:
        """Return the function that finds the image of a sample, its place and its label."""
        return self._row

    def _row(self, sample: Sample) -> _Row:
        field = self.roles.image_of(sample)
        label = self.roles.label_of(sample)
        folder = None
        if self.classes is not None:
            folder = class_of(label, self.classes)
            if folder is None:
                raise ExportError("the sample is in no class; export with flat=True (--flat), or leave it out")
            if "/" in folder:
                raise ExportError(f"class {folder!r} cannot be a folder; export with flat=True (--flat)")
            path_parts(f"{folder}/{sample.key}", field)
        kept = {one: value for one, value in label.items() if one not in self.drop}
        if "file_name" in kept:
            raise ExportError("a value is called 'file_name', as the column of paths; leave it out (--drop file_name)")
        path = path_parts(sample.key, field)
        for text in (sample.key, *kept, *(value for value in kept.values() if isinstance(value, str))):
            if not _is_utf8(text):
                raise ExportError(f"{text!a} cannot stand in metadata.csv, which is UTF-8; rename it, or leave it out")
        return _Row(path, folder, sample[field], kept)

    def write(self, part: Part, rows: Iterator[_Row], files: ExportFiles) -> Note:
        """Write the images, and their labels as lines of JSON for `finish`."""
        columns: dict[str, None] = {}
        top = [] if part.split is None else [part.split]
        with open(files.scrap(f"{part.number:06d}.jsonl"), "w", encoding="utf-8") as lines:
            for row in rows:
                path = within_split(row.path, part.split)
                if row.folder is not None and (path[0] != row.folder or len(path) == 1):
                    path = [row.folder, *path]
                with open(files.create(*top, *path), "wb") as image:
                    image.write(row.image)
                columns.update(dict.fromkeys(row.label))
                lines.write(json.dumps(["/".join(path), row.label]) + "\n")
        return {"columns": list(columns)}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write the tables."""
        of_part = {part.number: note["columns"] for part, note in zip(parts, notes, strict=True)}
        for split, group in groupby(parts, key=lambda part: part.split):
            own = list(group)
            columns = sorted({name for part in own for name in of_part[part.number]})
            top = [] if split is None else [split]
            with open(files.create(*top, "metadata.csv"), "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(["file_name", *columns])
                if not are_different(_write_rows(table, columns, own, files)):
                    raise DuplicateKeyError(
                        "two samples would be one file, as a key begins like the class of another; "
                        "pass flat=True (--flat)"
                    )


def _refuse_repeated(contents: Contents, roles: Roles, classes: Sequence[str]) -> None:
    """Raise DuplicateKeyError if a path that begins with its class is that of another sample in this class's folder.

    Holds 16 bytes of each sample, and reads the labels of those alone whose paths differ in a class only.
    """
    known = frozenset(classes)
    for split, samples in contents.splits:
        top = 0 if split is None else len(split) + 1
        whole, inner = array("Q"), array("Q")  # (samples) hashes of the path, and of what is behind a class
        for entry in samples.entries():
            path = name_of(entry, split, "image", roles.image)[top:]
            folder, _, rest = path.partition("/")
            whole.append(_hash(path))
            inner.append(_hash(rest) if folder in known else 0)
        shared = np.intersect1d(whole, inner)
        if not len(shared):
            continue
        alike = samples.select(np.flatnonzero(np.isin(whole, shared) | np.isin(inner, shared)).tolist())
        key_of: dict[str, str] = {}
        for entry, sample in zip(alike.entries(), alike.stream(fields=roles.labels), strict=True):
            with suppress(ExportError, DecodeError):  # the work names these samples, or leaves them out
                folder_of = class_of(roles.label_of(sample), classes)
                path = name_of(entry, split, "image", roles.image)[top:]
                path = path if path.startswith(f"{folder_of}/") else f"{folder_of}/{path}"
                if (other := key_of.setdefault(path, sample.key)) != sample.key:
                    raise DuplicateKeyError(
                        f"two samples would be one file, {path!r}: {other!r} and {sample.key!r}, as a key begins like "
                        "the class of another; pass flat=True (--flat)"
                    )


def _hash(path: str) -> int:
    return xxh3_64_intdigest(path.encode("utf-8", "surrogateescape"))


def class_of(label: Mapping[str, Any], classes: Sequence[str]) -> str | None:
    """Return the class name that a label says: its `class`, or that of its `label`; None without either."""
    name, number = label.get("class"), label.get("label")
    if isinstance(name, str):
        return name
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(classes):
        return classes[number]
    return None


def cell(value: Any) -> Any:
    """Return what stands in a table for a value: text as it is, null as nothing, all else as JSON writes it."""
    if value is None or isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if _is_utf8(text) else json.dumps(value)


def _is_utf8(text: str) -> bool:
    """Return whether UTF-8 can hold a text: half a surrogate pair it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_rows(table: Any, columns: Sequence[str], parts: Sequence[Part], files: ExportFiles) -> Iterator[str]:
    """Write the rows of some parts; yield the path of the image of each."""
    for part in parts:
        for name, label in _lines(files.scrap(f"{part.number:06d}.jsonl")):
            table.writerow([name, *(cell(label.get(column)) for column in columns)])
            yield name


def _lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, label = json.loads(line)
            yield name, label
