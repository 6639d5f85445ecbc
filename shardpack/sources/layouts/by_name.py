"""What layouts with one file for many images have in common: labels by the path of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.image_rows import key_below_images
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.label_shape import SHAPE, Object, class_names, numbered
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import with_splits
from shardpack.sources.tree import Tree


class LabelsByName:
    """The samples of a tree, which get their labels one by one.

    Args:
        tree: The files.
        uses: Those that belong to no sample: the files with the labels.
        problems: Receives what is rejected.
        options: Whether keys may contain dots.
    """

    def __init__(self, tree: Tree, uses: frozenset[str], problems: Problems, options: LayoutOptions) -> None:
        self.listing = group_files(tree.files.without(uses), problems, rename_keys=options.rename_keys)
        self._problems = problems
        self._paths = ImagePaths(self.listing, tree.files, problems)
        count = self.listing.num_samples
        self._labels: list[Object | None] = [None] * count
        self._splits: list[str | None] = [None] * count
        self._refused: dict[int, str] = {}

    def find(self, where: str, name: str, paths: Sequence[str]) -> int | None:
        """Return the sample of an image; None, and the name is rejected, without one.

        Args:
            where: The record, for messages.
            name: The name in the record.
            paths: Paths below the root that it may stand for.
        """
        found = self._paths.find(name, paths)
        if isinstance(found, str):
            self._problems.reject(where, found)
            return None
        return found

    def add(self, sample: int, value: Object, *, where: str, split: str | None = None) -> None:
        """Give a sample its label; a second one is refused."""
        if self._labels[sample] is not None:
            self._refused[sample] = f"is described twice, the second time by {where}; keep one"
        self._labels[sample], self._splits[sample] = value, split

    def refuse(self, sample: int, reason: str) -> None:
        """Say why a sample cannot be packed."""
        self._refused[sample] = reason

    def finish(
        self,
        *,
        missing: str,
        classes: Sequence[str] = (),
        has_classes: bool = True,
        shape: str | None = SHAPE,
        finish: Callable[[int, Object], Any] | None = None,
    ) -> Listing:
        """Return the samples that have a label.

        Args:
            missing: Reason for leaving out the others.
            classes: Class names in the order of their numbers; further ones follow, ascending by name.
            has_classes: Whether labels name classes.
            shape: Name of the labels' shape.
            finish: Makes the label of a sample of what it was given.
        """
        values = [
            value if finish is None or value is None or sample in self._refused else finish(sample, value)
            for sample, value in enumerate(self._labels)
        ]
        found = {name for value in values if value is not None for name in class_names(value)}
        names = (*classes, *sorted(found.difference(classes)))
        number_of = {name: number for number, name in enumerate(names)}
        labels: list[bytes | None] = []
        for sample, value in enumerate(values):
            try:
                labels.append(None if value is None else compact_json(numbered(value, number_of)))
            except SourceError as error:
                labels.append(None)
                self._refused[sample] = str(error)
        listing = replace(self.listing, keys=[key_below_images(key) for key in self.listing.keys])
        if any(self._splits):
            listing = with_splits(listing, self._splits)
        listing = attach_labels(listing, labels, self._problems, refused=self._refused, missing=missing)
        return replace(listing, classes=names if has_classes else None, label_shape=shape)
