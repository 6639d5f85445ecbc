"""COCO annotations: one JSON file that describes many images.

    {"images": [{"id": 7, "file_name": "a.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 40]}],
     "categories": [{"id": 18, "name": "dog"}]}

becomes the label of a.jpg:

    {"id":7,"width":640,"height":480,
     "annotations":[{"id":1,"category_id":18,"category_name":"dog","bbox":[1,2,30,40]}]}
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

COCO_NAMES = ("annotations.json", "_annotations.coco.json")  # the second is Roboflow's

Object = dict[str, Any]  # a JSON object


@dataclass(frozen=True, slots=True)
class Annotations:
    """An annotation file: its name in the tree, or else its path, and its content as a JSON value."""

    path: str
    content: Any
    inside: bool = True

    def is_coco(self) -> bool:
        """Return whether this looks like COCO: an object with lists of images and annotations."""
        return isinstance(self.content, dict) and all(
            isinstance(self.content.get(name), list) for name in ("images", "annotations")
        )


class Coco:
    """A COCO file of a usual name in the root, or the file with annotations that was named."""

    name = "coco"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the annotations that were named, or those in the root that look like COCO; see `Layout.find`."""
        if options.annotations is not None:
            return self._found(read_annotations(tree, options.annotations))
        usual = [name for name in COCO_NAMES if name in tree.names]
        if not usual and options.asked:
            raise SourceError(
                f"no annotations in {tree.files.root!r}: expected {' or '.join(COCO_NAMES)}; "
                "name the file with annotations (--annotations)"
            )
        read = [_parsed(name, tree.read(name)) for name in usual]
        fitting = next((annotations for annotations in read if annotations.is_coco()), None)
        if fitting is None and options.asked:
            fitting = read[0]
        return None if fitting is None else self._found(fitting)

    def _found(self, annotations: Annotations) -> Found:
        uses = frozenset({annotations.path} if annotations.inside else ())
        title, label = "COCO", "annotations"
        return Found(layout=self.name, rank=BY_ANNOTATIONS, title=title, label=label, uses=uses, memory=annotations)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the annotated images; see `list_coco`."""
        return list_coco(tree, found.memory, problems, rename_keys=options.rename_keys)


def read_annotations(tree: Tree, path: str | os.PathLike[str]) -> Annotations:
    """Return a parsed annotation file, named as in `Tree.read_given`. Takes several times its size in memory.

    Raises:
        SourceError: The file is unreadable, or not JSON.
    """
    name, data = tree.read_given(path)
    return _parsed(os.fspath(path), data, inside=False) if name is None else _parsed(name, data)


def _parsed(path: str, data: bytes, *, inside: bool = True) -> Annotations:
    try:
        return Annotations(path, parse_json(data), inside)
    except DecodeError as error:
        raise SourceError(
            f"cannot read the annotations {path!r}: {error}; repair it, or choose a layout without annotations"
        ) from error


def list_coco(tree: Tree, annotations: Annotations, problems: Problems, *, rename_keys: bool = False) -> Listing:
    """Return the annotated images, each with its record and annotations as its JSON label.

    A label is the image's record without `file_name`, and a list "annotations", which may be empty and
    has the order of the file. Each annotation keeps all its names except `image_id`, and gets a
    `category_name`. `classes` are the category names in the order of their ids. `file_name` is
    relative to the source, or else to the folder of the annotation file.

    Left out and counted: image files without a record. Rejected: records without an image file, records that
    share an image file or an id, annotations of unknown images or categories, and images with a .json file
    of their own.

    Args:
        tree: The images.
        annotations: The annotation file, as returned by `read_annotations`.
        problems: Receives what is rejected or left out.
        rename_keys: As for `group_files`.

    Raises:
        SourceError: The file does not have the structure of COCO; names the wrong part.
    """
    images, records, categories = _parts(annotations)
    paths_of = _paths(tree.files.root, annotations)
    others = tree.files.without({annotations.path}) if annotations.inside else tree.files
    listing = group_files(others, problems, rename_keys=rename_keys)
    image_paths = ImagePaths(listing, tree.files, problems)
    uses = Counter(image["id"] for image in images)
    records_of: dict[Any, list[Object]] = {image_id: [] for image_id in uses}
    for number, record in enumerate(records):
        if record["image_id"] in records_of:
            records_of[record["image_id"]].append(record)
        else:
            problems.reject(
                f"{annotations.path}: annotations[{number}]",
                f"its image_id {record['image_id']!r} is not the id of an image; repair it, or remove the annotation",
            )
    labels: list[bytes | None] = [None] * listing.num_samples
    refused: dict[int, str] = {}
    for number, image in enumerate(images):
        sample = image_paths.find(image["file_name"], paths_of(image["file_name"]))
        if isinstance(sample, str):
            problems.reject(f"{annotations.path}: images[{number}]", sample)
        elif sample is None:
            continue
        elif uses[image["id"]] > 1:
            refused[sample] = f"shares its image id {image['id']!r} with another image; give each its own"
        elif labels[sample] is not None:
            refused[sample] = f"is named by two records, one of them images[{number}]; keep one"
        else:
            try:
                labels[sample] = _label(image, records_of[image["id"]], categories)
            except SourceError as error:
                refused[sample] = str(error)
    listing = attach_labels(listing, labels, problems, refused=refused, missing="an image without a record")
    return listing if categories is None else replace(listing, classes=tuple(categories.values()))


def _label(image: Object, records: list[Object], categories: Mapping[Any, str] | None) -> bytes:
    annotations = []
    for record in records:
        annotation: Object = {}
        for name, value in record.items():
            if name != "image_id":
                annotation[name] = value
            if name == "category_id" and categories is not None:
                if not isinstance(value, (int, str)) or value not in categories:
                    raise SourceError(f"its category_id {value!r} is not the id of a category; correct the annotation")
                annotation["category_name"] = categories[value]
        annotations.append(annotation)
    kept = {name: value for name, value in image.items() if name != "file_name"}
    return compact_json({**kept, "annotations": annotations})


def _paths(root: str, annotations: Annotations) -> Callable[[str], list[str]]:
    """Return the function from a file name to the paths in the tree that it may stand for."""
    down, _, _ = annotations.path.rpartition("/")
    if annotations.inside:
        return lambda file_name: [file_name, f"{down}/{file_name}"] if down else [file_name]
    # Names in the source may begin with the path that leads from the annotations there.
    try:
        up = os.path.relpath(os.path.abspath(root), os.path.dirname(os.path.abspath(annotations.path)))
    except ValueError:  # two drives
        return lambda file_name: [file_name]
    prefix = up.replace(os.sep, "/") + "/"
    return lambda file_name: [file_name, posixpath.normpath(file_name).removeprefix(prefix)]


def _parts(annotations: Annotations) -> tuple[list[Object], list[Object], dict[Any, str] | None]:
    """Return (images, annotations, category names by ascending id) after checking their structure."""
    path, content = annotations.path, annotations.content
    if not isinstance(content, dict):
        raise SourceError(
            f"{path} is not a COCO file: expected a JSON object, got {type(content).__name__}; name another"
        )
    images = _objects(path, content, "images", {"id": (int, str), "file_name": str})
    records = _objects(path, content, "annotations", {"image_id": (int, str)})
    if "categories" not in content:
        return images, records, None
    categories = _objects(path, content, "categories", {"id": (int, str), "name": str})
    ids = [category["id"] for category in categories]
    if len(set(ids)) != len(ids) or len({type(category_id) for category_id in ids}) > 1:
        raise SourceError(f"{path} is not a COCO file: category ids must be different, and of one type; repair it")
    return images, records, {c["id"]: c["name"] for c in sorted(categories, key=lambda category: category["id"])}


def _objects(path: str, content: Object, part: str, needed: Mapping[str, Any]) -> list[Object]:
    objects = content.get(part)
    if not isinstance(objects, list):
        raise SourceError(
            f"{path} is not a COCO file: expected a list {part!r}, got {type(objects).__name__}; "
            f"it has {', '.join(map(repr, content)) or 'nothing'}; name another"
        )
    for number, value in enumerate(objects):
        if not isinstance(value, dict):
            raise SourceError(
                f"{path} is not a COCO file: {part}[{number}] is a {type(value).__name__}, "
                "expected an object; repair it"
            )
        for name, types in needed.items():
            if not isinstance(value.get(name), types):
                raise SourceError(
                    f"{path} is not a COCO file: {part}[{number}] needs a {name!r}, got {value.get(name)!r}; repair it"
                )
    return objects
