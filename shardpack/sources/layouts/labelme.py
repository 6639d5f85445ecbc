"""LabelMe: a JSON file with shapes for each image, beside it or in a parallel folder.

    0001.jpg         0001.json
    images/0001.jpg  annotations/0001.json     (or labels/, json/)

The image of a file is the one with its stem, or else the one that its `imagePath` names, below the root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.labelme_json import LabelMeFile, looks_like_labelme, parse_labelme
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, key_below_images, usable_rows
from shardpack.sources.label_files import MAX_LABEL_FILE, Refused, read_label_files
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.layouts.per_image import labelled_listing, split_in
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_PARALLEL = ("annotations", "annotation", "labels", "label", "json", "jsons")
_LOOKED_AT, _FOLDERS_LOOKED_AT = 3, 16


@dataclass(frozen=True, slots=True)
class _Images:
    """Where the images of label files may be, by path without extension and by path."""

    by_stem: dict[str, int]
    by_name: dict[str, int]

    def beside(self, name: str) -> int | None:
        """Return the image with the stem of a label file, in its folder or in images/ beside that."""
        stem = cut_extension(name)[0]
        parts = stem.split("/")
        stems = [stem]
        for number, part in enumerate(parts[:-1]):
            if part.lower() in _PARALLEL:
                stems += ["/".join([*parts[:number], *images, *parts[number + 1 :]]) for images in (["images"], [])]
        return next((self.by_stem[each] for each in stems if each in self.by_stem), None)

    def named(self, name: str, image_path: str) -> int | None:
        """Return the image that a label file names, if it is below the root."""
        folder = posixpath.dirname(name)
        places = (posixpath.join(folder, image_path), posixpath.join(folder, posixpath.basename(image_path)))
        return next((self.by_name[p] for p in map(posixpath.normpath, places) if p in self.by_name), None)


class LabelMe:
    """JSON files of LabelMe."""

    name = "labelme"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the folders with JSON files of LabelMe, if the first of each are; see `Layout.find`."""
        folders = [path for path, folder in tree.folders.items() if "json" in folder.extensions]
        looked, rest = folders[:_FOLDERS_LOOKED_AT], folders[_FOLDERS_LOOKED_AT:]
        fitting = [path for path in looked if _looks(tree, path)]
        fitting += rest if fitting == looked else []
        if not fitting or not any(folder.num_images for folder in tree.folders.values()):
            if options.asked:
                raise SourceError(f"no JSON files of LabelMe in {tree.files.root!r}; name the folder that has them")
            return None
        uses = frozenset(tree.files.names[i] for path in fitting for i in _json_files(tree, path))
        return Found(layout=self.name, rank=BY_ANNOTATIONS, title="LabelMe", label="shapes", uses=uses, memory=fitting)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images with their shapes; images without a label file have no label, and are noted."""
        files = tree.files
        numbers = {files.names[i]: i for i in range(len(files.names)) if is_image_file(files.names[i])}
        images = _Images({cut_extension(name)[0]: i for name, i in numbers.items()}, numbers)
        label_of: dict[int, int] = {}
        for path in found.memory:
            for label_file in _json_files(tree, path):
                image = _image_of(tree, images, label_file)
                if isinstance(image, str):
                    problems.reject(files.names[label_file], image)
                elif label_of.setdefault(image, label_file) != label_file:
                    other = files.names[label_of[image]]
                    problems.reject(files.names[label_file], f"describes the image that {other!r} describes; keep one")
        rows = [
            ImageRow(
                key_below_images(cut_extension(name)[0]),
                {cut_extension(name)[1]: i},
                split_in(name),
                label_of.get(i, -1),
            )
            for name, i in numbers.items()
        ]
        rows = usable_rows(rows, files, problems)
        read = read_label_files(tree, rows, _Parser(), engine=options.engine, progress=options.progress)
        values = [_checked(value, row, files.names, numbers) for value, row in zip(read, rows, strict=True)]
        problems.note("images without a label file", sum(row.label_file < 0 for row in rows))
        return labelled_listing(rows, files, values, problems)


class _Parser:
    """Reads a label file, if there is one."""

    def __call__(self, data: bytes | None, _: ImageSize | None) -> LabelMeFile | None:
        return None if data is None else parse_labelme(data)


def _json_files(tree: Tree, path: str) -> Iterator[int]:
    folder = tree.folders[path]
    return (i for i in range(folder.first, folder.stop) if tree.files.names[i].lower().endswith(".json"))


def _looks(tree: Tree, path: str) -> bool:
    """Return whether the first JSON files of a folder are LabelMe's."""
    names = [tree.files.names[i] for i in islice(_json_files(tree, path), _LOOKED_AT)]
    return all(looks_like_labelme(tree.read(name, max_bytes=MAX_LABEL_FILE)) for name in names)


def _image_of(tree: Tree, images: _Images, label_file: int) -> int | str:
    """Return the image of a label file, or why it has none."""
    name = tree.files.names[label_file]
    if (found := images.beside(name)) is not None:
        return found
    try:
        path = parse_labelme(tree.read(name, max_bytes=MAX_LABEL_FILE)).image_path
    except DecodeError as error:
        return str(error)
    found = images.named(name, path)
    return f"names the image {path!r}, which is not below the source; restore it" if found is None else found


def _checked(value: object, row: ImageRow, names: list[str], images: dict[str, int]) -> object:
    """Return the label of an image, unless its file names another image that is there."""
    if not isinstance(value, LabelMeFile):
        return value
    said, label_file = value.image_path, names[row.label_file]
    other = images.get(posixpath.normpath(posixpath.join(posixpath.dirname(label_file), said))) if said else None
    if other is not None and other != row.image:
        return Refused(f"{label_file} names another image, {names[other]!r}; rename one of the files")
    return value.label
