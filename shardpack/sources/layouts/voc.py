"""Pascal VOC: an XML file for each image, lists of the splits, and masks as PNG.

    JPEGImages/2007_000027.jpg    Annotations/2007_000027.xml    sample 2007_000027
    ImageSets/Main/train.txt                                     its split
    SegmentationClass/2007_000027.png                            field seg.png; SegmentationObject: seg.object.png

images/ and annotations/ are read alike, and XML files beside the images.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.voc_xml import parse_voc
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, usable_rows
from shardpack.sources.label_files import read_label_files
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.layouts.per_image import labelled_listing, split_in, without_part
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_IMAGES = ("jpegimages", "images", "image", "imgs")
_ANNOTATIONS = ("annotations", "annotation", "xmls", "xml", "labels")
_MASKS = {"SegmentationClass": "seg", "SegmentationObject": "seg.object"}
_LISTS = ("train", "val", "test", "trainval")  # the last only where the first two are not there
_MAX_LOOK, _MAX_LIST = 16 << 20, 256 << 20
_LOOKED_AT, _FOLDERS_LOOKED_AT = 3, 16


@dataclass(frozen=True, slots=True)
class _Pair:
    """A folder with XML files, and that with their images.

    Attributes:
        xmls, images: The folders; may be equal.
        base: The folder that has ImageSets/ and the masks.
        part: The folder name that is left out of keys; "" for none.
    """

    xmls: str
    images: str
    base: str
    part: str = ""


class Voc:
    """XML files of Pascal VOC."""

    name = "voc"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the folders with XML files, if the first of these are Pascal VOC's; see `Layout.find`."""
        pairs = [*_pairs(tree)]
        if not pairs or not all(_looks(tree, pair) for pair in pairs[:_FOLDERS_LOOKED_AT]):
            if options.asked:
                raise SourceError(
                    f"no annotations of Pascal VOC in {tree.files.root!r}: expected JPEGImages/ and Annotations/, or "
                    ".xml files beside the images; name the folder that has them"
                )
            return None
        uses = {name for pair in pairs for name in _names_in(tree, pair.xmls, ".xml")}
        lists = {name for pair in pairs for name in tree.files.names if name.startswith(_join(pair.base, "ImageSets/"))}
        return Found(
            layout=self.name,
            rank=BY_ANNOTATIONS,
            title="Pascal VOC",
            label="boxes",
            uses=frozenset(uses | lists),
            memory=pairs,
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images with their boxes; see `Layout.list`.

        Images without an XML file have no label, and are noted. Rejected: XML files without an image. Left out:
        images that are in no list, where there are lists of the splits.
        """
        rows = [row for pair in found.memory for row in _rows(tree, pair, problems)]
        rows = usable_rows(rows, tree.files, problems)
        values = read_label_files(tree, rows, _parse, engine=options.engine, progress=options.progress)
        problems.note("images without annotations", sum(row.label_file < 0 for row in rows))
        return labelled_listing(rows, tree.files, values, problems)


def _parse(data: bytes | None, _: object) -> object:
    return None if data is None else parse_voc(data)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _names_in(tree: Tree, path: str, ending: str) -> Iterator[str]:
    folder = tree.folders[path]
    return (name for name in tree.files.names[folder.first : folder.stop] if name.lower().endswith(ending))


def _pairs(tree: Tree) -> Iterator[_Pair]:
    with_images = {path.lower(): path for path, folder in tree.folders.items() if folder.num_images}
    for path, folder in tree.folders.items():
        if "xml" not in folder.extensions:
            continue
        parts = path.split("/")
        level = next((i for i in range(len(parts) - 1, -1, -1) if parts[i].lower() in _ANNOTATIONS), None)
        places = [(path, posixpath.dirname(path), "")]
        if level is not None:
            above, below = "/".join(parts[:level]), parts[level + 1 :]
            places += [("/".join([*parts[:level], images, *below]), above, images) for images in _IMAGES]
        for place, base, part in places:
            if place.lower() in with_images:
                yield _Pair(path, with_images[place.lower()], base, part)
                break


def _looks(tree: Tree, pair: _Pair) -> bool:
    """Return whether some XML files have the stem of an image, and the first are annotations, as far as they tell."""
    images = {_stem(tree.files.names[i]) for i in _numbers_in(tree, pair.images) if is_image_file(tree.files.names[i])}
    if images.isdisjoint(map(_stem, _names_in(tree, pair.xmls, ".xml"))):
        return False
    for number, name in enumerate(_names_in(tree, pair.xmls, ".xml")):
        if number == _LOOKED_AT:
            break
        try:
            parse_voc(tree.read(name, max_bytes=_MAX_LOOK))
        except DecodeError as error:
            if "<annotation>" in str(error):
                return False
    return True


def _splits(tree: Tree, base: str) -> dict[str, str]:
    """Return the split of each stem that the lists of a set name; empty without lists."""
    found: dict[str, str] = {}
    listed = {split: _join(base, f"ImageSets/Main/{split}.txt") for split in _LISTS}
    there = [split for split in _LISTS if tree.has(listed[split])]
    for split in there:
        if split == "trainval" and {"train", "val"} & set(there):
            continue
        text = tree.read(listed[split], max_bytes=_MAX_LIST).decode("utf-8-sig", "replace")
        for line in text.splitlines():
            if words := line.split():
                found.setdefault(words[0], split)
    return found


def _rows(tree: Tree, pair: _Pair, problems: Problems) -> Iterator[ImageRow]:
    files = tree.files
    xmls = {_stem(files.names[i]): i for i in _numbers_in(tree, pair.xmls) if files.names[i].lower().endswith(".xml")}
    masks = [
        (field, {_stem(files.names[i]): i for i in _numbers_in(tree, _join(pair.base, folder))})
        for folder, field in _MASKS.items()
    ]
    splits = _splits(tree, pair.base)
    for number in _numbers_in(tree, pair.images):
        name = files.names[number]
        if not is_image_file(name):
            continue
        stem, extension = cut_extension(name)
        xml = xmls.pop(_stem(name), -1)
        if splits and _stem(name) not in splits:
            problems.leave_out(name, "an image that is in no list of ImageSets/Main")
            continue
        found = {extension: number}
        for field, of_stem in masks:
            if (mask := of_stem.get(_stem(name))) is not None:
                found[f"{field}.{cut_extension(files.names[mask])[1]}"] = mask
        split = splits[_stem(name)] if splits else split_in(name)
        yield ImageRow(without_part(stem, pair.part) if pair.part else stem, found, split, xml)
    for xml in xmls.values():
        reason = f"describes an image that is not in {pair.images or 'the root'!r}; restore it, or remove this file"
        problems.reject(files.names[xml], reason)


def _stem(name: str) -> str:
    return cut_extension(name)[0].rpartition("/")[2]


def _numbers_in(tree: Tree, path: str) -> range:
    folder = tree.folders.get(path)
    return range(0) if folder is None else range(folder.first, folder.stop)
