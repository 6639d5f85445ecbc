"""Open Images: tables of boxes by image ID, which is the stem of the image.

train-annotations-bbox.csv, class-descriptions-boxable.csv      in any folder
train/000002b66c9c498e.jpg                                      sample train/000002b66c9c498e, split train
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from shardpack.codecs.geometry import UPRIGHT
from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.open_images_csv import OpenImagesBoxes, parse_class_descriptions
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, key_below_images, usable_rows
from shardpack.sources.label_files import Refused, read_label_files
from shardpack.sources.label_shape import label
from shardpack.sources.layouts.layout import BY_ITS_OWN_NAMES, Found, LayoutOptions
from shardpack.sources.layouts.per_image import labelled_listing, split_in
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.tree import Tree

_BOXES = re.compile(r"(?:oidv\d-)?(?:(\w+)-)?annotations-bbox\.csv", re.IGNORECASE)
_CLASSES = re.compile(r"(?:oidv\d-)?class-descriptions(?:-boxable)?\.csv", re.IGNORECASE)


class OpenImages:
    """Tables of boxes of Open Images."""

    name = "open-images"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables, which are known by their names; see `Layout.find`."""
        names = [
            name
            for folder in tree.folders.values()
            if "csv" in folder.extensions
            for name in tree.files.names[folder.first : folder.stop]
        ]
        boxes = [name for name in names if _BOXES.fullmatch(posixpath.basename(name))]
        if not boxes:
            if options.asked:
                raise SourceError(
                    f"no boxes of Open Images in {tree.files.root!r}: expected *-annotations-bbox.csv; put it there"
                )
            return None
        classes = [name for name in names if _CLASSES.fullmatch(posixpath.basename(name))]
        return Found(
            layout=self.name,
            rank=BY_ITS_OWN_NAMES,
            title="Open Images",
            label="boxes",
            uses=frozenset([*boxes, *classes]),
            memory=(boxes, classes),
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return all images, those in a table with their boxes. Lines of images that are not here are passed over."""
        tables, descriptions = found.memory
        names: dict[str, str] = {}
        for path in descriptions:
            names.update(_of(path, lambda path=path: parse_class_descriptions(tree.read(path))))
        numbers = [i for i, name in enumerate(tree.files.names) if is_image_file(name)]
        ids = {_stem(tree.files.names[i]) for i in numbers}
        boxes = OpenImagesBoxes()
        split_of: dict[str, str | None] = {}
        for path in tables:
            split, known = _split(path), set(boxes.of_image)
            for line, _, reason in _of(path, lambda path=path: list(boxes.add(tree.read(path), ids.__contains__))):
                problems.reject(f"{path}:{line}", reason)
            split_of.update(dict.fromkeys(boxes.of_image.keys() - known, split))
        rows = []
        for i in numbers:
            stem, extension = cut_extension(tree.files.names[i])
            split = split_in(tree.files.names[i]) or split_of.get(_stem(tree.files.names[i]))
            rows.append(ImageRow(key_below_images(stem), {extension: i}, split))
        rows = usable_rows(rows, tree.files, problems)
        sizes = read_label_files(tree, rows, _size, sizes=True, engine=options.engine, progress=options.progress)
        values = [
            _label(boxes, names, _stem(tree.files.names[row.image]), size)
            for row, size in zip(rows, sizes, strict=True)
        ]
        bare = sum(_stem(tree.files.names[row.image]) not in boxes.of_image for row in rows)
        problems.note("images that are in no table", bare)
        return labelled_listing(rows, tree.files, values, problems, classes=[*dict.fromkeys(names.values())])


def _of(path: str, read: Any) -> Any:
    try:
        return read()
    except DecodeError as error:
        raise SourceError(f"{path}: {error}") from error


def _size(_: bytes | None, size: ImageSize | None) -> ImageSize | None:
    return size


def _label(boxes: OpenImagesBoxes, names: dict[str, str], image_id: str, size: Any) -> Any:
    if isinstance(size, Refused):
        return size
    if image_id not in boxes.of_image:
        return label(size.width, size.height)
    if size.orientation != UPRIGHT:
        return Refused(
            f"the image has EXIF orientation {size.orientation}, and the table does not say whether its numbers are "
            "for the pixels as they are stored or as they are shown; store the image upright"
        )
    return label(size.width, size.height, boxes.annotations(image_id, size, names))


def _stem(name: str) -> str:
    return cut_extension(name)[0].rpartition("/")[2]


def _split(path: str) -> str | None:
    match = _BOXES.fullmatch(posixpath.basename(path))
    word = match[1] if match else None
    return word if word is not None and word.lower() in SPLIT_NAMES else None
