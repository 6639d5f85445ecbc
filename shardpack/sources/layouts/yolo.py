"""YOLO: a label file for each image, with numbers relative to its size.

    data.yaml                                       names, splits, kpt_shape: data_yaml.py
    images/train/0001.jpg  labels/train/0001.txt    the usual tree; key train/0001, split train
    train/images/0001.jpg  train/labels/0001.txt    Roboflow's
    0001.jpg  0001.txt  classes.txt                 beside each other, with a list of classes

The size of each image is read from its first bytes: labels are in pixels.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.yolo_lines import YoloParser
from shardpack.sources.image_rows import (
    ImageRow,
    cut_extension,
    is_image_file,
    key_below_images,
    listing_of,
    usable_rows,
)
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.label_files import Refused, read_label_files
from shardpack.sources.label_shape import SHAPE
from shardpack.sources.layouts.data_yaml import (
    CLASS_LISTS,
    DataYaml,
    find_class_list,
    find_data_yaml,
    with_class_lists,
)
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.layouts.per_image import split_in
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_LOOKED_AT = 5  # label files
_NOTHING = b',"annotations":[]'
_MAX_LOOK = 1 << 20
_NO_LABELS = ("classes", "obj", "train", "val", "valid", "test")  # stems of text files that tools put beside labels


@dataclass(frozen=True, slots=True)
class _Memory:
    """What `find` found.

    Attributes:
        data: What data.yaml or a list of classes says.
        labels_of: Folder with images -> folder with their label files; None without such a folder.
    """

    data: DataYaml
    labels_of: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def label_folders(self) -> list[str]:
        """Return the folders with label files."""
        return [*dict.fromkeys(labels for labels in self.labels_of.values() if labels is not None)]


class Yolo:
    """Label files of relative numbers in labels/, or beside the images."""

    name = "yolo"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the pairs of folders, if some of their label files hold lines of YOLO; see `Layout.find`."""
        labels_of = dict(_pairs(tree))
        paired = {images: labels for images, labels in labels_of.items() if labels is not None}
        if not paired and not options.asked:
            return None
        data = find_data_yaml(tree) or find_class_list(tree, [*paired, *paired.values()])
        beside = all(images == labels for images, labels in paired.items())
        if not paired or (beside and data is None):
            if options.asked:
                raise SourceError(
                    f"no label files of YOLO in {tree.files.root!r}: expected images/ and labels/, or .txt files "
                    "beside the images and a data.yaml or classes.txt; name the folder that has them"
                )
            return None
        memory = _Memory(data or DataYaml(), labels_of)
        kinds = list(_looks(tree, memory))
        sure = data is not None and (not kinds or any(kinds))
        if not options.asked and not sure and (None in kinds or not {"box", "polygon"} & set(kinds)):
            return None
        memory = replace(memory, data=with_class_lists(tree, memory.data, _class_lists(tree)))
        return _found(tree, memory, has_polygons="polygon" in kinds)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images, each with the boxes of its label file; see `Layout.list`.

        Rejected: label files without an image, unless they are empty.
        """
        memory: _Memory = found.memory
        data, files = memory.data, tree.files
        rows = usable_rows(list(_rows(tree, memory, problems)), files, problems)
        known = sorted(data.names or ())
        numbers = {number: label for label, number in enumerate(known)}
        parser = _Labels(YoloParser(data.names, numbers if data.names else None, data.keypoints))
        values = read_label_files(tree, rows, parser, sizes=True, engine=options.engine, progress=options.progress)
        labelled = [memory.labels_of[files.names[row.image].rpartition("/")[0]] is not None for row in rows]
        bare = sum(row.label_file < 0 for row in rows)
        problems.note("images in folders without label files, packed without annotations", labelled.count(False))
        problems.note("images without a label file, packed without boxes", bare - labelled.count(False))
        refused = {sample: value.reason for sample, value in enumerate(values) if isinstance(value, Refused)}
        labels = [
            None if sample in refused else value if labelled[sample] else value.replace(_NOTHING, b"")
            for sample, value in enumerate(values)
        ]
        listing = attach_labels(listing_of(rows, files), labels, problems, refused=refused)
        classes = None if data.names is None else tuple(data.names[number] for number in known)
        return replace(listing, classes=classes, label_shape=SHAPE)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Makes the label of an image where its file is read, as JSON, which takes less memory than values."""

    parser: YoloParser

    def __call__(self, data: bytes | None, size: ImageSize | None) -> bytes:
        return compact_json(self.parser(data, size))


def _found(tree: Tree, memory: _Memory, *, has_polygons: bool) -> Found:
    data = memory.data
    lists = (place for places in data.folders.values() for place in places if place.endswith(".txt"))
    return Found(
        layout=Yolo.name,
        rank=BY_ANNOTATIONS,
        title=f"YOLO ({data.name}: {data.note})" if data.note else "YOLO",
        label="key points" if data.keypoints else "polygons" if has_polygons else "boxes",
        uses=frozenset({*_label_files(tree, memory), *_hints(tree), *lists, *([data.name] if data.name else [])}),
        memory=memory,
    )


def _pairs(tree: Tree) -> Iterator[tuple[str, str | None]]:
    """Yield (folder with images, folder with label files): labels/ beside images/, or the folder itself."""
    for path, folder in tree.folders.items():
        if not folder.num_images:
            continue
        labels = _labels_folder(path)
        if labels is not None:
            yield path, labels if _has_text(tree, labels) else None
        elif "txt" in folder.extensions:
            yield path, path


def _has_text(tree: Tree, path: str) -> bool:
    return path in tree.folders and "txt" in tree.folders[path].extensions


