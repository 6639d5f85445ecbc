"""What layouts with a label file for each image have in common: the listing of their rows, with numbered classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.image_rows import ImageRow, listing_of
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.label_files import Refused
from shardpack.sources.label_shape import SHAPE, class_names, numbered
from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES


def labelled_listing(
    rows: Sequence[ImageRow],
    files: Files,
    values: Sequence[Any],
    problems: Problems,
    *,
    classes: Sequence[str] = (),
    has_classes: bool = True,
) -> Listing:
    """Return the rows as samples with their labels.

    Args:
        rows: Samples to be, ascending by key.
        files: The files that their numbers mean.
        values: (n) the label of each row, None for none, or `Refused`.
        problems: Receives the rows that were refused.
        classes: Class names in the order of their numbers; further ones follow, ascending by name.
        has_classes: Whether the labels name classes.
    """
    found = {name for value in values if isinstance(value, dict) for name in class_names(value)}
    names = (*classes, *sorted(found.difference(classes)))
    number_of = {name: number for number, name in enumerate(names)}
    labels: list[bytes | None] = [None] * len(rows)
    refused: dict[int, str] = {}
    for sample, value in enumerate(values):
        if isinstance(value, Refused):
            refused[sample] = value.reason
        elif value is not None:
            try:
                labels[sample] = compact_json(numbered(value, number_of))
            except SourceError as error:
                refused[sample] = str(error)
    listing = attach_labels(listing_of(rows, files), labels, problems, refused=refused, missing=None)
    return replace(listing, classes=names if has_classes else None, label_shape=SHAPE)


def split_in(name: str) -> str | None:
    """Return the folder of a path that is named like a split; None without one."""
    return next((part for part in name.split("/")[:-1] if part.lower() in SPLIT_NAMES), None)


def without_part(stem: str, part: str) -> str:
    """Return a path without the last folder of this name, compared without case."""
    parts = stem.split("/")
    for number in range(len(parts) - 2, -1, -1):
        if parts[number].lower() == part.lower():
            return "/".join([*parts[:number], *parts[number + 1 :]])
    return stem
