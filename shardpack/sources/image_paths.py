"""Find the sample of an image that a table or an annotation file names by its path."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.columns import Chosen
from shardpack.sources.listing import Listing
from shardpack.sources.name_index import NameIndex
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems


class ImagePaths:
    """Look-up from the path of an image to its sample."""

    def __init__(self, listing: Listing, files: Files, problems: Problems):
        is_main_image = np.array([field in IMAGE_EXTENSIONS for field in listing.fields], bool)
        members = np.flatnonzero(is_main_image[listing.field_code])
        self._owners = listing.owners(members)
        self._images = NameIndex(cast("list[str]", list(Chosen.of(listing.payload).take(members))))
        self._files = files
        self._reported = {name for name, _ in problems.rejected}

    def find(self, file_name: str, paths: Sequence[str]) -> int | str | None:
        """Return the sample of an image, or why it has none; None if the image was already rejected.

        Args:
            file_name: The name in the label, for the reason.
            paths: Paths that it may stand for, relative to the source's root; the first that exists counts.
        """
        if (sample := self._sample(paths)) is not None:
            return sample
        inside = [] if file_name.startswith("/") else list(filter(None, map(_normalised, paths)))
        if (sample := self._sample(inside)) is not None:
            return sample
        if not inside:
            return f"names {file_name!r}, which is outside the source; name an image in it"
        if not self._reported.isdisjoint(inside):
            return None
        if any(path in self._names for path in inside):
            return f"names {file_name!r}, which is not an image with its own sample; name an image"
        return f"names {file_name!r}, which does not exist; restore it, or remove this entry"

    @cached_property
    def _names(self) -> NameIndex:
        return NameIndex(self._files.names)

    def _sample(self, paths: Sequence[str]) -> int | None:
        for path in paths:
            if found := self._images.find(path):
                return int(self._owners[found[0]])
        return None


def _normalised(path: str) -> str | None:
    path = posixpath.normpath(path)
    return None if path == ".." or path.startswith(("../", "/")) else path
