"""Find the sample of an image that a table or an annotation file names by its path."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems


class ImagePaths:
    """Look-up from the path of an image to its sample."""

    def __init__(self, listing: Listing, files: Files, problems: Problems):
        is_main_image = np.array([field in IMAGE_EXTENSIONS for field in listing.fields], bool)
        members = np.flatnonzero(is_main_image[listing.field_code])
        owners = listing.owners(members)
        paths = [listing.payload[member] for member in members.tolist()]
        self._sample_of: dict[object, int] = dict(zip(paths, owners.tolist(), strict=True))
        self._names = set(files.names)
        self._reported = {name for name, _ in problems.rejected}

    def find(self, file_name: str, paths: Sequence[str]) -> int | str | None:
        """Return the sample of an image, or why it has none; None if the image was already rejected.

        Args:
            file_name: The name in the label, for the reason.
            paths: Paths that it may stand for, relative to the source's root; the first that exists counts.
        """
        for path in paths:
            if path in self._sample_of:
                return self._sample_of[path]
        inside = [] if file_name.startswith("/") else list(filter(None, map(_normalised, paths)))
        for path in inside:
            if path in self._sample_of:
                return self._sample_of[path]
        if not inside:
            return f"names {file_name!r}, which is outside the source; name an image in it"
        if not self._reported.isdisjoint(inside):
            return None
        if not self._names.isdisjoint(inside):
            return f"names {file_name!r}, which is not an image with its own sample; name an image"
        return f"names {file_name!r}, which does not exist; restore it, or remove this entry"


def _normalised(path: str) -> str | None:
    path = posixpath.normpath(path)
    return None if path == ".." or path.startswith(("../", "/")) else path
