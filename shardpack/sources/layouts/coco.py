"""COCO: JSON files that describe many images each: boxes, polygons, key points, captions, panoptic segments.

`coco_files.py` says which files there are and where their images may be, `sources/annotations/coco_json.py` what they
say. Several files of the same images make one label; the PNG of a panoptic segmentation is the field panoptic.png.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from shardpack.errors import SourceError
from shardpack.sources.annotations.coco_json import CocoImage, CocoLabels
from shardpack.sources.columns import Chosen
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.image_rows import key_below_images
from shardpack.sources.json_labels import attach_labels, insert_field
from shardpack.sources.label_shape import SHAPE
from shardpack.sources.layouts.coco_files import CocoGroup, find_groups, given_group
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import with_splits
from shardpack.sources.tree import Tree

PANOPTIC = "panoptic.png"
_SAID = {
    "instances": "boxes and polygons",
    "captions": "captions",
    "person_keypoints": "key points",
    "keypoints": "key points",
    "panoptic": "panoptic segments",
}


class Coco:
    """Annotation files of COCO in their usual places, or the file that was named."""

    name = "coco"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the annotation files; see `Layout.find`."""
        if options.annotations is not None:
            name, _ = tree.read_given(options.annotations)
            groups = [given_group(tree, os.fspath(options.annotations), name)]
        else:
            groups = find_groups(tree)
        if not groups:
            if options.asked:
                raise SourceError(
                    f"no annotations of COCO in {tree.files.root!r}: expected annotations/instances_*.json, "
                    "annotations.json or _annotations.coco.json; name the file (--annotations)"
                )
            return None
        names = [name for group in groups for name in group.files]
        said = [words for kind, words in _SAID.items() if any(f"{kind}_" in name for name in names)]
        return Found(
            layout=self.name,
            rank=BY_ANNOTATIONS,
            title="COCO",
            label=", ".join(dict.fromkeys(said)) or "annotations",
            uses=frozenset(name for name in names if tree.has(name)),
            memory=groups,
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the annotated images; see `list_coco`."""
        return list_coco(tree, found.memory, problems, options)


def list_coco(tree: Tree, groups: list[CocoGroup], problems: Problems, options: LayoutOptions) -> Listing:
    """Return the annotated images, each with its record and annotations as its JSON label.

    A label is the image's record without `file_name`, with "annotations", "captions" and "segments_info" in the order
    of the files. Each annotation keeps all its names except `image_id`, and gets the number and name of its class.
    Classes are the category names in the order of their ids.

    Left out and counted: image files without a record. Rejected: records without an image file, records that
    share an image file or an id, annotations of unknown images or categories, and images with a .json file
    of their own. Memory: the text of the largest group of files and that of its labels.

    Raises:
        SourceError: A file does not have the structure of COCO; names the wrong part.
    """
    masks = {name for group in groups if group.is_panoptic for name in _mask_files(tree, group)}
    others = tree.files.without({name for group in groups for name in group.files} | masks)
    listing = group_files(others, problems, rename_keys=options.rename_keys)
    samples = _Samples(tree, listing, problems, masks)
    read = []
    for group in groups:
        labels = _read(tree, group)
        read.append((group, labels))
        options.progress(sum(len(each.images) for _, each in read))
    numbers, classes = _numbers([labels for _, labels in read])
    while read:
        samples.add(*read.pop(0), numbers)
    listing = replace(listing, keys=[key_below_images(key) for key in listing.keys])
    listing = samples.with_masks(listing)
    if any(samples.splits):
        listing = with_splits(listing, samples.splits)
    missing = "an image without a record"
    listing = attach_labels(listing, samples.labels, problems, refused=samples.refused, missing=missing)
    return replace(listing, classes=classes, label_shape=SHAPE)


def _read(tree: Tree, group: CocoGroup) -> CocoLabels:
    labels = CocoLabels()
    has_others = any("instances_" in name for name in group.files)
    for path in group.files:
        data = tree.read(path) if group.folder is not None else tree.read_given(path)[1]
        labels.add(path, data, hold=has_others and "keypoints_" in path)
        del data
    labels.finish()
    return labels


def _numbers(groups: list[CocoLabels]) -> tuple[dict[Any, int], tuple[str, ...] | None]:
    """Return (category id -> number of its class, class names): by ascending id, equal names being one class."""
    categories: dict[Any, str] = {}
    known = [each.categories for each in groups if each.categories is not None]
    for each in known:
        for category_id, name in each.items():
            if categories.setdefault(category_id, name) != name:
                raise SourceError(
                    f"category {category_id!r} is {categories[category_id]!r} in one annotation file and {name!r} in "
                    "another; rename one, or pack them one by one (--annotations)"
                )
    if len({type(category_id) for category_id in categories}) > 1:
        raise SourceError("category ids are numbers in one annotation file and texts in another; make them equal")
    ordered = sorted(categories)
    classes = tuple(dict.fromkeys(categories[category_id] for category_id in ordered))
    number_of = {name: number for number, name in enumerate(classes)}
    return {each: number_of[categories[each]] for each in ordered}, classes if known else None


def _mask_files(tree: Tree, group: CocoGroup) -> Iterator[str]:
    for place in {path.rpartition("/")[0] for path in group.masks_of("x")}:
        if (folder := tree.folders.get(place)) is not None:
            yield from tree.files.names[folder.first : folder.stop]


class _Samples:
    """What is known of the samples of a listing: labels, splits and panoptic images, filled group by group."""

    def __init__(self, tree: Tree, listing: Listing, problems: Problems, masks: set[str]) -> None:
        self._problems, self._files = problems, tree.files
        self._paths = ImagePaths(listing, tree.files, problems)
        self._number_of = {name: number for number, name in enumerate(tree.files.names) if name in masks}
        self.labels: list[bytes | None] = [None] * listing.num_samples
        self.splits: list[str | None] = [None] * listing.num_samples
        self._masks: list[int | None] = [None] * listing.num_samples  # numbers of files
        self.refused: dict[int, str] = {}

    def add(self, group: CocoGroup, labels: CocoLabels, number_of: Mapping[Any, int]) -> None:
        """Add what a group says."""
        for where, reason in labels.problems:
            self._problems.reject(where, reason)
        for image in labels.images.values():
            self._add(group, labels, image, number_of)
        for image in labels.more_images:
            self._add(group, labels, image, number_of)

    def _add(self, group: CocoGroup, labels: CocoLabels, image: CocoImage, number_of: Mapping[Any, int]) -> None:
        sample = self._paths.find(image.file_name, group.paths_of(image.file_name))
        if isinstance(sample, str):
            self._problems.reject(image.where, sample)
        elif sample is None:
            return
        elif image.repeated:
            self.refused[sample] = "shares its image id with another image; give each its own"
        elif self.labels[sample] is not None:
            self.refused[sample] = f"is named by two records, one of them {image.where}; keep one"
        else:
            try:
                self.labels[sample] = labels.label(image, number_of)
                self._masks[sample] = self._mask(group, image)
            except SourceError as error:
                self.refused[sample] = str(error)
            self.splits[sample] = group.split
        image.objects, image.segments = [], []  # the label holds them now

    def with_masks(self, listing: Listing) -> Listing:
        """Return the samples with their panoptic images."""
        has = np.array([number is not None for number in self._masks], bool)
        numbers = np.array([number for number in self._masks if number is not None], np.int64)
        sizes, times = np.array(self._files.sizes)[numbers], np.array(self._files.mtimes_ns)[numbers]
        files = Chosen((self._files.names,), numbers)
        return insert_field(listing, PANOPTIC, has, files, size=sizes.tolist(), mtime_ns=times.tolist())

    def _mask(self, group: CocoGroup, image: CocoImage) -> int | None:
        if not image.panoptic:
            return None
        for path in group.masks_of(image.panoptic):
            if (number := self._number_of.get(path)) is not None:
                return number
        raise SourceError(f"its panoptic image {image.panoptic!r} is not in {group.masks_of('')[0]!r}; put it there")