def _labels_folder(path: str) -> str | None:
    """Return the path with its last part "images" replaced by "labels"; None if it has no such part."""
    parts = path.split("/")
    if "images" not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index("images")
    return "/".join([*parts[:last], "labels", *parts[last + 1 :]])


def _label_files(tree: Tree, memory: _Memory) -> Iterator[str]:
    return (tree.files.names[number] for number in _numbers_of_labels(tree, memory))


def _numbers_of_labels(tree: Tree, memory: _Memory) -> Iterator[int]:
    for path in memory.label_folders:
        folder = tree.folders[path]
        yield from (i for i in range(folder.first, folder.stop) if tree.files.names[i].endswith(".txt"))


def _hints(tree: Tree) -> set[str]:
    """Return files that tools leave beside the images and that say nothing more."""
    return {
        name
        for folder in tree.folders.values()
        for name in tree.files.names[folder.first : folder.stop]
        if name.rpartition("/")[2] in (*CLASS_LISTS, "obj.data")
    }


def _class_lists(tree: Tree) -> list[str]:
    return sorted(name for name in _hints(tree) if name.rpartition("/")[2] in CLASS_LISTS)


def _looks(tree: Tree, memory: _Memory) -> Iterator[str | None]:
    """Yield what the first label files hold: "box", "polygon", "empty", or None for what another tool wrote."""
    parser = YoloParser(keypoints=memory.data.keypoints)
    looked = 0
    for name in _label_files(tree, memory):
        if looked == _LOOKED_AT:
            return
        stem = cut_extension(name)[0]
        if posixpath.basename(stem) in _NO_LABELS:
            continue
        looked += 1
        try:
            lines = parser.lines(tree.read(name, max_bytes=_MAX_LOOK))
        except DecodeError:
            yield None
        else:
            yield "empty" if not lines else "polygon" if any(len(line) > 5 for line in lines) else "box"


def _rows(tree: Tree, memory: _Memory, problems: Problems) -> Iterator[ImageRow]:
    files = tree.files
    used = {-1}
    number_of_label = {cut_extension(files.names[i])[0]: i for i in _numbers_of_labels(tree, memory)}
    split_of = _Splits(tree, memory, problems)
    for path, labels in memory.labels_of.items():
        folder = tree.folders[path]
        for number in range(folder.first, folder.stop):
            name = files.names[number]
            if not is_image_file(name):
                continue
            stem, extension = cut_extension(name)
            base = stem[len(path) + 1 :] if path else stem
            label_file = -1 if labels is None else number_of_label.get(f"{labels}/{base}" if labels else base, -1)
            used.add(label_file)
            yield ImageRow(key_below_images(stem), {extension: number}, split_of(name), label_file)
    lists = {place for places in memory.data.folders.values() for place in places}
    for stem, number in number_of_label.items():
        listed = posixpath.basename(stem) in _NO_LABELS or files.names[number] in lists
        if number not in used and not listed and files.sizes[number]:
            problems.reject(files.names[number], "labels an image that is not here; restore it, or remove this file")


class _Splits:
    """Says which split an image is in: that of data.yaml, or else the folder that is called like one.

    Raises:
        SourceError: Data.yaml puts a folder or an image into two splits.
    """

    def __init__(self, tree: Tree, memory: _Memory, problems: Problems) -> None:
        splits: dict[str, str] = {}
        listed_in: dict[str, str] = {}
        self._split_of_list = splits
        self._listed_in = listed_in
        for split, places in memory.data.folders.items():
            for place in places:
                if splits.setdefault(place, split) != split:
                    raise SourceError(
                        f"{memory.data.name}: {place or '.'!r} is both {splits[place]} and {split}; leave it in one"
                    )
                for name in _listed(tree, place, problems) if place.endswith(".txt") else ():
                    other = listed_in.setdefault(name, place)
                    if splits[other] != split:
                        raise SourceError(f"{name} is in both {other} and {place}; leave it in one of the two")
        folders = [(f"{place}/" if place else "", split) for place, split in splits.items() if place[-4:] != ".txt"]
        self._prefixes = sorted(folders, key=lambda pair: -len(pair[0]))  # a folder in another one wins

    def __call__(self, name: str) -> str | None:
        if name in self._listed_in:
            return self._split_of_list[self._listed_in[name]]
        for prefix, split in self._prefixes:
            if name.startswith(prefix):
                return split
        return split_in(name)


def _listed(tree: Tree, name: str, problems: Problems) -> list[str]:
    """Return the images that a list names; noted: lines without one. Rejected: a list that names none."""
    folder = posixpath.dirname(name)
    lines = tree.read(name, max_bytes=1 << 30).decode("utf-8-sig", "replace").splitlines()
    paths = [path for line in lines if (path := line.strip().replace("\\", "/"))]
    found = [place for path in paths if (place := _image_at(tree, folder, path)) is not None]
    if paths and not found:
        problems.reject(name, f"none of its lines is the path of an image here, such as {paths[0]!r}; correct the list")
    else:
        problems.note("lines in lists of images that are no path of an image here", len(paths) - len(found))
    return found


def _image_at(tree: Tree, folder: str, path: str) -> str | None:
    """Return the file that a line means: from its list, from the root, or the longest end of its path that is here."""
    clean = posixpath.normpath(path)
    parts = clean.split("/")
    ends = () if parts[0] == ".." else ("/".join(parts[first:]) for first in range(1, len(parts)))
    return next((at for at in (posixpath.normpath(f"{folder or '.'}/{path}"), clean, *ends) if tree.has(at)), None)
